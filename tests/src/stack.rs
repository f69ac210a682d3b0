//! A whole installation for one test: a virtual host, a backend with its database, and workers, each a
//! process of its own.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    api::Api,
    broker,
    process::{Process, command},
};

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
    accepted: BTreeSet<String>,
    workers: usize,
    worker_settings: Vec<(String, String)>,
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
        let folder = tempfile::tempdir()?;
        let (backend, base) = start_backend(folder.path(), &amqp_url, "127.0.0.1:0").await?;
        let http_listen = base.strip_prefix("http://").context("an address begins with http://")?.to_owned();
        let api = Api::new(base)?;
        Ok(Self {
            api,
            backend,
            amqp_url,
            folder,
            http_listen,
            accepted: BTreeSet::new(),
            workers: 0,
            worker_settings: Vec::new(),
        })
    }

    /// Where the test's files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
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
        self.backend = start_backend(self.folder.path(), &self.amqp_url, &self.http_listen).await?.0;
        Ok(())
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
            .envs(self.worker_settings.iter().map(|(variable, value)| (variable, value)));
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

    /// Submits a job; [`Stack::settled`] will ask for it.
    ///
    /// # Errors
    ///
    /// When it is not accepted.
    pub async fn submit(&mut self, job_type: &str, parameters: Value) -> anyhow::Result<String> {
        self.submit_job(serde_json::json!({"type": job_type, "parameters": parameters})).await
    }

    /// Submits a job with everything that the API takes; [`Stack::settled`] will ask for it.
    ///
    /// # Errors
    ///
    /// When it is not accepted.
    pub async fn submit_job(&mut self, job: Value) -> anyhow::Result<String> {
        let id = self.api.submit(job).await?;
        self.accepted.insert(id.clone());
        Ok(id)
    }

    /// Remembers a job that was accepted some other way.
    pub fn accepted(&mut self, id: String) {
        self.accepted.insert(id);
    }

    /// The end of every test: each accepted job is read back through the API and by SQL, and is over; each
    /// attempt was charged once; the database is sound; and no log holds an error or a panic.
    ///
    /// # Errors
    ///
    /// What does not hold.
    pub async fn settled(&mut self) -> anyhow::Result<()> {
        for id in &self.accepted {
            let job = self.api.finished(id).await?;
            let charged = job["attempts"].as_array().context("a job has attempts")?.len() as u64;
            ensure!(job["max_attempts"].as_u64() >= Some(charged), "{id} was charged too often: {job}");
        }
        let sql = Connection::open_with_flags(self.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let sound: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        ensure!(sound == "ok", "the database is damaged: {sound}");
        let stored: i64 = sql.query_row("SELECT count(*) FROM jobs", [], |row| row.get(0))?;
        let accepted = i64::try_from(self.accepted.len())?;
        ensure!(stored == accepted, "{stored} jobs are stored, {accepted} were accepted");
        let overcharged: i64 = sql.query_row(
            "SELECT count(*) FROM jobs WHERE attempts_max < (SELECT count(*) FROM attempts WHERE job_seq = seq)",
            [],
            |row| row.get(0),
        )?;
        ensure!(overcharged == 0, "{overcharged} jobs were charged more attempts than they have");
        let log = self.backend.log();
        for mark in ERROR_MARKS {
            let found: Vec<&str> = log.lines().filter(|line| line.contains(mark)).collect();
            ensure!(found.is_empty(), "the backend logged:\n{}", found.join("\n"));
        }
        Ok(())
    }
}

async fn start_backend(folder: &Path, amqp_url: &str, listen: &str) -> anyhow::Result<(Process, String)> {
    let mut command = command("crewcall", folder)?;
    command
        .arg("serve")
        .env("CREWCALL_AMQP_URL", amqp_url)
        .env("CREWCALL_HTTP_LISTEN", listen)
        .env("CREWCALL_DATABASE_URL", "sqlite://crewcall.db");
    let mut backend = Process::start("backend", folder, command)?;
    let base = backend.line_after("listening on ").await?;
    Ok((backend, base))
}
