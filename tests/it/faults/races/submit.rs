//! One submission, sent a hundred times at once (F58).

use std::collections::BTreeSet;

use e2e::{
    failpoints::{BackendFailpoint, dies_at},
    stack::{ProcessEnvironment, Stack},
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

/// How often it is sent at once.
const TIMES: usize = 100;

/// A hundred clients send the same submission under one key at once: one of them makes a job, all of them get
/// it. Another submission under that key is refused.
#[tokio::test]
async fn f58_a_hundred_submissions_with_one_key_are_one_job() {
    let mut stack = Stack::start("one-key").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let Sent { ids, created, unanswered } = send(&stack).await;
    assert_eq!((ids.len(), created, unanswered), (1, 1, 0));
    let other = json!({"type": "test.echo", "parameters": {"text": "twice"}}).to_string();
    let (status, problem) = stack.api.send(Method::POST, "/v1/jobs", other, &[KEY]).await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("idempotency-key-reused")), "{problem}");
    ids.iter().for_each(|id| stack.remember_accepted(id.clone()));
    let mut found = stack.settle().await.unwrap();
    let stored = jobs_stored(&stack);
    assert_eq!(stored, 1, "I6");
    found.hold(
        "I6",
        format_args!("{TIMES} submissions: {created} made a job, all got {ids:?}, {stored} is stored"),
    );
    found.print("F58 a hundred submissions with one key at once");
}

/// The same, and the backend dies when the first is on disk, before anybody is answered. Whoever got no
/// answer sends it again to the restarted backend, and all get that one job.
#[tokio::test]
async fn f58_one_key_outlives_the_backend() {
    let mut stack = Stack::start("one-key-killed").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    stack.set_environment(ProcessEnvironment::variables(&[(
        "FAILPOINTS",
        &dies_at(BackendFailpoint::JobStored.name(), 0),
    )]));
    stack.backend.kill().await.unwrap();
    stack.restart_backend().await.unwrap();
    let first = send(&stack).await;
    assert_eq!((first.ids.len(), first.unanswered), (0, TIMES), "nobody was answered");
    stack.backend.wait().await.unwrap();
    stack.set_environment(ProcessEnvironment::default());
    stack.restart_backend().await.unwrap();
    let stored_before = jobs_stored(&stack);
    assert_eq!(stored_before, 1, "I2: it was on disk");
    let again = send(&stack).await;
    assert_eq!((again.ids.len(), again.created, again.unanswered), (1, 0, 0), "I6");
    again.ids.iter().for_each(|id| stack.remember_accepted(id.clone()));
    let mut found = stack.settle().await.unwrap();
    let stored = jobs_stored(&stack);
    assert_eq!(stored, 1, "I6");
    found.hold(
        "I2",
        format_args!("the backend died with {stored_before} job on disk and {} unanswered", first.unanswered),
    );
    found.hold(
        "I6",
        format_args!("{TIMES} submissions again: {} made a job, all got {:?}", again.created, again.ids),
    );
    found.print("F58 a hundred submissions with one key, and the backend dies");
}

/// The key of all.
const KEY: (&str, &str) = ("Idempotency-Key", "order-4711");

/// What a hundred clients got.
#[derive(Default)]
struct Sent {
    ids: BTreeSet<String>,
    created: usize,
    unanswered: usize,
}

async fn send(stack: &Stack) -> Sent {
    let body = json!({"type": "test.echo", "parameters": {"text": "once"}}).to_string();
    let answers = (0..TIMES).map(|_| stack.api.send(Method::POST, "/v1/jobs", body.clone(), &[KEY]));
    let mut sent = Sent::default();
    for answer in join_all(answers).await {
        let Ok((status, job)) = answer else {
            sent.unanswered += 1;
            continue;
        };
        assert!(matches!(status.as_u16(), 200 | 201), "{status} {job}");
        sent.created += usize::from(status.as_u16() == 201);
        sent.ids.insert(job["id"].as_str().unwrap().to_owned());
    }
    sent
}

fn jobs_stored(stack: &Stack) -> i64 {
    let sql = rusqlite::Connection::open(stack.database()).unwrap();
    sql.query_row("SELECT count(*) FROM jobs", [], |row| row.get(0)).unwrap()
}
