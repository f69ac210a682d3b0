//! An order that is lost while others of its type wait (F79).

use std::time::Duration;

use crewcall_proto::JobType;
use e2e::{raw_worker::RawWorker, stack::Stack};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// How many jobs wait at any time: more than are with the broker, so that its queue is never empty.
const BACKLOG: usize = 100;

/// How long the lost order may take to be found: 45 s until it is missed, two windows of others after it, and some.
const FOUND_WITHIN: Duration = Duration::from_secs(150);

/// Somebody takes one order, acknowledges it and goes away, while the type has a backlog that never ends. The order is
/// found, because later ones overtake it, and sent again: its job is done long before the backlog is. None of the
/// others runs twice.
#[tokio::test]
async fn f79_an_order_is_lost_under_a_backlog() {
    let mut stack = Stack::start("overtaken").await.unwrap();
    let job_type = JobType::new("test.sleep").unwrap();
    let raw_worker = RawWorker::start(&stack.amqp_url);
    raw_worker.announce(&job_type).await.unwrap();
    stack.api.served_by("test.sleep", 1).await.unwrap();
    let lost = stack.submit("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    let taken = raw_worker.take(&job_type).await.unwrap();
    taken.delivery.ack().await.unwrap();
    raw_worker.vanish().await;
    let _worker = stack.worker_process(&["test.sleep"], 2).unwrap();
    let (began, mut others) = (Instant::now(), Vec::new());
    let found = loop {
        let waiting =
            stack.query("SELECT count(*) FROM jobs WHERE state IN ('ready', 'dispatched')").unwrap();
        for _ in usize::try_from(waiting).unwrap()..BACKLOG {
            let parameters = json!({"steps": 1, "step_ms": 150, "journal": stack.journal()});
            others.push(stack.submit("test.sleep", parameters).await.unwrap());
        }
        let job = stack.api.job(&lost).await.unwrap();
        if job["state"] == "completed" {
            break job;
        }
        assert!(began.elapsed() < FOUND_WITHIN, "it is not found: {job}");
        sleep(Duration::from_millis(200)).await;
    };
    let found_after = began.elapsed();
    assert_eq!(found["attempts"].as_array().map(Vec::len), Some(1), "{found}");
    let waiting = stack.query("SELECT count(*) FROM jobs WHERE state = 'dispatched'").unwrap();
    assert!(waiting > 2, "there was no backlog any more: {waiting}");
    let mut invariants = stack.settle_within(Duration::from_secs(120)).await.unwrap();
    assert_eq!(stack.executions(), others.len(), "each of the others runs once");
    invariants.hold("I1", format_args!("found after {found_after:.0?}, with {waiting} orders behind it"));
    invariants.hold("I9", format_args!("{} others were done meanwhile, each once", others.len()));
    invariants.print("F79 an order is lost under a backlog");
}
