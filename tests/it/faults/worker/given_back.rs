//! A handler that cannot work here gives its order back.

use e2e::stack::Stack;
use serde_json::json;

/// One of two workers gives every order of a type back. The other one gets it; while there is none, the job says why it
/// comes back, and ends as what it is in the end.
#[tokio::test]
async fn f108_a_handler_gives_its_order_back() {
    let mut stack = Stack::start("f108").await.unwrap();
    let journal = stack.journal();
    stack.worker_setting("TEST_WORKER_JOURNAL", journal.to_str().unwrap());
    let picky = json!({"type": "test.picky", "max_attempts": 1, "parameters": {"only": "worker-1"}});
    let _unable = stack.worker(&["test.picky"], 1).await.unwrap();
    let id = stack.submit_job(picky).await.unwrap();
    let why = "handed back: worker-0 cannot load the model";
    let job = stack.api.job_when(&id, |job| job["progress"]["message"] == why).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("dispatched"), &json!(1)), "{job}");
    let _able = stack.worker(&["test.picky"], 1).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(
        (&job["state"], &job["attempt"], &job["result"]["worker"]),
        (&json!("completed"), &json!(1), &json!("worker-1")),
        "{job}"
    );
    let executions = std::fs::read_to_string(&journal).unwrap();
    let unable = executions.matches("worker-0").count();
    assert!(unable <= 3, "the order went to the same worker again and again:\n{executions}");

    let nobody = json!({"type": "test.picky", "max_attempts": 1, "parameters": {"only": "nobody"}});
    let id = stack.submit_job(nobody).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!((&job["state"], &job["error"]["kind"]), (&json!("failed"), &json!("crash_loop")), "{job}");
    let (message, detail) = (job["error"]["message"].to_string(), job["error"]["detail"].to_string());
    assert!(message.contains("handed it back") && detail.contains("cannot load the model"), "{job}");
    let mut found = stack.settle().await.unwrap();
    found.hold("I4", format_args!("a worker gave an order back {unable} times, the other one did its job"));
    found.hold("I9", format_args!("the job said {why:?}, and in the end {message}"));
    found.print("F108 a handler gives its order back");
}
