//! `http.request` against a real server on this machine.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, RawQuery, Request},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
    routing::{any, get},
};
use crewcall_workers::http_request::{
    AllowedNetworks, Answer, BODY_BYTES_MAX, BodyState, HttpClient, REDIRECTS_MAX, RESPONSE_BYTES_MAX,
    request,
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
            .route("/moved", get(async || Redirect::temporary("/echo")))
            .route("/seen-other", any(async || Redirect::to("/echo")))
            .route("/nowhere", get(async || Redirect::temporary("file:///etc/passwd")))
            .route("/to", any(async |RawQuery(to): RawQuery| Redirect::temporary(&to.unwrap_or_default())))
            .route(
                "/steps/{left}",
                get(async |Path(left): Path<usize>| match left {
                    0 => "there".into_response(),
                    left => Redirect::temporary(&format!("/steps/{}", left - 1)).into_response(),
                }),
            )
            .route(
                "/headers",
                any(async |headers: HeaderMap| {
                    let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
                    names.join(" ")
                }),
            );
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
    ask_with("127.0.0.1", parameters).await
}

/// Asks with a worker whose operator opened these networks.
async fn ask_with(allow: &str, parameters: Value) -> Ran<Answer> {
    let client = client(allow);
    run(move |job, parameters| request(client.clone(), job, parameters), parameters).await
}

fn client(allow: &str) -> HttpClient {
    HttpClient::new(allow.parse::<AllowedNetworks>().unwrap()).unwrap()
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
    assert_eq!(capped, ("http_429".to_owned(), true, seconds(3600)), "no server may delay a job for days");
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
async fn as_many_redirects_as_promised_are_followed() {
    let server = Server::start().await;
    let answer = server.ask(&format!("/steps/{REDIRECTS_MAX}"), json!({})).await.result.unwrap();
    assert_eq!(answer.body.as_deref(), Some("there"));
    let one_more = format!("/steps/{}", REDIRECTS_MAX + 1);
    assert_eq!(server.refused(&one_more, json!({})).await, ("too_many_redirects".to_owned(), false, None));
    assert_eq!(server.refused("/nowhere", json!({})).await, ("too_many_redirects".to_owned(), false, None));
}

#[tokio::test]
async fn a_redirect_repeats_the_request_or_makes_it_a_get_as_the_standard_says() {
    let server = Server::start().await;
    let post = json!({ "method": "POST", "body": "again", "headers": { "X-Said": "hello" } });
    let repeated = server.ask("/to?/echo", post.clone()).await.result.unwrap();
    assert_eq!(repeated.body.as_deref(), Some("POST hello again"), "307 keeps the method and the body");
    let seen_other = server.ask("/seen-other", post).await.result.unwrap();
    assert_eq!(seen_other.body.as_deref(), Some("GET hello "), "303 asks for another page");
    let kept = server.ask("/moved", json!({ "expected_status": 307 })).await.result.unwrap();
    assert_eq!(kept.status, 307, "who expects a redirect gets it");
}

#[tokio::test]
async fn credentials_end_at_another_origin() {
    let (server, other) = (Server::start().await, Server::start().await);
    let headers = json!({ "headers": {
        "Authorization": "Bearer secret", "X-Api-Key": "secret", "Accept": "text/plain", "User-Agent": "ours",
    } });
    let same = server.ask("/to?/headers", headers.clone()).await.result.unwrap().body.unwrap();
    assert!(same.contains("x-api-key") && same.contains("authorization"), "{same}");
    let path = format!("/to?http://{}/headers", other.address);
    let elsewhere = server.ask(&path, headers).await.result.unwrap().body.unwrap();
    assert!(elsewhere.contains("accept") && elsewhere.contains("user-agent"), "{elsewhere}");
    assert!(!elsewhere.contains("x-api-key") && !elsewhere.contains("authorization"), "{elsewhere}");
}

#[tokio::test]
async fn the_workers_own_network_is_out_of_reach_unless_it_is_opened() {
    let server = Server::start().await;
    let port = server.address.port();
    for url in [
        format!("http://127.0.0.1:{port}/echo"),
        format!("http://localhost:{port}/echo"),
        format!("http://[::ffff:127.0.0.1]:{port}/echo"),
        format!("http://2130706433:{port}/echo"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[fd00::1]/".to_owned(),
    ] {
        let failure = ask_with("", json!({ "url": url })).await.result.unwrap_err();
        assert_eq!(code_of(&failure), ("address_not_allowed", false), "{url}: {failure:?}");
        assert!(failure.message.contains("CREWCALL_HTTP_ALLOW"), "{failure:?}");
    }
    let opened = ask_with("127.0.0.0/8", json!({ "url": format!("http://localhost:{port}/echo") })).await;
    assert_eq!(
        opened.result.unwrap().status,
        200,
        "an allowed address of a name is used, whatever the others are"
    );
}

#[tokio::test]
async fn a_redirect_does_not_lead_into_the_workers_own_network() {
    let server = Server::start().await;
    for inside in ["http://127.0.0.2:1/", "http://[::1]:1/", "http://169.254.169.254/"] {
        let refused = server.refused(&format!("/to?{inside}"), json!({})).await;
        assert_eq!(refused, ("address_not_allowed".to_owned(), false, None), "{inside}");
    }
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
        (json!({ "url": "http://x", "headers": { "two words": "x" } }), "invalid_header"),
        (json!({ "url": "http://x", "headers": { "x": "two\nlines" } }), "invalid_header"),
    ] {
        let failure = ask(parameters.clone()).await.result.unwrap_err();
        assert_eq!(code_of(&failure), (code, false), "{parameters}");
    }
    for parameters in [
        json!({ "url": "http://x", "verb": "GET" }),
        json!({ "url": "http://x", "timeout_seconds": 0 }),
        json!({ "url": "http://x", "timeout_seconds": 301 }),
    ] {
        let failure = ask(parameters.clone()).await.result.unwrap_err();
        assert_eq!(failure.kind.as_str(), "invalid_parameters", "{parameters}");
    }
}

#[tokio::test]
async fn a_cancelled_job_lets_go_of_a_slow_server() {
    let server = Server::start().await;
    let client = client("127.0.0.1");
    let ran: Ran<Answer> = run_cancelled(
        move |job, parameters| request(client.clone(), job, parameters),
        json!({ "url": format!("http://{}/slow", server.address) }),
    )
    .await;
    assert_eq!(ran.result.unwrap_err().kind.as_str(), "cancelled");
}
