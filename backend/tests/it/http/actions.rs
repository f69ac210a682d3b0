//! Cancelling jobs and trying them again.

use std::{sync::Arc, time::Duration};

use crewcall_backend::engine::ports::StoreError;
use crewcall_proto::{Attempt, JobId, control::Control};
use futures_util::{
    FutureExt,
    future::{join_all, select_all},
};
use reqwest::{RequestBuilder, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    server::{Options, Server, WORKER, answer, problem, sorted},
    stores::FailingStore,
};

/// Longer than the telling of a worker may take, shorter than the store waits for a lock.
const LOCKED_FOR: Duration = Duration::from_secs(3);

const NOBODY: &str = "0190b6f0-0000-7000-8000-000000000000";

async fn job(request: RequestBuilder, status: StatusCode) -> Value {
    let response = answer(request).await;
    assert_eq!(response.status(), status);
    sorted(response.json().await.unwrap())
}

fn cancel(server: &Server, id: JobId) -> RequestBuilder {
    server.post_empty(&format!("/v1/jobs/{id}/cancel"))
}

fn retry(server: &Server, id: JobId) -> RequestBuilder {
    server.post_empty(&format!("/v1/jobs/{id}/retry"))
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once_and_keeps_who_did_it() {
    let server = Server::start().await;
    let id = server.submit(json!({"type": "a"})).await;
    let who = json!({"by": "ada", "reason": "a mistake"});
    let mut cancelled = job(server.post(&format!("/v1/jobs/{id}/cancel"), &who), StatusCode::OK).await;
    assert_eq!((&cancelled["state"], &cancelled["cancel_requested"]), (&json!("cancelled"), &json!(false)));
    let repeated = job(cancel(&server, id), StatusCode::OK).await;
    assert_eq!(repeated, cancelled, "the first who cancelled it did");
    assert!(cancelled["cancellation"]["at"].take().is_string());
    assert_eq!(cancelled["cancellation"], json!({"by": "ada", "reason": "a mistake", "at": null}));
    server.stop().await;
}

#[tokio::test]
async fn a_dispatched_job_is_revoked() {
    let server = Server::start().await;
    let id = server.submit_dispatched("a").await;
    let cancelled = job(cancel(&server, id), StatusCode::OK).await;
    assert_eq!(
        (&cancelled["state"], &cancelled["cancellation"]["by"]),
        (&json!("cancelled"), &json!("anonymous"))
    );
    let revoke = Control::Revoke { job_id: id, attempt: Attempt::FIRST };
    assert_eq!(server.broker.told_soon().await, [("a".to_owned(), revoke)]);
    server.stop().await;
}

#[tokio::test]
async fn a_running_job_is_being_cancelled_until_its_worker_answers() {
    let server = Server::start().await;
    let id = server.submit_dispatched("a").await;
    server.start_job(id).await;
    let told = job(cancel(&server, id), StatusCode::ACCEPTED).await;
    assert_eq!((&told["state"], &told["cancel_requested"]), (&json!("running"), &json!(true)));
    assert_eq!(told["waiting_for"]["reason"], "cancellation");
    assert_eq!(told["cancellation"]["reason"], Value::Null);
    let stop = Control::Cancel { job_id: id, attempt: Attempt::FIRST };
    assert_eq!(server.broker.told_soon().await, [(WORKER.to_owned(), stop)]);
    let repeated = job(cancel(&server, id), StatusCode::ACCEPTED).await;
    assert_eq!(repeated["version"], told["version"]);
    // It was faster than the cancellation.
    server.complete(id, json!({})).await;
    let refused = problem(cancel(&server, id)).await;
    assert_eq!((&refused["code"], &refused["state"]), (&json!("job-is-over"), &json!("completed")));
    assert_eq!(server.read(&format!("/v1/jobs/{id}")).await["cancel_requested"], false);
    server.stop().await;
}

#[tokio::test]
async fn a_cancellation_is_answered_though_the_worker_cannot_be_told() {
    let server = Server::start().await;
    let id = server.submit_dispatched("a").await;
    server.start_job(id).await;
    server.announce("a", json!({})).await;
    server.broker.silent(true);
    let told = job(cancel(&server, id), StatusCode::ACCEPTED).await;
    assert_eq!(told["cancel_requested"], true);
    let drained = problem(server.post_empty(&format!("/v1/workers/{WORKER}/drain"))).await;
    assert_eq!(drained["code"], "broker-unavailable");
    server.broker.silent(false);
    server.stop().await;
}

#[tokio::test]
async fn a_failed_or_cancelled_job_is_tried_again() {
    let server = Server::start().await;
    let id = server.submit_dispatched("a").await;
    server.start_job(id).await;
    server.fail(id, false).await;
    let again = job(retry(&server, id), StatusCode::OK).await;
    assert_eq!((&again["state"], &again["attempt"]), (&json!("ready"), &json!(2)));
    job(cancel(&server, id), StatusCode::OK).await;
    let again = job(retry(&server, id), StatusCode::OK).await;
    assert_eq!((&again["state"], &again["cancellation"]), (&json!("ready"), &Value::Null));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_state() {
    let server = Server::start().await;
    let done = server.submit_dispatched("a").await;
    server.start_job(done).await;
    server.complete(done, json!({})).await;
    let waiting = server.submit(json!({"type": "b", "delay_seconds": 60})).await;
    for (name, request) in [
        ("cancel_of_a_completed_job", cancel(&server, done)),
        ("retry_of_a_completed_job", retry(&server, done)),
        ("retry_of_a_waiting_job", retry(&server, waiting)),
        ("cancel_of_no_job", server.post_empty(&format!("/v1/jobs/{NOBODY}/cancel"))),
        ("cancel_of_no_id", server.post_empty("/v1/jobs/seven/cancel")),
        (
            "cancel_with_odd_fields",
            server.post(
                &format!("/v1/jobs/{waiting}/cancel"),
                &json!({"by": 1, "reason": "x".repeat(1_001), "colour": 1}),
            ),
        ),
        ("bulk_without_a_condition", server.post("/v1/jobs/cancel", &json!({"filter": {}}))),
        ("bulk_of_no_object", server.post("/v1/jobs/retry", &json!([]))),
    ] {
        insta::assert_json_snapshot!(name, problem(request).await);
    }
    let odd = server.post_text(&format!("/v1/jobs/{waiting}/cancel"), "text/plain", "please");
    assert_eq!(problem(odd).await["code"], "unsupported-media-type");
    assert_eq!(server.read(&format!("/v1/jobs/{waiting}")).await["state"], "scheduled");
    server.stop().await;
}

#[tokio::test]
async fn many_jobs_are_cancelled_and_tried_again_by_a_filter() {
    let server = Server::start().await;
    for number in 0..7 {
        let labels = json!({"project": if number < 4 { "x" } else { "y" }});
        server.submit(json!({"type": format!("image.{number}"), "labels": labels})).await;
    }
    let ask = async |path: &str, body: Value| job(server.post(path, &body), StatusCode::OK).await;
    let states =
        async |query: &str| server.read(&format!("/v1/jobs?{query}")).await["jobs"].as_array().unwrap().len();
    let filter = json!({"labels": {"project": "x"}, "type": "image.*", "state": ["ready", "running"]});
    let rehearsed = ask("/v1/jobs/cancel", json!({"filter": filter, "dry_run": true})).await;
    assert_eq!(rehearsed, json!({"matched": 4, "changed": 0, "more": false}));
    assert_eq!(states("state=cancelled").await, 0);
    let cancelled = ask("/v1/jobs/cancel", json!({"filter": filter, "by": "ada"})).await;
    assert_eq!(cancelled, json!({"matched": 4, "changed": 4, "more": false}));
    assert_eq!((states("state=cancelled").await, states("state=cancelled&label.project=x").await), (4, 4));
    let repeated = ask("/v1/jobs/cancel", json!({"filter": filter})).await;
    assert_eq!(repeated, json!({"matched": 0, "changed": 0, "more": false}));
    let nothing = ask("/v1/jobs/retry", json!({"filter": {"created_before": "2020-01-01T00:00:00Z"}})).await;
    assert_eq!(nothing["matched"], 0);
    let again = ask("/v1/jobs/retry", json!({"filter": {}, "all": true})).await;
    assert_eq!(again, json!({"matched": 4, "changed": 4, "more": false}));
    assert_eq!(states("state=ready").await, 7);
    server.stop().await;
}

/// Another program has the right to write, for longer than a worker is waited for.
#[tokio::test]
async fn what_is_answered_is_on_disk() {
    let server = Server::start().await;
    let (failed, waiting) = (server.submit_dispatched("a").await, server.submit(json!({"type": "b"})).await);
    server.start_job(failed).await;
    server.fail(failed, false).await;
    let other = Connection::open(server.database()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut answers = [
        job(retry(&server, failed), StatusCode::OK).boxed(),
        job(cancel(&server, waiting), StatusCode::OK).boxed(),
        job(server.post_empty("/v1/types/a/pause"), StatusCode::OK).boxed(),
    ];
    let early = timeout(LOCKED_FOR, select_all(&mut answers)).await;
    assert!(early.is_err(), "nothing can be stored, and this is answered: {}", early.unwrap().0);
    other.execute_batch("ROLLBACK").unwrap();
    let answers = join_all(answers).await;
    let [retried, cancelled, paused] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!((&retried["state"], &retried["attempt"]), (&json!("ready"), &json!(2)));
    assert_eq!((&cancelled["state"], &paused["paused"]["by"]), (&json!("cancelled"), &json!("anonymous")));
    server.stop().await;
}

#[tokio::test]
async fn a_store_that_cannot_work_changes_nothing() {
    let store = FailingStore(|| StoreError::Unavailable { reason: "the disk is full".to_owned() });
    let server = Server::start_with(Options { store: Some(Arc::new(store)), ..Options::default() }).await;
    for request in [
        server.post_empty(&format!("/v1/jobs/{NOBODY}/cancel")),
        server.post_empty(&format!("/v1/jobs/{NOBODY}/retry")),
        server.post("/v1/jobs/cancel", &json!({"all": true})),
        server.post_empty("/v1/types/a/pause"),
        server.get("/v1/quarantine"),
        server.delete("/v1/quarantine"),
        server.delete("/v1/quarantine/1"),
    ] {
        assert_eq!(problem(request).await["code"], "store-unavailable");
    }
    server.stop().await;
}
