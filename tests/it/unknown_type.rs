//! A type that nobody serves: the job is parked, says so, and is done when its worker comes.

use e2e::stack::Stack;
use serde_json::json;

#[tokio::test]
async fn a_job_of_an_unknown_type_waits_for_its_worker() {
    let mut stack = Stack::start("unknown").await.unwrap();
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(stack.submit("test.echo", json!({"text": number.to_string()})).await.unwrap());
    }
    for id in &ids {
        let parked = stack.api.job_when(id, |job| job["state"] == "unroutable").await.unwrap();
        assert_eq!(parked["waiting_for"]["reason"], "first_worker");
        assert_eq!(
            parked["waiting_for"]["message"],
            "waits for a worker of type test.echo: none has ever announced it"
        );
    }
    let listed = stack.api.json("/v1/types/test.echo").await.unwrap();
    assert_eq!((&listed["announced"], &listed["jobs"]["unroutable"]), (&json!(false), &json!(5)));
    let _worker = stack.worker(&["test.echo"], 2).await.unwrap();
    for id in &ids {
        let job = stack.api.finished(id).await.unwrap();
        assert_eq!(
            (&job["state"], &job["attempt"]),
            (&json!("completed"), &json!(1)),
            "parking costs no attempt"
        );
    }
    stack.settled().await.unwrap();
}
