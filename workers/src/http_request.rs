//! `http.request`: sends one HTTP request and returns the response.

use std::{collections::BTreeMap, time::Duration};

use crewcall_outbound_http::{AddressRefused, RequestFailure};
use crewcall_worker::prelude::{JobContext, JobError};
use reqwest::{
    Response, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod client;

pub use client::HttpClient;
pub use crewcall_outbound_http::{AllowedNetworks, NotANetwork};

/// The variable that opens more than the public internet.
pub(crate) const ALLOW_VARIABLE: &str = "CREWCALL_HTTP_ALLOW";

/// The type's name on the wire.
pub const JOB_TYPE: &str = "http.request";

/// The longest time a request may take, in seconds, from connecting to the response's last byte.
pub const TIMEOUT_SECONDS_MAX: u32 = 300;
/// The time a request may take when the job names none, in seconds.
const TIMEOUT_SECONDS_DEFAULT: u32 = 30;
/// How many redirects are followed: more than an honest server needs, and a loop soon reaches it.
pub const REDIRECTS_MAX: usize = 5;
/// How many bytes of a response's body are read before the connection is dropped.
pub const RESPONSE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much of the body stands in the result, in bytes as JSON text. Together with the headers it stays
/// below the 256 KiB that a result may have.
pub const BODY_BYTES_MAX: usize = 192 * 1024;
/// How many of the response's headers stand in the result.
const HEADERS_MAX: usize = 32;
/// The longest header name and value that stand in the result, in bytes; longer ones are left out.
const HEADER_BYTES_MAX: usize = 512;
/// How much of a refusal's body goes into the error's detail, in characters.
const EXCERPT_CHARACTERS_MAX: usize = 1000;
/// The longest wait that a server's `Retry-After` may ask for. A longer one is cut to this: who asks for a
/// week has a mistake or means us no good.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Send one HTTP request and return the response.
///
/// The request goes to the public internet only, unless the worker's operator opens more. It may be sent twice when a
/// worker or the network fails half-way: let the receiver tell repeated requests apart. Up to 5 redirects are followed;
/// to another origin go none of the request's headers but those that say which content is wanted or sent. Succeeds with any 2xx status, or with exactly
/// `expected_status`. Is tried again after 429, 5xx, a timeout or a failed connection (as `Retry-After` asks).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The request's method.
    #[serde(default)]
    pub method: Method,
    /// Where to: an absolute URL that starts with http:// or https://.
    #[schemars(extend("format" = "uri"))]
    pub url: String,
    /// The request's headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The request's body, as text.
    #[serde(default)]
    pub body: Option<String>,
    /// How long the request may take, in seconds (default 30).
    #[serde(default)]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: Option<u32>,
    /// The only status that counts as success; if it is a redirect's, that redirect is not followed. Left out: every 2xx.
    #[serde(default)]
    #[schemars(range(min = 200, max = 599))]
    pub expected_status: Option<u16>,
}

/// The method of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are the standard's (RFC 9110, 9.3; RFC 5789)")]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

/// What the server answered.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The response's headers by lower-case name, at most 32; without cookies, and without values that
    /// are long or not text. Of a header that is there more than once, the first value.
    pub headers: BTreeMap<String, String>,
    /// The body or its beginning; null when it is not UTF-8 text.
    pub body: Option<String>,
    /// What `body` is of the response's body.
    pub body_state: BodyState,
    /// How many bytes of the body were received. A response of more than 16 MiB is not read to its end.
    pub bytes: u64,
}

/// How much of a response's body a result holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyState {
    /// All of it.
    Complete,
    /// The beginning: the rest did not fit the result.
    Cut,
    /// Nothing: it is not UTF-8 text.
    NotText,
}

/// Handles one `http.request` job.
///
/// # Errors
///
/// Permanent: `invalid_url`, `invalid_header`, `invalid_timeout`, `address_not_allowed`, `too_many_redirects`, and
/// `http_<status>` for a status that was not expected. Retryable: `http_429` and `http_5xx` (after `Retry-After`, at
/// most an hour), `connect_failed`, `request_timeout`, `connection_lost`. The cancellation when the job
/// was cancelled: the connection is dropped, but the server may have done its part.
pub async fn request(
    client: HttpClient,
    job: JobContext,
    parameters: Parameters,
) -> Result<Answer, JobError> {
    let exchange = async {
        let mut response = client.send(&parameters).await?;
        let received = receive(&job, &mut response).await?;
        judge(parameters.expected_status, &response, &received)?;
        Ok(answer(&response, &received))
    };
    tokio::select! {
        answer = exchange => answer,
        () = job.cancelled() => {
            job.check_cancelled()?;
            Err(JobError::retryable("the request was given up"))
        }
    }
}

/// A body, as far as it was kept.
struct Received {
    beginning: Vec<u8>,
    bytes: u64,
    complete: bool,
}

async fn receive(job: &JobContext, response: &mut Response) -> Result<Received, JobError> {
    let expected = response.content_length();
    let mut received = Received { beginning: Vec::new(), bytes: 0, complete: true };
    while let Some(chunk) = response.chunk().await.map_err(|error| explain(&error))? {
        let room = BODY_BYTES_MAX - received.beginning.len();
        received.beginning.extend_from_slice(&chunk[..chunk.len().min(room)]);
        received.complete &= chunk.len() <= room;
        received.bytes += chunk.len() as u64;
        if let Some(expected) = expected {
            let percent = received.bytes.saturating_mul(100) / expected.max(1);
            job.progress(percent, format!("{} of {expected} bytes", received.bytes));
        }
        if received.bytes > RESPONSE_BYTES_MAX {
            break;
        }
    }
    Ok(received)
}

/// Whether the status is a success; if not, whether another attempt could be one.
fn judge(expected: Option<u16>, response: &Response, received: &Received) -> Result<(), JobError> {
    let status = response.status();
    let welcome = match expected {
        Some(expected) => status.as_u16() == expected,
        None => status.is_success(),
    };
    if welcome {
        return Ok(());
    }
    let message = match expected {
        Some(expected) => format!("the server answered {status}, not the expected {expected}"),
        None => format!("the server answered {status}"),
    };
    let error = if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let error = JobError::retryable(message);
        match retry_after(response.headers()) {
            Some(wait) => error.retry_after(wait),
            None => error,
        }
    } else {
        JobError::permanent(message)
    };
    let excerpt: String =
        String::from_utf8_lossy(&received.beginning).chars().take(EXCERPT_CHARACTERS_MAX).collect();
    Err(error.code(format!("http_{}", status.as_u16())).detail(excerpt))
}

/// The wait in seconds that a server asks for. A date (the header's other form, which few servers use)
/// is left to the ordinary back-off: to compare it takes both clocks to be right.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

fn answer(response: &Response, received: &Received) -> Answer {
    let (body, body_state) = match text(&received.beginning) {
        None => (None, BodyState::NotText),
        Some(text) => {
            let kept = &text[..fitting_length(text)];
            let complete = received.complete && kept.len() == received.beginning.len();
            (Some(kept.to_owned()), if complete { BodyState::Complete } else { BodyState::Cut })
        }
    };
    Answer {
        status: response.status().as_u16(),
        headers: kept_headers(response.headers()),
        body,
        body_state,
        bytes: received.bytes,
    }
}

/// The bytes as text, without a last character that was cut in two.
fn text(bytes: &[u8]) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok(),
        Err(_) => None,
    }
}

/// How many bytes of `text` take at most [`BODY_BYTES_MAX`] once they are escaped as JSON (RFC 8259, 7).
fn fitting_length(text: &str) -> usize {
    let mut escaped_bytes = 0;
    for (position, character) in text.char_indices() {
        escaped_bytes += match character {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..='\u{1f}' => 6,
            _ => character.len_utf8(),
        };
        if escaped_bytes > BODY_BYTES_MAX {
            return position;
        }
    }
    text.len()
}

/// The headers that a result shows. Results are kept and shown to everybody who may see the job, so
/// cookies, which are somebody's way in, are left out.
fn kept_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .keys()
        .filter(|name| !name.as_str().contains("cookie") && name.as_str().len() <= HEADER_BYTES_MAX)
        .filter_map(|name| Some((name.to_string(), headers.get(name)?.to_str().ok()?.to_owned())))
        .filter(|(_, value)| value.len() <= HEADER_BYTES_MAX)
        .take(HEADERS_MAX)
        .collect()
}

fn headers(named: &BTreeMap<String, String>) -> Result<HeaderMap, JobError> {
    let mut headers = HeaderMap::with_capacity(named.len());
    for (name, value) in named {
        // The value stays out of the message: it may be a secret.
        let invalid = |what: &str| {
            JobError::permanent(format!("the header '{name}' has an invalid {what}")).code("invalid_header")
        };
        let name: HeaderName = name.parse().map_err(|_| invalid("name"))?;
        let value = HeaderValue::from_str(value).map_err(|_| invalid("value"))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// What went wrong before there was an answer. URLs stay out of it: they may carry a secret.
fn explain(error: &reqwest::Error) -> JobError {
    match RequestFailure::from(error) {
        RequestFailure::AddressRefused(refused) => not_allowed(&refused),
        RequestFailure::CannotBeSent { cause } => {
            JobError::permanent(format!("the request cannot be sent: {cause}")).code("invalid_url")
        }
        RequestFailure::TimedOut => {
            JobError::retryable("the server took longer than timeout_seconds").code("request_timeout")
        }
        RequestFailure::CannotBeReached { cause } => {
            JobError::retryable(format!("the server cannot be reached: {cause}")).code("connect_failed")
        }
        RequestFailure::ConnectionLost { cause } => {
            JobError::retryable(format!("the connection broke: {cause}")).code("connection_lost")
        }
    }
}

fn not_allowed(refused: &AddressRefused) -> JobError {
    JobError::permanent(refused.opened_by("a worker", ALLOW_VARIABLE)).code("address_not_allowed")
}

impl From<Method> for reqwest::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Head => Self::HEAD,
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
            Method::Patch => Self::PATCH,
            Method::Delete => Self::DELETE,
            Method::Options => Self::OPTIONS,
        }
    }
}
