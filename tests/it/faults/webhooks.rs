//! Receivers that mean no good, and a backend that dies while it delivers (F56, F139).

use std::time::Duration;

use e2e::{receiver::Receiver, stack::Stack};
use serde_json::{Value, json};

use crate::webhooks::{checked, ended, opened, publish, received, started, webhook};

/// Within which time a message comes again after its backend died.
const AGAIN_WITHIN: Duration = Duration::from_secs(60);

async fn failed(stack: &Stack, number: usize) -> Vec<Value> {
    let jobs = ended(stack, number).await;
    jobs.into_iter().map(|job| job["error"].clone()).collect()
}

/// The first try of the only delivery, which waits for its next.
async fn first_error(stack: &Stack) -> Value {
    let path = "/v1/jobs?type=crewcall.webhook&state=scheduled";
    let there = |page: &Value| page["jobs"].as_array().is_some_and(|jobs| jobs.len() == 1);
    let page = stack.api.json_when_within(AGAIN_WITHIN, path, there).await.unwrap();
    page["jobs"][0]["error"].clone()
}

#[tokio::test]
async fn f56_a_receiver_points_inward() {
    let inward = Receiver::answering(&[]).await.unwrap();
    let points = format!(
        "HTTP/1.1 307 Elsewhere\r\nlocation: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        inward.url()
    );
    let receiver = Receiver::answering(&[&points]).await.unwrap();
    let mut stack = opened("f56-redirect").await;
    webhook(&stack, "shop", &receiver.url()).await;
    publish(&stack, json!({"id": 1})).await;
    let error = first_error(&stack).await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("redirects are not followed"), "{error}");
    assert!(!message.contains("hidden-key"), "{error}");
    received(&receiver, 2, AGAIN_WITHIN).await;
    assert!(inward.received().is_empty(), "nobody goes where a receiver points");
    ended(&stack, 1).await;
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn f56_a_name_leads_inward_when_it_is_connected_to() {
    let inward = Receiver::answering(&[]).await.unwrap();
    let mut stack = started("f56-name", &[]).await;
    webhook(&stack, "shop", &format!("https://localhost:{}/in", inward.port())).await;
    publish(&stack, json!({"id": 1})).await;
    let error = failed(&stack, 1).await.remove(0);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("is not an address of the public internet"), "{error}");
    assert!(inward.received().is_empty());
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn f139_the_backend_dies_between_the_answer_of_a_receiver_and_its_record() {
    let receiver = Receiver::answering(&[]).await.unwrap();
    let mut stack = opened("f139").await;
    let secret = webhook(&stack, "shop", &receiver.url()).await;
    receiver.hold();
    publish(&stack, json!({"id": 1})).await;
    received(&receiver, 1, AGAIN_WITHIN).await;
    stack.backend.kill().await.unwrap();
    receiver.let_go();
    stack.restart_backend().await.unwrap();
    let messages = received(&receiver, 2, AGAIN_WITHIN).await;
    assert_eq!(checked(&messages[0], &secret), checked(&messages[1], &secret), "its receiver can tell");
    let job = ended(&stack, 1).await.remove(0);
    assert_eq!(job["state"], "completed", "{job}");
    let found = stack.settle().await.unwrap();
    found.print("F139 the backend dies between the answer of a receiver and its record");
}
