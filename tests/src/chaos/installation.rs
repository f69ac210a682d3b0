//! The parts that faults strike: a broker, a backend and workers, each a process of its own, and the lines
//! between them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use crewcall_dev_broker::DevBroker;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

use super::{
    fault::{JOB_TYPES, Line},
    fault_log::FaultLog,
    plan::WORKERS,
};
use crate::{
    api::Api,
    broker,
    lies::Lies,
    mutants::failpoints,
    process::{FAILPOINTS, Process, command},
    proxy::{FaultProxy, Mode},
    stack::{Stack, Surroundings},
};

/// How many attempts a worker runs at once. They sleep most of the time.
const SLOTS: u32 = 12;

/// After how long a worker takes an attempt over from the broker: so soon that it often happens.
const HAND_OVER_SECONDS: &str = "2";

/// Every so many starts a worker is of a newer build, which can do more.
const NEWER_EVERY: usize = 3;

/// How long a backend may take to come up: the store may be locked, and the machine busy.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// How long to wait before starting again what did not start.
const START_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What is healed more often than this without success is broken.
const HEALING_ATTEMPTS: usize = 3;

/// A whole installation.
pub(super) struct Installation {
    /// The backend's API.
    pub(super) api: Api,
    /// The same, through the callers' line.
    pub(super) callers: Api,
    /// The broker's node.
    pub(super) node: Mutex<DevBroker>,
    /// The backend.
    pub(super) backend: Mutex<Stack>,
    /// The workers.
    pub(super) workers: Vec<Mutex<Worker>>,
    /// The broker's address, without a proxy.
    pub(super) amqp_url: String,
    /// The backend's database.
    pub(super) database: PathBuf,
    /// What happened.
    pub(super) log: FaultLog,
    /// What the system answers the backend.
    pub(super) lies: Lies,
    folder: PathBuf,
    /// The backend's, then the workers'.
    lines: Vec<FaultProxy>,
    callers_line: FaultProxy,
    broker_folder: TempDir,
}

/// A worker that can be started again.
pub(super) struct Worker {
    /// Its process.
    pub(super) process: Process,
    /// Another one that calls itself as it does.
    pub(super) double: Option<Process>,
    number: usize,
    starts: usize,
    amqp_url: String,
    folder: PathBuf,
}

impl Installation {
    /// Starts everything, and waits until every worker is known.
    ///
    /// # Errors
    ///
    /// What does not come up.
    pub(super) async fn start(tracker: &TaskTracker) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("crewcall-chaos-").tempdir()?;
        let broker_folder = tempfile::Builder::new().prefix("broker-").tempdir_in(folder.path())?;
        let node = broker::own_broker(&broker_folder).await?;
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, node.amqp_port()));
        let mut lines = Vec::new();
        for _line in 0..=WORKERS {
            lines.push(FaultProxy::start(upstream, tracker).await?);
        }
        let through = |line: &FaultProxy| {
            node.url("/").replace(&format!(":{}/", upstream.port()), &format!(":{}/", line.address().port()))
        };
        let folder_path = folder.path().to_owned();
        let log = FaultLog::open(&folder_path)?;
        let lies = Lies::prepare(&folder_path).await?;
        let stack = Stack::start_in(folder, through(&lines[0]), surroundings(&lies, "")).await?;
        let callers_line = FaultProxy::start(stack.http_listen().parse()?, tracker).await?;
        let mut workers = Vec::new();
        for (number, line) in lines.iter().skip(1).enumerate() {
            workers.push(Mutex::new(Worker::new(number, through(line), &folder_path)?));
        }
        let api = stack.api.clone();
        for job_type in JOB_TYPES {
            api.served_by(job_type, WORKERS as u64).await?;
        }
        Ok(Self {
            api,
            callers: Api::new(format!("http://{}", callers_line.address()))?,
            amqp_url: node.url("/"),
            database: stack.database(),
            node: Mutex::new(node),
            backend: Mutex::new(stack),
            workers,
            log,
            lies,
            folder: folder_path,
            lines,
            callers_line,
            broker_folder,
        })
    }

    /// Where everything is written.
    #[must_use]
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A line.
    #[must_use]
    pub(super) fn line(&self, line: Line) -> &FaultProxy {
        match line {
            Line::Backend => &self.lines[0],
            Line::Worker(number) => &self.lines[number + 1],
            Line::Callers => &self.callers_line,
        }
    }

    /// Every execution that began: `<job> <attempt> <worker> <when>`.
    ///
    /// # Errors
    ///
    /// When the journal is there and cannot be read.
    pub(super) fn journal(&self) -> anyhow::Result<String> {
        std::fs::read_to_string(journal(&self.folder)).context("reading the workers' journal")
    }

    /// What the backend, all its lives, and the workers logged.
    #[must_use]
    pub(super) fn logs(&self) -> Vec<(String, String)> {
        let mut names = vec!["backend.log".to_owned()];
        names.extend((0..WORKERS).map(|number| format!("worker-{number}.log")));
        let read = |name: &String| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        names.into_iter().map(|name| (name.clone(), read(&name))).collect()
    }

    /// Starts the backend that was killed; it dies at `failpoint`, if there is one. A store that is locked
    /// makes it wait.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub(super) async fn start_backend(&self, stack: &mut Stack, failpoint: &str) -> anyhow::Result<()> {
        stack.surround(surroundings(&self.lies, failpoint));
        let deadline = Instant::now() + START_PATIENCE;
        while let Err(error) = stack.restart_backend().await {
            if !failpoint.is_empty() && stack.backend.ended()?.is_some() {
                return Ok(()); // it died before it listened
            }
            anyhow::ensure!(Instant::now() < deadline, "the backend does not come up: {error:#}");
            self.log.note(&format!("the backend is started again: {error:#}"));
            sleep(START_AGAIN_AFTER).await;
        }
        Ok(())
    }

    /// Starts what ended by itself, and answers what that was. What a fault is about is left alone.
    pub(super) async fn look_after(&self) -> Vec<String> {
        let mut ended = Vec::new();
        if let Ok(mut stack) = self.backend.try_lock()
            && let Ok(Some(status)) = stack.backend.ended()
        {
            ended.push(format!("the backend ended by itself: {status}"));
            ended.extend(failed(self.start_backend(&mut stack, "").await));
        }
        for worker in &self.workers {
            if let Ok(mut worker) = worker.try_lock()
                && let Ok(Some(status)) = worker.process.ended()
            {
                ended.push(format!("worker {} ended by itself: {status}", worker.number));
                ended.extend(failed(worker.start("")));
            }
        }
        ended
    }

    /// Lets everything run again, whatever was done to it. Answers what does not.
    pub(super) async fn heal(&self) -> Vec<String> {
        for line in self.lines.iter().chain([&self.callers_line]) {
            line.set(Mode::Pass);
        }
        let mut broken = Vec::new();
        broken.extend(failed(self.honest()));
        broken.extend(failed(self.heal_node().await));
        broken.extend(failed(self.heal_backend().await));
        for worker in &self.workers {
            let mut worker = worker.lock().await;
            worker.double = None;
            // It fails for one that is gone, which is started below.
            let _ = worker.process.signal(Signal::CONT);
            if !matches!(worker.process.ended(), Ok(None)) {
                broken.extend(failed(worker.start("")));
            }
        }
        broken
    }

    /// Lets the system tell the backend the truth.
    ///
    /// # Errors
    ///
    /// An error of the system.
    pub(super) fn honest(&self) -> anyhow::Result<()> {
        self.lies.writes_fail(false)?;
        self.lies.fsync_fails(false)?;
        self.lies.disk_full(false)
    }

    async fn heal_node(&self) -> anyhow::Result<()> {
        let mut node = self.node.lock().await;
        let mut attempts = 0;
        while let Err(error) = healed_node(&mut node).await {
            attempts += 1;
            anyhow::ensure!(attempts < HEALING_ATTEMPTS, "the broker does not come back: {error:#}");
            self.log.note(&format!("the broker is healed again: {error:#}"));
        }
        Ok(())
    }

    async fn heal_backend(&self) -> anyhow::Result<()> {
        let mut stack: MutexGuard<'_, Stack> = self.backend.lock().await;
        let _ = stack.backend.signal(Signal::CONT); // as above
        if stack.backend.ended()?.is_some() {
            self.start_backend(&mut stack, "").await?;
        }
        Ok(())
    }

    /// Kills everything. The files are deleted, unless they are to be kept.
    ///
    /// # Errors
    ///
    /// When the broker does not end.
    pub(super) async fn end(self, keep_files: bool) -> anyhow::Result<()> {
        let Self { node, backend, workers, mut broker_folder, .. } = self;
        drop(workers);
        if keep_files {
            backend.into_inner().keep_folder();
            broker_folder.disable_cleanup(true);
        }
        Ok(node.into_inner().stop().await?)
    }
}

impl Worker {
    fn new(number: usize, amqp_url: String, folder: &Path) -> anyhow::Result<Self> {
        let process = worker_process(number, 0, &amqp_url, folder, "")?;
        Ok(Self { process, double: None, number, starts: 1, amqp_url, folder: folder.to_owned() })
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

fn worker_process(
    number: usize,
    starts: usize,
    amqp_url: &str,
    folder: &Path,
    failpoint: &str,
) -> anyhow::Result<Process> {
    // Half of them come back under the id they had, as under a service manager that sets it; the rest are
    // new.
    let id = if number.is_multiple_of(2) {
        format!("worker-{number}")
    } else {
        format!("worker-{number}-{starts}")
    };
    let build = if (number + starts).is_multiple_of(NEWER_EVERY) { "newer" } else { "" };
    let mut command = command("test-worker", folder)?;
    command
        .env("CREWCALL_AMQP_URL", amqp_url)
        .env("CREWCALL_WORKER_ID", id)
        .env("CREWCALL_WORKER_SLOTS", SLOTS.to_string())
        .env("CREWCALL_HAND_OVER_SECONDS", HAND_OVER_SECONDS)
        .env("TEST_WORKER_TYPES", JOB_TYPES.join(","))
        .env("TEST_WORKER_BUILD", build)
        .env("TEST_WORKER_JOURNAL", journal(folder))
        .env(FAILPOINTS, failpoints(failpoint))
        .process_group(0); // a Ctrl-C in the terminal is for the driver, which heals and reports
    Process::start(&format!("worker-{number}"), folder, command)
}

/// `setsid` for the reason for which workers have a process group of their own.
fn surroundings(lies: &Lies, failpoint: &str) -> Surroundings {
    let mut variables = vec![(FAILPOINTS.to_owned(), failpoint.to_owned())];
    variables.extend(lies.variables().map(|(name, value)| (name.to_owned(), value)));
    Surroundings { variables, wrapper: vec!["setsid".to_owned()] }
}

fn journal(folder: &Path) -> PathBuf {
    folder.join("journal")
}

/// Starts the node if it does not run, and takes back what was set for it. Each step may be needed or not.
async fn healed_node(node: &mut DevBroker) -> anyhow::Result<()> {
    if node.pid().is_none() {
        node.restart().await?;
    }
    node.resume()?;
    node.ctl(&["start_app"]).await?;
    node.ctl(&["set_vm_memory_high_watermark", MEMORY_USUAL]).await?;
    node.ctl(&["set_disk_free_limit", DISK_USUAL]).await?;
    Ok(())
}

/// The share of the memory that a node may use, by default.
pub(super) const MEMORY_USUAL: &str = "0.4";

/// What a node wants to be free on its disk, by default.
pub(super) const DISK_USUAL: &str = "50MB";

fn failed(outcome: anyhow::Result<()>) -> Option<String> {
    outcome.err().map(|error| format!("{error:#}"))
}
