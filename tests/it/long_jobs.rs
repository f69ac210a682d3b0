//! Jobs that run for long take their slots, and no more.

use e2e::stack::Stack;
use serde_json::json;

#[tokio::test]
async fn two_workers_share_long_jobs_and_neither_hoards_one() {
    let mut stack = Stack::start("long").await.unwrap();
    stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "1");
    let _first = stack.worker(&["test.sleep"], 1).await.unwrap();
    let _second = stack.worker(&["test.sleep"], 1).await.unwrap();
    let mut ids = Vec::new();
    for _job in 0..10 {
        ids.push(stack.submit("test.sleep", json!({"steps": 10, "step_ms": 250})).await.unwrap());
    }
    let mut by_worker = [0, 0];
    for id in &ids {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
        by_worker[usize::from(job["result"]["worker"] == "worker-1")] += 1;
    }
    assert_eq!(by_worker, [5, 5], "with equal jobs, neither waits beside a backlog");
    stack.settle().await.unwrap();
}
