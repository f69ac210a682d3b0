//! The broker is there, but something that it had is gone: its disk, connections, queues, messages.

use std::time::Duration;

use e2e::{
    broker,
    stack::{RESUMES_WITHIN, Stack},
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Load, Operator, SENT_AGAIN, all_confirmed, charged, jobs_are, logged, metric_is, not_ready, operated,
};

/// Orders that are lost: enough that one by one would show.
const LOST_ORDERS: usize = 12;

/// How often all connections are closed.
const CLOSINGS: usize = 3;

/// The links of a backend.
const LINKS: usize = 5;

/// The broker is killed and comes back with an empty disk, while orders wait there and two jobs run, one of which is
/// held: the topology is declared again, what runs goes on, and the lost orders are sent again as the same attempts.
#[tokio::test]
async fn f03_the_broker_loses_its_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = broker::own_broker(&folder).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    let mut gone = stack.worker(&["test.echo"], 1).await.unwrap();
    gone.kill().await.unwrap();
    let _short = stack.worker(&["test.sleep"], 1).await.unwrap();
    let delivered = stack.submit("test.sleep", json!({"steps": 100, "step_ms": 250})).await.unwrap();
    stack.api.job_when(&delivered, |job| job["state"] == "running").await.unwrap();
    stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "1");
    let _long = stack.worker(&["test.sleep"], 1).await.unwrap();
    let held = stack.submit("test.sleep", json!({"steps": 100, "step_ms": 250})).await.unwrap();
    stack.api.job_when(&held, |job| job["progress"]["percent"].as_u64() >= Some(8)).await.unwrap();
    let mut lost = Vec::new();
    for number in 0..LOST_ORDERS {
        lost.push(stack.submit("test.echo", json!({"text": number.to_string()})).await.unwrap());
    }
    jobs_are(&stack.api, "test.echo", "dispatched", LOST_ORDERS as u64).await.unwrap();
    all_confirmed(&stack.api).await.unwrap();
    let before = Operator { node: &node, vhost: "/".to_owned() }.queues("crewcall.").await.unwrap();
    node.sync().await.unwrap();
    node.kill().await.unwrap();
    node.wipe().unwrap();
    not_ready(&stack.api).await.unwrap();
    node.restart().await.unwrap();
    let back = Instant::now();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    stack.check_resumes("test.echo", json!({"text": "resumed"})).await.unwrap();
    let took = back.elapsed();
    assert!(took <= RESUMES_WITHIN, "{took:?}");
    for id in lost.iter().chain([&delivered, &held]) {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    let all_done = back.elapsed();
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "a lost order costs no attempt");
    let after = Operator { node: &node, vhost: "/".to_owned() }.queues("crewcall.").await.unwrap();
    let kept = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| !name.starts_with("crewcall.worker.")).cloned().collect()
    };
    assert_eq!(kept(&before), kept(&after), "the topology is declared again");
    let sent_again = logged(&stack, SENT_AGAIN);
    found.hold(
        "I9",
        format_args!("{} queues were declared again, {sent_again} orders sent again", kept(&after).len()),
    );
    found.hold(
        "I14",
        format_args!(
            "a new job was done {took:.1?} after the broker was back, the last lost one {all_done:.1?} after"
        ),
    );
    found.print("F3 the broker loses its disk");
    node.stop().await.unwrap();
}

/// All connections are closed from the broker's side, three times, while jobs go in and are worked on: backend and
/// worker connect and subscribe again, and the job that runs throughout is charged nothing.
#[tokio::test]
async fn f13_all_connections_are_closed() {
    let (mut stack, operator) = operated("f13").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.sleep"], 4).await.unwrap();
    let long = json!({"steps": 80, "step_ms": 250, "journal": stack.journal()});
    let throughout = stack.submit("test.sleep", long).await.unwrap();
    stack.api.job_when(&throughout, |job| job["state"] == "running").await.unwrap();
    let load = Load::start(&stack);
    let mut slowest = Duration::ZERO;
    for closing in 1..=CLOSINGS {
        let arguments = ["--vhost", &operator.vhost, "an operator closes them"];
        let all: Vec<&str> = std::iter::once("close_all_connections").chain(arguments).collect();
        operator.node.ctl(&all).await.unwrap();
        let closed = Instant::now();
        let times = (closing * LINKS) as f64;
        metric_is(&stack.api, "crewcall_amqp_reconnects_total", |seen| seen >= times).await.unwrap();
        stack.check_resumes("test.echo", json!({"text": "resumed"})).await.unwrap();
        slowest = slowest.max(closed.elapsed());
    }
    let submitted = load.end(&mut stack).await.unwrap();
    submitted.are_echoed(&stack.api).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&throughout).await.unwrap()["attempt"], 1);
    assert_eq!(stack.executions(), 1, "its worker has it already when its order comes again");
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "a closed connection costs no attempt");
    assert_eq!(logged(&stack, SENT_AGAIN), 0, "no order was lost");
    found.hold("I2", submitted.accepted());
    found.hold(
        "I14",
        format_args!(
            "after each of {CLOSINGS} closings all links were back and a job done within {slowest:.1?}"
        ),
    );
    found.print("F13 all connections are closed");
}

/// The queue of a type is deleted under its consumer, with orders in it and one being worked on, and so are the queues
/// that the backend reads: all are declared and consumed again, and the lost orders are sent again.
#[tokio::test]
async fn f14_queues_are_deleted_under_their_consumers() {
    let (mut stack, operator) = operated("f14").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let ids = one_running_and_many_waiting(&mut stack).await;
    let before = operator.queues("crewcall.").await.unwrap();
    for queue in ["jobs.test.sleep", "completed", "error", "held", "progression", "worker-discovery", "dead"]
    {
        operator.ctl("delete_queue", &[&format!("crewcall.{queue}")]).await.unwrap();
    }
    let took = stack.check_resumes("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    let mut found = all_done_once(&mut stack, &ids).await;
    let after = operator.queues("crewcall.").await.unwrap();
    assert_eq!(before.len(), after.len(), "{before:?} {after:?}");
    found.hold(
        "I14",
        format_args!("a new job was done {took:.1?} after 7 of {} queues were deleted", before.len()),
    );
    found.print("F14 queues are deleted under their consumers");
}

/// The queue of a type is purged while one of its orders is being worked on: those that were in it are missed, and sent
/// again as the same attempts; the one that a worker has is not.
#[tokio::test]
async fn f15_a_queue_is_purged() {
    let (mut stack, operator) = operated("f15").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let ids = one_running_and_many_waiting(&mut stack).await;
    operator.ctl("purge_queue", &["crewcall.jobs.test.sleep"]).await.unwrap();
    let mut found = all_done_once(&mut stack, &ids).await;
    let journal = std::fs::read_to_string(stack.journal()).unwrap();
    assert_eq!(journal.lines().count(), 1 + LOST_ORDERS, "each ran once:\n{journal}");
    found.hold("I3", format_args!("{} jobs, {} executions", ids.len(), journal.lines().count()));
    found.print("F15 a queue is purged");
}

/// A worker of one slot runs the first job, and the orders of the others wait in the queue.
async fn one_running_and_many_waiting(stack: &mut Stack) -> Vec<String> {
    let journal = stack.journal();
    // The only slot is free again in time for a new job.
    let long = json!({"steps": 55, "step_ms": 250, "journal": journal});
    let mut ids = vec![stack.submit("test.sleep", long).await.unwrap()];
    stack.api.job_when(&ids[0], |job| job["state"] == "running").await.unwrap();
    for _ in 0..LOST_ORDERS {
        let short = json!({"steps": 1, "step_ms": 1, "journal": journal});
        ids.push(stack.submit("test.sleep", short).await.unwrap());
    }
    jobs_are(&stack.api, "test.sleep", "dispatched", LOST_ORDERS as u64).await.unwrap();
    all_confirmed(&stack.api).await.unwrap();
    ids
}

/// All are done, at their first attempt, and every lost order was sent again.
async fn all_done_once(stack: &mut Stack, ids: &[String]) -> e2e::invariants::Invariants {
    let began = Instant::now();
    for id in ids {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    let took = began.elapsed();
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(stack).unwrap(), 0, "a lost order costs no attempt");
    let sent_again = logged(stack, SENT_AGAIN);
    assert_eq!(sent_again, LOST_ORDERS, "orders that were sent again");
    found.hold(
        "I9",
        format_args!("{sent_again} orders were missed and sent again, the last job done after {took:.1?}"),
    );
    found
}
