//! Breaks a whole installation at random for minutes, heals it, and accounts for every job: see
//! [`e2e::chaos`]. `./dev chaos` builds and runs it.

use std::{io::Write, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use e2e::chaos::{self, report::Verdict};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a run that says nothing.
const NOT_JUDGED: u8 = 2;

/// The largest seed that is chosen when none is given: short enough to be typed again.
const CHOSEN_SEED_MAX: u64 = 999_999;

/// Break a broker, a backend and workers at random, heal them, and account for every job.
///
/// The exit code is 0 when nothing is lost, doubled, stuck or unexplained, and 1 when something is; then the database
/// and the logs are kept. It is 2 when that cannot be said: the installation did not come up or did not come back, the
/// disk is full, or the run was interrupted. Ctrl-C heals, judges what there is, and reports; a second one just ends.
#[derive(Parser)]
#[command(name = "chaos")]
struct Arguments {
    /// Chooses the faults: the same seed gives the same faults in the same order. By default any, which is
    /// printed.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<u64>,
    /// For how long faults strike and work comes in, in minutes; healing takes some more.
    #[arg(long, value_name = "M", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::FAILURE,
        Ok(Verdict::Unjudged) => ExitCode::from(NOT_JUDGED),
        Err(error) => {
            // Where stderr is gone, the exit code says it.
            let _ = writeln!(std::io::stderr().lock(), "nothing was judged: {error:#}");
            ExitCode::from(NOT_JUDGED)
        }
    }
}

async fn run(Arguments { seed, minutes }: Arguments) -> anyhow::Result<Verdict> {
    let seed = seed.unwrap_or_else(|| rand::random_range(0..=CHOSEN_SEED_MAX));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let length = Duration::from_secs(minutes * 60);
    let signals = async {
        for _time in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            stop.cancel();
        }
    };
    let report = tokio::select! {
        report = chaos::run(seed, length, &stop) => report?,
        () = signals => anyhow::bail!("it was ended before it could report"),
    };
    write!(std::io::stdout().lock(), "{report}").context("printing the report")?;
    Ok(report.verdict())
}
