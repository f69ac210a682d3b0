//! Sending a request, and following where it is redirected.

use std::time::Duration;

use crewcall_outbound_http::{AllowedNetworks, GuardedClient};
use crewcall_worker::prelude::JobError;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{
        ACCEPT, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap,
        HeaderName, LOCATION, RANGE, TRANSFER_ENCODING, USER_AGENT,
    },
};
use tokio::time::Instant;

use super::{
    Parameters, REDIRECTS_MAX, TIMEOUT_SECONDS_DEFAULT, TIMEOUT_SECONDS_MAX, explain, headers, not_allowed,
};

/// The headers that go along to another origin. Every other one may be a credential: a key has as many names as there
/// are services.
const PORTABLE_HEADERS: [HeaderName; 7] =
    [ACCEPT, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, RANGE, USER_AGENT];

/// The headers that describe a body, and end with it.
const BODY_HEADERS: [HeaderName; 5] =
    [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING];

/// Sends requests. Holds the open connections; cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: GuardedClient,
}

/// One request on its way, changed by each redirect.
struct Hop {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<String>,
}

impl HttpClient {
    /// A client that trusts the host's certificate authorities, and connects to the public internet and to what is
    /// `allowed` besides.
    ///
    /// # Errors
    ///
    /// When this host has no authorities, or TLS cannot be set up: a sentence for whoever started the worker.
    pub fn new(allowed: AllowedNetworks) -> Result<Self, String> {
        let user_agent = concat!("crewcall-workers/", env!("CARGO_PKG_VERSION"));
        let client =
            GuardedClient::new(user_agent, allowed).map_err(|unavailable| unavailable.to_string())?;
        Ok(Self { client })
    }

    /// Sends the request and follows its redirects. All together takes at most the job's `timeout_seconds`.
    pub(super) async fn send(&self, parameters: &Parameters) -> Result<Response, JobError> {
        let seconds = parameters.timeout_seconds.unwrap_or(TIMEOUT_SECONDS_DEFAULT);
        if !(1..=TIMEOUT_SECONDS_MAX).contains(&seconds) {
            return Err(JobError::permanent(format!(
                "timeout_seconds is {seconds}; it must be 1 to {TIMEOUT_SECONDS_MAX}"
            ))
            .code("invalid_timeout"));
        }
        let deadline = Instant::now() + Duration::from_secs(seconds.into());
        let url = Url::parse(&parameters.url).ok().filter(is_web).ok_or_else(|| {
            JobError::permanent("url must be absolute and start with http:// or https://").code("invalid_url")
        })?;
        let mut hop = Hop {
            method: parameters.method.into(),
            url,
            headers: headers(&parameters.headers)?,
            body: parameters.body.clone(),
        };
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send_once(&hop, deadline).await?;
            let status = response.status();
            let location = response.headers().get(LOCATION).filter(|_| is_redirect(status));
            match location {
                Some(location) if parameters.expected_status != Some(status.as_u16()) => {
                    hop.follow(status, location.to_str().unwrap_or_default())?;
                }
                _ => return Ok(response),
            }
        }
        Err(misled(&format!("more than {REDIRECTS_MAX} times")))
    }

    async fn send_once(&self, hop: &Hop, deadline: Instant) -> Result<Response, JobError> {
        let mut request = self
            .client
            .request(hop.method.clone(), hop.url.clone())
            .map_err(|refused| not_allowed(&refused))?
            .headers(hop.headers.clone())
            .timeout(deadline.saturating_duration_since(Instant::now()));
        if let Some(body) = &hop.body {
            request = request.body(body.clone());
        }
        request.send().await.map_err(|error| explain(&error))
    }
}

impl Hop {
    /// What is sent after the server answered with a redirect (RFC 9110, 15.4; of POST the web makes GET where the
    /// standard lets it).
    fn follow(&mut self, status: StatusCode, location: &str) -> Result<(), JobError> {
        let next = self
            .url
            .join(location)
            .ok()
            .filter(is_web)
            .ok_or_else(|| misled("to what is not a web address"))?;
        let becomes_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = None;
            for header in &BODY_HEADERS {
                self.headers.remove(header);
            }
        }
        if next.origin() != self.url.origin() {
            let portable = std::mem::take(&mut self.headers);
            self.headers = portable
                .into_iter()
                .filter_map(|(name, value)| Some((name?, value)))
                .filter(|(name, _)| PORTABLE_HEADERS.contains(name))
                .collect();
        }
        self.url = next;
        Ok(())
    }
}

fn misled(how: &str) -> JobError {
    JobError::permanent(format!("the server redirects {how}")).code("too_many_redirects")
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}
