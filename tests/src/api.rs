//! The HTTP API as a test uses it.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{StatusCode, header};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::process::PATIENCE;

/// How often a condition is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A client of one backend.
#[derive(Clone)]
pub struct Api {
    base: String,
    http: reqwest::Client,
}

impl Api {
    /// A client of the backend at `base`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    ///
    /// When the HTTP client cannot be made.
    pub fn new(base: String) -> anyhow::Result<Self> {
        // The first caller of the process wins; all of them install the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE * 2).build()?;
        Ok(Self { base, http })
    }

    /// `GET path`: the status and the body.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, String)> {
        let response = self.http.get(format!("{}{path}", self.base)).send().await?;
        Ok((response.status(), response.text().await?))
    }

    /// `GET path`, which has to answer JSON with 200.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn json(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = self.get(path).await?;
        ensure!(status == StatusCode::OK, "GET {path}: {status} {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// `POST /v1/jobs` with this body: the status and the answer.
    ///
    /// # Errors
    ///
    /// When nobody answers, or not with JSON.
    pub async fn post_job(&self, body: String) -> anyhow::Result<(StatusCode, Value)> {
        let request = self.http.post(format!("{}/v1/jobs", self.base));
        let response = request.header(header::CONTENT_TYPE, "application/json").body(body).send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// Submits a job that has to be accepted. Answers its id.
    ///
    /// # Errors
    ///
    /// When it is not accepted.
    pub async fn submit(&self, job: Value) -> anyhow::Result<String> {
        let (status, body) = self.post_job(job.to_string()).await?;
        ensure!(status == StatusCode::CREATED, "{status} {body}");
        Ok(body["id"].as_str().context("a job has an id")?.to_owned())
    }

    /// One job.
    ///
    /// # Errors
    ///
    /// When there is no such job.
    pub async fn job(&self, id: &str) -> anyhow::Result<Value> {
        self.json(&format!("/v1/jobs/{id}")).await
    }

    /// One job, as soon as it is over.
    ///
    /// # Errors
    ///
    /// When it takes longer than two minutes.
    pub async fn finished(&self, id: &str) -> anyhow::Result<Value> {
        self.job_when(id, |job| matches!(job["state"].as_str(), Some("completed" | "failed" | "cancelled")))
            .await
    }

    /// One job, as soon as it is as `wanted`.
    ///
    /// # Errors
    ///
    /// When it takes longer than two minutes; the job as it is then.
    pub async fn job_when(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.json_when(&format!("/v1/jobs/{id}"), wanted).await
    }

    /// What `path` answers, as soon as it is as `wanted`. Outages are waited for.
    ///
    /// # Errors
    ///
    /// When it takes longer than two minutes; the last answer.
    pub async fn json_when(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = Instant::now() + PATIENCE * 2;
        loop {
            let answer = self.json(path).await;
            match answer {
                Ok(answer) if wanted(&answer) => return Ok(answer),
                answer => ensure!(Instant::now() < deadline, "{path} is not as wanted: {answer:?}"),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until `GET /readyz` says yes.
    ///
    /// # Errors
    ///
    /// When it takes longer than two minutes.
    pub async fn ready(&self) -> anyhow::Result<()> {
        self.json_when("/readyz", |_| true).await.map(|_| ())
    }

    /// Waits until `workers` workers serve the type.
    ///
    /// # Errors
    ///
    /// When it takes longer than two minutes.
    pub async fn served_by(&self, job_type: &str, workers: u64) -> anyhow::Result<()> {
        self.json_when(&format!("/v1/types/{job_type}"), |answer| answer["workers"] == workers)
            .await
            .map(|_| ())
    }

    /// The sum of a metric's samples whose labels contain `labels`.
    ///
    /// # Errors
    ///
    /// When the metrics cannot be read.
    pub async fn metric(&self, name: &str, labels: &str) -> anyhow::Result<f64> {
        let (_, text) = self.get("/metrics").await?;
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(labels)
        });
        samples.map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse::<f64>()?)).sum()
    }
}
