//! Time: jobs that wait for theirs, expire, or run too long.

use crewcall_proto::JobType;
use e2e::{raw_worker::RawWorker, stack::Stack};
use serde_json::json;

#[tokio::test]
async fn a_delayed_job_waits_for_its_time() {
    let mut stack = Stack::start("delay").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let job = json!({"type": "test.echo", "parameters": {"text": "later"}, "delay_seconds": 2});
    let id = stack.submit_job(job).await.unwrap();
    let waiting = stack.api.job(&id).await.unwrap();
    assert_eq!((&waiting["state"], &waiting["waiting_for"]["reason"]), (&json!("scheduled"), &json!("due")));
    let done = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(done["state"], "completed");
    let (due, started) = (done["due_at"].as_str().unwrap(), done["started_at"].as_str().unwrap());
    assert!(started >= due, "it began at {started}, before {due}");
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_job_that_is_not_started_in_time_expires() {
    let mut stack = Stack::start("expiry").await.unwrap();
    let soon = "2000-01-01T00:00:00Z";
    let past = json!({"type": "test.echo", "parameters": {"text": "x"}, "expires_at": soon});
    let (status, problem) = stack.api.post_job(past.to_string()).await.unwrap();
    assert_eq!((status.as_u16(), &problem["errors"][0]["pointer"]), (422, &json!("/expires_at")));
    let soon = stack.from_now(2).await.unwrap();
    let job = json!({"type": "test.echo", "parameters": {"text": "x"}, "expires_at": soon});
    let id = stack.submit_job(job).await.unwrap();
    let failed = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(
        (&failed["state"], &failed["error"]["kind"]),
        (&json!("failed"), &json!("expired")),
        "{failed}"
    );
    assert_eq!(failed["attempts"], json!([]), "nothing was tried");
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn an_attempt_that_runs_too_long_is_stopped_by_its_worker() {
    let mut stack = Stack::start("timeout").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let job = json!({
        "type": "test.sleep",
        "parameters": {"steps": 1000, "step_ms": 50},
        "timeout_seconds": 1,
        "max_attempts": 1,
    });
    let id = stack.submit_job(job).await.unwrap();
    let failed = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(
        (&failed["state"], &failed["error"]["kind"]),
        (&json!("failed"), &json!("timeout")),
        "{failed}"
    );
    assert_eq!(failed["attempts"][0]["worker_id"], "worker-0");
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_does_not_stop_is_overruled() {
    let mut stack = Stack::start("deaf").await.unwrap();
    let job_type = JobType::new("test.deaf").unwrap();
    let raw_worker = RawWorker::start(&stack.amqp_url);
    raw_worker.announce(&job_type).await.unwrap();
    stack.api.served_by("test.deaf", 1).await.unwrap();
    let job = json!({"type": "test.deaf", "timeout_seconds": 1, "max_attempts": 1});
    let id = stack.submit_job(job).await.unwrap();
    let taken = raw_worker.take(&job_type).await.unwrap();
    assert_eq!(taken.order.timeout_ms, Some(1_000));
    raw_worker.report_start(&taken).await.unwrap();
    let failed = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(
        (&failed["state"], &failed["error"]["kind"]),
        (&json!("failed"), &json!("timeout")),
        "{failed}"
    );
    taken.delivery.ack().await.unwrap();
    raw_worker.vanish().await;
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_job_brings_its_own_back_off() {
    let mut stack = Stack::start("backoff").await.unwrap();
    let _worker = stack.worker(&["test.fail"], 1).await.unwrap();
    let job = json!({
        "type": "test.fail",
        "parameters": {"message": "again", "succeed_at": 4},
        "backoff": {"initial_seconds": 0.1, "factor": 1, "jitter": 0},
    });
    let id = stack.submit_job(job).await.unwrap();
    let done = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!((&done["state"], &done["attempt"]), (&json!("completed"), &json!(4)), "{done}");
    let absurd = json!({"type": "test.fail", "backoff": {"factor": 0.5}, "timeout_seconds": -1});
    let (status, problem) = stack.api.post_job(absurd.to_string()).await.unwrap();
    let mut pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    pointers.sort_unstable();
    assert_eq!((status.as_u16(), pointers), (422, vec!["/backoff/factor", "/timeout_seconds"]));
    stack.settle().await.unwrap();
}
