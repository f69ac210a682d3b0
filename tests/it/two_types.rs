//! Two types, two workers: each job reaches a worker of its type.

use e2e::stack::Stack;
use serde_json::json;

#[tokio::test]
async fn each_job_goes_to_a_worker_of_its_type() {
    let mut stack = Stack::start("two-types").await.unwrap();
    let _first = stack.worker(&["test.echo"], 2).await.unwrap();
    let _second = stack.worker(&["test.other"], 2).await.unwrap();
    let mut expected = Vec::new();
    for number in 0..20 {
        let (job_type, worker) = [("test.echo", "worker-0"), ("test.other", "worker-1")][number % 2];
        let id = stack.submit(job_type, json!({"text": number.to_string()})).await.unwrap();
        expected.push((id, number.to_string(), worker));
    }
    for (id, text, worker) in expected {
        let job = stack.api.wait_for_end(&id).await.unwrap();
        assert_eq!(job["result"], json!({"text": text, "worker": worker}));
    }
    let page = stack.api.json("/v1/jobs?type=test.o*&limit=100").await.unwrap();
    assert_eq!(page["jobs"].as_array().unwrap().len(), 10);
    stack.settle().await.unwrap();
}

/// A worker of three types and one slot is busy for long; beside it one of two of the types is idle. No order waits at
/// the door of the busy one. When it is alone it does everything, one type after the other.
#[tokio::test]
async fn no_order_waits_at_a_busy_worker_beside_an_idle_one() {
    let mut stack = Stack::start("hoarding").await.unwrap();
    let _busy = stack.worker(&["test.sleep", "test.echo", "test.other"], 1).await.unwrap();
    let long = stack.submit("test.sleep", json!({"steps": 80, "step_ms": 250})).await.unwrap();
    stack.api.job_when(&long, |job| job["state"] == "running").await.unwrap();
    let mut idle = stack.worker(&["test.echo", "test.other"], 1).await.unwrap();
    for number in 0..8 {
        let job_type = ["test.echo", "test.other"][number % 2];
        let id = stack.submit(job_type, json!({"text": number.to_string()})).await.unwrap();
        let job = stack.api.wait_for_end(&id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
        let busy = stack.api.job(&long).await.unwrap();
        assert_eq!(busy["state"], "running", "the order waited for the worker that was busy: {job}");
    }
    idle.kill().await.unwrap();
    for number in 0..4 {
        stack.submit("test.sleep", json!({"steps": 3, "step_ms": 250})).await.unwrap();
        stack.submit("test.echo", json!({"text": number.to_string()})).await.unwrap();
        stack.submit("test.other", json!({"text": number.to_string()})).await.unwrap();
    }
    let found = stack.settle().await.unwrap();
    found.print("orders beside an idle worker");
}
