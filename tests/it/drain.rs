//! A worker that is told to stop leaves nothing behind.

use e2e::stack::Stack;
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn a_worker_that_is_told_to_stop_finishes_what_it_runs_and_says_goodbye() {
    let mut stack = Stack::start("drain").await.unwrap();
    let mut worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let id = stack.submit("test.sleep", json!({"steps": 10, "step_ms": 150})).await.unwrap();
    let waiting = stack.submit("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    worker.signal(Signal::TERM).unwrap();
    let status = worker.wait().await.unwrap();
    assert!(status.success(), "{status}: {}", worker.log());
    assert_eq!(stack.api.wait_for_end(&id).await.unwrap()["state"], "completed");
    stack.api.json_when("/v1/workers", |answer| answer["workers"] == json!([])).await.unwrap();
    let handed_back = stack.api.job(&waiting).await.unwrap();
    assert_eq!(
        (&handed_back["state"], &handed_back["waiting_for"]["reason"]),
        (&json!("dispatched"), &json!("worker"))
    );
    let _other = stack.worker(&["test.sleep"], 1).await.unwrap();
    let job = stack.api.wait_for_end(&waiting).await.unwrap();
    assert_eq!(
        (&job["state"], &job["attempt"]),
        (&json!("completed"), &json!(1)),
        "handing back costs no attempt"
    );
    stack.settle().await.unwrap();
}
