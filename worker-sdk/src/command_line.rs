//! What every worker can do from its command line, besides serving.

use std::{
    io::{IsTerminal, Read, Write, stderr, stdout},
    sync::Arc,
};

use clap::Parser;
use crewcall_proto::JobType;
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use crate::{
    check::{self, Finding},
    checked_worker::CheckedWorker,
    progress::Progress,
    testing::{EmittedEvent, Setup},
};

/// The exit code when a job failed or a check found something bad.
const EXIT_BAD: i32 = 1;

/// The exit code when the command line cannot be understood.
const EXIT_USAGE: i32 = 2;

/// The most bytes of parameters that `--run-once` reads from a file or from standard input. Twice what
/// travels in an order, so that white space in a file does no harm.
const PARAMETERS_BYTES_MAX: u64 = 2 * crewcall_proto::codec::PAYLOAD_BYTES_MAX as u64;

/// What is logged unless the environment says otherwise. The broker link reports every loss in a sentence;
/// what the AMQP client below it says about the same is noise.
const FILTER_DEFAULT: &str = "info,lapin=off";

/// A Crewcall worker. Without options it takes orders from the broker until SIGTERM or Ctrl-C.
#[derive(Parser)]
#[command(
    version = None::<&str>,
    after_help = "The environment: CREWCALL_AMQP_URL (the broker), CREWCALL_AMQP_PREFIX, CREWCALL_WORKER_SLOTS, \
                  CREWCALL_WORKER_NAME, CREWCALL_WORKER_ID, CREWCALL_WORKER_CONTENT_TYPE, \
                  CREWCALL_WORKER_BUNDLES (true or false: several orders in one message), \
                  CREWCALL_WORKER_LISTEN (an address for /metrics, /livez and /readyz), \
                  CREWCALL_DRAIN_SECONDS, CREWCALL_HOLD_AFTER_SECONDS, CREWCALL_LOG (such as info or crewcall_worker=debug)."
)]
struct Arguments {
    /// Print what this worker serves, with its JSON schemas, and exit
    #[arg(long, conflicts_with_all = ["check", "run_once"])]
    describe: bool,
    /// Check the broker and everything else the worker needs, say what is wrong, and exit
    #[arg(long, conflicts_with = "run_once")]
    check: bool,
    /// Run one job here, without a broker, and print its result and, to standard error, what it emits. PARAMETERS is JSON, @FILE, or - for standard input
    #[arg(long, num_args = 2, value_names = ["TYPE", "PARAMETERS"])]
    run_once: Option<Vec<String>>,
}

/// What the worker was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Serve,
    Describe,
    Check,
    RunOnce { job_type: String, parameters: String },
}

/// Reads the command line of the process; on a mistake, or for `--help`, it prints and ends the process.
pub(crate) fn parse() -> Command {
    Arguments::parse().into()
}

impl From<Arguments> for Command {
    fn from(arguments: Arguments) -> Self {
        // The parser has made sure that there are two values, and one option.
        match arguments.run_once.map(<[String; 2]>::try_from) {
            Some(Ok([job_type, parameters])) => Self::RunOnce { job_type, parameters },
            _ if arguments.describe => Self::Describe,
            _ if arguments.check => Self::Check,
            _ => Self::Serve,
        }
    }
}

/// Does what was asked, other than to serve, and returns the exit code.
pub(crate) async fn answer(command: Command, worker: &CheckedWorker) -> i32 {
    match command {
        Command::Serve => 0,
        Command::Describe => {
            print(&mut stdout(), &pretty(&describe(worker)));
            0
        }
        Command::Check => print_findings(&check::check(worker).await),
        Command::RunOnce { job_type, parameters } => {
            init_logging(worker.settings.log.as_deref());
            run_once(worker, &job_type, &parameters).await
        }
    }
}

/// Logs to standard error, unless the program has set a subscriber of its own.
pub(crate) fn init_logging(filter: Option<&str>) {
    let filter = match filter {
        Some(filter) => EnvFilter::new(filter),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER_DEFAULT)),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false) // it would be told to standard error, and a full disk there ends the process
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    // An error means that there is one already, which is to be kept.
    let _ = subscriber.try_init();
}

/// Prints a line for each, and returns the exit code.
fn print_findings(findings: &[Finding]) -> i32 {
    for finding in findings {
        let (verdict, sentence) = match finding {
            Ok(sentence) => ("ok ", sentence),
            Err(sentence) => ("BAD", sentence),
        };
        print(&mut stdout(), &format!("{verdict}  {sentence}"));
    }
    if findings.iter().all(Result::is_ok) { 0 } else { EXIT_BAD }
}

fn describe(worker: &CheckedWorker) -> Value {
    let types: Vec<_> = worker.types.iter().map(|served| &served.announced).collect();
    let unavailable: Vec<_> = worker
        .unavailable
        .iter()
        .map(|unavailable| json!({"job_type": unavailable.job_type, "reason": unavailable.reason}))
        .collect();
    json!({
        "name": worker.name,
        "version": worker.version,
        "slots": worker.slots,
        "types": types,
        "unavailable": unavailable,
    })
}

async fn run_once(worker: &CheckedWorker, job_type: &str, parameters: &str) -> i32 {
    let served = JobType::new(job_type).ok().and_then(|job_type| worker.served(&job_type));
    let Some(served) = served else {
        print(&mut stderr(), &unknown_type(worker, job_type));
        return EXIT_USAGE;
    };
    let parameters = match read_parameters(parameters) {
        Ok(parameters) => parameters,
        Err(problem) => {
            print(&mut stderr(), &problem);
            return EXIT_USAGE;
        }
    };
    let observer = |progress: &Progress| {
        print(&mut stderr(), &format!("{:>3} %  {}", progress.percent, progress.message));
        None
    };
    let outcome = Setup::new().run_served(served, parameters, Some(Arc::new(observer))).await;
    for event in &outcome.events {
        print(&mut stderr(), &event_line(event));
    }
    match outcome.result {
        Ok(result) => {
            print(&mut stdout(), &pretty(&result));
            0
        }
        Err(failure) => {
            print(&mut stderr(), &format!("failed: {failure}"));
            EXIT_BAD
        }
    }
}

/// An event in a line: its subject, its id if it has one, its data.
fn event_line(EmittedEvent { id, subject, data, .. }: &EmittedEvent) -> String {
    let id = id.as_ref().map(|id| format!("  {id}")).unwrap_or_default();
    format!("event  {subject}{id}  {data}")
}

fn unknown_type(worker: &CheckedWorker, job_type: &str) -> String {
    let reason = worker.unavailable.iter().find(|unavailable| unavailable.job_type.as_str() == job_type);
    if let Some(unavailable) = reason {
        return format!("{job_type} cannot be served here: {}", unavailable.reason);
    }
    let known: Vec<&str> = worker.types.iter().map(|served| served.job_type().as_str()).collect();
    format!("this worker does not serve {job_type:?}; it serves {}", known.join(", "))
}

/// Reads JSON text, `@FILE`, or `-`.
fn read_parameters(argument: &str) -> Result<Value, String> {
    let text = match argument.strip_prefix('@') {
        Some(path) => {
            let file =
                std::fs::File::open(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
            read_text(file, path)?
        }
        None if argument == "-" => read_text(std::io::stdin(), "standard input")?,
        None => argument.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| {
        format!(
            "the parameters are not JSON: {error}. Give JSON text such as '{{\"width\": 640}}', @FILE, or -"
        )
    })
}

fn read_text(source: impl Read, name: &str) -> Result<String, String> {
    let mut text = String::new();
    let bytes = source
        .take(PARAMETERS_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    if bytes as u64 > PARAMETERS_BYTES_MAX {
        return Err(format!(
            "{name} is larger than {PARAMETERS_BYTES_MAX} bytes: pass large data by reference"
        ));
    }
    Ok(text)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

/// Prints a line. Whoever stopped reading does not want it, so an error is dropped.
pub(crate) fn print(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(arguments: &[&str]) -> Result<Command, clap::Error> {
        Arguments::try_parse_from([&["worker"], arguments].concat()).map(Command::from)
    }

    #[test]
    fn one_thing_is_done_at_a_time() {
        assert_eq!(command(&[]).unwrap(), Command::Serve);
        assert_eq!(command(&["--describe"]).unwrap(), Command::Describe);
        assert_eq!(command(&["--check"]).unwrap(), Command::Check);
        let run_once = Command::RunOnce { job_type: "a.b".to_owned(), parameters: "-".to_owned() };
        assert_eq!(command(&["--run-once", "a.b", "-"]).unwrap(), run_once);
        for mistake in [&["--check", "--describe"][..], &["--run-once", "a.b"], &["serve"]] {
            assert_eq!(command(mistake).unwrap_err().exit_code(), EXIT_USAGE, "{mistake:?}");
        }
    }

    #[test]
    fn an_event_is_a_line() {
        let (subject, data) = ("order.paid".to_owned(), json!({"order": 17}));
        let event = EmittedEvent { id: None, subject, data, occurred_at: None };
        assert_eq!(event_line(&event), "event  order.paid  {\"order\":17}");
        let event = EmittedEvent { id: Some("shop:17".to_owned()), ..event };
        assert_eq!(event_line(&event), "event  order.paid  shop:17  {\"order\":17}");
    }

    #[test]
    fn parameters_come_as_text_or_from_a_file() {
        assert_eq!(read_parameters("{\"width\": 1}").unwrap(), json!({"width": 1}));
        assert!(read_parameters("width=1").unwrap_err().contains("not JSON"));
        assert!(read_parameters("@/no/such/file").unwrap_err().contains("/no/such/file"));
    }
}
