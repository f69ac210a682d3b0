//! What is measured: a private node, a backend and a worker, each a process of its own, in a directory of its own.

use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use crewcall_amqp::{Inspector, LinkConfig};
use crewcall_dev_broker::{DevBroker, DevBrokerOptions};
use tokio::time::{Instant, sleep};

use super::PATIENCE;
use crate::{exit::Failure, watched_process::WatchedProcess};

/// What the backend prints when it takes requests, and where.
const LISTENING: &str = "listening on ";
/// How often is looked for that.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The virtual host of the limit: nothing of the installation's is in it.
const LIMIT_VHOST: &str = "limit";

/// Everything that runs. Nothing of it outlives this process.
pub(super) struct Installation {
    directory: PathBuf,
    broker: DevBroker,
    backend: WatchedProcess,
    worker: WatchedProcess,
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

impl Installation {
    /// Starts everything in `directory`, which is emptied before. Settings in the environment count, as for `serve`
    /// and for workers, but for those that say where everything is.
    ///
    /// # Errors
    ///
    /// What could not be started.
    pub(super) async fn start(directory: &Path, slots: u32) -> Result<Self, Failure> {
        make_empty(directory)?;
        let options = DevBrokerOptions::new(directory.join("broker")).fresh();
        let broker = DevBroker::start(options).await.map_err(part)?;
        broker.add_vhosts(&[LIMIT_VHOST]).await.map_err(part)?;
        let (own, amqp_url) = (own_program()?, broker.url("/"));
        let (backend, http) = start_backend(directory, &own, &amqp_url).await?;
        let slots = slots.to_string();
        let variables = [
            ("CREWCALL_AMQP_URL", Some(amqp_url.as_str())),
            ("CREWCALL_AMQP_PREFIX", None),
            ("CREWCALL_WORKER_SLOTS", Some(slots.as_str())),
        ];
        let words = [own, "bench".into(), "--worker".into()];
        let worker = WatchedProcess::start(&words, &variables, log(directory, "worker.log")?)?;
        Ok(Self { directory: directory.to_owned(), broker, backend, worker, http })
    }

    /// Stops the backend, and starts it anew on the same database. It may listen elsewhere then.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) async fn restart_backend(&mut self) -> Result<(), Failure> {
        self.backend.stop().await;
        (self.backend, self.http) =
            start_backend(&self.directory, &own_program()?, &self.broker.url("/")).await?;
        Ok(())
    }

    /// The HTTP API's URL.
    pub(super) fn http(&self) -> &str {
        &self.http
    }

    /// A virtual host of the same node, for what is measured without a backend.
    pub(super) fn limit_url(&self) -> String {
        self.broker.url(LIMIT_VHOST)
    }

    /// The processes, by what they are.
    pub(super) fn processes(&self) -> [(&'static str, Option<u32>); 4] {
        [
            ("backend", self.backend.id()),
            ("worker", self.worker.id()),
            ("broker", self.broker.pid()),
            ("client", Some(std::process::id())),
        ]
    }

    /// What runs where.
    pub(super) async fn versions(&self) -> Versions {
        let product = match Inspector::connect(&LinkConfig::new(self.limit_url(), "bench")).await {
            Ok(inspector) => {
                let product =
                    inspector.product().map(|product| format!("{} {}", product.name, product.version));
                inspector.close().await;
                product
            }
            Err(_) => None,
        };
        Versions {
            crewcall: env!("CARGO_PKG_VERSION"),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
            broker: product.unwrap_or_else(|| "unknown".to_owned()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Ends everything.
    pub(super) async fn stop(mut self) {
        self.worker.stop().await;
        self.backend.stop().await;
        // One that does not stop is ended by its watchdog.
        let _ = self.broker.stop().await;
    }
}

/// Starts a backend. Returns where it listens, too.
async fn start_backend(
    directory: &Path,
    own: &OsString,
    amqp_url: &str,
) -> Result<(WatchedProcess, String), Failure> {
    let database = format!("sqlite://{}", directory.join("crewcall.db").display());
    let variables = [
        ("CREWCALL_AMQP_URL", Some(amqp_url)),
        ("CREWCALL_AMQP_PREFIX", None),
        ("CREWCALL_DATABASE_URL", Some(database.as_str())),
        ("CREWCALL_HTTP_LISTEN", Some("127.0.0.1:0")),
    ];
    let words = [own.clone(), "serve".into()];
    let backend = WatchedProcess::start(&words, &variables, log(directory, "backend.log")?)?;
    Ok((backend, listening(&directory.join("backend.log")).await?))
}

fn log(directory: &Path, name: &str) -> Result<File, Failure> {
    File::create(directory.join(name)).map_err(cannot("write a log in", directory))
}

fn make_empty(directory: &Path) -> Result<(), Failure> {
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

pub(super) fn part(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Part(Box::new(error))
}
