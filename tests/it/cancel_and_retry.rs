//! Cancelling jobs wherever they are, and trying them again, one by one and in bulk.

use e2e::stack::Stack;
use serde_json::{Value, json};

#[tokio::test]
async fn what_waits_is_cancelled_at_once() {
    let mut stack = Stack::start("cancel-waiting").await.unwrap();
    let unroutable = stack.submit("test.echo", json!({"text": "unroutable"})).await.unwrap();
    stack.api.job_when(&unroutable, |job| job["state"] == "unroutable").await.unwrap();
    let scheduled = json!({"type": "test.echo", "parameters": {"text": "later"}, "delay_seconds": 600});
    let scheduled = stack.submit_job(scheduled).await.unwrap();
    for id in [&unroutable, &scheduled] {
        let who = json!({"by": "anna", "reason": "a test"});
        let (status, job) = stack.api.post(&format!("/v1/jobs/{id}/cancel"), who).await.unwrap();
        assert_eq!((status.as_u16(), &job["state"]), (200, &json!("cancelled")), "{job}");
        assert_eq!(
            (&job["cancellation"]["by"], &job["cancellation"]["reason"]),
            (&json!("anna"), &json!("a test"))
        );
        let (again, job) =
            stack.api.post(&format!("/v1/jobs/{id}/cancel"), json!({"by": "ben"})).await.unwrap();
        assert_eq!(
            (again.as_u16(), &job["cancellation"]["by"]),
            (200, &json!("anna")),
            "the first one counts"
        );
    }
    let unknown = "/v1/jobs/0197c0c0-0000-7000-8000-000000000000/cancel";
    assert_eq!(stack.api.post(unknown, json!({})).await.unwrap().0.as_u16(), 404);
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let (status, job) = stack.api.post(&format!("/v1/jobs/{unroutable}/retry"), json!({})).await.unwrap();
    assert_eq!(status.as_u16(), 200, "{job}");
    let done = stack.api.wait_for_end(&unroutable).await.unwrap();
    assert_eq!(done["state"], "completed", "a cancelled job can be tried again: {done}");
    for what in ["cancel", "retry"] {
        let (status, problem) =
            stack.api.post(&format!("/v1/jobs/{unroutable}/{what}"), json!({})).await.unwrap();
        assert_eq!((status.as_u16(), &problem["state"]), (409, &json!("completed")), "{what}: {problem}");
    }
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_running_job_is_told_and_stops() {
    let mut stack = Stack::start("cancel-running").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let id = stack.submit("test.sleep", json!({"steps": 400, "step_ms": 50})).await.unwrap();
    let behind = stack.submit("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    let (status, _) = stack.api.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await.unwrap();
    assert_eq!(status.as_u16(), 202);
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(
        (&job["state"], &job["attempts"][0]["outcome"]),
        (&json!("cancelled"), &json!("cancelled")),
        "{job}"
    );
    assert_eq!(
        stack.api.wait_for_end(&behind).await.unwrap()["state"],
        "completed",
        "the slot is free again"
    );
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_dispatched_order_is_revoked() {
    let mut stack = Stack::start("cancel-dispatched").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let first = stack.submit("test.sleep", json!({"steps": 20, "step_ms": 100})).await.unwrap();
    let journal = stack.journal();
    let parameters = json!({"steps": 1, "step_ms": 1, "journal": journal});
    let waiting = stack.submit("test.sleep", parameters).await.unwrap();
    stack.api.job_when(&first, |job| job["state"] == "running").await.unwrap();
    let (status, job) = stack.api.post(&format!("/v1/jobs/{waiting}/cancel"), json!({})).await.unwrap();
    assert_eq!((status.as_u16(), &job["state"]), (200, &json!("cancelled")), "{job}");
    let last = stack.submit("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&last).await.unwrap()["state"], "completed");
    assert!(!journal.exists(), "a revoked order was run");
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn bulk_changes_are_rehearsed_and_then_done() {
    let mut stack = Stack::start("bulk").await.unwrap();
    for number in 0..30 {
        let project = if number % 3 == 0 { "keep" } else { "drop" };
        let job = json!({"type": "test.bulk", "labels": {"project": project}});
        let id = stack.submit_job(job).await.unwrap();
        stack.api.job_when(&id, |job| job["state"] == "unroutable").await.unwrap();
    }
    let count = async |api: &e2e::api::Api, state: &str| -> usize {
        let page = api.json(&format!("/v1/jobs?state={state}&limit=100")).await.unwrap();
        page["jobs"].as_array().unwrap().len()
    };
    let request =
        |dry_run| json!({"filter": {"labels": {"project": "drop"}}, "dry_run": dry_run, "by": "anna"});
    let outcome = |matched, changed| (200, json!({"matched": matched, "changed": changed, "more": false}));
    let cancel = async |body: Value| {
        let (status, answer) = stack.api.post("/v1/jobs/cancel", body).await.unwrap();
        (status.as_u16(), answer)
    };
    assert_eq!(cancel(request(true)).await, outcome(20, 0));
    assert_eq!(count(&stack.api, "cancelled").await, 0, "a rehearsal changes nothing");
    assert_eq!(cancel(request(false)).await, outcome(20, 20));
    assert_eq!(count(&stack.api, "cancelled").await, 20);
    assert_eq!(cancel(json!({"filter": {}})).await.0, 422, "everything has to be asked for by name");
    let (_, retried) = stack.api.post("/v1/jobs/retry", json!({"filter": {"type": "test.*"}})).await.unwrap();
    assert_eq!(retried["changed"], 20, "{retried}");
    assert_eq!(cancel(json!({"all": true})).await, outcome(30, 30));
    stack.settle().await.unwrap();
}
