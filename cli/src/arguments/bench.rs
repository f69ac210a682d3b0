//! What `bench` takes.

use clap::Args;

use super::OutputArguments;

/// What `bench` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "It starts a RabbitMQ node, a backend and a worker of its own in ./.crewcall/bench, and removes them. \
                  Settings in the environment count (CREWCALL_WORKER_CONTENT_TYPE=application/json crewcall bench)."
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
    /// Two minutes: 10 000 jobs, three rounds, none that wait
    #[arg(long, conflicts_with_all = ["jobs", "rounds", "waiting"])]
    pub(crate) quick: bool,
    /// The form of the output.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    /// Be the worker that is measured.
    #[arg(long, hide = true)]
    pub(crate) worker: bool,
}
