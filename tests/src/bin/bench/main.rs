//! What Crewcall promises in numbers, measured on an installation of its own.
//!
//! Build everything first, in the same profile: `cargo build --release --workspace`, then `target/release/bench help`.

use clap::{Parser, value_parser};

mod latency;

mod cancel;

mod waiting;

mod figures;

mod raw;

/// Measure an installation, against the bare broker where that is possible.
#[derive(Parser)]
enum Bench {
    /// From the submission of a short job to its end, one job after the other
    Latency {
        /// How many jobs
        #[arg(default_value_t = 300, value_parser = value_parser!(u32).range(1..=100_000))]
        jobs: u32,
    },
    /// From the cancellation of a running job to its handler, beside 500 short jobs/s
    Cancel,
    /// What many waiting jobs cost: memory, the time of a start, pages of lists
    Waiting {
        /// How many jobs
        #[arg(default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
        jobs: u32,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Bench::parse() {
        Bench::Latency { jobs } => latency::run(usize::try_from(jobs)?).await,
        Bench::Cancel => cancel::run().await,
        Bench::Waiting { jobs } => waiting::run(usize::try_from(jobs)?).await,
    }
}
