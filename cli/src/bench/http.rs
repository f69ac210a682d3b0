//! The few requests that a measurement makes, on connections that stay open.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::PATIENCE;
use crate::exit::Failure;

/// How often is looked whether something has come.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A client of the backend that is measured. Cheap to clone.
#[derive(Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    base: String,
}

impl Http {
    /// # Errors
    ///
    /// When the library cannot be set up.
    pub(super) fn new(base: &str) -> Result<Self, Failure> {
        let client =
            reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().map_err(Failure::part)?;
        Ok(Self { client, base: base.to_owned() })
    }

    /// Waits until a worker serves the type.
    pub(super) async fn served(&self, job_type: &str) -> Result<(), Failure> {
        self.type_when(job_type, "no worker came", |shown| shown["workers"].as_u64() > Some(0))
            .await
            .map(drop)
    }

    /// Waits until so many workers, or more, serve the type.
    pub(super) async fn served_by(&self, job_type: &str, workers: usize) -> Result<(), Failure> {
        let enough = |shown: &Value| shown["workers"].as_u64() >= u64::try_from(workers).ok();
        self.type_when(job_type, "not all workers came", enough).await.map(drop)
    }

    /// How many jobs of the type are completed.
    pub(super) async fn completed(&self, job_type: &str) -> Result<u64, Failure> {
        // Of a type of which nobody has heard yet, none.
        Ok(self.get(&format!("/v1/types/{job_type}")).await.map_or(0, |shown| completed(&shown)))
    }

    /// Waits until so many jobs of the type are completed.
    pub(super) async fn until_completed(&self, job_type: &str, count: u64) -> Result<(), Failure> {
        let all = |shown: &Value| completed(shown) >= count;
        self.type_when(job_type, "the jobs did not end in time", all).await.map(drop)
    }

    /// Submits one job, given as JSON. Returns its id.
    pub(super) async fn submit(&self, job: String) -> Result<String, Failure> {
        let request = self.request(Method::POST, "/v1/jobs");
        let answer = send(request.header(header::CONTENT_TYPE, "application/json").body(job)).await?;
        answer["id"].as_str().map(str::to_owned).ok_or_else(|| strange(&answer))
    }

    /// Submits many, one in a line.
    pub(super) async fn submit_batch(&self, lines: String, count: usize) -> Result<(), Failure> {
        self.post_lines("/v1/jobs/batch", lines, count).await
    }

    /// Waits until the job is over. Returns its state.
    pub(super) async fn end_of(&self, id: &str) -> Result<String, Failure> {
        let job = self.get(&format!("/v1/jobs/{id}?wait=60")).await?;
        job["state"].as_str().map(str::to_owned).ok_or_else(|| strange(&job))
    }

    /// When its handler began, in milliseconds since 1970.
    pub(super) async fn started_ms(&self, id: &str) -> Result<i64, Failure> {
        let job = self.get(&format!("/v1/jobs/{id}")).await?;
        let started: Option<jiff::Timestamp> = job["started_at"].as_str().and_then(|time| time.parse().ok());
        started.map(jiff::Timestamp::as_millisecond).ok_or_else(|| strange(&job))
    }

    /// Waits until the job runs.
    pub(super) async fn until_running(&self, id: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let job = self.get(&format!("/v1/jobs/{id}")).await?;
            if job["state"] == "running" {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::Part(format!("a job did not start in time: {job}").into()));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the backend is ready.
    pub(super) async fn ready(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while self.get("/readyz").await.is_err() {
            if Instant::now() > deadline {
                return Err(Failure::Part("the backend was not ready in time".into()));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Cancels all jobs of the type.
    pub(super) async fn cancel_all(&self, job_type: &str) -> Result<(), Failure> {
        let filter = json!({"filter": {"type": job_type}});
        loop {
            let answer = send(self.request(Method::POST, "/v1/jobs/cancel").json(&filter)).await?;
            if answer["more"] == false {
                return Ok(());
            }
        }
    }

    /// Asks for the end of a job.
    pub(super) async fn cancel(&self, id: &str) -> Result<(), Failure> {
        send(self.request(Method::POST, &format!("/v1/jobs/{id}/cancel"))).await.map(drop)
    }

    /// Lets no job of the type begin, or lets them begin again.
    pub(super) async fn pause(&self, job_type: &str, paused: bool) -> Result<(), Failure> {
        let action = if paused { "pause" } else { "resume" };
        send(self.request(Method::POST, &format!("/v1/types/{job_type}/{action}"))).await.map(drop)
    }

    /// Publishes one event, given as JSON. Returns its sequence.
    pub(super) async fn publish(&self, event: String) -> Result<u64, Failure> {
        let request = self.request(Method::POST, "/v1/events");
        let answer = send(request.header(header::CONTENT_TYPE, "application/json").body(event)).await?;
        answer["sequence"].as_u64().ok_or_else(|| strange(&answer))
    }

    /// Publishes many, one in a line.
    pub(super) async fn publish_batch(&self, lines: String, count: usize) -> Result<(), Failure> {
        self.post_lines("/v1/events/batch", lines, count).await
    }

    /// Has a consumer make a job of each event of the subject, labelled with its sequence.
    pub(super) async fn consume(&self, consumer: &str, subject: &str, job_type: &str) -> Result<(), Failure> {
        let job = json!({
            "type": job_type,
            "parameters": {"text": "${{ event.data.text }}"},
            "labels": {"event": "${{ event.sequence }}"},
        });
        let settings = json!({"subjects": [subject], "in_flight_max": 10_000, "then": {"job": job}});
        self.put(&format!("/v1/consumers/{consumer}"), &settings).await.map(drop)
    }

    /// Lets a consumer make nothing, or lets it go on.
    pub(super) async fn pause_consumer(&self, consumer: &str, paused: bool) -> Result<(), Failure> {
        let action = if paused { "pause" } else { "resume" };
        send(self.request(Method::POST, &format!("/v1/consumers/{consumer}/{action}"))).await.map(drop)
    }

    /// Deletes a consumer.
    pub(super) async fn forget_consumer(&self, consumer: &str) -> Result<(), Failure> {
        self.delete(&format!("/v1/consumers/{consumer}")).await
    }

    /// Waits for the job that is made of an event. Returns its id.
    pub(super) async fn job_of_event(&self, sequence: u64) -> Result<String, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = self.get(&format!("/v1/jobs?label.event={sequence}&limit=1")).await?;
            if let Some(id) = page["jobs"][0]["id"].as_str() {
                return Ok(id.to_owned());
            }
            if Instant::now() > deadline {
                return Err(Failure::Part(format!("no job was made of event {sequence} in time").into()));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Posts many, one in a line, all of which have to be taken.
    async fn post_lines(&self, path: &str, lines: String, count: usize) -> Result<(), Failure> {
        let request = self.request(Method::POST, path);
        let answer = send(request.header(header::CONTENT_TYPE, "application/x-ndjson").body(lines)).await?;
        if answer["accepted"].as_u64() == u64::try_from(count).ok() { Ok(()) } else { Err(strange(&answer)) }
    }

    async fn type_when(
        &self,
        job_type: &str,
        otherwise: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // A type that nobody has announced yet is not there.
            let shown = self.get(&format!("/v1/types/{job_type}")).await.unwrap_or_default();
            if wanted(&shown) {
                return Ok(shown);
            }
            if Instant::now() > deadline {
                return Err(Failure::Part(format!("{otherwise}: {shown}").into()));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Reads something.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        send(self.request(Method::GET, path)).await
    }

    /// Reads something that is no JSON.
    pub(super) async fn text(&self, path: &str) -> Result<String, Failure> {
        let response = self.request(Method::GET, path).send().await.map_err(Failure::part)?;
        response.error_for_status().map_err(Failure::part)?.text().await.map_err(Failure::part)
    }

    /// Puts a document.
    pub(super) async fn put(&self, path: &str, document: &Value) -> Result<Value, Failure> {
        send(self.request(Method::PUT, path).json(document)).await
    }

    /// Asks for something.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// Deletes something.
    pub(super) async fn delete(&self, path: &str) -> Result<(), Failure> {
        let response = self.request(Method::DELETE, path).send().await;
        response.and_then(reqwest::Response::error_for_status).map(drop).map_err(Failure::part)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }
}

async fn send(request: RequestBuilder) -> Result<Value, Failure> {
    let response = request.send().await.map_err(Failure::part)?;
    let (status, body) = (response.status(), response.bytes().await.map_err(Failure::part)?);
    let answer: Value = serde_json::from_slice(&body).map_err(Failure::part)?;
    if status.is_success() { Ok(answer) } else { Err(strange(&answer)) }
}

fn completed(shown: &Value) -> u64 {
    shown["jobs"]["completed"].as_u64().unwrap_or_default()
}

pub(super) fn strange(answer: &Value) -> Failure {
    Failure::Part(format!("the backend that is measured answered otherwise than expected: {answer}").into())
}
