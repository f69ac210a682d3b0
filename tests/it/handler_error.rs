//! A handler that fails: tried again with back-off, then failed; or failed at once when it says so.

use e2e::stack::Stack;
use serde_json::json;

#[tokio::test]
async fn an_error_is_retried_until_the_attempts_are_used_up() {
    let mut stack = Stack::start("errors").await.unwrap();
    let _worker = stack.worker(&["test.fail"], 2).await.unwrap();
    let parameters = json!({"message": "der Fehler heißt “später” – 失敗"});
    let job = json!({"type": "test.fail", "parameters": parameters, "max_attempts": 2});
    let id = stack.submit_job(job).await.unwrap();
    let waiting = stack.api.job_when(&id, |job| job["state"] == "scheduled").await.unwrap();
    assert_eq!((&waiting["attempt"], &waiting["waiting_for"]["reason"]), (&json!(2), &json!("due")));
    let failed = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!((&failed["state"], &failed["error"]["kind"]), (&json!("failed"), &json!("handler")));
    assert_eq!(failed["error"]["code"], "test_failure");
    assert_eq!(failed["error"]["message"], parameters["message"], "text arrives as it was written");
    let outcomes: Vec<_> = failed["attempts"].as_array().unwrap().iter().map(|a| &a["outcome"]).collect();
    assert_eq!(outcomes, [&json!("handler"), &json!("handler")]);
    assert_eq!(stack.api.metric("crewcall_job_attempts_total", "outcome=\"handler\"").await.unwrap(), 2.0);
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_later_attempt_may_succeed() {
    let mut stack = Stack::start("second-try").await.unwrap();
    let _worker = stack.worker(&["test.fail"], 2).await.unwrap();
    let id = stack.submit("test.fail", json!({"message": "not yet", "succeed_at": 2})).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(
        (&job["state"], &job["attempt"], &job["error"]),
        (&json!("completed"), &json!(2), &json!(null))
    );
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_permanent_error_is_not_retried() {
    let mut stack = Stack::start("permanent").await.unwrap();
    let _worker = stack.worker(&["test.fail"], 2).await.unwrap();
    let id = stack.submit("test.fail", json!({"message": "never", "permanent": true})).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!((&job["state"], job["attempts"].as_array().unwrap().len()), (&json!("failed"), 1));
    stack.settle().await.unwrap();
}
