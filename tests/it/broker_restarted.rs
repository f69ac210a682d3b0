//! The broker is killed and comes back while jobs go in and are worked on: none is lost, none is done twice.

use e2e::{broker, stack::Stack};
use serde_json::json;

/// Enough to be submitted before, during and after the outage.
const JOBS: usize = 400;

#[tokio::test]
async fn jobs_submitted_around_a_restart_of_the_broker_are_all_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = broker::own_broker(&folder).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    let _workers =
        [stack.worker(&["test.echo"], 4).await.unwrap(), stack.worker(&["test.echo"], 4).await.unwrap()];
    let mut ids = Vec::new();
    for number in 0..JOBS {
        if number == JOBS / 4 {
            node.sync().await.unwrap();
            node.kill().await.unwrap();
        }
        if number == JOBS / 2 {
            let (status, body) = stack.api.get("/readyz").await.unwrap();
            assert_eq!(status.as_u16(), 503, "the broker is away: {body}");
            node.restart().await.unwrap();
        }
        ids.push(stack.submit("test.echo", json!({"text": number.to_string()})).await.unwrap());
    }
    for (number, id) in ids.iter().enumerate() {
        let job = stack.api.finished(id).await.unwrap();
        assert_eq!(
            (&job["state"], &job["result"]["text"]),
            (&json!("completed"), &json!(number.to_string()))
        );
        assert_eq!(job["attempt"], 1, "an outage of the broker costs no attempt");
    }
    stack.settled().await.unwrap();
    node.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_broker_submissions_are_accepted_and_wait() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = broker::own_broker(&folder).await.unwrap();
    node.kill().await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    let id = stack.submit("test.echo", json!({"text": "patience"})).await.unwrap();
    let job = stack.api.job(&id).await.unwrap();
    assert_eq!((&job["state"], &job["waiting_for"]["reason"]), (&json!("ready"), &json!("broker")), "{job}");
    let (status, readiness) = stack.api.get("/readyz").await.unwrap();
    assert_eq!(status.as_u16(), 503);
    assert!(readiness.contains("refused"), "it says why: {readiness}");
    assert_eq!(stack.api.get("/livez").await.unwrap().0.as_u16(), 200);
    node.restart().await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    assert_eq!(stack.api.finished(&id).await.unwrap()["state"], "completed");
    stack.settled().await.unwrap();
    node.stop().await.unwrap();
}
