//! What `crewcall events …` takes.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{ListArguments, OutputArguments};
use crate::{output::Format, times};

/// How many events a list has at most: as many as the API gives at once.
pub(crate) const EVENTS_MAX: i64 = 500;

/// `events …`
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Publish an event
    Publish(PublishArguments),
    /// List events, oldest first
    #[command(alias = "list")]
    Ls(EventsListArguments),
    /// Show one event and its data
    #[command(alias = "show")]
    Get {
        /// The event, by its sequence
        #[arg(value_name = "SEQUENCE", value_parser = parse_sequence)]
        sequence: u64,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Follow events as they come, until Ctrl-C; none is left out
    Tail(TailArguments),
}

/// What `events publish` takes.
// The id of an argument tells what the Tab key offers for it: `id` is a job.
#[derive(Debug, Args)]
#[command(after_help = "Data:
  key=value     text                     key=@file    the text in a file
  key:=json     a number, a list, ...    key:=@file   the JSON in a file
  -             all of them, a JSON object, from standard input

A TIME is written like 1h (ago), yesterday, 2026-11-20, '2026-11-20 16:00' (UTC)
or 2026-11-20T16:00:00+01:00.")]
pub(crate) struct PublishArguments {
    /// What it is about, such as order.paid: dot-separated words
    pub(crate) subject: String,
    /// What is said of it: key=value or key:=json ...
    #[arg(value_name = "DATA")]
    pub(crate) fields: Vec<String>,
    /// All data as one JSON object: here, in a file or on standard input; DATA are added to it
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) data: Option<String>,
    /// Your own name for it: while the event is kept, publishing it again under the same id records nothing
    #[arg(long = "id", value_name = "ID")]
    pub(crate) event_id: Option<String>,
    /// When it happened, if not now
    #[arg(long, value_name = "TIME", value_parser = times::parse_back)]
    pub(crate) occurred_at: Option<Timestamp>,
    /// Print the event in this form, instead of its sequence
    #[arg(short, long, value_name = "FORM")]
    pub(crate) output: Option<Format>,
}

/// What `events ls` takes.
#[derive(Debug, Args)]
#[command(after_help = "In a table the data are cut to a line; -o wide, json and jsonl have all of them.")]
pub(crate) struct EventsListArguments {
    /// Only events of these subjects: '*' stands for one word, '#' for any number of them
    #[arg(long, value_name = "PATTERN")]
    pub(crate) subject: Option<String>,
    /// Only events after this one [default: from the oldest that is kept]
    #[arg(long, value_name = "SEQUENCE", value_parser = parse_sequence)]
    pub(crate) after: Option<u64>,
    /// List at most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=EVENTS_MAX))]
    pub(crate) limit: u32,
    /// How it looks.
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

/// What `events tail` takes.
#[derive(Debug, Args)]
#[command(after_help = "With -o json, too, each event is one line.")]
pub(crate) struct TailArguments {
    /// Only events of these subjects: '*' stands for one word, '#' for any number of them
    #[arg(long, value_name = "PATTERN")]
    pub(crate) subject: Option<String>,
    /// Begin after this event [default: with the next one that is published]
    #[arg(long, value_name = "SEQUENCE", value_parser = parse_sequence)]
    pub(crate) after: Option<u64>,
    /// The form of the output.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

fn parse_sequence(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "write the number of an event, such as 17; crewcall events ls shows them")
}
