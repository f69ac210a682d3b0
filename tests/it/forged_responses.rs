//! Responses from somebody who never received the order: refused, counted, and no job is changed.

use crewcall_proto::{
    Attempt, AttemptToken, ExecutionId, JobId, JobType, MessageKind, Timestamp, response::Completed,
};
use e2e::{rogue::Rogue, stack::Stack};
use serde_json::json;

#[tokio::test]
async fn a_forged_result_concludes_nothing() {
    let mut stack = Stack::start("forged").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let id = stack.submit("test.sleep", json!({"steps": 10, "step_ms": 200})).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    let rogue = Rogue::start(&stack.amqp_url);
    let job_type = JobType::new("test.sleep").unwrap();
    for job_id in [id.parse().unwrap(), JobId::generate()] {
        let forged = Completed {
            job_id,
            attempt: Attempt::FIRST,
            attempt_token: AttemptToken::generate(),
            execution_id: ExecutionId::generate(),
            worker_id: rogue.worker_id.clone(),
            result: json!("forged"),
            started_at: Timestamp::from_millis(0),
            finished_at: Timestamp::from_millis(1),
        };
        rogue.respond(MessageKind::Completed, &job_type, &forged).await.unwrap();
    }
    let job = stack.api.finished(&id).await.unwrap();
    assert_eq!(job["result"]["steps"], 10, "{job}");
    assert_eq!(stack.api.metric("crewcall_responses_stale_total", "reason=\"token\"").await.unwrap(), 1.0);
    assert_eq!(
        stack.api.metric("crewcall_responses_stale_total", "reason=\"unknown_job\"").await.unwrap(),
        1.0
    );
    rogue.vanish().await;
    stack.settled().await.unwrap();
}
