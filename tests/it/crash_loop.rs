//! A job that ends its worker's process stops after a bounded number of deliveries, and the others go on.

use e2e::stack::Stack;
use serde_json::json;

#[tokio::test]
async fn a_job_that_kills_its_worker_is_given_up() {
    let mut stack = Stack::start("crash-loop").await.unwrap();
    let id =
        stack.submit_job(json!({"type": "test.abort", "parameters": {}, "max_attempts": 1})).await.unwrap();
    let mut crashes = 0;
    loop {
        let worker = stack.worker_process(&["test.abort", "test.echo"], 1).unwrap();
        tokio::select! {
            crashed = async { let mut worker = worker; worker.wait().await } => {
                assert!(!crashed.unwrap().success());
                crashes += 1;
                assert!(crashes <= 10, "the job is delivered without end");
            }
            failed = stack.api.finished(&id) => {
                let failed = failed.unwrap();
                assert_eq!((&failed["state"], &failed["error"]["kind"]), (&json!("failed"), &json!("crash_loop")));
                break;
            }
        }
    }
    assert!(crashes >= 2, "it was tried again: {crashes}");
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let next = stack.submit("test.echo", json!({"text": "still here"})).await.unwrap();
    assert_eq!(stack.api.finished(&next).await.unwrap()["state"], "completed");
    stack.settled().await.unwrap();
}
