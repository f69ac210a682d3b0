//! An order that comes again, and an answer that comes first (F80).

use crewcall_proto::{
    JobType, MessageKind, Timestamp,
    response::{ErrorKind, Failed},
};
use e2e::{process::PATIENCE, raw_worker::RawWorker, stack::Stack, wait::until};
use serde_json::json;

/// A worker reports its start and goes away. The broker gives its order to another, which fails at once; its own report of
/// the start is lost, or slower. The error counts: it ends the attempt, and nothing waits for the first worker's lease.
#[tokio::test]
async fn f80_an_error_to_a_redelivered_order_comes_before_its_start() {
    let mut stack = Stack::start("redelivered").await.unwrap();
    let job_type = JobType::new("test.refuse").unwrap();
    let (first, second) = (RawWorker::start(&stack.amqp_url), RawWorker::start(&stack.amqp_url));
    first.announce(&job_type).await.unwrap();
    second.announce(&job_type).await.unwrap();
    stack.api.served_by(job_type.as_str(), 2).await.unwrap();
    let id = stack.submit(job_type.as_str(), json!({})).await.unwrap();
    let taken = first.take(&job_type).await.unwrap();
    first.report_start(&taken).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    drop(taken);
    first.vanish().await;
    let again = second.take(&job_type).await.unwrap();
    assert!(again.delivery.redelivered, "it is the same order");
    let mut failed = Failed {
        job_id: again.order.job_id,
        attempt: again.order.attempt,
        attempt_token: again.order.attempt_token,
        execution_id: again.execution_id,
        worker_id: second.worker_id.clone(),
        kind: ErrorKind::Handler,
        code: None,
        message: "not here".to_owned(),
        detail: None,
        redelivered: None,
        retryable: false,
        retry_after_ms: None,
        started_at: None,
        finished_at: Timestamp::from_millis(1),
    };
    // Without the word it may be the error of a copy, and the first worker may be at work.
    second.respond(MessageKind::Error, &job_type, &failed).await.unwrap();
    let refused = async || stack.api.stale("reason=\"execution\"").await.unwrap() >= 1.0;
    until("the error of a copy is refused", PATIENCE, refused).await.unwrap();
    failed.redelivered = Some(true);
    second.respond(MessageKind::Error, &job_type, &failed).await.unwrap();
    again.delivery.ack().await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!((&job["state"], &job["error"]["message"]), (&json!("failed"), &json!("not here")), "{job}");
    assert_eq!(job["attempts"].as_array().map(Vec::len), Some(1), "{job}");
    let mut found = stack.settle().await.unwrap();
    second.vanish().await;
    found.hold("I1", "the error of the execution that had the order ended its job at once");
    found.hold("I4", "one attempt was charged, with the error that it had");
    found.print("F80 an error to a redelivered order comes before its start");
}
