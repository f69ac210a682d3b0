//! The worker: which job types it serves, and its life from start to drain.

use std::num::NonZeroU32;

use crewcall_proto::JobType;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::{
    checked_worker::{CheckedWorker, UnavailableType},
    command_line::{self, Command},
    endpoints,
    execution::Handlers,
    handler::{Handler, ServedType},
    limits::{SLOTS_MAX, TYPES_MAX},
    options::JobOptions,
    own_thread,
    settings::{Settings, name_default, slots_default},
    shutdown::{self, Shutdown},
    worker_error::WorkerError,
    worker_loop::{WorkerExit, WorkerLoop},
};

/// A worker process: takes orders of its job types from the broker, and runs them.
///
/// It needs one address, the broker's (`CREWCALL_AMQP_URL`; in the directory of a `crewcall dev` it finds that by itself), and announces itself; nothing is registered by
/// hand. While the broker is away, or the backend has not declared its exchanges yet, it waits and tries again.
#[must_use = "a worker does nothing until it is run"]
pub struct Worker {
    settings: Settings,
    name: Option<String>,
    version: String,
    slots: Option<u32>,
    bundles: bool,
    types: Vec<ServedType>,
    unavailable: Vec<UnavailableType>,
    /// What is wrong with what the program said; reported when it runs, so that the calls can be chained.
    problems: Vec<String>,
}

impl Worker {
    /// A worker with the settings of the environment ([`Settings`] lists the variables).
    ///
    /// # Errors
    ///
    /// [`WorkerError::Settings`] names the variable that cannot be used.
    pub fn from_env() -> Result<Self, WorkerError> {
        Ok(Self::new(Settings::from_env()?))
    }

    /// A worker with these settings.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            name: None,
            version: String::new(),
            slots: None,
            bundles: true,
            types: Vec::new(),
            unavailable: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// What people call the program, unless `CREWCALL_WORKER_NAME` says otherwise. Default: the name of the executable.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The version of the program, such as `env!("CARGO_PKG_VERSION")`. Default: empty.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// How many attempts run at once, 1 to [`SLOTS_MAX`], unless `CREWCALL_WORKER_SLOTS` says otherwise.
    /// Default: the number of cores.
    pub fn slots(mut self, slots: u32) -> Self {
        if !(1..=SLOTS_MAX).contains(&slots) {
            self.problems.push(format!("{slots} slots; it has to be 1 to {SLOTS_MAX}"));
        }
        self.slots = Some(slots);
        self
    }

    /// Whether orders may come several in one message, unless `CREWCALL_WORKER_BUNDLES` says otherwise: see
    /// [`JobOptions::bundles`], which says it of one type and can only switch it off. Default: `true`.
    pub fn bundles(mut self, bundles: bool) -> Self {
        self.bundles = bundles;
        self
    }

    /// Serves a job type with `handler`, an `async fn(JobContext, Parameters) -> Result<T, JobError>`.
    ///
    /// The description in the catalogue is the doc comment of the parameters type.
    pub fn job<P, H>(self, job_type: &str, handler: H) -> Self
    where
        P: DeserializeOwned + JsonSchema + Send + 'static,
        H: Handler<P>,
    {
        self.job_with(job_type, handler, JobOptions::new())
    }

    /// Serves a job type only if it can be served here: an `Err` says why not, in words for the log.
    ///
    /// ```
    /// # use crewcall_worker::prelude::*;
    /// # #[derive(Deserialize, JsonSchema)] struct Transcode {}
    /// # async fn transcode(_: JobContext, _: Transcode) -> Result<(), JobError> { Ok(()) }
    /// fn ffmpeg_installed() -> Result<(), String> {
    ///     if std::path::Path::new("/usr/bin/ffmpeg").exists() { Ok(()) } else { Err("install ffmpeg".into()) }
    /// }
    ///
    /// let worker = Worker::from_env()?.job_if(ffmpeg_installed(), "media.transcode", transcode);
    /// # Ok::<(), crewcall_worker::WorkerError>(())
    /// ```
    pub fn job_if<P, H>(self, available: Result<(), String>, job_type: &str, handler: H) -> Self
    where
        P: DeserializeOwned + JsonSchema + Send + 'static,
        H: Handler<P>,
    {
        self.job_with(job_type, handler, JobOptions::new().available(available))
    }

    /// Serves a job type, with every detail.
    pub fn job_with<P, H>(mut self, job_type: &str, handler: H, options: JobOptions) -> Self
    where
        P: DeserializeOwned + JsonSchema + Send + 'static,
        H: Handler<P>,
    {
        let problems = options.problems();
        match JobType::new(job_type) {
            Err(invalid) => self.problems.push(invalid.to_string()),
            Ok(job_type) if self.knows(&job_type) => {
                self.problems.push(format!("the type {job_type} is served twice"));
            }
            Ok(job_type) if !problems.is_empty() => {
                self.problems.push(format!("the type {job_type}: {}", problems.join("; ")));
            }
            Ok(job_type) => match options.unavailable {
                Some(reason) => self.unavailable.push(UnavailableType { job_type, reason }),
                None => self.types.push(ServedType::new(job_type, handler, options)),
            },
        }
        self
    }

    /// Runs the worker as the whole of its process: reads the command line, logs to standard error unless a
    /// subscriber is set (filter: `CREWCALL_LOG` or `RUST_LOG`, default `info`), serves until SIGTERM or
    /// SIGINT, and drains.
    ///
    /// With `--describe`, `--check` or `--run-once TYPE PARAMETERS` it does that instead, and ends the process
    /// with exit code 1 or 2 if it cannot. `--help` explains them.
    ///
    /// # Errors
    ///
    /// A [`WorkerError`], in the form that `main` passes on: the process ends with exit code 1.
    pub async fn run(self) -> anyhow::Result<()> {
        let command = command_line::parse();
        let worker = self.into_checked()?;
        if command != Command::Serve {
            return match command_line::answer(command, &worker).await {
                0 => Ok(()),
                code => std::process::exit(code),
            };
        }
        command_line::init_logging(worker.settings.log.as_deref());
        worker.ready()?;
        let endpoints = worker.settings.listen.map(endpoints::bind).transpose()?;
        let handlers = Handlers::here();
        let serve = async move || {
            let shutdown = Shutdown::on_signals().map_err(WorkerError::Signals)?;
            let WorkerExit { ending, handlers_unfinished } =
                WorkerLoop::start(worker, handlers).shown_at(endpoints).serve(&shutdown).await;
            if handlers_unfinished {
                shutdown::end_without_unfinished_handlers();
            }
            ending
        };
        Ok(own_thread::run(serve).await??)
    }

    /// Serves until `stop` is cancelled, then drains: for a worker inside another program, or in a test.
    /// Reads no command line and listens for no signal. Handlers run on the runtime that this is called on; dropping the
    /// future drops them, and their orders go back to the broker.
    ///
    /// # Errors
    ///
    /// [`WorkerError`], as for [`Worker::run`].
    pub async fn run_until(self, stop: CancellationToken) -> Result<(), WorkerError> {
        let worker = self.into_checked()?;
        worker.ready()?;
        let endpoints = worker.settings.listen.map(endpoints::bind).transpose()?;
        let (shutdown, handlers) = (Shutdown::on_token(stop), Handlers::here());
        own_thread::run(async move || {
            WorkerLoop::start(worker, handlers).shown_at(endpoints).serve(&shutdown).await.ending
        })
        .await?
    }

    fn knows(&self, job_type: &JobType) -> bool {
        self.types.iter().map(ServedType::job_type).any(|known| known == job_type)
            || self.unavailable.iter().any(|unavailable| unavailable.job_type == *job_type)
    }

    /// The worker with nothing left open, if it can be one.
    fn into_checked(mut self) -> Result<CheckedWorker, WorkerError> {
        if self.types.len() > TYPES_MAX {
            self.problems.push(format!("{} job types; at most {TYPES_MAX} are announced", self.types.len()));
        }
        if !self.problems.is_empty() {
            return Err(WorkerError::Misused(self.problems.join("; ")));
        }
        let bundles = self.settings.bundles.unwrap_or(self.bundles);
        for served in &mut self.types {
            served.announced.bundles &= bundles;
            if served.announced.version.is_empty() {
                served.announced.version.clone_from(&self.version);
            }
        }
        let slots = self.settings.slots.map(NonZeroU32::get).or(self.slots);
        let name = self.settings.name.clone().or(self.name);
        Ok(CheckedWorker {
            name: name.unwrap_or_else(name_default),
            version: self.version,
            slots: slots.unwrap_or_else(slots_default),
            types: self.types,
            unavailable: self.unavailable,
            settings: self.settings,
        })
    }
}

#[cfg(test)]
mod tests {
    use crewcall_proto::JsonObject;

    use super::*;
    use crate::{JobContext, JobError};

    async fn nothing(_job: JobContext, _parameters: JsonObject) -> Result<(), JobError> {
        Ok(())
    }

    #[test]
    fn a_type_comes_in_bundles_if_both_the_type_and_the_worker_allow_it() {
        let announced = |of_type: bool, of_program: bool, variable: Option<&str>| {
            let lookup =
                |name: &str| variable.filter(|_| name == "CREWCALL_WORKER_BUNDLES").map(str::to_owned);
            let worker = Worker::new(Settings::from_lookup(lookup).unwrap()).bundles(of_program);
            let worker = worker.job_with("test", nothing, JobOptions::new().bundles(of_type));
            worker.into_checked().unwrap().types[0].announced.bundles
        };
        assert!(announced(true, true, None) && announced(true, false, Some("true")));
        assert!(!announced(false, true, None) && !announced(false, true, Some("true")));
        assert!(!announced(true, false, None) && !announced(true, true, Some("false")));
        assert!(JobOptions::new().bundles, "it is the default");
    }

    #[test]
    fn a_worker_with_a_subject_that_cannot_be_announced_is_misused() {
        let options = JobOptions::new().emits::<u64>("job.done").emits::<u64>("Order");
        let worker = Worker::new(Settings::from_lookup(|_| None).unwrap()).job_with("test", nothing, options);
        let Err(WorkerError::Misused(why)) = worker.into_checked() else { unreachable!("it is misused") };
        assert!(why.starts_with("the type test: a subject does not begin with \"job\""), "{why}");
        assert!(why.contains("; \"Order\" is not a subject"), "{why}");
    }
}
