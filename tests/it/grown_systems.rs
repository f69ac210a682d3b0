//! What grown systems did with events, done here: on broker, store and processes.

use std::time::Duration;

use e2e::{stack::Stack, wait::until};
use serde_json::{Value, json};

/// How long consumers may take to see everything and have their jobs done.
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// How many orders are cancelled, and how many created.
const CANCELLED: usize = 999;
const CREATED: usize = 5;

async fn consume(stack: &Stack, name: &str, subject: &str, job: Value) {
    let consumer = json!({"subjects": [subject], "start": "oldest", "then": {"job": job}});
    stack.api.put_consumer(name, &consumer).await.unwrap();
}

async fn ask(stack: &Stack, path: &str, body: Value) -> Value {
    let (status, answer) = stack.api.post(path, body).await.unwrap();
    assert!(status.is_success(), "{path}: {answer}");
    answer
}

async fn publish(stack: &Stack, subject: &str, numbers: std::ops::Range<usize>) {
    let events: Vec<Value> =
        numbers.map(|number| json!({"subject": subject, "data": {"number": number}})).collect();
    let answer = ask(stack, "/v1/events/batch", json!(events)).await;
    assert_eq!(answer["refused"], 0, "{answer}");
}

/// Waits until the consumer has made so many jobs, and all of them are over.
async fn has_made(stack: &Stack, consumer: &str, jobs: usize) {
    let made = format!("SELECT count(*) FROM job_causes WHERE consumer = '{consumer}'");
    let open = "SELECT count(*) FROM jobs WHERE state NOT IN ('completed', 'failed', 'cancelled')";
    until(&format!("{consumer} made {jobs} jobs"), DONE_WITHIN, async || {
        stack.query(&made).unwrap() == i64::try_from(jobs).unwrap() && stack.query(open).unwrap() == 0
    })
    .await
    .unwrap();
}

/// A queue of events in the manner of `KanthorQ`: each consumer gets each event of its subjects once, tries it as often as it is
/// told to, can be held and let go on, and goes through a part once more when it is asked to.
#[tokio::test]
async fn each_consumer_gets_each_event() {
    let mut stack = Stack::start("grown").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.fail"], 16).await.unwrap();
    let echo = json!({"type": "test.echo", "parameters": {"text": "order ${{ event.data.number }}"}});
    publish(&stack, "order.cancelled", 0..CANCELLED).await;
    publish(&stack, "order.created", 0..CREATED).await;
    consume(&stack, "refunds", "order.cancelled", echo.clone()).await;
    consume(&stack, "stock", "order.cancelled", echo).await;
    let failing = json!({
        "type": "test.fail",
        "parameters": {"message": "order ${{ event.data.number }}"},
        "max_attempts": 2,
        "backoff": {"initial_seconds": 0.1},
    });
    consume(&stack, "greetings", "order.created", failing).await;
    has_made(&stack, "refunds", CANCELLED).await;
    has_made(&stack, "stock", CANCELLED).await;
    has_made(&stack, "greetings", CREATED).await;
    let attempts =
        "SELECT count(*) FROM attempts JOIN job_causes USING (job_seq) WHERE consumer = 'greetings'";
    assert_eq!(stack.query(attempts).unwrap(), i64::try_from(CREATED * 2).unwrap(), "each has two attempts");

    // Held, one of them waits, and misses nothing when it goes on.
    ask(&stack, "/v1/consumers/stock/pause", json!({"by": "somebody"})).await;
    publish(&stack, "order.cancelled", CANCELLED..CANCELLED + 1).await;
    has_made(&stack, "refunds", CANCELLED + 1).await;
    has_made(&stack, "stock", CANCELLED).await;
    ask(&stack, "/v1/consumers/stock/resume", json!({})).await;
    has_made(&stack, "stock", CANCELLED + 1).await;

    // Once more, for a part of the log: beside what comes.
    let replay = ask(&stack, "/v1/consumers/refunds/replay", json!({"after": 100, "to": 110})).await;
    assert!(replay["replay"].is_u64(), "{replay}");
    publish(&stack, "order.cancelled", CANCELLED + 1..CANCELLED + 2).await;
    has_made(&stack, "refunds", CANCELLED + 2 + 10).await;
    let of = "SELECT count(*) FROM job_causes WHERE consumer = 'refunds' AND sequence BETWEEN 101 AND 110";
    assert_eq!(stack.query(of).unwrap(), 20);
    stack.settle().await.unwrap();
}
