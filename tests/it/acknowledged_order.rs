//! A worker that acknowledges an order, does not say that it holds it, and falls silent: nobody delivers that order
//! again, so the backend sends it once more.

use crewcall_proto::JobType;
use e2e::{raw_worker::RawWorker, stack::Stack};
use serde_json::json;

#[tokio::test]
async fn an_acknowledged_order_without_an_answer_is_sent_again_as_the_same_attempt() {
    let mut stack = Stack::start("swallowed").await.unwrap();
    let job_type = JobType::new("test.echo").unwrap();
    let raw_worker = RawWorker::start(&stack.amqp_url);
    raw_worker.announce(&job_type).await.unwrap();
    stack.api.served_by("test.echo", 1).await.unwrap();
    let id = stack.submit("test.echo", json!({"text": "sent again"})).await.unwrap();
    let taken = raw_worker.take(&job_type).await.unwrap();
    raw_worker.report_start(&taken).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    taken.delivery.ack().await.unwrap();
    drop(taken);
    raw_worker.vanish().await;
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    stack.settle().await.unwrap();
}
