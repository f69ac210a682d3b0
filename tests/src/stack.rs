//! A whole installation for one test: a virtual host, a backend with its database, and workers, each a
//! process of its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    api::Api,
    broker,
    invariants::{self, Invariants, Submissions},
    process::{PATIENCE, Process, command, settings, wrapped},
};

/// Within which time work resumes after a fault is over (invariant 14).
pub const RESUMES_WITHIN: Duration = Duration::from_secs(15);

/// What a backend may log as an error in a test that breaks nothing: nothing.
const ERROR_MARKS: [&str; 2] = [" ERROR ", "panicked at"];

/// A backend, its database and its workers. Dropping it kills them.
pub struct Stack {
    /// The backend's API.
    pub api: Api,
    /// The backend.
    pub backend: Process,
    /// The broker's address.
    pub amqp_url: String,
    folder: TempDir,
    http_listen: String,
    environment: ProcessEnvironment,
    submissions: Submissions,
    expected_errors: Vec<String>,
    workers: usize,
    worker_settings: Vec<(String, String)>,
}

/// What a backend is started in.
#[derive(Debug, Clone, Default)]
pub struct ProcessEnvironment {
    /// Variables that are set for it.
    pub variables: Vec<(String, String)>,
    /// The command that starts it and becomes it, such as `prlimit --nofile=64`; none when empty.
    pub wrapper: Vec<String>,
}

impl ProcessEnvironment {
    /// Nothing but variables.
    #[must_use]
    pub fn variables(variables: &[(&str, &str)]) -> Self {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { variables: owned.collect(), wrapper: Vec::new() }
    }
}

impl Stack {
    /// A backend on a virtual host of its own of the shared broker, ready.
    ///
    /// # Errors
    ///
    /// When a part does not come up.
    pub async fn start(purpose: &str) -> anyhow::Result<Self> {
        let vhost = broker::vhost(purpose).await?;
        let stack = Self::start_on(vhost.url).await?;
        stack.api.ready().await?;
        Ok(stack)
    }

    /// A backend for the broker at `amqp_url`, which need not be there.
    ///
    /// # Errors
    ///
    /// When the backend does not come up.
    pub async fn start_on(amqp_url: String) -> anyhow::Result<Self> {
        Self::start_in(tempfile::tempdir()?, amqp_url, ProcessEnvironment::default()).await
    }

    /// A backend in `folder` and with an environment of its own, for the broker at `amqp_url`, which need not be there.
    ///
    /// # Errors
    ///
    /// When the backend does not come up.
    pub async fn start_in(
        folder: TempDir,
        amqp_url: String,
        environment: ProcessEnvironment,
    ) -> anyhow::Result<Self> {
        let (backend, base) = start_backend(folder.path(), &amqp_url, "127.0.0.1:0", &environment).await?;
        let http_listen = base.strip_prefix("http://").context("an address begins with http://")?.to_owned();
        let api = Api::new(base)?;
        Ok(Self {
            api,
            backend,
            amqp_url,
            folder,
            http_listen,
            environment,
            submissions: Submissions::default(),
            expected_errors: Vec::new(),
            workers: 0,
            worker_settings: Vec::new(),
        })
    }

    /// Where the test's files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Lets the files stay when the rest is gone.
    pub fn keep_folder(mut self) {
        self.folder.disable_cleanup(true);
    }

    /// The file in which a `test.sleep` notes each of its executions, when it is told to.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// How many executions stand there.
    #[must_use]
    pub fn executions(&self) -> usize {
        std::fs::read_to_string(self.journal()).unwrap_or_default().lines().count()
    }

    /// A number that the database knows, without the backend.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn query(&self, sql: &str) -> anyhow::Result<i64> {
        let database = Connection::open_with_flags(self.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(database.query_row(sql, [], |row| row.get(0))?)
    }

    /// Where the backend listens, `host:port`.
    #[must_use]
    pub fn http_listen(&self) -> &str {
        &self.http_listen
    }

    /// The backend's database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("crewcall.db")
    }

    /// Starts the backend again, on the same address and database.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub async fn restart_backend(&mut self) -> anyhow::Result<()> {
        let Self { folder, amqp_url, http_listen, environment, .. } = self;
        self.backend = start_backend(folder.path(), amqp_url, http_listen, environment).await?.0;
        Ok(())
    }

    /// In what the backend is started from now on.
    pub fn set_environment(&mut self, environment: ProcessEnvironment) {
        self.environment = environment;
    }

    /// Starts a test worker that serves `types`, and waits until it does.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn worker(&mut self, types: &[&str], slots: u32) -> anyhow::Result<Process> {
        let mut before = Vec::new();
        for job_type in types {
            let (status, body) = self.api.get(&format!("/v1/types/{job_type}")).await?;
            let known: Value = serde_json::from_str(&body)?;
            before.push(if status.is_success() { known["workers"].as_u64().unwrap_or(0) } else { 0 });
        }
        let process = self.worker_process(types, slots)?;
        for (job_type, before) in types.iter().zip(before) {
            self.api.served_by(job_type, before + 1).await?;
        }
        Ok(process)
    }

    /// Starts a test worker that serves `types`.
    ///
    /// # Errors
    ///
    /// When it was not built.
    pub fn worker_process(&mut self, types: &[&str], slots: u32) -> anyhow::Result<Process> {
        let id = format!("worker-{}", self.workers);
        self.workers += 1;
        let mut command = self.worker_command("test-worker", &id, slots)?;
        command.env("TEST_WORKER_TYPES", types.join(","));
        Process::start(&id, self.folder.path(), command)
    }

    /// Sets a variable for the workers that are started from now on.
    pub fn worker_setting(&mut self, variable: &str, value: &str) {
        self.worker_settings.push((variable.to_owned(), value.to_owned()));
    }

    /// The time `seconds` from now by the backend's clock, as the API writes times.
    ///
    /// # Errors
    ///
    /// When the backend does not answer.
    pub async fn from_now(&mut self, seconds: i64) -> anyhow::Result<String> {
        let now: jiff::Timestamp = self.clock_probe().await?.parse()?;
        Ok((now + jiff::SignedDuration::from_secs(seconds)).to_string())
    }

    /// When a job that was just submitted was accepted.
    async fn clock_probe(&mut self) -> anyhow::Result<String> {
        let job = serde_json::json!({"type": "clock.probe", "delay_seconds": 3600});
        let id = self.submit_job(job).await?;
        let (_, cancelled) = self.api.post(&format!("/v1/jobs/{id}/cancel"), serde_json::json!({})).await?;
        Ok(cancelled["created_at"].as_str().context("a job has a time")?.to_owned())
    }

    /// A worker program, set up for this installation.
    ///
    /// # Errors
    ///
    /// When it was not built.
    pub fn worker_command(
        &self,
        program: &str,
        id: &str,
        slots: u32,
    ) -> anyhow::Result<tokio::process::Command> {
        let mut command = command(program, self.folder.path())?;
        command
            .env("CREWCALL_AMQP_URL", &self.amqp_url)
            .env("CREWCALL_WORKER_ID", id)
            .env("CREWCALL_WORKER_SLOTS", slots.to_string())
            .envs(settings(&self.worker_settings));
        Ok(command)
    }

    /// A `crewcall` command that talks to this backend.
    ///
    /// # Errors
    ///
    /// When it was not built.
    pub fn crewcall(&self, arguments: &[&str]) -> anyhow::Result<tokio::process::Command> {
        let mut command = command("crewcall", self.folder.path())?;
        command.env("CREWCALL_URL", format!("http://{}", self.http_listen)).args(arguments);
        Ok(command)
    }

    /// Submits a job; [`Stack::settle`] will ask for it.
    ///
    /// # Errors
    ///
    /// When it is not accepted.
    pub async fn submit(&mut self, job_type: &str, parameters: Value) -> anyhow::Result<String> {
        self.submit_job(serde_json::json!({"type": job_type, "parameters": parameters})).await
    }

    /// Submits a job with everything that the API takes; [`Stack::settle`] will ask for it.
    ///
    /// # Errors
    ///
    /// When it is not accepted.
    pub async fn submit_job(&mut self, job: Value) -> anyhow::Result<String> {
        let id = self.api.submit(job).await?;
        self.submissions.accepted.insert(id.clone());
        Ok(id)
    }

    /// Remembers a job that was accepted some other way.
    pub fn remember_accepted(&mut self, id: String) {
        self.submissions.accepted.insert(id);
    }

    /// Remembers a submission whose answer never came: its job may be there or not.
    pub fn count_unanswered(&mut self) {
        self.submissions.unanswered += 1;
    }

    /// Lets the backend log errors that contain `words`: the fault at hand is one that an operator must hear of.
    pub fn expect_error(&mut self, words: &str) {
        self.expected_errors.push(words.to_owned());
    }

    /// Submits a job right after a fault is over, and sees it done in time (invariant 14). Returns how long it took.
    ///
    /// # Errors
    ///
    /// When it took too long.
    pub async fn check_resumes(&mut self, job_type: &str, parameters: Value) -> anyhow::Result<Duration> {
        let healed = Instant::now();
        let id = self.submit(job_type, parameters).await?;
        self.api.wait_for_end(&id).await?;
        let took = healed.elapsed();
        ensure!(took <= RESUMES_WITHIN, "I14: work resumed after {took:?} only");
        Ok(took)
    }

    /// The end of every test: each accepted job is read back through the API and by SQL, and is over; each
    /// attempt was charged once; the database is sound; and no log holds an error or a panic.
    ///
    /// # Errors
    ///
    /// What does not hold.
    pub async fn settle(&mut self) -> anyhow::Result<Invariants> {
        self.settle_within(PATIENCE * 2).await
    }

    /// As [`Stack::settle`], for many jobs.
    ///
    /// # Errors
    ///
    /// What does not hold.
    pub async fn settle_within(&mut self, patience: Duration) -> anyhow::Result<Invariants> {
        let path = "/v1/jobs?state=blocked,scheduled,ready,unroutable,dispatched,running&limit=1";
        let over = |page: &Value| page["jobs"].as_array().is_some_and(Vec::is_empty);
        self.api.json_when_within(patience, path, over).await.context("I1: a job is not over")?;
        let mut found = invariants::check(&self.api, &self.database(), &self.submissions).await?;
        let log = self.backend.log();
        let unexpected = |line: &&str| {
            ERROR_MARKS.iter().any(|mark| line.contains(mark))
                && !self.expected_errors.iter().any(|words| line.contains(words))
        };
        let errors: Vec<&str> = log.lines().filter(unexpected).collect();
        ensure!(errors.is_empty(), "I15: the backend logged:\n{}", errors.join("\n"));
        found.hold("I15", "the backend logged no panic and no unexpected error");
        Ok(found)
    }
}

async fn start_backend(
    folder: &Path,
    amqp_url: &str,
    listen: &str,
    environment: &ProcessEnvironment,
) -> anyhow::Result<(Process, String)> {
    let mut command = wrapped(&environment.wrapper, "crewcall", folder)?;
    command
        .arg("serve")
        .env("CREWCALL_AMQP_URL", amqp_url)
        .env("CREWCALL_HTTP_LISTEN", listen)
        .env("CREWCALL_DATABASE_URL", "sqlite://crewcall.db")
        .envs(settings(&environment.variables));
    let mut backend = Process::start("backend", folder, command)?;
    let base = backend.line_after("listening on ").await?;
    Ok((backend, base))
}
