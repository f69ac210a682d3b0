//! `crewcall bench`: how fast this machine runs jobs, beside what its broker could do.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use url::Url;

use crate::{
    arguments::BenchArguments,
    bench::{self, Plan, follow_up::FollowUps},
    commands::agreement::{self, Question},
    dev_environment::DIRECTORY,
    exit::{Exit, Failure},
    output::{Format, View, print_json, print_jsonl, print_lines, print_message},
    signals::Signals,
};

/// How many jobs are waited for one by one in a round, and of how many follow-ups that is one.
const SINGLE_JOBS: usize = 200;
const FOLLOW_UPS_EACH: usize = 5;
/// For how long jobs come at a steady pace, in a round.
const PACED_FOR: Duration = Duration::from_secs(5);
/// What `--quick` measures: jobs and rounds.
const QUICK: (u32, u32) = (10_000, 3);

/// Measures, and prints the report. Progress goes to standard error.
///
/// # Errors
///
/// When something could not be started, or standard output fails us.
pub(crate) async fn run(arguments: &BenchArguments) -> Result<Exit, Failure> {
    if arguments.worker {
        return bench::worker::run(arguments.many.clone()).await;
    }
    if let Some(amqp_url) = &arguments.amqp_url {
        ask(amqp_url, arguments.yes)?;
    }
    let plan = plan(arguments);
    let picture = arguments.picture.clone().map(Picture::at).transpose()?;
    let directory = std::path::absolute(Path::new(DIRECTORY).join("bench"))?;
    let mut signals = Signals::listen()?;
    let (amqp_url, interrupted) = (arguments.amqp_url.as_deref(), signals.next());
    let format = arguments.output.format;
    if !arguments.what.is_empty() {
        let most = usize::try_from(arguments.follow_ups).unwrap_or(usize::MAX);
        let wanted = (plan, FollowUps { parts: &arguments.what, most });
        let measured = bench::run_follow_ups(&directory, wanted, amqp_url, print_message, interrupted);
        let report = Box::pin(measured).await?;
        print_report(format, &report, |view| report.text(view))?;
        return Ok(Exit::Done);
    }
    let measured = Box::pin(bench::run(&directory, plan, amqp_url, print_message, interrupted)).await;
    let report = measured.inspect_err(|_| picture.iter().for_each(Picture::leave_out))?;
    if let Some(picture) = picture {
        picture.draw(&report)?;
    }
    print_report(format, &report, |view| report.text(view))?;
    Ok(Exit::Done)
}

/// How much is measured.
fn plan(arguments: &BenchArguments) -> Plan {
    let (jobs, rounds) = if arguments.quick { QUICK } else { (arguments.jobs, arguments.rounds) };
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let many = |number: u32| if arguments.quick || !arguments.what.is_empty() { 0 } else { count(number) };
    let single_jobs_max =
        if arguments.what.is_empty() { SINGLE_JOBS } else { count(arguments.follow_ups) / FOLLOW_UPS_EACH };
    Plan {
        jobs: count(jobs),
        single_jobs: SINGLE_JOBS.min(single_jobs_max),
        rounds: count(rounds),
        connections: count(arguments.connections),
        slots: arguments.slots,
        per_second: arguments.rate,
        paced_for: PACED_FOR,
        waiting: many(arguments.waiting),
        progress: many(arguments.progress),
        types: many(arguments.types),
        idle_workers: many(arguments.idle_workers),
    }
}

fn print_report(
    format: Format,
    report: &impl Serialize,
    text: impl Fn(&View) -> String,
) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => print_lines(&text(&View::of_stdout(format))),
        Format::Json => print_json(report),
        Format::Jsonl => {
            print_jsonl(&serde_json::to_value(report).expect("a report has texts and numbers only"))
        }
        Format::Name => {
            print_message("a report has no name: use -o table or -o json");
            Ok(())
        }
    }
}

/// A file for the picture. What was in it stays there until it is drawn.
struct Picture {
    path: PathBuf,
    is_new: bool,
}

impl Picture {
    /// Makes sure that it can be written, before anything is measured.
    fn at(path: PathBuf) -> Result<Self, Failure> {
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        let is_new = match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            made => made.map(|_| true).map_err(cannot_write(&path))?,
        };
        OpenOptions::new().write(true).open(&path).map_err(cannot_write(&path))?;
        Ok(Self { path, is_new })
    }

    fn draw(self, report: &bench::report::Report) -> Result<(), Failure> {
        fs::write(&self.path, bench::picture::of(report)).map_err(cannot_write(&self.path))
    }

    /// Nothing was measured.
    fn leave_out(&self) {
        if self.is_new {
            // An empty file does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let what = format!("write the picture {}", path.display());
    move |source| Failure::System { what, source }
}

/// Whether a RabbitMQ that others may need can be put under load.
///
/// # Errors
///
/// When nobody agrees.
fn ask(amqp_url: &str, agreed: bool) -> Result<(), Failure> {
    let url = Url::parse(amqp_url).map_err(|error| Failure::Usage(format!("--amqp-url: {error}")))?;
    let host = url.host_str().unwrap_or("localhost");
    agreement::ask(&Question {
        what: &format!("this puts all the load that it can on the RabbitMQ at {host}, for minutes"),
        yes_if: "nobody needs it meanwhile",
        undone: "nothing was measured",
        is_agreed: agreed,
    })
}
