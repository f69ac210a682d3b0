//! What is measured: a broker, a backend and workers, each a process of its own, in a directory of its own.

use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use crewcall_amqp::Inspector;
use crewcall_proto::discovery::Announcement;
use tokio::time::{Instant, sleep};

use super::{PATIENCE, broker::Broker};
use crate::{exit::Failure, watched_process::WatchedProcess};

/// What the backend prints when it takes requests, and where.
const LISTENING: &str = "listening on ";
/// How often is looked for that.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Everything that runs. Nothing of it outlives this process.
pub(super) struct Installation<'a> {
    broker: &'a Broker,
    directory: PathBuf,
    slots: u32,
    backend: WatchedProcess,
    worker: WatchedProcess,
    /// Those of the many types, while these are measured.
    workers_of_many: Vec<WatchedProcess>,
    http: String,
}

/// What runs where.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Versions {
    pub(super) crewcall: &'static str,
    pub(super) profile: &'static str,
    pub(super) broker: String,
    pub(super) processors: usize,
}

impl<'a> Installation<'a> {
    /// Starts a backend and a worker in `directory`. Settings in the environment count, as for `serve` and for workers, but
    /// for those that say where everything is.
    ///
    /// # Errors
    ///
    /// What could not be started.
    pub(super) async fn start(broker: &'a Broker, directory: &Path, slots: u32) -> Result<Self, Failure> {
        let (backend, http) = start_backend(directory, broker).await?;
        let worker = start_worker(directory, "worker.log", broker, slots, &[])?;
        let (directory, workers_of_many) = (directory.to_owned(), Vec::new());
        Ok(Self { broker, directory, slots, backend, worker, workers_of_many, http })
    }

    /// Starts workers that serve so many types, as many as one may at once, instead of those that did.
    ///
    /// # Errors
    ///
    /// When one cannot be started.
    pub(super) async fn start_workers_of_many(&mut self, types: usize) -> Result<(), Failure> {
        self.stop_workers_of_many().await;
        for first in (0..types).step_by(Announcement::TYPES_MAX) {
            let range = format!("{first}..{}", types.min(first + Announcement::TYPES_MAX));
            let words = ["--many".into(), range.into()];
            let log = format!("worker-{first}.log");
            let worker = start_worker(&self.directory, &log, self.broker, self.slots, &words)?;
            self.workers_of_many.push(worker);
        }
        Ok(())
    }

    /// Ends the workers that serve many types.
    pub(super) async fn stop_workers_of_many(&mut self) {
        for mut worker in self.workers_of_many.drain(..) {
            worker.stop().await;
        }
    }

    /// Stops the backend, and starts it anew on the same database. It may listen elsewhere then.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) async fn restart_backend(&mut self) -> Result<(), Failure> {
        self.backend.stop().await;
        (self.backend, self.http) = start_backend(&self.directory, self.broker).await?;
        Ok(())
    }

    /// The HTTP API's URL.
    pub(super) fn http(&self) -> &str {
        &self.http
    }

    pub(super) const fn broker(&self) -> &Broker {
        self.broker
    }

    /// The processes, by what they are; of the broker nothing, if it is not ours.
    pub(super) fn processes(&self) -> [(&'static str, Vec<Option<u32>>); 4] {
        let workers = self.workers_of_many.iter().chain([&self.worker]);
        [
            ("backend", vec![self.backend.id()]),
            ("worker", workers.map(WatchedProcess::id).collect()),
            ("broker", self.broker.pid().map(Some).into_iter().collect()),
            ("client", vec![Some(std::process::id())]),
        ]
    }

    /// Ends all of it but the broker.
    pub(super) async fn stop(mut self) {
        self.stop_workers_of_many().await;
        self.worker.stop().await;
        self.backend.stop().await;
    }
}

impl Versions {
    /// Those of what is measured on this broker.
    pub(super) async fn on(broker: &Broker) -> Self {
        let product = match Inspector::connect(&broker.link()).await {
            Ok(inspector) => {
                let product =
                    inspector.product().map(|product| format!("{} {}", product.name, product.version));
                inspector.close().await;
                product
            }
            Err(_) => None,
        };
        Self {
            crewcall: env!("CARGO_PKG_VERSION"),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
            broker: product.unwrap_or_else(|| "unknown".to_owned()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// The same as people read it, each a line.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let Self { crewcall, profile, broker, processors } = self;
        let versions =
            format!("crewcall {crewcall} ({profile}), {broker}, {processors} processors for all of it");
        let debug = "A debug build: build with --release for figures that mean something.";
        [versions].into_iter().chain((*profile == "debug").then(|| debug.to_owned()))
    }
}

/// Starts a backend. Returns where it listens, too.
async fn start_backend(directory: &Path, broker: &Broker) -> Result<(WatchedProcess, String), Failure> {
    let database = format!("sqlite://{}", directory.join("crewcall.db").display());
    let variables = [
        ("CREWCALL_AMQP_URL", Some(broker.amqp_url())),
        ("CREWCALL_AMQP_PREFIX", Some(broker.prefix())),
        ("CREWCALL_DATABASE_URL", Some(database.as_str())),
        ("CREWCALL_HTTP_LISTEN", Some("127.0.0.1:0")),
    ];
    let words = [own_program()?, "serve".into()];
    let backend = WatchedProcess::start(&words, &variables, log(directory, "backend.log")?)?;
    Ok((backend, listening(&directory.join("backend.log")).await?))
}

/// Starts a worker, with further arguments.
fn start_worker(
    directory: &Path,
    log_name: &str,
    broker: &Broker,
    slots: u32,
    arguments: &[OsString],
) -> Result<WatchedProcess, Failure> {
    let slots = slots.to_string();
    let variables = [
        ("CREWCALL_AMQP_URL", Some(broker.amqp_url())),
        ("CREWCALL_AMQP_PREFIX", Some(broker.prefix())),
        ("CREWCALL_WORKER_SLOTS", Some(slots.as_str())),
    ];
    let words = [&[own_program()?, "bench".into(), "--worker".into()], arguments].concat();
    WatchedProcess::start(&words, &variables, log(directory, log_name)?)
}

fn log(directory: &Path, name: &str) -> Result<File, Failure> {
    File::create(directory.join(name)).map_err(cannot("write a log in", directory))
}

/// Makes a directory for ourselves, with nothing in it.
///
/// # Errors
///
/// When that cannot be.
pub(super) fn make_empty(directory: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(cannot("empty", directory)(error));
        }
        _ => {}
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(cannot("make", directory))
}

fn own_program() -> Result<OsString, Failure> {
    let program = env::current_exe();
    program
        .map(Into::into)
        .map_err(|source| Failure::System { what: "find our own program".to_owned(), source })
}

/// Waits until the backend says where it listens.
async fn listening(log: &Path) -> Result<String, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(log).map_err(cannot("read", log))?;
        let line = text.lines().find_map(|line| line.strip_prefix(LISTENING));
        if let Some(address) = line {
            return Ok(address.to_owned());
        }
        if Instant::now() > deadline || text.contains("error: ") {
            return Err(Failure::Part(format!("the backend did not start; it says:\n{text}").into()));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn cannot(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let what = format!("{what} {}", path.display());
    move |source| Failure::System { what, source }
}
