//! What is printed: data on standard output in the form that was asked for, everything else on standard
//! error.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    api::Document,
    exit::Failure,
    layout::{self, Column},
    text::{printable, printable_json},
};

/// How narrow the values beside their names may get on a narrow terminal, before lines get too long instead.
const VALUE_WIDTH_MIN: usize = 24;

/// The form of the data on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people: columns, shortened to fit.
    Table,
    /// The same with whole ids, exact times and more columns.
    Wide,
    /// The API's JSON, indented; a list is one array.
    Json,
    /// The API's JSON, one line per item.
    Jsonl,
    /// Only the ids or names, one per line.
    Name,
}

/// What becomes of a text that is wider than its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// It is shortened: each row takes one line.
    Cut,
    /// In the last column it goes on in the next line.
    Wrap,
}

/// How things are shown to whoever looks, and when.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// What ages are counted from.
    pub(crate) now: Timestamp,
    /// How many columns there are; `None` for no end, as in a file.
    pub(crate) width: Option<usize>,
    /// Whether states have colours.
    pub(crate) colours: bool,
    /// Whether ids and times are whole.
    pub(crate) is_wide: bool,
    /// How much of an id is shown: as much as tells it from the others of its list.
    pub(crate) id_characters: usize,
}

impl View {
    /// How much of an id is shown at least: the millisecond in which it was made.
    pub(crate) const ID_CHARACTERS_MIN: usize = 13;

    /// How standard output looks now.
    pub(crate) fn of_stdout(format: Format) -> Self {
        let stdout = io::stdout();
        let size = terminal_size::terminal_size_of(&stdout);
        Self {
            now: Timestamp::now(),
            width: size.map(|(width, _)| usize::from(width.0)),
            colours: is_colourful(stdout.is_terminal()),
            is_wide: format == Format::Wide,
            id_characters: Self::ID_CHARACTERS_MIN,
        }
    }

    /// The same for a list of things with these ids.
    fn of_list(self, ids: &[String]) -> Self {
        let is_enough = |characters: usize| {
            let mut short: Vec<&str> = ids.iter().map(|id| beginning(id, characters)).collect();
            short.sort_unstable();
            short.dedup();
            short.len() == ids.len()
        };
        let longest = ids.iter().map(String::len).max().unwrap_or_default();
        let characters = (Self::ID_CHARACTERS_MIN..longest).find(|characters| is_enough(*characters));
        Self { id_characters: characters.unwrap_or(longest), ..self }
    }

    /// An id as it is shown in a row.
    pub(crate) fn id<'a>(&self, id: &'a str) -> &'a str {
        if self.is_wide { id } else { beginning(id, self.id_characters) }
    }
}

/// The first characters of an id, without a hyphen at the end.
fn beginning(id: &str, characters: usize) -> &str {
    id.get(..characters).unwrap_or(id).trim_end_matches('-')
}

/// What can be shown as a row of a list, alone, and by name.
pub(crate) trait Show {
    /// What one of them is called, in the plural: "jobs".
    const PLURAL: &'static str;
    /// The columns of a list.
    const COLUMNS: &'static [Column];
    /// Its id or name.
    fn identity(&self) -> String;
    /// The cells of its row, as many as there are columns.
    fn row(&self, view: &View) -> Vec<String>;
    /// All about it, in lines.
    fn details(&self, view: &View) -> String;
}

/// Prints a list.
///
/// # Errors
///
/// When standard output cannot be written, here and in the functions below.
pub(crate) fn print_list<T: Show>(
    items: &[Document<T>],
    format: Format,
    has_titles: bool,
) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide if items.is_empty() => {
            print_message(&format!("no {}", T::PLURAL));
            Ok(())
        }
        Format::Table | Format::Wide => write_out(&list(items, &View::of_stdout(format), has_titles)),
        Format::Json => print_json(&items.iter().map(|item| &item.raw).collect::<Vec<_>>()),
        Format::Jsonl | Format::Name => items.iter().try_for_each(|item| print_one(item, format)),
    }
}

/// Draws a list anew in the place of what stood on the terminal, with a line above. What has no room below is not
/// drawn: the top would scroll away.
///
/// # Errors
///
/// As above.
pub(crate) fn redraw<T: Show>(
    above: &str,
    items: &[Document<T>],
    format: Format,
    has_titles: bool,
) -> Result<(), Failure> {
    const HOME_AND_CLEAR: &str = "\u{1b}[H\u{1b}[2J";
    let height =
        terminal_size::terminal_size_of(io::stdout()).map_or(usize::MAX, |(_, height)| height.0.into());
    let below = match items {
        [] => format!("no {}", T::PLURAL),
        items => list(items, &View::of_stdout(format), has_titles),
    };
    let lines: Vec<&str> = above.lines().chain([""]).chain(below.lines()).collect();
    let left = lines.len().saturating_sub(height.saturating_sub(1));
    let shown = lines[..lines.len() - left].join("\n");
    write_out(&format!("{HOME_AND_CLEAR}{shown}"))
}

/// A list as it looks: one line for each, none longer than the view is wide.
pub(crate) fn list<T: Show>(items: &[Document<T>], view: &View, has_titles: bool) -> String {
    let ids: Vec<String> = items.iter().map(|item| item.identity()).collect();
    let view = view.clone().of_list(&ids);
    let rows: Vec<Vec<String>> = items.iter().map(|item| item.row(&view)).collect();
    rows_in_columns(T::COLUMNS, rows, &view, has_titles, Overflow::Cut)
}

/// Rows below the titles of their columns.
pub(crate) fn rows_in_columns(
    columns: &[Column],
    rows: Vec<Vec<String>>,
    view: &View,
    titles: bool,
    overflow: Overflow,
) -> String {
    let titles = titles.then(|| columns.iter().map(|column| column.title.to_owned()).collect());
    let mut lines: Vec<Vec<String>> = titles.into_iter().chain(rows).collect();
    let shown: Vec<bool> = columns.iter().map(|column| view.is_wide || !column.is_wide).collect();
    for line in &mut lines {
        let mut is_shown = shown.iter();
        line.retain(|_| is_shown.next().copied().unwrap_or_default());
        let last = line.len().saturating_sub(1);
        for (index, cell) in line.iter_mut().enumerate() {
            *cell = printable(cell).replace('\t', " ");
            if overflow == Overflow::Cut || index < last {
                *cell = cell.replace('\n', " ");
            }
        }
    }
    let columns: Vec<Column> =
        columns.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(column, _)| *column).collect();
    let widest = |index: usize| {
        let cells = lines.iter().flat_map(|line| line[index].split('\n'));
        cells.map(layout::width_of).max().unwrap_or_default()
    };
    let contents: Vec<usize> = (0..columns.len()).map(widest).collect();
    // Whoever wants all of it gets long lines.
    let room = view.width.filter(|_| !view.is_wide || overflow == Overflow::Wrap);
    let widths = layout::arrange(&columns, &contents, room);
    let lines = lines.iter().map(|line| line_of(line, &widths, view.colours, overflow));
    lines.collect::<Vec<_>>().join("\n")
}

/// One row: a line, or several where the last cell wraps.
fn line_of(cells: &[String], widths: &[Option<usize>], colours: bool, overflow: Overflow) -> String {
    let shown = cells.iter().zip(widths).filter_map(|(cell, width)| Some((cell, (*width)?)));
    let last = widths.iter().rposition(Option::is_some).unwrap_or_default();
    let (mut text, mut column) = (String::new(), 0);
    for (index, (cell, width)) in shown.enumerate() {
        let parts = match overflow {
            Overflow::Wrap if index == last => layout::wrap(cell, width),
            Overflow::Wrap | Overflow::Cut => vec![layout::fit(cell, width)],
        };
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                text.truncate(text.trim_end_matches(' ').len());
                text.push('\n');
                text.push_str(&" ".repeat(column));
            }
            text.push_str(&coloured(part, colours));
            text.push_str(&" ".repeat((width + layout::GAP).saturating_sub(layout::width_of(part))));
        }
        column += width + layout::GAP;
    }
    text.truncate(text.trim_end_matches(' ').len());
    text
}

/// Names and values in two columns, without those that are empty. On a terminal the values wrap.
pub(crate) fn fields(fields: &[(&str, String)], view: &View) -> String {
    let columns = [Column::new("NAME"), Column::new("VALUE").shortened_to(VALUE_WIDTH_MIN)];
    let filled = fields.iter().filter(|(_, value)| !value.is_empty());
    let rows = filled.map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
    rows_in_columns(&columns, rows, view, false, Overflow::Wrap)
}

fn coloured(text: &str, colours: bool) -> String {
    match colour(text).filter(|_| colours) {
        Some(colour) => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
        None => text.to_owned(),
    }
}

/// The colour of a word that is a state, by its number for a terminal: green, cyan, yellow, red.
fn colour(text: &str) -> Option<u8> {
    Some(match text {
        "completed" | "idle" | "ok" | "following" => 32,
        "running" | "busy" | "behind" | "compensating" => 36,
        "unroutable" | "cancelled" | "draining" | "warning" | "full" | "stopping" | "waiting" | "blocked" => {
            33
        }
        "failed" | "lost" | "error" | "missing" | "different" | "refused" | "stranded" => 31,
        _ => return None,
    })
}

/// Prints one thing alone.
pub(crate) fn print_one<T: Show>(item: &Document<T>, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => write_out(&item.details(&View::of_stdout(format))),
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

/// Prints JSON for programs: in one line.
pub(crate) fn print_jsonl(value: &serde_json::Value) -> Result<(), Failure> {
    write_out(&printable_json(&value.to_string()))
}

/// Prints lines that are no table and no JSON.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write_out(&printable(text))
}

/// Prints lines that were made from cells, which may have colours.
pub(crate) fn print_lines(text: &str) -> Result<(), Failure> {
    write_out(text)
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

/// Whether to write colours to something that is a terminal or not (see no-color.org).
pub(crate) fn is_colourful(is_terminal: bool) -> bool {
    is_terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
