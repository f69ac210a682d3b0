//! The HTTP API as a test uses it.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
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

    /// `GET path`, of which the body is read as it comes.
    ///
    /// # Errors
    ///
    /// When nobody answers, or not with a success.
    pub async fn open(&self, path: &str) -> anyhow::Result<reqwest::Response> {
        Ok(self.http.get(format!("{}{path}", self.base)).send().await?.error_for_status()?)
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
        self.send(Method::POST, "/v1/jobs", body, &[]).await
    }

    /// `POST path` with this JSON: the status and the answer.
    ///
    /// # Errors
    ///
    /// When nobody answers, or not with JSON.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<(StatusCode, Value)> {
        self.send(Method::POST, path, body.to_string(), &[]).await
    }

    /// Any request with a JSON text and further headers: the status and the answer.
    ///
    /// # Errors
    ///
    /// When nobody answers, or not with JSON.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<(StatusCode, Value)> {
        let mut all =
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        for (name, value) in headers {
            all.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        }
        let request = self.http.request(method, format!("{}{path}", self.base)).headers(all).body(body);
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        let answer = if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? };
        Ok((status, answer))
    }

    /// Submits a job that has to be accepted. Returns its id.
    ///
    /// # Errors
    ///
    /// When it is not accepted.
    pub async fn submit(&self, job: Value) -> anyhow::Result<String> {
        let (status, body) = self.post_job(job.to_string()).await?;
        ensure!(status == StatusCode::CREATED, "{status} {body}");
        Ok(body["id"].as_str().context("a job has an id")?.to_owned())
    }

    /// Sets a consumer, which has to be taken.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn put_consumer(&self, name: &str, settings: &Value) -> anyhow::Result<()> {
        let path = format!("/v1/consumers/{name}");
        let (status, answer) = self.send(Method::PUT, &path, settings.to_string(), &[]).await?;
        ensure!(status.is_success(), "{status} {answer}");
        Ok(())
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
    pub async fn wait_for_end(&self, id: &str) -> anyhow::Result<Value> {
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
        self.json_when_within(PATIENCE * 2, path, wanted).await
    }

    /// As [`Api::json_when`], with a patience of its own.
    ///
    /// # Errors
    ///
    /// When it takes longer; the last answer.
    pub async fn json_when_within(
        &self,
        patience: Duration,
        path: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let deadline = Instant::now() + patience;
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

    /// How many responses changed nothing, for this reason; for any, when it is empty.
    ///
    /// # Errors
    ///
    /// When the metrics cannot be read.
    pub async fn stale(&self, reason: &str) -> anyhow::Result<f64> {
        self.metric("crewcall_responses_stale_total", reason).await
    }
}
