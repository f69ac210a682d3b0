//! A worker that falls silent with an attempt whose order it already acknowledged: nobody delivers that order
//! again, so the backend rescues the job when the lease runs out.

use crewcall_proto::JobType;
use e2e::{rogue::Rogue, stack::Stack};
use serde_json::json;

#[tokio::test]
async fn a_held_attempt_is_lost_with_its_worker_and_the_job_is_done_by_another() {
    let mut stack = Stack::start("held").await.unwrap();
    let job_type = JobType::new("test.echo").unwrap();
    let rogue = Rogue::start(&stack.amqp_url);
    rogue.announce(&job_type).await.unwrap();
    stack.api.served_by("test.echo", 1).await.unwrap();
    let id = stack.submit("test.echo", json!({"text": "rescued"})).await.unwrap();
    let taken = rogue.take(&job_type).await.unwrap();
    rogue.started(&taken).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    rogue.hold(&taken).await.unwrap();
    rogue.heartbeat(&taken, true).await.unwrap();
    drop(taken);
    rogue.vanish().await;
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let job = stack.api.finished(&id).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(2)), "{job}");
    assert_eq!(job["attempts"][0]["outcome"], "worker_lost", "{job}");
    let workers = stack.api.json("/v1/workers").await.unwrap();
    let lost =
        workers["workers"].as_array().unwrap().iter().find(|worker| worker["name"] == "rogue").unwrap();
    assert_eq!(lost["status"], "lost");
    stack.settled().await.unwrap();
}

#[tokio::test]
async fn an_acknowledged_order_without_an_answer_is_sent_again_as_the_same_attempt() {
    let mut stack = Stack::start("swallowed").await.unwrap();
    let job_type = JobType::new("test.echo").unwrap();
    let rogue = Rogue::start(&stack.amqp_url);
    rogue.announce(&job_type).await.unwrap();
    stack.api.served_by("test.echo", 1).await.unwrap();
    let id = stack.submit("test.echo", json!({"text": "sent again"})).await.unwrap();
    let taken = rogue.take(&job_type).await.unwrap();
    rogue.started(&taken).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    taken.delivery.ack().await.unwrap();
    drop(taken);
    rogue.vanish().await;
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let job = stack.api.finished(&id).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    stack.settled().await.unwrap();
}
