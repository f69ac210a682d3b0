//! What workers say of themselves gets lost, comes a thousand times, or comes too late (F50).

use std::time::Duration;

use crewcall_proto::{
    JobType, MessageKind, Timestamp, Topology, WorkerId,
    discovery::{Goodbye, HEARTBEAT_INTERVAL, Heartbeat, WORKER_LOST_AFTER, WorkerStatus},
};
use e2e::{broker, footprint::Footprint, raw_worker::RawWorker, stack::Stack};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::GROWTH_MIB_MAX;

/// How often everything is repeated.
const REPEATS: usize = 1_000;

/// Within which time the backend knows again who is there: a heartbeat, and some for a busy machine.
const HEALED_WITHIN: Duration = HEARTBEAT_INTERVAL.saturating_add(Duration::from_secs(10));

/// Within which time a worker that is gone is taken as lost, likewise.
const LOST_WITHIN: Duration = WORKER_LOST_AFTER.saturating_add(Duration::from_secs(10));

/// The queue through which the backend hears of workers.
fn discovery_queue() -> String {
    Topology::default().discovery_queue()
}

/// While the backend is down, what a new worker says of itself is purged from its queue, and then come a
/// thousand copies of the announcement of a worker that is gone, and heartbeats and goodbyes of a thousand
/// that nobody knows. A restarted backend knows those who are there within a heartbeat, and takes the ghost
/// as lost when it stays silent. A late goodbye of a worker that lives is mended by its next heartbeat.
#[tokio::test]
async fn f50_what_workers_say_is_lost_or_repeated_or_too_late() {
    let mut stack = Stack::start("stale").await.unwrap();
    let _workers =
        [stack.worker(&["test.echo"], 1).await.unwrap(), stack.worker(&["test.echo"], 1).await.unwrap()];
    stack.check_resumes("test.echo", json!({"text": "before"})).await.unwrap();
    let (ghost, living) = (RawWorker::start(&stack.amqp_url), "worker-0".parse::<WorkerId>().unwrap());
    stack.backend.kill().await.unwrap();
    let _newcomer = stack.worker_process(&["test.other"], 1).unwrap();
    let purged = announcements_lost(&stack, &ghost).await;
    let said = thousands_of_stale_words(&ghost).await;
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    let started = Instant::now();
    let there = |id: &'static str| move |worker: &Value| worker["id"] == id && worker["status"] == "idle";
    for id in ["worker-0", "worker-1", "worker-2"] {
        await_worker(&stack, there(id), HEALED_WITHIN).await;
    }
    let restarted = started.elapsed();
    let took = stack.check_resumes("test.echo", json!({"text": "known again"})).await.unwrap();
    let took_newcomer = stack.check_resumes("test.other", json!({"text": "known at last"})).await.unwrap();

    let before = Footprint::of(&stack.backend).unwrap();
    let is_ghost = |worker: &Value| worker["name"] == "raw_worker";
    await_worker(&stack, is_ghost, HEALED_WITHIN).await;
    let repeated = repeat(&ghost, &living).await;
    let healed = await_worker(&stack, there("worker-0"), HEALED_WITHIN).await;
    let lost =
        await_worker(&stack, |worker| is_ghost(worker) && worker["status"] == "lost", LOST_WITHIN).await;
    let after = Footprint::of(&stack.backend).unwrap();
    assert!(after.resident_mib() <= before.resident_mib() + GROWTH_MIB_MAX, "I10: {before}, then {after}");
    assert!(after.descriptors <= before.descriptors + 2, "I10: {before}, then {after}");
    let workers = stack.api.json("/v1/workers").await.unwrap()["workers"].as_array().unwrap().len();
    assert_eq!(workers, 4, "three that are there, and the ghost");
    let took_last = stack.check_resumes("test.echo", json!({"text": "after all"})).await.unwrap();
    ghost.vanish().await;
    let mut found = stack.settle().await.unwrap();
    let known = format_args!("a restarted backend knew its three workers after {restarted:?}");
    found.hold("I9", known);
    found.hold("I9", format_args!("{purged} announcements had been lost, and {said} stale words come"));
    found.hold(
        "I9",
        format_args!(
            "after a late goodbye a worker was known again in {healed:?}; a ghost was lost after {lost:?}"
        ),
    );
    found.hold(
        "I10",
        format_args!("{repeated} repetitions: {before}, then {after}; {workers} workers are listed"),
    );
    found.hold("I14", format_args!("jobs took {took:?}, {took_newcomer:?} and {took_last:?}"));
    found.print("F50 announcements lost, repeated and stale");
}

/// Purges what a new worker and others have said. Returns how much that was, at least.
async fn announcements_lost(stack: &Stack, raw_worker: &RawWorker) -> u32 {
    let deadline = Instant::now() + LOST_WITHIN;
    let mut waiting = 0;
    while waiting < 3 {
        assert!(Instant::now() < deadline, "the workers say nothing");
        sleep(Duration::from_millis(50)).await;
        waiting = raw_worker.waiting_in(&discovery_queue()).await.unwrap();
    }
    let vhost = stack.amqp_url.rsplit('/').next().unwrap();
    let node = broker::shared_broker().await.unwrap();
    node.ctl(&["purge_queue", "-p", vhost, &discovery_queue()]).await.unwrap();
    waiting
}

/// A ghost announces itself again and again, and as many whom nobody knows send a heartbeat and a goodbye.
async fn thousands_of_stale_words(ghost: &RawWorker) -> usize {
    let job_type = JobType::new("test.ghost").unwrap();
    let unknown = |number: usize| format!("unknown-{number}").parse::<WorkerId>().unwrap();
    let words = (0..REPEATS).map(async |number| {
        ghost.announce(&job_type).await?;
        ghost.discover(MessageKind::Heartbeat, &heartbeat(unknown(number))).await?;
        ghost.discover(MessageKind::Goodbye, &goodbye(unknown(number))).await
    });
    stream::iter(words).buffer_unordered(64).try_collect::<()>().await.unwrap();
    3 * REPEATS
}

/// The ghost announces itself once more, a thousand times, and somebody sends an old goodbye of a worker that
/// lives.
async fn repeat(ghost: &RawWorker, living: &WorkerId) -> usize {
    let job_type = JobType::new("test.ghost").unwrap();
    let words = (0..REPEATS).map(async |_| {
        ghost.announce(&job_type).await?;
        ghost.discover(MessageKind::Heartbeat, &heartbeat(ghost.worker_id.clone())).await
    });
    stream::iter(words).buffer_unordered(64).try_collect::<()>().await.unwrap();
    ghost.discover(MessageKind::Goodbye, &goodbye(living.clone())).await.unwrap();
    2 * REPEATS
}

fn heartbeat(worker_id: WorkerId) -> Heartbeat {
    let status = WorkerStatus::Idle;
    Heartbeat { worker_id, status, slots_busy: 0, orders: Vec::new(), at: Timestamp::from_millis(0) }
}

fn goodbye(worker_id: WorkerId) -> Goodbye {
    Goodbye { worker_id, reason: "long ago".to_owned(), handed_back: None }
}

/// Waits for a worker as `wanted`. Returns how long that took.
async fn await_worker(stack: &Stack, wanted: impl Fn(&Value) -> bool, within: Duration) -> Duration {
    let start = Instant::now();
    let listed = |answer: &Value| answer["workers"].as_array().unwrap().iter().any(&wanted);
    stack.api.json_when_within(within, "/v1/workers", listed).await.unwrap();
    start.elapsed()
}
