//! `http.request` against a real server on this machine.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{any, get};
use crewcall_workers::http_request::{
    Answer, BODY_BYTES_MAX, BodyState, HttpClient, RESPONSE_BYTES_MAX, request,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Ran, code_of, run, run_cancelled};

/// A server that ends with the test.
struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start() -> Self {
        let routes = Router::new()
            .route("/echo", any(echo))
            .route("/missing", get(async || (StatusCode::NOT_FOUND, "no such thing")))
            .route(
                "/busy",
                get(async || (StatusCode::INTERNAL_SERVER_ERROR, [(header::RETRY_AFTER, "7")], "busy")),
            )
            .route(
                "/throttled",
                get(async || (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "999999")])),
            )
            .route("/down", get(async || StatusCode::SERVICE_UNAVAILABLE))
            .route("/escapes", get(async || "\u{1}".repeat(BODY_BYTES_MAX)))
            .route("/umlauts", get(async || format!("x{}", "ü".repeat(BODY_BYTES_MAX))))
            .route("/binary", get(async || vec![0xFF_u8, 0xFE, 0x00]))
            .route("/endless", get(endless))
            .route("/slow", get(async || std::future::pending::<()>().await))
            .route("/loop", get(async || Redirect::temporary("/loop")))
            .route("/moved", get(async || Redirect::temporary("/echo")));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, _tasks: tasks }
    }

    async fn ask(&self, path: &str, mut parameters: Value) -> Ran<Answer> {
        parameters["url"] = json!(format!("http://{}{path}", self.address));
        ask(parameters).await
    }

    async fn refused(&self, path: &str, parameters: Value) -> (String, bool, Option<Duration>) {
        let failure = self.ask(path, parameters).await.result.unwrap_err();
        (code_of(&failure).0.to_owned(), failure.retryable, failure.retry_after)
    }
}

async fn ask(parameters: Value) -> Ran<Answer> {
    let client = HttpClient::new().unwrap();
    run(move |job, parameters| request(client.clone(), job, parameters), parameters).await
}

async fn echo(headers: HeaderMap, request: Request) -> Response {
    let said = headers.get("x-said").map(|value| value.to_str().unwrap().to_owned());
    let method = request.method().to_string();
    let body = axum::body::to_bytes(request.into_body(), 1000).await.unwrap();
    let text = format!("{method} {} {}", said.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap());
    ([("x-answer", "42"), ("set-cookie", "session=secret"), ("content-type", "text/plain")], text)
        .into_response()
}

async fn endless() -> Body {
    let chunk = axum::body::Bytes::from(vec![b'a'; 64 * 1024]);
    Body::from_stream(futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone())))
}

#[tokio::test]
async fn a_request_goes_out_as_asked_and_its_answer_comes_back() {
    let server = Server::start().await;
    let parameters = json!({ "method": "POST", "headers": { "X-Said": "hello" }, "body": "grüße" });
    let answer = server.ask("/echo", parameters).await.result.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body.as_deref(), Some("POST hello grüße"));
    assert_eq!((answer.body_state, answer.bytes), (BodyState::Complete, 18));
    assert_eq!(answer.headers["x-answer"], "42");
    assert!(!answer.headers.contains_key("set-cookie"), "results are shown to people");
}

#[tokio::test]
async fn a_refusal_is_permanent_and_a_busy_server_is_asked_again() {
    let server = Server::start().await;
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(server.refused("/missing", json!({})).await, ("http_404".to_owned(), false, None));
    assert_eq!(server.refused("/busy", json!({})).await, ("http_500".to_owned(), true, seconds(7)));
    assert_eq!(server.refused("/down", json!({})).await, ("http_503".to_owned(), true, None));
    let capped = server.refused("/throttled", json!({})).await;
    assert_eq!(capped, ("http_429".to_owned(), true, seconds(3600)), "no server may park a job for days");
    let failure = server.ask("/missing", json!({})).await.result.unwrap_err();
    assert_eq!(failure.detail.as_deref(), Some("no such thing"));
}

#[tokio::test]
async fn only_the_expected_status_is_a_success() {
    let server = Server::start().await;
    let answer = server.ask("/missing", json!({ "expected_status": 404 })).await.result.unwrap();
    assert_eq!((answer.status, answer.body.as_deref()), (404, Some("no such thing")));
    assert_eq!(
        server.refused("/echo", json!({ "expected_status": 204 })).await,
        ("http_200".to_owned(), false, None)
    );
}

#[tokio::test]
async fn a_long_body_is_cut_so_that_the_result_fits() {
    const RESULT_BYTES_MAX: usize = 256 * 1024;
    let server = Server::start().await;
    for path in ["/escapes", "/umlauts"] {
        let answer = server.ask(path, json!({})).await.result.unwrap();
        assert_eq!(answer.body_state, BodyState::Cut, "{path}");
        let encoded = serde_json::to_vec(&answer).unwrap().len();
        assert!((BODY_BYTES_MAX - 8..RESULT_BYTES_MAX).contains(&encoded), "{path}: {encoded}");
    }
}

#[tokio::test]
async fn an_endless_body_is_left_after_the_cap() {
    let server = Server::start().await;
    let answer = server.ask("/endless", json!({})).await.result.unwrap();
    assert_eq!(answer.body_state, BodyState::Cut);
    assert!((RESPONSE_BYTES_MAX..2 * RESPONSE_BYTES_MAX).contains(&answer.bytes), "{}", answer.bytes);
}

#[tokio::test]
async fn a_body_that_is_not_text_is_counted_only() {
    let server = Server::start().await;
    let answer = server.ask("/binary", json!({})).await.result.unwrap();
    assert_eq!((answer.body, answer.body_state, answer.bytes), (None, BodyState::NotText, 3));
}

#[tokio::test]
async fn a_slow_server_runs_out_of_time() {
    let server = Server::start().await;
    let refused = server.refused("/slow", json!({ "timeout_seconds": 1 })).await;
    assert_eq!(refused, ("request_timeout".to_owned(), true, None));
}

#[tokio::test]
async fn redirects_are_followed_to_an_end_but_not_round_and_round() {
    let server = Server::start().await;
    let answer = server.ask("/moved", json!({})).await.result.unwrap();
    assert_eq!(answer.body.as_deref(), Some("GET  "));
    assert_eq!(server.refused("/loop", json!({})).await, ("too_many_redirects".to_owned(), false, None));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_asked_again() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failure = ask(json!({ "url": format!("http://{nobody}/?key=secret") })).await.result.unwrap_err();
    assert_eq!(code_of(&failure), ("connect_failed", true));
    assert!(!format!("{failure:?}").contains("secret"), "{failure:?}");
}

#[tokio::test]
async fn what_cannot_be_sent_fails_for_good() {
    for (parameters, code) in [
        (json!({ "url": "file:///etc/passwd" }), "invalid_url"),
        (json!({ "url": "/relative" }), "invalid_url"),
        (json!({ "url": "http://x", "timeout_seconds": 0 }), "invalid_timeout"),
        (json!({ "url": "http://x", "timeout_seconds": 301 }), "invalid_timeout"),
        (json!({ "url": "http://x", "headers": { "two words": "x" } }), "invalid_header"),
        (json!({ "url": "http://x", "headers": { "x": "two\nlines" } }), "invalid_header"),
    ] {
        let failure = ask(parameters.clone()).await.result.unwrap_err();
        assert_eq!(code_of(&failure), (code, false), "{parameters}");
    }
    let failure = ask(json!({ "url": "http://x", "verb": "GET" })).await.result.unwrap_err();
    assert_eq!(failure.kind.as_str(), "invalid_parameters");
}

#[tokio::test]
async fn a_cancelled_job_lets_go_of_a_slow_server() {
    let server = Server::start().await;
    let client = HttpClient::new().unwrap();
    let ran: Ran<Answer> = run_cancelled(
        move |job, parameters| request(client.clone(), job, parameters),
        json!({ "url": format!("http://{}/slow", server.address) }),
    )
    .await;
    assert_eq!(ran.result.unwrap_err().kind.as_str(), "cancelled");
}
