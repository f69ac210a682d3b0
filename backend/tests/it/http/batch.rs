//! Submitting many jobs with one request.

use std::collections::BTreeSet;

use crewcall_backend::http::{BATCH_BYTES_MAX, BATCHES_MAX};
use futures_util::future::join_all;
use reqwest::{Body, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::server::{Options, Server, answer, problem, sorted};

const PATH: &str = "/v1/jobs/batch";

fn lines(server: &Server, text: impl Into<Body>) -> RequestBuilder {
    server.post_text(PATH, "application/x-ndjson", text)
}

async fn result(request: RequestBuilder) -> Value {
    let response = answer(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    sorted(response.json().await.unwrap())
}

fn statuses(result: &Value) -> Vec<u64> {
    result["results"].as_array().unwrap().iter().map(|item| item["status"].as_u64().unwrap()).collect()
}

/// Takes the ids out, which differ each time.
fn without_ids(mut result: Value) -> Value {
    for item in result["results"].as_array_mut().unwrap() {
        if item["id"].is_string() {
            item["id"] = json!("id");
        }
    }
    result
}

#[tokio::test]
async fn one_bad_item_does_not_spoil_the_rest() {
    let server = Server::start().await;
    server.announce("strict", json!({"required": ["x"]})).await;
    let items = json!([
        {"type": "a", "labels": {"n": "0"}},
        {"type": "A", "priority": 10},
        7,
        {"type": "strict"},
        {"type": "a", "colour": "red"},
        {"type": "a", "labels": {"n": "5"}},
    ]);
    let result = result(server.post(PATH, &items)).await;
    for (index, number) in [(0, "0"), (5, "5")] {
        let id = result["results"][index]["id"].as_str().unwrap();
        assert_eq!(server.read(&format!("/v1/jobs/{id}")).await["labels"]["n"], number, "in order");
    }
    insta::assert_json_snapshot!("batch_of_an_array", without_ids(result));
    assert_eq!(server.read("/v1/jobs").await["jobs"].as_array().unwrap().len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn lines_are_items_and_a_broken_one_is_refused_alone() {
    let server = Server::start().await;
    let deep = format!("{{\"type\":\"a\",\"parameters\":{{\"x\":{}{}}}}}", "[".repeat(99), "]".repeat(99));
    let text = format!("{{\"type\":\"a\"}}\n\n{{\"type\":\r\n[]\n{deep}\n  {{\"type\":\"b\"}}");
    insta::assert_json_snapshot!("batch_of_lines", without_ids(result(lines(&server, text)).await));
    let nothing = result(lines(&server, "")).await;
    assert_eq!(nothing, json!({"accepted": 0, "refused": 0, "results": []}));
    server.stop().await;
}

#[tokio::test]
async fn a_large_batch_is_stored_whole_and_in_order() {
    let server = Server::start().await;
    let line = |number| format!("{{\"type\":\"a\",\"parameters\":{{\"n\":{number}}}}}\n");
    let result = result(lines(&server, (0..10_000).map(line).collect::<String>())).await;
    assert_eq!((&result["accepted"], &result["refused"]), (&json!(10_000), &json!(0)));
    let items = result["results"].as_array().unwrap();
    let ids: BTreeSet<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 10_000);
    for index in [0, 255, 256, 5_000, 9_999] {
        assert_eq!(items[index]["index"], index);
        let job = server.read(&format!("/v1/jobs/{}", items[index]["id"].as_str().unwrap())).await;
        assert_eq!(job["parameters"]["n"], index);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_was_stored_before_the_store_failed_keeps_its_id() {
    let server = Server::start_with(Options { stores_max: Some(300), ..Options::default() }).await;
    let text = "{\"type\":\"a\"}\n".repeat(600) + "oops";
    let result = result(lines(&server, text)).await;
    let statuses = statuses(&result);
    assert_eq!((statuses.len(), &result["accepted"], &result["refused"]), (601, &json!(256), &json!(345)));
    assert!(statuses[..256].iter().all(|status| *status == 201));
    assert!(statuses[256..].iter().all(|status| *status == 503));
    let id = result["results"][255]["id"].as_str().unwrap();
    assert_eq!(server.read(&format!("/v1/jobs/{id}")).await["state"], "ready");
    insta::assert_json_snapshot!("batch_item_without_store", &result["results"][256]);
    server.stop().await;
}

#[tokio::test]
async fn bad_batches() {
    let server = Server::start_with(Options { stores_max: Some(0), ..Options::default() }).await;
    let array = |text: String| server.post_text(PATH, "application/json", text);
    let cases = [
        ("batch_no_array", server.post(PATH, &json!({"type": "a"}))),
        ("batch_broken_array", array("[{\"type\":\"a\"},]".to_owned())),
        ("batch_of_too_many", array(format!("[{}1]", "1,".repeat(10_000)))),
        ("batch_of_too_many_lines", lines(&server, "1\n".repeat(10_001))),
        ("batch_not_declared", server.post_text(PATH, "text/csv", "a,b")),
        ("batch_with_a_key", server.post(PATH, &json!([])).header("idempotency-key", "k")),
        ("batch_too_large", lines(&server, vec![b' '; BATCH_BYTES_MAX + 1])),
        ("batch_without_store", lines(&server, "{\"type\":\"a\"}")),
    ];
    for (name, request) in cases {
        insta::assert_json_snapshot!(name, problem(request).await);
    }
    // The largest that is read.
    let exact = result(lines(&server, vec![b' '; BATCH_BYTES_MAX])).await;
    assert_eq!(exact["results"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn batches_at_once_are_limited_and_leave_their_places() {
    let server = Server::start().await;
    let mut senders = Vec::new();
    let mut begun = Vec::new();
    for _ in 0..BATCHES_MAX {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
        sender.send(Ok(b"{\"type\":\"a\"}\n".to_vec())).await.unwrap();
        let chunks = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        });
        begun.push(lines(&server, Body::wrap_stream(chunks)));
        senders.push(sender);
    }
    let refused_then_released = async {
        // Until all have their places, one more finds one too.
        loop {
            let response = answer(lines(&server, "")).await;
            if response.status() == StatusCode::SERVICE_UNAVAILABLE {
                assert_eq!(response.headers()["retry-after"], "5");
                break;
            }
        }
        insta::assert_json_snapshot!("too_many_batches", problem(lines(&server, "")).await);
        drop(senders);
    };
    let (answers, ()) = tokio::join!(join_all(begun.into_iter().map(result)), refused_then_released);
    assert!(answers.iter().all(|result| result["accepted"] == 1));
    assert_eq!(result(lines(&server, "{\"type\":\"a\"}")).await["accepted"], 1);
    server.stop().await;
}
