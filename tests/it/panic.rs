//! A handler that panics, and one that takes its whole process with it: the worker's other jobs go on.

use e2e::stack::Stack;
use serde_json::json;

#[tokio::test]
async fn a_panic_ends_the_attempt_and_not_the_worker() {
    let mut stack = Stack::start("panic").await.unwrap();
    let _worker = stack.worker(&["test.panic", "test.echo"], 2).await.unwrap();
    let job = json!({"type": "test.panic", "parameters": {}, "max_attempts": 1});
    let id = stack.submit_job(job).await.unwrap();
    let failed = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!((&failed["state"], &failed["error"]["kind"]), (&json!("failed"), &json!("panic")), "{failed}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("this handler panics"), "{failed}");
    assert!(failed["error"]["detail"].as_str().unwrap().contains("test-worker.rs:"), "where: {failed}");
    let next = stack.submit("test.echo", json!({"text": "still here"})).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&next).await.unwrap()["result"]["worker"], "worker-0");
    stack.settle().await.unwrap();
}
