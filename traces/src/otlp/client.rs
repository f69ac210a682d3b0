//! The HTTP client of the workspace, for a library that brings none.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

/// How long one request may take, unless the environment says otherwise; the standard's default.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Sends requests on the runtime of the program: the thread that asks for it belongs to no runtime.
pub(super) struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

impl Client {
    pub(super) fn new(timeout: Duration) -> Result<Self, String> {
        // Only fails when there is one already. The HTTP client brings no cryptography of its own.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(timeout).build().map_err(|error| error.to_string())?;
        Ok(Self { http, runtime: Handle::current() })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (http, request) = (self.http.clone(), request.try_into()?);
        let response = self.runtime.spawn(async move { http.execute(request).await }).await??;
        // Whether it was taken is all that counts; what else a sink may say has no limit.
        let mut answer = Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        Ok(answer.body(Bytes::new())?)
    }
}

/// How long one request may take, by the variables of the standard, in milliseconds.
pub(super) fn timeout(lookup: &impl Fn(&str) -> Option<String>) -> Result<Duration, String> {
    for variable in ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"] {
        if let Some(text) = lookup(variable).filter(|text| !text.is_empty()) {
            return text
                .parse()
                .map(Duration::from_millis)
                .map_err(|_| format!("{variable} is {text:?}, not a whole number of milliseconds"));
        }
    }
    Ok(TIMEOUT_DEFAULT)
}
