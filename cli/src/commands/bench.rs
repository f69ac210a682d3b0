//! `crewcall bench`: how fast this machine runs jobs, beside what its broker could do.

use std::{path::Path, time::Duration};

use crate::{
    arguments::BenchArguments,
    bench::{self, Plan},
    dev_environment::DIRECTORY,
    exit::{Exit, Failure},
    output::{Format, View, print_json, print_jsonl, print_lines, print_message},
    signals::Signals,
};

/// How many jobs are waited for one by one in a round.
const SINGLE_JOBS: usize = 200;
/// For how long jobs come at a steady pace, in a round.
const PACED_FOR: Duration = Duration::from_secs(5);
/// What `--quick` measures: jobs, rounds, and jobs that wait.
const QUICK: (u32, u32, u32) = (10_000, 3, 0);

/// Measures, and prints the report. Progress goes to standard error.
///
/// # Errors
///
/// When something could not be started, or standard output fails us.
pub(crate) async fn run(arguments: &BenchArguments) -> Result<Exit, Failure> {
    if arguments.worker {
        return bench::worker::run().await;
    }
    let whole = (arguments.jobs, arguments.rounds, arguments.waiting);
    let (jobs, rounds, waiting) = if arguments.quick { QUICK } else { whole };
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let plan = Plan {
        jobs: count(jobs),
        single_jobs: SINGLE_JOBS,
        rounds: count(rounds),
        connections: count(arguments.connections),
        slots: arguments.slots,
        per_second: arguments.rate,
        paced_for: PACED_FOR,
        waiting: count(waiting),
    };
    let directory = std::path::absolute(Path::new(DIRECTORY).join("bench"))?;
    let mut signals = Signals::listen()?;
    let report = Box::pin(bench::run(&directory, plan, print_message, signals.next())).await?;
    match arguments.output.format {
        Format::Table | Format::Wide => print_lines(&report.text(&View::of_stdout(arguments.output.format)))?,
        Format::Json => print_json(&report)?,
        Format::Jsonl => {
            print_jsonl(&serde_json::to_value(&report).expect("a report has texts and numbers only"))?;
        }
        Format::Name => print_message("a report has no name: use -o table or -o json"),
    }
    Ok(Exit::Done)
}
