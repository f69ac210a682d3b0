//! What happens to every request, whichever route handles it: it gets an id, a span and a measurement, and
//! every failure leaves as a problem.

use std::panic::AssertUnwindSafe;

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use crewcall_proto::{TRACEPARENT, TraceParent};
use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    HttpState,
    problem::{PROBLEM_MEDIA_TYPE, Problem, ProblemCode},
};
use crate::{domain::excerpt, engine::Caller, traces};

/// The header that carries the request id, in both directions.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// For whose pages an answer is.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The longest request id that is taken from a caller, in characters.
const REQUEST_ID_LENGTH_MAX: usize = 64;

/// What metrics call a request that no route matched: paths are the caller's words and have no bound.
const UNMATCHED: &str = "unmatched";

/// Handles a request through `next`, and sees to id, span, metrics, problems and headers.
pub(super) async fn observe(State(state): State<HttpState>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let _in_flight = state.metrics.http_request_began();
    let request_id = request_id(request.headers());
    let method = method_label(request.method());
    let route = matched_route(&request).unwrap_or(UNMATCHED).to_owned();
    let sent = traceparent(request.headers());
    let traced =
        traces::request(&state.traces, method, matched_route(&request), request.uri().path(), sent.as_ref());
    let traceparent = traced.traceparent().or(sent);
    if let Some(traceparent) = traceparent.clone() {
        request.extensions_mut().insert(traceparent);
    }
    let span = tracing::info_span!(
        "request", request.id = %request_id, http.method = method, http.route = route,
        trace.id = traceparent.as_ref().map(TraceParent::trace_id)
    );

    let answered = async {
        // A panic ends the request, not the connection, and is no reason to keep its id from the caller.
        let response = AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|panic| {
            let cause = panic.downcast_ref::<&str>().copied().map(str::to_owned);
            let cause = cause.or_else(|| panic.downcast_ref::<String>().cloned());
            Problem::internal(&format!("a handler panicked: {}", cause.unwrap_or_default())).into_response()
        });
        let response = finished(response, &request_id);
        let status = response.status().as_u16();
        let elapsed = started.elapsed();
        state.metrics.http_request(&route, method, status, elapsed);
        traces::answered(traced, status);
        tracing::debug!(http.status = status, elapsed_ms = elapsed.as_millis(), "A request was answered.");
        response
    };
    answered.instrument(span).await
}

/// The route that takes the request, as a pattern.
fn matched_route(request: &Request) -> Option<&str> {
    request.extensions().get::<MatchedPath>().map(MatchedPath::as_str)
}

/// There is no such route.
pub(super) async fn route_not_found(uri: Uri) -> Problem {
    Problem::new(
        ProblemCode::RouteNotFound,
        format!("there is no route {}; /openapi.json lists those that exist", excerpt(uri.path())),
    )
}

/// The route has other methods; the router adds the header that names them.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = format!(
        "{} has no method {}; the header Allow names those it has",
        excerpt(uri.path()),
        excerpt(method.as_str())
    );
    Problem::new(ProblemCode::MethodNotAllowed, detail).into_response()
}

/// Whoever sends the request, and the trace that it belongs to.
pub(super) fn caller(request: &Request) -> Caller {
    Caller::loopback().in_trace(request.extensions().get().cloned())
}

/// The trace that the request belongs to. One that cannot be read counts as none, as the standard has it.
fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(TRACEPARENT)?.to_str().ok()?.trim().parse().ok()
}

/// The caller's id if it is one that logs can hold, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let fits = |id: &&str| {
        (1..=REQUEST_ID_LENGTH_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(fits);
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Methods are the caller's words too: only the standard ones become labels.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn finished(mut response: Response, request_id: &str) -> Response {
    if let Some(problem) = problem_of(&mut response) {
        let body = serde_json::to_vec(&problem.body(request_id)).unwrap_or_default();
        *response.body_mut() = Body::from(body);
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    // Jobs change all the time, and results are nobody else's business.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // A page of another site has no use for our answers, not even one that it cannot read.
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    // Parameters and results are the submitter's words: no browser may take them for a page.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The problem that a response stands for. A library's bare refusal becomes one too.
fn problem_of(response: &mut Response) -> Option<Problem> {
    let problem = response.extensions_mut().remove::<Problem>();
    let status = response.status();
    let is_json =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if problem.is_some() || is_json || !(status.is_client_error() || status.is_server_error()) {
        return problem;
    }
    let (code, detail) = match status {
        StatusCode::NOT_FOUND => (ProblemCode::RouteNotFound, "there is nothing at this path"),
        StatusCode::METHOD_NOT_ALLOWED => {
            (ProblemCode::MethodNotAllowed, "the header Allow names the methods")
        }
        status if status.is_client_error() => (ProblemCode::UnreadableBody, "the request cannot be read"),
        _ => (ProblemCode::InternalError, "the backend failed"),
    };
    *response.status_mut() = code.status();
    Some(Problem::new(code, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_harmless_request_id_is_taken_over() {
        let id_for = |value: &'static str| {
            request_id(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(value))]))
        };
        assert_eq!(id_for("order-7.B_2"), "order-7.B_2");
        for bad in ["", "a b", "a\"b", "{id}", &*"x".repeat(65).leak()] {
            let made = id_for(bad);
            assert!(Uuid::try_parse(&made).is_ok(), "{bad:?} became {made}");
        }
    }
}
