//! What `bench` takes.

use std::{ops::Range, path::PathBuf};

use clap::Args;

use super::OutputArguments;
use crate::bench::follow_up::Part;

/// What `bench` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "It starts a RabbitMQ node, a backend and a worker of its own in ./.crewcall/bench, and removes them. \
                  Settings in the environment count (CREWCALL_WORKER_CONTENT_TYPE=application/json crewcall bench). \
                  The database is always a new one; run it in a directory of the disk that is to be measured."
)]
pub(crate) struct BenchArguments {
    /// How many jobs a measurement of throughput takes
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub(crate) jobs: u32,
    /// How often everything is measured; the report has medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// How many connections submit jobs one by one
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) connections: u32,
    /// How many attempts the worker runs at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) slots: u32,
    /// How many jobs a second come while starts and cancellations are timed
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// How many jobs wait in the store in the end, while it is measured once more; 0 leaves that out
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(..=10_000_000))]
    pub(crate) waiting: u32,
    /// How many progress messages one worker sends, or as many as it can in a minute, while other jobs are timed; 0 leaves that out
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(..=10_000_000))]
    pub(crate) progress: u32,
    /// Among how many types the jobs are divided in the end; 0 leaves that out
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(..=5_000))]
    pub(crate) types: u32,
    /// How many workers are there in the end that have nothing to do; 0 leaves that out
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(..=5_000))]
    pub(crate) idle_workers: u32,
    /// Two minutes: 10 000 jobs, three rounds, and not many of anything
    #[arg(long, conflicts_with_all = ["jobs", "rounds", "waiting", "progress", "types", "idle_workers"])]
    pub(crate) quick: bool,
    /// Measure what follows from events, ends of steps and ticks instead: these parts of it, each held against its limits
    #[arg(long, value_name = "PART", value_delimiter = ',', conflicts_with_all = ["waiting", "progress", "types", "idle_workers", "picture"])]
    pub(crate) what: Vec<Part>,
    /// How many open runs, schedules and items of a fan-out there are then; of all else a tenth or a hundredth
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "what", value_parser = clap::value_parser!(u32).range(100..=10_000))]
    pub(crate) follow_ups: u32,
    /// Measure on this RabbitMQ instead of on a private node; what is made there has names of its own, and is removed in the end
    #[arg(long, value_name = "URL")]
    pub(crate) amqp_url: Option<String>,
    /// Do not ask whether that RabbitMQ may be put under load
    #[arg(long, requires = "amqp_url")]
    pub(crate) yes: bool,
    /// Draw where the processor time of a job goes, into this file, as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) picture: Option<PathBuf>,
    /// The form of the output.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    /// Be the worker that is measured.
    #[arg(long, hide = true)]
    pub(crate) worker: bool,
    /// Be one that serves these of the many types, such as `0..256`.
    #[arg(long, hide = true, value_parser = range)]
    pub(crate) many: Option<Range<usize>>,
}

fn range(text: &str) -> Result<Range<usize>, String> {
    let both = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    both.ok_or_else(|| "a range is FROM..TO".to_owned())
}
