//! Bad input gets a clear answer: a snapshot of each.

use std::{sync::Arc, time::Duration};

use crewcall_backend::{
    engine::ports::StoreError,
    http::{BODY_BYTES_MAX, ProblemCode},
};
use reqwest::{Body, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    server::{Options, PATIENCE, Server, answer, problem},
    stores::FailingStore,
};

const NOBODY: &str = "0190b6f0-0000-7000-8000-000000000000";

fn post_text(server: &Server, text: impl Into<Body>) -> RequestBuilder {
    server.post_text("/v1/jobs", "application/json", text)
}

#[tokio::test]
async fn bad_submissions() {
    let server = Server::start().await;
    let schema = json!({
        "type": "object", "required": ["source"], "additionalProperties": false,
        "properties": {"source": {"type": "string"}, "width": {"type": "integer", "minimum": 1}},
    });
    server.announce("image.thumbnail", schema).await;
    let submit = |submission: Value| server.post("/v1/jobs", &submission);
    let cases = [
        ("not_json", post_text(&server, "{\"type\": \"a\",\n oops}")),
        ("empty_body", post_text(&server, "")),
        ("no_object", submit(json!(["a"]))),
        ("not_declared", server.post_text("/v1/jobs", "text/plain", "{}")),
        ("unknown_fields", submit(json!({"type": "a", "colour": "red", "maxattempts": 2}))),
        (
            "wrong_times",
            submit(json!({
                "type": "a", "run_at": "2001-01-01T00:00:00Z", "expires_at": "2001-01-01T00:00:00Z",
                "timeout_seconds": 1e9, "backoff": {"factor": 0.5, "jitter": -1, "initial_seconds": -1},
            })),
        ),
        (
            "shapeless_times",
            submit(json!({
                "type": "a", "run_at": "tomorrow", "delay_seconds": "1", "timeout_seconds": true,
                "backoff": {"colour": 1, "factr": 2, "max_seconds": "1"},
            })),
        ),
        ("backoff_of_a_wrong_shape", submit(json!({"type": "a", "backoff": 7}))),
        ("no_type", submit(json!({"parameters": {}}))),
        ("wrong_type_name", submit(json!({"type": "Image Thumbnail"}))),
        (
            "wrong_values",
            submit(json!({"type": "a", "priority": 10, "max_attempts": 0, "labels": {"ä": "x"}})),
        ),
        (
            "wrong_shapes",
            submit(
                json!({"type": 1, "parameters": [], "priority": "high", "max_attempts": 2.5, "labels": {"a/b": 1}}),
            ),
        ),
        ("large_parameters", submit(json!({"type": "a", "parameters": {"x": "y".repeat(300_000)}}))),
        (
            "parameters_against_the_schema",
            submit(json!({"type": "image.thumbnail", "parameters": {"width": 0, "colour": 1}})),
        ),
    ];
    for (name, request) in cases {
        insta::assert_json_snapshot!(name, problem(request).await);
    }
    let listed = server.read("/v1/jobs").await;
    assert_eq!(listed["jobs"], json!([]), "something was stored all the same");
    server.stop().await;
}

#[tokio::test]
async fn deep_nesting_is_refused_before_it_is_parsed() {
    let server = Server::start().await;
    for levels in [40, 100_000] {
        let text = format!(
            "{{\"type\":\"a\",\"parameters\":{{\"x\":{}{}}}}}",
            "[".repeat(levels),
            "]".repeat(levels)
        );
        assert_eq!(problem(post_text(&server, text)).await["code"], "invalid-submission");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_not_cut_off() {
    let server = Server::start().await;
    let body = || vec![b' '; 3 * 1024 * 1024];
    insta::assert_json_snapshot!("body_too_large", problem(post_text(&server, body())).await);
    // The same in chunks, its length not declared.
    let chunks =
        body().chunks(64 * 1024).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let chunked = Body::wrap_stream(futures_util::stream::iter(chunks));
    assert_eq!(problem(post_text(&server, chunked)).await["code"], "body-too-large");
    // The largest that is read.
    let exact = format!("{{\"type\":\"a\"}}{}", " ".repeat(BODY_BYTES_MAX - 12));
    assert_eq!(answer(post_text(&server, exact)).await.status(), StatusCode::CREATED);
    server.stop().await;
}

#[tokio::test]
async fn a_caller_that_writes_before_it_reads_is_answered_too() {
    let server = Server::start().await;
    let mut stream = connect(&server).await;
    let body_bytes = 7 * 1024 * 1024; // more than the sockets hold
    let head = format!("{HEAD}content-length: {body_bytes}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; body_bytes]).await.expect("the server reads on");
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_body_without_end_does_not_hold_its_connection() {
    let server = Server::start().await;
    let (mut read, mut write) = connect(&server).await.into_split();
    write.write_all(format!("{HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let sending = async {
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        while write.write_all(chunk.as_bytes()).await.is_ok() {}
    };
    let reading = async {
        let mut answer = Vec::new();
        // A reset after the answer is no matter.
        let _ = read.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    let both = async { tokio::join!(sending, reading).1 };
    let answer = timeout(PATIENCE, both).await.expect("the connection was held");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_when_the_backend_stops() {
    let server = Server::start().await;
    let mut stream = connect(&server).await;
    let head = format!("{HEAD}content-length: 100\r\nexpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    // The server asks for the body: so the request is being read when the stop comes.
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    server.stop().await;
}

/// The beginning of a submission written by hand.
const HEAD: &str = "POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.base.strip_prefix("http://").unwrap()).await.unwrap()
}

#[tokio::test]
async fn bad_questions() {
    let server = Server::start().await;
    let request = |method, path: &str| {
        server.client.request(method, format!("{}{path}", server.base)).header("x-request-id", "test")
    };
    let cases = [
        ("no_id", server.get("/v1/jobs/seven")),
        ("unknown_job", server.get(&format!("/v1/jobs/{NOBODY}"))),
        ("unknown_job_watched", server.get(&format!("/v1/jobs/{NOBODY}/watch"))),
        ("wait_too_long", server.get(&format!("/v1/jobs/{NOBODY}?wait=61"))),
        ("bad_query", server.get("/v1/jobs?limit=501&state=odd&type=A&created_after=now&sort=up")),
        ("bad_cursor", server.get("/v1/jobs?cursor=AAAA")),
        ("bad_watch_query", server.get("/v1/watch?label.a=b")),
        ("unknown_worker", server.get("/v1/workers/nobody")),
        ("unknown_type", server.get("/v1/types/no.such.type")),
        ("no_types_name", server.get("/v1/types/No%20Such")),
        ("unknown_route", server.get("/v2/jobs")),
        ("unknown_page", server.get("/docs/nothing.js")),
        ("wrong_method", request(Method::DELETE, "/v1/jobs")),
    ];
    for (name, request) in cases {
        insta::assert_json_snapshot!(name, problem(request).await);
    }
    let refused = answer(request(Method::DELETE, "/v1/jobs")).await;
    let mut allowed: Vec<&str> = refused.headers()["allow"].to_str().unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    server.stop().await;
}

#[tokio::test]
async fn a_store_that_cannot_work_says_when_to_come_back() {
    let store = FailingStore(|| StoreError::Unavailable { reason: "the disk is full".to_owned() });
    let server = Server::start_with(Options { store: Some(Arc::new(store)), ..Options::default() }).await;
    insta::assert_json_snapshot!(
        "store_unavailable",
        problem(server.post("/v1/jobs", &json!({"type": "a"}))).await
    );
    for path in ["/v1/jobs", &format!("/v1/jobs/{NOBODY}"), &format!("/v1/jobs/{NOBODY}/watch"), "/v1/types"]
    {
        let response = answer(server.get(path)).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(response.headers()["retry-after"], "1");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_read_that_is_too_slow_says_what_to_ask_for() {
    let store = FailingStore(|| StoreError::TooSlow { after: Duration::from_secs(5) });
    let server = Server::start_with(Options { store: Some(Arc::new(store)), ..Options::default() }).await;
    insta::assert_json_snapshot!(
        "read_too_slow",
        problem(server.get("/v1/jobs?label.a=b&state=failed")).await
    );
    let bulk = problem(server.post("/v1/jobs/cancel", &json!({"all": true}))).await;
    assert_eq!(bulk["code"], "read-too-slow");
    server.stop().await;
}

#[tokio::test]
async fn a_store_that_failed_says_that_nobody_knows_what_it_kept() {
    let store = FailingStore(|| StoreError::Failed { reason: "disk I/O error".to_owned() });
    let server = Server::start_with(Options { store: Some(Arc::new(store)), ..Options::default() }).await;
    insta::assert_json_snapshot!(
        "store_failed",
        problem(server.post("/v1/jobs", &json!({"type": "a"}))).await
    );
    server.stop().await;
}

#[tokio::test]
async fn our_own_faults_tell_the_caller_nothing_but_the_request_id() {
    for fault in [
        (|| StoreError::Broken { reason: "table jobs has no column secret".to_owned() })
            as fn() -> StoreError,
        || panic!("a secret"),
    ] {
        let store = Arc::new(FailingStore(fault));
        let server = Server::start_with(Options { store: Some(store), ..Options::default() }).await;
        insta::assert_json_snapshot!("internal_error", problem(server.get("/v1/types")).await);
        // The connection and the server live on.
        assert_eq!(answer(server.get("/livez")).await.status(), StatusCode::OK);
        server.stop().await;
    }
}

#[tokio::test]
async fn every_code_is_explained_under_its_own_address() {
    let server = Server::start().await;
    let page = answer(server.get("/docs/problems")).await.text().await.unwrap();
    for code in ProblemCode::ALL {
        assert!(page.contains(&format!("id=\"{}\"", code.as_str())), "{code:?}");
    }
    assert_eq!(problem(server.get("/nothing")).await["type"], "/docs/problems#route-not-found");
    server.stop().await;
}
