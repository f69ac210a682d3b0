//! What people who look after jobs and workers ask for.

use crewcall_proto::JobId;
use reqwest::{StatusCode, header};
use serde_json::{Map, Value, json};

use super::{Client, ClientError};
use crate::api::{BulkOutcome, Deleted, Document, Job, Metrics, QuarantinePage, Readiness, http_time};

/// Who does something, and why.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Actor<'a> {
    /// Who; the backend has a word for nobody.
    pub(crate) by: Option<&'a str>,
    /// Why.
    pub(crate) reason: Option<&'a str>,
}

/// What can be done to jobs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum JobAction<'a> {
    /// Cancel them.
    Cancel(Actor<'a>),
    /// Try them again.
    Retry(Actor<'a>),
}

impl Actor<'_> {
    /// Only what was said.
    pub(super) fn body(self) -> Value {
        let mut body = json!({});
        for (name, text) in [("by", self.by), ("reason", self.reason)] {
            if let Some(text) = text {
                body[name] = json!(text);
            }
        }
        body
    }
}

impl JobAction<'_> {
    fn path(self) -> &'static str {
        match self {
            Self::Cancel(_) => "cancel",
            Self::Retry(_) => "retry",
        }
    }

    fn body(self) -> Value {
        match self {
            Self::Cancel(actor) | Self::Retry(actor) => actor.body(),
        }
    }
}

impl Client {
    /// Does something to one job.
    pub(crate) async fn act(&self, id: JobId, action: JobAction<'_>) -> Result<Document<Job>, ClientError> {
        let url = self.endpoint(&["v1", "jobs", &id.to_string(), action.path()]);
        self.json(self.http.post(url.clone()).json(&action.body()), &url).await
    }

    /// Does something to all jobs that a filter lets through: those for which it is possible, and up to some
    /// thousands at once.
    pub(crate) async fn act_on_all(
        &self,
        action: JobAction<'_>,
        filter: &Map<String, Value>,
        dry_run: bool,
    ) -> Result<BulkOutcome, ClientError> {
        let url = self.endpoint(&["v1", "jobs", action.path()]);
        let mut body = action.body();
        body["filter"] = filter.clone().into();
        body["dry_run"] = json!(dry_run);
        // A filter that lets everything through may be a slip of a script; whoever comes here has been asked.
        if filter.is_empty() {
            body["all"] = json!(true);
        }
        self.json(self.http.post(url.clone()).json(&body), &url).await
    }

    /// Lets the jobs of a type wait.
    pub(crate) async fn pause_type(&self, name: &str, actor: Actor<'_>) -> Result<(), ClientError> {
        let url = self.endpoint(&["v1", "types", name, "pause"]);
        self.done(self.http.post(url).json(&actor.body())).await
    }

    /// Lets them go on.
    pub(crate) async fn resume_type(&self, name: &str) -> Result<(), ClientError> {
        let url = self.endpoint(&["v1", "types", name, "resume"]);
        self.done(self.http.post(url)).await
    }

    /// Sets both limits of a type; `None` is no limit.
    pub(crate) async fn limit_type(
        &self,
        name: &str,
        running_max: Option<u32>,
        rate_per_second: Option<f64>,
    ) -> Result<(), ClientError> {
        let url = self.endpoint(&["v1", "types", name, "limits"]);
        let body = json!({"running_max": running_max, "rate_per_second": rate_per_second});
        self.done(self.http.put(url).json(&body)).await
    }

    /// Lets a worker finish what it runs and take nothing new.
    pub(crate) async fn drain_worker(&self, id: &str) -> Result<(), ClientError> {
        self.done(self.http.post(self.endpoint(&["v1", "workers", id, "drain"]))).await
    }

    /// Lets it take jobs again.
    pub(crate) async fn resume_worker(&self, id: &str) -> Result<(), ClientError> {
        self.done(self.http.post(self.endpoint(&["v1", "workers", id, "resume"]))).await
    }

    /// One page of the messages that could not be read.
    pub(crate) async fn quarantine(
        &self,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<QuarantinePage, ClientError> {
        let mut url = self.endpoint(&["v1", "quarantine"]);
        url.query_pairs_mut().append_pair("limit", &limit.to_string());
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        self.get(url).await
    }

    /// Forgets a type.
    pub(crate) async fn delete_type(&self, job_type: &str) -> Result<(), ClientError> {
        self.done(self.http.delete(self.endpoint(&["v1", "types", job_type]))).await
    }

    /// Deletes one of them.
    pub(crate) async fn delete_quarantined(&self, number: u64) -> Result<(), ClientError> {
        self.done(self.http.delete(self.endpoint(&["v1", "quarantine", &number.to_string()]))).await
    }

    /// Deletes all of them.
    pub(crate) async fn clear_quarantine(&self) -> Result<Deleted, ClientError> {
        let url = self.endpoint(&["v1", "quarantine"]);
        self.json(self.http.delete(url.clone()), &url).await
    }

    /// Whether the backend can do its work. That it cannot is no error: it says why.
    pub(crate) async fn readiness(&self) -> Result<Readiness, ClientError> {
        let url = self.endpoint(&["readyz"]);
        let response = self.http.get(url.clone()).send().await.map_err(|error| self.unreachable(&error))?;
        let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
        let at = date.and_then(http_time);
        let status = response.status();
        if !status.is_success() && status != StatusCode::SERVICE_UNAVAILABLE {
            return Err(self.refusal(response).await);
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        match serde_json::from_slice::<Readiness>(&body) {
            Ok(readiness) => Ok(Readiness { at, ..readiness }),
            Err(_) => Err(self.not_a_problem(status, &url, &body)),
        }
    }

    /// What the backend counts.
    pub(crate) async fn metrics(&self) -> Result<Metrics, ClientError> {
        let response = self.send(self.http.get(self.endpoint(&["metrics"]))).await?;
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        Ok(Metrics::parse(&text))
    }

    /// For requests whose answer says no more than that it is done.
    pub(super) async fn done(&self, request: reqwest::RequestBuilder) -> Result<(), ClientError> {
        self.send(request).await.map(drop)
    }
}
