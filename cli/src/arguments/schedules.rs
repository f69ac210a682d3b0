//! What `crewcall schedules …` takes.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use jiff::Timestamp;

use super::{ActorArguments, ListArguments, OutputArguments, ScheduleName};
use crate::{output::Format, times};

/// `schedules …`
#[derive(Debug, Subcommand)]
pub(crate) enum SchedulesCommand {
    /// Make schedules, or change what they do, as files say
    Apply(ScheduleFiles),
    /// List schedules
    #[command(alias = "list")]
    Ls {
        /// How it looks.
        #[command(flatten)]
        list: ListArguments,
    },
    /// Show one schedule: what it does, when it ticks, and what it made that is not over
    #[command(alias = "show")]
    Get {
        /// The schedule
        #[arg(value_name = "NAME")]
        schedule: ScheduleName,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Show the next ticks of a schedule, or those that a file would have
    Next(NextArguments),
    /// List what became of the ticks of a schedule, newest first
    Ticks(TicksArguments),
    /// Have a schedule fire now, paused or not
    Trigger {
        /// The schedule
        #[arg(value_name = "NAME")]
        schedule: ScheduleName,
        /// Print the tick in this form, instead of a sentence
        #[arg(short, long, value_name = "FORM")]
        output: Option<Format>,
        /// Who triggers it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Pause a schedule: its ticks do not fire, neither now nor later
    Pause {
        /// The schedule
        #[arg(value_name = "NAME")]
        schedule: ScheduleName,
        /// Who pauses it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Resume a paused schedule, with its next tick
    Resume {
        /// The schedule
        #[arg(value_name = "NAME")]
        schedule: ScheduleName,
        /// Who resumes it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Make up for ticks of a time that is over and that did not fire
    Backfill(BackfillArguments),
    /// Delete a schedule; what it made goes on
    Rm {
        /// The schedule
        #[arg(value_name = "NAME")]
        schedule: ScheduleName,
    },
}

/// What `schedules apply` takes.
#[derive(Debug, Args)]
#[command(after_help = "A file has one schedule or many, in YAML (with --- between them) or JSON:
  name: report.nightly
  cron: 30 2 * * *
  timezone: Europe/Athens
  job:
    type: report.render
    parameters: {day: '${{ schedule.scheduled_for }}'}

What is not in a file stays as it is: nothing is deleted. docs/schedules.md says what a document may have.")]
pub(crate) struct ScheduleFiles {
    /// A file, a directory (its *.yaml, *.yml and *.json), or - for standard input; can be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// What `schedules next` takes.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("which").args(["schedule", "files"]).required(true))]
pub(crate) struct NextArguments {
    /// The schedule
    #[arg(value_name = "NAME")]
    pub(crate) schedule: Option<ScheduleName>,
    /// A file of schedules, a directory, or - for standard input: nothing of it is kept; can be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// How many ticks
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub(crate) number: u8,
    /// Leave the titles of the columns out
    #[arg(long)]
    pub(crate) no_headers: bool,
    /// The form of the output.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// What becomes of ticks, in the words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TickState {
    /// It waits.
    Queued,
    /// What it makes is made.
    Fired,
    /// It came while an earlier one was not over, or could make nothing.
    Skipped,
    /// No backend was there when it came.
    Missed,
    /// It came while the schedule was paused.
    Paused,
}

impl TickState {
    /// The word of the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Fired => "fired",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::Paused => "paused",
        }
    }
}

/// What `schedules ticks` takes.
#[derive(Debug, Args)]
pub(crate) struct TicksArguments {
    /// The schedule
    #[arg(value_name = "NAME")]
    pub(crate) schedule: ScheduleName,
    /// Only those of which this became
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub(crate) state: Vec<TickState>,
    /// List at most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// Continue where an earlier list ended
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    /// How it looks.
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

/// What `schedules backfill` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Ticks that fired before stay as they are. What is made sees the moment that it is made up for, as
schedule.scheduled_for."
)]
pub(crate) struct BackfillArguments {
    /// The schedule
    #[arg(value_name = "NAME")]
    pub(crate) schedule: ScheduleName,
    /// From then on: 1h (ago), yesterday, 2026-11-20, '2026-11-20 16:00' (UTC)
    #[arg(long, value_name = "TIME", value_parser = times::parse_back)]
    pub(crate) from: Timestamp,
    /// Up to then, in the same forms; now at the latest
    #[arg(long, value_name = "TIME", value_parser = times::parse_back)]
    pub(crate) to: Timestamp,
    /// All at once, instead of each when the one before is over
    #[arg(long)]
    pub(crate) allow: bool,
    /// Only say how many ticks it is
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the result in this form, instead of a sentence
    #[arg(short, long, value_name = "FORM", value_parser = ["json"])]
    pub(crate) output: Option<String>,
    /// Who asks for it, and why.
    #[command(flatten)]
    pub(crate) actor: ActorArguments,
}
