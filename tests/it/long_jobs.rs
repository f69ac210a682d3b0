//! Jobs that run for longer than the broker waits for an acknowledgement.

use e2e::{broker, stack::Stack};
use serde_json::json;

/// The broker's acknowledgement timeout is half an hour; a test has not that long.
const SHORT_TIMEOUT: &str = "application:set_env(rabbit, consumer_timeout, 3000), \
    application:set_env(rabbit, channel_tick_interval, 1000).";

#[tokio::test]
async fn a_job_outlives_the_acknowledgement_timeout_and_a_restart_of_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = broker::own_broker(&folder).await.unwrap();
    node.ctl(&["eval", SHORT_TIMEOUT]).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    stack.worker_setting("CREWCALL_HAND_OVER_SECONDS", "1");
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let journal = stack.folder().join("journal");
    let parameters = json!({"steps": 100, "step_ms": 250, "journal": journal});
    let id = stack.submit("test.sleep", parameters).await.unwrap();
    // Long enough for the timeout to strike, had the order not been acknowledged.
    stack.api.job_when(&id, |job| job["progress"]["percent"].as_u64() >= Some(30)).await.unwrap();
    node.restart().await.unwrap();
    let job = stack.api.finished(&id).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    let executions = std::fs::read_to_string(journal).unwrap();
    assert_eq!(executions, format!("{id} 1 worker-0\n"), "it ran once");
    stack.settled().await.unwrap();
    node.stop().await.unwrap();
}

#[tokio::test]
async fn two_workers_share_long_jobs_and_neither_hoards_one() {
    let mut stack = Stack::start("long").await.unwrap();
    stack.worker_setting("CREWCALL_HAND_OVER_SECONDS", "1");
    let _first = stack.worker(&["test.sleep"], 1).await.unwrap();
    let _second = stack.worker(&["test.sleep"], 1).await.unwrap();
    let mut ids = Vec::new();
    for _job in 0..10 {
        ids.push(stack.submit("test.sleep", json!({"steps": 10, "step_ms": 250})).await.unwrap());
    }
    let mut by_worker = [0, 0];
    for id in &ids {
        let job = stack.api.finished(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
        by_worker[usize::from(job["result"]["worker"] == "worker-1")] += 1;
    }
    assert_eq!(by_worker, [5, 5], "with equal jobs, neither waits beside a backlog");
    stack.settled().await.unwrap();
}
