//! The HTTP client: one request, one answer or one [`ClientError`]; [`follow`] adds the event
//! streams of jobs, [`event_log`] what is published, [`consumers`] what makes jobs of it, [`hooks`] who else tells of it, [`webhooks`] who is told of it, [`workflows`] what belongs together, [`operations`] what people who look after jobs ask for.

pub(crate) mod consumers;
pub(crate) mod event_log;
pub(crate) mod follow;
mod hooks;
pub(crate) mod operations;
pub(crate) mod schedules;
mod stream;
mod webhooks;
pub(crate) mod workflows;

use std::{error::Error, time::Duration};

use crewcall_proto::JobId;
use reqwest::{Response, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use crate::api::{BatchOutcome, Document, Job, JobPage, JobType, Problem, TypeList, Worker, WorkerList};

/// How long a connection may take to be set up.
const CONNECT_SECONDS_MAX: u64 = 5;
/// How long an answer, or the next bytes of an event stream, may take: three of the heartbeats that the
/// backend sends every 15 s.
const SILENCE_SECONDS_MAX: u64 = 45;
/// How much of an answer that is not ours is shown, in characters.
const EXCERPT_CHARACTERS_MAX: usize = 120;

/// A client of one backend. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
}

/// What a submission was answered with.
#[derive(Debug)]
pub(crate) struct Submitted<T> {
    /// What it made.
    pub(crate) made: Document<T>,
    /// Whether it was made by an earlier submission under the same key.
    pub(crate) replayed: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nothing answered, or not to the end.
    #[error(
        "no answer from a backend at {url} ({reason}); start one with `crewcall serve` or `crewcall dev`, or name it with --url or CREWCALL_URL"
    )]
    Unreachable {
        /// Where we asked.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The broker did not answer, when it was asked beside the backend.
    #[error("{0}")]
    Broker(String),
    /// The backend answered with a problem.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// Something answered that is not a Crewcall backend, or one that speaks otherwise.
    #[error(
        "{url} did not answer like a Crewcall backend ({reason}); check --url or CREWCALL_URL, and that both have the same version"
    )]
    Strange {
        /// Where we asked.
        url: String,
        /// What is strange.
        reason: String,
    },
}

impl ClientError {
    /// Whether the request itself was refused, so that sending it again cannot help.
    pub(crate) fn is_about_the_request(&self) -> bool {
        match self {
            Self::Problem(problem) => {
                (400..500).contains(&problem.status) && !matches!(problem.status, 408 | 429)
            }
            Self::Unreachable { .. } | Self::Broker(_) | Self::Strange { .. } => false,
        }
    }

    /// What went wrong, without what to do: for those who say that themselves.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Unreachable { reason, .. } => reason.clone(),
            other => other.to_string(),
        }
    }

    /// Whether asking again later may help.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broker(_) => true,
            Self::Problem(_) => !self.is_about_the_request(),
            Self::Strange { .. } => false,
        }
    }
}

impl Client {
    /// Where the backend is.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// A client of the backend at `url`.
    pub(crate) fn new(url: Url) -> Self {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("crewcall/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .read_timeout(Duration::from_secs(SILENCE_SECONDS_MAX));
        // A proxy for the wide world (HTTP_PROXY) is never meant for this machine.
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let http = builder.build().expect("fixed options, and the TLS provider is installed by main");
        Self { http, url }
    }

    /// Submits a job. With an idempotency key the request may be sent again: it makes one job.
    pub(crate) async fn submit(
        &self,
        submission: &Value,
        idempotency_key: Option<&str>,
    ) -> Result<Submitted<Job>, ClientError> {
        let url = self.endpoint(&["v1", "jobs"]);
        let mut request = self.http.post(url.clone()).json(submission);
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        self.submitted(request, &url).await
    }

    /// Submits many jobs: one submission in JSON per line.
    pub(crate) async fn submit_batch(&self, lines: String) -> Result<BatchOutcome, ClientError> {
        let url = self.endpoint(&["v1", "jobs", "batch"]);
        let request = self.http.post(url.clone()).header(header::CONTENT_TYPE, "application/x-ndjson");
        self.json(request.body(lines), &url).await
    }

    /// One job with its attempts.
    pub(crate) async fn job(&self, id: JobId) -> Result<Document<Job>, ClientError> {
        self.get(self.endpoint(&["v1", "jobs", &id.to_string()])).await
    }

    /// One page of jobs.
    pub(crate) async fn jobs(&self, query: &[(String, String)]) -> Result<JobPage, ClientError> {
        let mut url = self.endpoint(&["v1", "jobs"]);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.get(url).await
    }

    /// All workers.
    pub(crate) async fn workers(&self) -> Result<WorkerList, ClientError> {
        self.get(self.endpoint(&["v1", "workers"])).await
    }

    /// One worker.
    pub(crate) async fn worker(&self, id: &str) -> Result<Document<Worker>, ClientError> {
        self.get(self.endpoint(&["v1", "workers", id])).await
    }

    /// All job types, read page by page.
    pub(crate) async fn types(&self) -> Result<Vec<Document<JobType>>, ClientError> {
        let mut types = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut url = self.endpoint(&["v1", "types"]);
            if let Some(cursor) = &cursor {
                url.query_pairs_mut().append_pair("cursor", cursor);
            }
            let page: TypeList = self.get(url).await?;
            // An empty page ends it too: a backend that always has a next cursor must not keep us here.
            let is_last = page.types.is_empty() || page.next_cursor.is_none();
            types.extend(page.types);
            cursor = page.next_cursor;
            if is_last {
                return Ok(types);
            }
        }
    }

    /// One job type.
    pub(crate) async fn job_type(&self, name: &str) -> Result<Document<JobType>, ClientError> {
        self.get(self.endpoint(&["v1", "types", name])).await
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, ClientError> {
        self.json(self.http.get(url.clone()), &url).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        url: &Url,
    ) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        self.read(response, url).await
    }

    async fn submitted<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        url: &Url,
    ) -> Result<Submitted<T>, ClientError> {
        let response = self.send(request).await?;
        let replayed = response.headers().get("idempotency-replayed").is_some_and(|value| value == "true");
        Ok(Submitted { made: self.read(response, url).await?, replayed })
    }

    async fn read<T: DeserializeOwned>(&self, response: Response, url: &Url) -> Result<T, ClientError> {
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body)
            .map_err(|error| strange(url, format!("its answer is not as expected: {error}")))
    }

    /// Sends a request; a status other than 2xx is an error.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// What an answer says that is no 2xx.
    async fn refusal(&self, response: Response) -> ClientError {
        let (status, url) = (response.status(), response.url().clone());
        let is_problem = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/problem+json"));
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return self.unreachable(&error),
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if is_problem => {
                ClientError::Problem(Box::new(Problem { status: status.as_u16(), ..problem }))
            }
            _ => self.not_a_problem(status, &url, &body),
        }
    }

    /// A gateway in front of an absent backend is an absent backend; anything else is a stranger.
    fn not_a_problem(&self, status: StatusCode, url: &Url, body: &[u8]) -> ClientError {
        if matches!(status.as_u16(), 502..=504) {
            return ClientError::Unreachable {
                url: self.url.to_string(),
                reason: format!("a gateway answered {status}"),
            };
        }
        let excerpt: String = String::from_utf8_lossy(body).chars().take(EXCERPT_CHARACTERS_MAX).collect();
        strange(url, format!("{status}: {}", excerpt.split_whitespace().collect::<Vec<_>>().join(" ")))
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.url.to_string(), reason: innermost(error) }
    }

    /// A path below the backend's address, which may itself lie below a path (behind a gateway).
    fn endpoint(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        url.path_segments_mut().expect("checked to be http or https").pop_if_empty().extend(segments);
        url
    }
}

/// Reads the backend's address from the command line or the environment.
///
/// # Errors
///
/// When it is not an http or https URL: a sentence with an example.
pub(crate) fn parse_url(text: &str) -> Result<Url, String> {
    const EXAMPLE: &str = "write it like http://127.0.0.1:8080";
    // Without a scheme, `localhost:8080` would be a URL with the scheme `localhost`.
    let has_scheme = text.contains("://") || text.is_empty();
    let text = if has_scheme { text.to_owned() } else { format!("http://{text}") };
    // The address is that of the backend; whoever copied it from a request has the version of the API behind it.
    let text = text.trim_end_matches('/').trim_end_matches("/v1");
    let url = Url::parse(text).map_err(|error| format!("it is not a URL ({error}); {EXAMPLE}"))?;
    match (url.scheme(), url.query(), url.fragment()) {
        ("http" | "https", None, None) => Ok(url),
        ("http" | "https", ..) => Err(format!("it must not have a query or fragment; {EXAMPLE}")),
        (scheme, ..) => Err(format!("'{scheme}:' is not http or https; {EXAMPLE}")),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The innermost cause, which is what a person can act on: "connection refused".
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn strange(url: &Url, reason: String) -> ClientError {
    ClientError::Strange { url: url.to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (written, url) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("https://jobs.example/crewcall/", "https://jobs.example/crewcall"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("localhost:8080", "http://localhost:8080/"),
            ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/"),
        ] {
            assert_eq!(parse_url(written).map(String::from), Ok(url.to_owned()), "{written}");
        }
        let refusals: Vec<String> = ["ftp://h", "http://h?a", "", "not an address"]
            .into_iter()
            .map(|text| parse_url(text).unwrap_err())
            .collect();
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
