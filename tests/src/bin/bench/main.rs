//! What Crewcall promises in numbers, measured on an installation of its own.
//!
//! Build everything first, in the same profile: `cargo build --release --workspace`, then
//! `target/release/bench latency [JOBS]`, `target/release/bench cancel` or `target/release/bench waiting [JOBS]`.

use anyhow::{Context, bail, ensure};

mod latency;

mod cancel;

mod waiting;

mod figures;

mod raw;

/// Jobs one after the other, unless said otherwise.
const LATENCY_JOBS: usize = 300;

/// Jobs that wait, unless said otherwise.
const WAITING_JOBS: usize = 1_000_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let jobs = |default: usize| -> anyhow::Result<usize> {
        let jobs = words.get(1).map_or(Ok(default), |text| text.parse()).context("JOBS is a number")?;
        ensure!(jobs > 0, "JOBS is at least 1");
        Ok(jobs)
    };
    match words.first() {
        Some(&"latency") => latency::run(jobs(LATENCY_JOBS)?).await,
        Some(&"cancel") => cancel::run().await,
        Some(&"waiting") => waiting::run(jobs(WAITING_JOBS)?).await,
        _ => bail!("say what to measure: bench latency [JOBS] | cancel | waiting [JOBS]"),
    }
}
