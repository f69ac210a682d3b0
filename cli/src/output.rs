//! What is printed: data on standard output in the form that was asked for, everything else on standard
//! error.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, Width, presets::NOTHING};
use serde::Serialize;

use crate::{
    api::Document,
    exit::Failure,
    text::{printable, printable_json},
};

/// How narrow the last column of a table may get on a narrow terminal, before lines get too long instead.
const LAST_COLUMN_WIDTH_MIN: u16 = 24;

/// The form of the data on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people: columns, shortened.
    Table,
    /// The API's JSON, indented; a list is one array.
    Json,
    /// The API's JSON, one line per item.
    Jsonl,
    /// Only the ids or names, one per line.
    Name,
}

/// What can be shown as a row of a table, alone, and by name.
pub(crate) trait Show {
    /// What one of them is called, in the plural: "jobs".
    const PLURAL: &'static str;
    /// The titles of the columns.
    const HEADER: &'static [&'static str];
    /// Its id or name.
    fn identity(&self) -> String;
    /// The cells of its row, as many as there are titles.
    fn row(&self) -> Vec<String>;
    /// All about it, in lines.
    fn details(&self) -> String;
}

/// Prints a list.
///
/// # Errors
///
/// When standard output cannot be written, here and in the functions below.
pub(crate) fn print_list<T: Show>(items: &[Document<T>], format: Format) -> Result<(), Failure> {
    match format {
        Format::Table if items.is_empty() => {
            print_message(&format!("no {}", T::PLURAL));
            Ok(())
        }
        Format::Table => write_out(&table(Some(T::HEADER), items.iter().map(|item| item.row()))),
        Format::Json => print_json(&items.iter().map(|item| &item.raw).collect::<Vec<_>>()),
        Format::Jsonl | Format::Name => items.iter().try_for_each(|item| print_one(item, format)),
    }
}

/// Prints one thing alone.
pub(crate) fn print_one<T: Show>(item: &Document<T>, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => write_out(&item.details()),
        Format::Json => print_json(&item.raw),
        Format::Jsonl => write_out(&printable_json(&item.raw.to_string())),
        Format::Name => print(&item.identity()),
    }
}

/// Prints JSON for people: indented.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).expect("what was JSON can be JSON again");
    write_out(&printable_json(&text))
}

/// Prints lines that are no table and no JSON.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write_out(&printable(text))
}

/// Prints lines as they are, at once: the reader of a pipe waits for them. Only for what may have colours, each cell
/// of which was made [`printable`].
fn write_out(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", text.trim_end_matches('\n'))?;
    Ok(stdout.flush()?)
}

/// Tells a person something, on standard error.
pub(crate) fn print_message(text: &str) {
    // Nobody is left to be told that standard error is gone.
    let _ = writeln!(io::stderr().lock(), "{}", printable(text));
}

/// Lays out rows in columns: no lines, two spaces in between. On a terminal the last column wraps; the
/// others never do, so that ids can be copied.
pub(crate) fn table(header: Option<&[&str]>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let is_terminal = io::stdout().is_terminal();
    let colours = is_colourful(is_terminal);
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_content_arrangement(if is_terminal {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    if let Some(header) = header {
        table.set_header(header.iter().map(Cell::new));
    }
    for row in rows {
        table.add_row(Row::from(row.iter().map(|text| cell(text, colours)).collect::<Vec<_>>()));
    }
    let last = table.column_count().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        column.set_constraint(if index == last {
            ColumnConstraint::LowerBoundary(Width::Fixed(LAST_COLUMN_WIDTH_MIN))
        } else {
            ColumnConstraint::ContentWidth
        });
    }
    table.trim_fmt()
}

fn cell(text: &str, colours: bool) -> Cell {
    let cell = Cell::new(printable(text));
    let colour = match text {
        "completed" | "idle" => Color::Green,
        "running" | "busy" => Color::Cyan,
        "unroutable" | "cancelled" | "draining" => Color::Yellow,
        "failed" | "lost" => Color::Red,
        _ => return cell,
    };
    if colours { cell.fg(colour) } else { cell }
}

/// Whether to write colours to something that is a terminal or not (see no-color.org).
pub(crate) fn is_colourful(is_terminal: bool) -> bool {
    is_terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
