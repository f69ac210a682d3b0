//! Responses from somebody who never received the order: refused, counted, and no job is changed.

use crewcall_amqp::{LinkConfig, MessageProperties, OutboundMessage, Publisher, PublisherOptions};
use crewcall_proto::{
    Attempt, AttemptToken, ContentType, ExecutionId, JobId, JobType, MessageKind, Timestamp, Topology,
    WorkerId, encode, response::Completed,
};
use e2e::stack::Stack;
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[tokio::test]
async fn a_forged_result_concludes_nothing() {
    let mut stack = Stack::start("forged").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let id = stack.submit("test.sleep", json!({"steps": 10, "step_ms": 200})).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let link = LinkConfig::new(stack.amqp_url.clone(), "rogue");
    let rogue = Publisher::start(link, Vec::new(), PublisherOptions::default(), &stop, &tracker);
    let names = Topology::default();
    let job_type = JobType::new("test.sleep").unwrap();
    for job_id in [id.parse().unwrap(), JobId::generate()] {
        let forged = Completed {
            job_id,
            attempt: Attempt::FIRST,
            attempt_token: AttemptToken::generate(),
            execution_id: ExecutionId::generate(),
            worker_id: WorkerId::generate(),
            result: json!("forged"),
            started_at: Timestamp::from_millis(0),
            finished_at: Timestamp::from_millis(1),
        };
        let message = OutboundMessage {
            exchange: names.response_exchange(),
            routing_key: names.response_key(MessageKind::Completed, &job_type),
            body: encode(ContentType::Json, &forged).unwrap().into(),
            properties: MessageProperties {
                content_type: Some(ContentType::Json.as_str().to_owned()),
                persistent: true,
                ..MessageProperties::default()
            },
            mandatory: true,
        };
        rogue.publish(message).await.unwrap();
    }
    rogue.close().await;
    let job = stack.api.finished(&id).await.unwrap();
    assert_eq!(job["result"]["steps"], 10, "{job}");
    assert_eq!(stack.api.metric("crewcall_responses_stale_total", "reason=\"token\"").await.unwrap(), 1.0);
    assert_eq!(
        stack.api.metric("crewcall_responses_stale_total", "reason=\"unknown_job\"").await.unwrap(),
        1.0
    );
    stack.settled().await.unwrap();
}
