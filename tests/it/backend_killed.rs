//! The backend is killed and started again with jobs in every state: each goes on where it was.

use e2e::stack::Stack;
use serde_json::json;

#[tokio::test]
async fn jobs_in_flight_survive_the_backend() {
    let mut stack = Stack::start("backend-killed").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.sleep", "test.fail"], 4).await.unwrap();
    let running = stack.submit("test.sleep", json!({"steps": 40, "step_ms": 100})).await.unwrap();
    let parked = stack.submit("test.other", json!({"text": "late"})).await.unwrap();
    let scheduled = json!({"type": "test.fail", "parameters": {"message": "once", "succeed_at": 2}});
    let scheduled = stack.submit_job(scheduled).await.unwrap();
    stack.api.job_when(&running, |job| job["state"] == "running").await.unwrap();
    stack.api.job_when(&parked, |job| job["state"] == "unroutable").await.unwrap();
    stack.api.job_when(&scheduled, |job| job["state"] == "scheduled").await.unwrap();
    let mut short = Vec::new();
    for number in 0..50 {
        short.push(stack.submit("test.echo", json!({"text": number.to_string()})).await.unwrap());
    }
    stack.backend.kill().await.unwrap();
    stack.restart_backend().await.unwrap();
    for (number, id) in short.iter().enumerate() {
        let job = stack.api.finished(id).await.unwrap();
        assert_eq!(
            (&job["state"], &job["result"]["text"]),
            (&json!("completed"), &json!(number.to_string()))
        );
    }
    let job = stack.api.finished(&running).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    assert_eq!(stack.api.finished(&scheduled).await.unwrap()["state"], "completed");
    // The worker is known again, without having been started again.
    stack.api.served_by("test.echo", 1).await.unwrap();
    assert_eq!(stack.api.job(&parked).await.unwrap()["state"], "unroutable");
    let _late = stack.worker(&["test.other"], 1).await.unwrap();
    stack.settled().await.unwrap();
}

#[tokio::test]
async fn a_backend_that_is_killed_again_and_again_loses_nothing() {
    let mut stack = Stack::start("backend-again").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 4).await.unwrap();
    let mut ids = Vec::new();
    for _round in 0..3 {
        for _job in 0..40 {
            ids.push(stack.submit("test.sleep", json!({"steps": 2, "step_ms": 5})).await.unwrap());
        }
        stack.backend.kill().await.unwrap();
        stack.restart_backend().await.unwrap();
    }
    for id in &ids {
        assert_eq!(stack.api.finished(id).await.unwrap()["state"], "completed");
    }
    stack.settled().await.unwrap();
}
