//! The workers: four test workers, each of an older or a newer build, and the one in Python, where it can be run.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tokio::{process::Command, time::Instant};

use super::{fault::JOB_TYPES, plan::PYTHON};
use crate::{
    mutants::failpoints,
    process::{FAILPOINTS, Process, command},
};

/// How many attempts a worker runs at once. They sleep most of the time.
const SLOTS: u32 = 12;

/// After how long a worker takes an attempt over from the broker: so soon that it often happens.
const HOLD_AFTER_SECONDS: &str = "2";

/// Every so many starts a worker is of a newer build, which can do more.
const NEWER_EVERY: usize = 3;

/// The type that the worker in Python serves, and nobody else.
pub(super) const PYTHON_TYPE: &str = "text.statistics";

/// The interpreter, by default: `./dev` makes it. Whoever has it elsewhere says so.
const PYTHON_DEFAULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.crewcall/tools/python/bin/python");
const PYTHON_VARIABLE: &str = "CREWCALL_TEST_PYTHON";

/// Where the worker in Python is.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../workers/python");

/// Its files, and what is changed in each: it has the id that it is given, and keeps our journal.
const SCRIPT_CHANGES: [(&str, &str, &str); 2] = [
    ("session.py", "WORKER_ID = str(uuid.uuid4())", "WORKER_ID = os.environ[\"CREWCALL_WORKER_ID\"]"),
    (
        "worker.py",
        "        try:\n            result = statistics(",
        "        with open(os.environ[\"TEST_WORKER_JOURNAL\"], \"a\") as journal:\n            \
         journal.write(f\"{self.attempt['job_id']} {self.attempt['attempt']} {WORKER_ID} {now()}\\n\")\n        \
         try:\n            result = statistics(",
    ),
];

/// A worker that can be started again.
pub(super) struct Worker {
    /// Its process.
    pub(super) process: Process,
    /// Another one that calls itself as it does.
    pub(super) double: Option<Process>,
    /// Which one it is.
    pub(super) number: usize,
    /// When its process was started last.
    pub(super) started_at: Instant,
    starts: usize,
    amqp_url: String,
    folder: PathBuf,
}

impl Worker {
    /// Starts it for the first time.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn new(number: usize, amqp_url: String, folder: &Path) -> anyhow::Result<Self> {
        let process = worker_process(number, 0, &amqp_url, folder, "")?;
        let (started_at, folder) = (Instant::now(), folder.to_owned());
        Ok(Self { process, double: None, number, started_at, starts: 1, amqp_url, folder })
    }

    /// Starts it again; it dies at `failpoint`, if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(&mut self, failpoint: &str) -> anyhow::Result<()> {
        let Self { number, starts, amqp_url, folder, .. } = self;
        self.process = worker_process(*number, *starts, amqp_url, folder, failpoint)?;
        self.starts += 1;
        self.started_at = Instant::now();
        Ok(())
    }

    /// Starts another process under its present id.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start_double(&mut self) -> anyhow::Result<()> {
        let Self { number, starts, amqp_url, folder, .. } = self;
        self.double = Some(worker_process(*number, *starts - 1, amqp_url, folder, "")?);
        Ok(())
    }
}

/// The number of the worker that calls itself so.
#[must_use]
pub(super) fn worker_number(worker_id: &str) -> Option<usize> {
    worker_id.strip_prefix("worker-")?.split('-').next()?.parse().ok()
}

/// The file in which every execution is noted.
#[must_use]
pub(super) fn journal(folder: &Path) -> PathBuf {
    folder.join("journal")
}

/// A worker that serves a type of its own, which nobody knew before.
///
/// # Errors
///
/// When it cannot be started.
pub(super) fn newcomer(
    number: usize,
    job_type: &str,
    amqp_url: &str,
    folder: &Path,
) -> anyhow::Result<Process> {
    let id = format!("newcomer-{number}");
    let mut command = set_up(command("test-worker", folder)?, &id, amqp_url, folder);
    command.env("TEST_WORKER_TYPES", job_type);
    Process::start(&id, folder, command)
}

/// The interpreter of Python, if it is there.
#[must_use]
pub(super) fn python() -> Option<PathBuf> {
    let named =
        std::env::var_os(PYTHON_VARIABLE).map_or_else(|| PathBuf::from(PYTHON_DEFAULT), PathBuf::from);
    named.exists().then_some(named)
}

fn worker_process(
    number: usize,
    starts: usize,
    amqp_url: &str,
    folder: &Path,
    failpoint: &str,
) -> anyhow::Result<Process> {
    // Half of them come back under the id they had, as under a service manager that sets it; the rest are
    // new.
    let id = if number.is_multiple_of(2) && number != PYTHON {
        format!("worker-{number}")
    } else {
        format!("worker-{number}-{starts}")
    };
    let name = format!("worker-{number}");
    if number == PYTHON {
        let command = set_up(python_command(folder)?, &id, amqp_url, folder);
        return Process::start(&name, folder, command);
    }
    let build = if (number + starts).is_multiple_of(NEWER_EVERY) { "newer" } else { "" };
    let mut command = set_up(command("test-worker", folder)?, &id, amqp_url, folder);
    command
        .env("TEST_WORKER_TYPES", JOB_TYPES.join(","))
        .env("TEST_WORKER_BUILD", build)
        .env(FAILPOINTS, failpoints(failpoint));
    Process::start(&name, folder, command)
}

/// The worker in Python, which keeps our journal.
fn python_command(folder: &Path) -> anyhow::Result<Command> {
    for (name, original, ours) in SCRIPT_CHANGES {
        let script = Path::new(SCRIPTS).join(name);
        let script = std::fs::read_to_string(script).context("reading the worker in Python")?;
        ensure!(script.contains(original), "the worker in Python is another: {name} has no {original:?}");
        std::fs::write(folder.join(name), script.replace(original, ours))?;
    }
    let mut command = Command::new(python().context("there is no Python")?);
    command.arg("-u").arg(folder.join("worker.py")).current_dir(folder).kill_on_drop(true);
    Ok(command)
}

/// What every worker is told.
fn set_up(mut command: Command, id: &str, amqp_url: &str, folder: &Path) -> Command {
    command
        .env("CREWCALL_AMQP_URL", amqp_url)
        .env("CREWCALL_WORKER_ID", id)
        .env("CREWCALL_WORKER_SLOTS", SLOTS.to_string())
        .env("CREWCALL_HOLD_AFTER_SECONDS", HOLD_AFTER_SECONDS)
        .env("TEST_WORKER_JOURNAL", journal(folder))
        .process_group(0); // a Ctrl-C in the terminal is for the driver, which heals and reports
    command
}
