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
    fault_log::{self, FaultLog},
    plan::{PYTHON, WORKERS},
    workers::{PYTHON_TYPE, Worker, journal, python},
};
use crate::{
    api::Api,
    broker,
    preload::Preload,
    process::{FAILPOINTS, Process},
    proxy::{FaultProxy, Mode},
    stack::{ProcessEnvironment, Stack},
};

/// How long a backend may take to come up: the store may be locked, and the machine busy.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// How long to wait before starting again what did not start.
const START_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// For how long cancelled jobs are kept, in seconds: so long that some are deleted in a run, and others not. What became of
/// these and of all others is wanted in the end.
pub(super) const CANCELLED_KEPT_SECONDS: i64 = 150;

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
    /// Those that came later, each with a type of its own.
    pub(super) newcomers: Mutex<Vec<Process>>,
    /// The broker's address, without a proxy.
    pub(super) amqp_url: String,
    /// The backend's database.
    pub(super) database: PathBuf,
    /// What happened.
    pub(super) log: FaultLog,
    /// What the system gets wrong for the backend.
    pub(super) preload: Preload,
    folder: PathBuf,
    /// The backend's, then the workers'.
    lines: Vec<FaultProxy>,
    callers_line: FaultProxy,
    broker_folder: TempDir,
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
        for _line in 0..=PYTHON + 1 {
            lines.push(FaultProxy::start(upstream, tracker).await?);
        }
        let through = |line: &FaultProxy| {
            node.url("/").replace(&format!(":{}/", upstream.port()), &format!(":{}/", line.address().port()))
        };
        let folder_path = folder.path().to_owned();
        let log = FaultLog::open(&folder_path)?;
        let preload = Preload::prepare(&folder_path).await?;
        let stack = Stack::start_in(folder, through(&lines[0]), environment(&preload, "")).await?;
        let callers_line = FaultProxy::start(stack.http_listen().parse()?, tracker).await?;
        let mut workers = Vec::new();
        let numbers = if python().is_some() { 0..=PYTHON } else { 0..=WORKERS - 1 };
        for (number, line) in numbers.zip(lines.iter().skip(1)) {
            workers.push(Mutex::new(Worker::new(number, through(line), &folder_path)?));
        }
        let api = stack.api.clone();
        for job_type in JOB_TYPES {
            api.served_by(job_type, WORKERS as u64).await?;
        }
        if workers.len() > PYTHON {
            api.served_by(PYTHON_TYPE, 1).await?;
        }
        Ok(Self {
            api,
            callers: Api::new(format!("http://{}", callers_line.address()))?,
            amqp_url: node.url("/"),
            database: stack.database(),
            node: Mutex::new(node),
            backend: Mutex::new(stack),
            workers,
            newcomers: Mutex::default(),
            log,
            preload,
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

    /// A worker.
    ///
    /// # Errors
    ///
    /// When it takes no part, as the one in Python where that cannot be run.
    pub(super) fn worker(&self, number: usize) -> anyhow::Result<&Mutex<Worker>> {
        self.workers.get(number).with_context(|| format!("worker {number} takes no part"))
    }

    /// Whether the worker in Python takes part.
    #[must_use]
    pub(super) fn has_python(&self) -> bool {
        self.workers.len() > PYTHON
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
        let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        let of_a_program = |name: &String| name.ends_with(".log") && name != fault_log::FILE;
        let read = |name: &String| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        names.filter(of_a_program).map(|name| (name.clone(), read(&name))).collect()
    }

    /// Starts the backend that was killed; it dies at `failpoint`, if there is one. A store that is locked
    /// makes it wait.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub(super) async fn start_backend(&self, stack: &mut Stack, failpoint: &str) -> anyhow::Result<()> {
        stack.set_environment(environment(&self.preload, failpoint));
        let deadline = Instant::now() + START_PATIENCE;
        while let Err(error) = stack.restart_backend().await {
            if !failpoint.is_empty() && stack.backend.try_wait()?.is_some() {
                return Ok(()); // it died before it listened
            }
            anyhow::ensure!(Instant::now() < deadline, "the backend does not come up: {error:#}");
            self.log.note(&format!("the backend is started again: {error:#}"));
            sleep(START_AGAIN_AFTER).await;
        }
        Ok(())
    }

    /// Starts what ended by itself, and returns what that was. What a fault is about is left alone.
    pub(super) async fn look_after(&self) -> Vec<String> {
        let mut ended = Vec::new();
        if let Ok(mut stack) = self.backend.try_lock()
            && let Ok(Some(status)) = stack.backend.try_wait()
        {
            ended.push(format!("the backend ended by itself: {status}"));
            ended.extend(failed(self.start_backend(&mut stack, "").await));
        }
        for worker in &self.workers {
            if let Ok(mut worker) = worker.try_lock()
                && let Ok(Some(status)) = worker.process.try_wait()
            {
                ended.push(format!("worker {} ended by itself: {status}", worker.number));
                ended.extend(failed(worker.start("")));
            }
        }
        ended
    }

    /// Lets everything run again, whatever was done to it. Returns what does not.
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
            if !matches!(worker.process.try_wait(), Ok(None)) {
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
        self.preload.clock_ahead_seconds(0)?;
        self.preload.writes_fail(false)?;
        self.preload.fsync_fails(false)?;
        self.preload.disk_full(false)
    }

    async fn heal_node(&self) -> anyhow::Result<()> {
        let mut node = self.node.lock().await;
        let mut attempts = 0;
        while let Err(error) = healed_node(&mut node).await {
            attempts += 1;
            anyhow::ensure!(attempts < HEALING_ATTEMPTS, "the broker does not come back: {error:#}");
            self.log.note(&format!("the broker is started again: {error:#}"));
            if node.pid().is_some() {
                let _ = node.restart().await; // when that fails, the next attempt says why
            }
        }
        Ok(())
    }

    async fn heal_backend(&self) -> anyhow::Result<()> {
        let mut stack: MutexGuard<'_, Stack> = self.backend.lock().await;
        let _ = stack.backend.signal(Signal::CONT); // as above
        if stack.backend.try_wait()?.is_some() {
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
        let Self { node, backend, workers, newcomers, mut broker_folder, .. } = self;
        drop((workers, newcomers));
        if keep_files {
            backend.into_inner().keep_folder();
            broker_folder.disable_cleanup(true);
        }
        Ok(node.into_inner().stop().await?)
    }
}

/// `setsid` for the reason for which workers have a process group of their own.
fn environment(preload: &Preload, failpoint: &str) -> ProcessEnvironment {
    let mut variables = vec![
        (FAILPOINTS.to_owned(), failpoint.to_owned()),
        ("CREWCALL_RETENTION_CANCELLED".to_owned(), format!("{CANCELLED_KEPT_SECONDS}s")),
    ];
    variables.extend(preload.variables().map(|(name, value)| (name.to_owned(), value)));
    ProcessEnvironment { variables, wrapper: vec!["setsid".to_owned()] }
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
