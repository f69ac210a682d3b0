//! What those who run the backend look at.

use std::sync::Arc;

use crewcall_backend::engine::ports::{BrokerStatus, StoreError};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    server::{Options, Server, answer, sorted},
    stores::FailingStore,
};

#[tokio::test]
async fn metrics_tell_what_happened() {
    let server = Server::start().await;
    server.announce("a", json!({})).await;
    let id = server.submit_dispatched("a").await;
    server.start_job(id).await;
    server.complete(id, json!({})).await;
    server.submit_dispatched("a").await;
    answer(server.get(&format!("/some/path/{id}"))).await;
    let scrape = async || {
        let response = answer(server.get("/metrics")).await;
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        response.text().await.unwrap()
    };
    // Gauges are counted anew at each scrape, also when two come at once.
    let (_, _) = tokio::join!(scrape(), scrape());
    let text = scrape().await;
    for line in [
        "crewcall_jobs_submitted_total{type=\"a\"} 2",
        "crewcall_jobs_finished_total{outcome=\"completed\",type=\"a\"} 1",
        "crewcall_job_attempts_total{outcome=\"completed\",type=\"a\"} 1",
        "crewcall_jobs{state=\"completed\",type=\"a\"} 1",
        "crewcall_jobs{state=\"dispatched\",type=\"a\"} 1",
        "crewcall_job_oldest_waiting_seconds{type=\"a\"} ",
        "crewcall_workers{status=\"idle\"} 1",
        "crewcall_workers{status=\"lost\"} 0",
        "crewcall_worker_slots 3",
        "crewcall_worker_slots_busy 0",
        "crewcall_store_commit_seconds_count ",
        "crewcall_store_batch_size_count ",
        "crewcall_http_request_duration_seconds_count{method=\"POST\",route=\"/v1/jobs\",status=\"201\"} 2",
        "crewcall_http_request_duration_seconds_count{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains(&id.to_string()), "no ids in metrics");
    server.stop().await;
}

#[tokio::test]
async fn readiness_says_what_is_missing_and_liveness_does_not_care() {
    let server = Server::start().await;
    let ready = async || {
        let response = answer(server.get("/readyz")).await;
        (response.status(), sorted(response.json().await.unwrap()))
    };
    let (status, body) = ready().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    insta::assert_json_snapshot!("not_ready", body);
    server.broker.set(BrokerStatus::Blocked { reason: "low on disk".to_owned() });
    assert_eq!(ready().await.1["checks"]["broker"]["reason"], "it takes no messages: low on disk");
    assert_eq!(server.read("/livez").await, json!({"status": "ok"}));
    server.broker.set(BrokerStatus::Up);
    let (status, body) = ready().await;
    assert_eq!((status, &body["status"]), (StatusCode::OK, &json!("ready")));
    server.stop().await;
}

#[tokio::test]
async fn a_store_that_fails_is_not_ready() {
    let store = FailingStore(|| StoreError::Unavailable { reason: "the disk is full".to_owned() });
    let server = Server::start_with(Options { store: Some(Arc::new(store)), ..Options::default() }).await;
    server.broker.set(BrokerStatus::Up);
    let body: Value = answer(server.get("/readyz")).await.json().await.unwrap();
    assert_eq!(
        body["checks"]["store"],
        json!({"ok": false, "reason": "the store is unavailable: the disk is full"})
    );
    assert_eq!(body["checks"]["broker"], json!({"ok": true}));
    assert_eq!(answer(server.get("/metrics")).await.status(), StatusCode::OK, "metrics are there in trouble");
    server.stop().await;
}

#[tokio::test]
async fn every_answer_carries_a_request_id() {
    let server = Server::start().await;
    let given = answer(server.get("/livez")).await;
    assert_eq!(given.headers()["x-request-id"], "test");
    let made = answer(server.client.get(format!("{}/livez", server.base))).await;
    assert_eq!(made.headers()["x-request-id"].len(), 36);
    let refused = server.client.get(format!("{}/livez", server.base)).header("x-request-id", "a b\"");
    assert_eq!(answer(refused).await.headers()["x-request-id"].len(), 36);
    server.stop().await;
}

#[tokio::test]
async fn head_and_options_answer_without_a_body() {
    let server = Server::start().await;
    let ask = async |method, path: &str| {
        let response = answer(server.client.request(method, format!("{}{path}", server.base))).await;
        (response.status(), response.headers().clone(), response.bytes().await.unwrap())
    };
    let (status, headers, body) = ask(Method::HEAD, "/v1/jobs").await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    assert_eq!(headers["content-type"], "application/json");
    let (status, headers, body) = ask(Method::OPTIONS, "/v1/jobs").await;
    assert_eq!((status, body.len()), (StatusCode::NO_CONTENT, 0));
    assert!(headers["allow"].to_str().unwrap().contains("POST"));
    assert_eq!(ask(Method::HEAD, "/nothing").await.0, StatusCode::NOT_FOUND);
    server.stop().await;
}
