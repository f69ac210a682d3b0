//! What `crewcall consumers …` takes.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use jiff::Timestamp;

use super::{ActorArguments, ConsumerName, ListArguments, OutputArguments};
use crate::times;

/// `consumers …`
#[derive(Debug, Subcommand)]
pub(crate) enum ConsumersCommand {
    /// Create consumers, or change their settings, as files say
    Apply(ApplyArguments),
    /// List consumers
    #[command(alias = "list")]
    Ls {
        /// How it looks.
        #[command(flatten)]
        list: ListArguments,
    },
    /// Show one consumer: how far it is, and what went wrong
    #[command(alias = "show")]
    Get {
        /// The consumer
        #[arg(value_name = "NAME")]
        consumer: ConsumerName,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Pause a consumer: it makes no jobs, and the events that it has not seen are kept
    Pause {
        /// The consumer
        #[arg(value_name = "NAME")]
        consumer: ConsumerName,
        /// Who pauses it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Resume a paused consumer, where it was
    Resume {
        /// The consumer
        #[arg(value_name = "NAME")]
        consumer: ConsumerName,
        /// Pass over what was recorded meanwhile: it makes no jobs of it
        #[arg(long)]
        from_now: bool,
        /// Who resumes it, and why.
        #[command(flatten)]
        actor: ActorArguments,
    },
    /// Move a consumer to another place of the log
    Seek(SeekArguments),
    /// Make the jobs of a part of the log once more, beside what the consumer does anyway
    Replay(ReplayArguments),
    /// Delete a consumer; jobs that it made go on
    Rm {
        /// The consumer
        #[arg(value_name = "NAME")]
        consumer: ConsumerName,
    },
}

/// What `consumers apply` takes.
#[derive(Debug, Args)]
#[command(after_help = "A file has one consumer or many, in YAML (with --- between them) or JSON:
  name: invoices
  subjects: [order.paid]
  if: event.data.total > 100
  then:
    job:
      type: invoice.render
      parameters:
        order: ${{ event.data.id }}

What is not in a file stays as it is: nothing is deleted.")]
pub(crate) struct ApplyArguments {
    /// A file, a directory (its *.yaml, *.yml and *.json), or - for standard input; can be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// What `consumers seek` takes.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("place").args(["now", "oldest", "after", "since"]).required(true))]
#[command(
    after_help = "What it skips makes no jobs. What it repeats makes its jobs once more; crewcall consumers replay repeats
a part of the log and leaves the place as it is."
)]
pub(crate) struct SeekArguments {
    /// The consumer
    #[arg(value_name = "NAME")]
    pub(crate) consumer: ConsumerName,
    /// To the end of the log: it goes on with the next event that is recorded
    #[arg(long)]
    pub(crate) now: bool,
    /// To the oldest event that is kept
    #[arg(long)]
    pub(crate) oldest: bool,
    /// To the event after this one
    #[arg(long, value_name = "SEQUENCE")]
    pub(crate) after: Option<u64>,
    /// To the first event since then: 1h (ago), yesterday, 2026-11-20, '2026-11-20 16:00' (UTC)
    #[arg(long, value_name = "TIME", value_parser = times::parse_back)]
    pub(crate) since: Option<Timestamp>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Who moves it, and why.
    #[command(flatten)]
    pub(crate) actor: ActorArguments,
}

/// What `consumers replay` takes.
#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// The consumer
    #[arg(value_name = "NAME")]
    pub(crate) consumer: ConsumerName,
    /// Begin with the event after this one; 0 for the first
    #[arg(long, value_name = "SEQUENCE")]
    pub(crate) after: u64,
    /// The last event
    #[arg(long, value_name = "SEQUENCE")]
    pub(crate) to: u64,
    /// Who asks for it, and why.
    #[command(flatten)]
    pub(crate) actor: ActorArguments,
}
