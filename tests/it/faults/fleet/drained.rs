//! A worker that was told to drain connects again, and misses what it is told meanwhile (F86).

use crewcall_proto::{
    JobType, MessageKind, Timestamp,
    control::{Control, FEATURE_EVENTS},
    discovery::{Heartbeat, WorkerStatus},
};
use e2e::{
    broker,
    raw_worker::RawWorker,
    stack::{RESUMES_WITHIN, Stack},
    wait::until,
};
use serde_json::{Value, json};

use super::JOB_WITHIN;

/// A drained worker loses its connections and comes back: ours remembers that it is drained, and one that remembers
/// nothing is told with its welcome. Neither works until it is told to resume.
#[tokio::test]
async fn f86_a_drained_worker_connects_again() {
    let vhost = broker::vhost("f86").await.unwrap();
    let mut stack = Stack::start_on(vhost.url).await.unwrap();
    stack.api.ready().await.unwrap();
    let _ours = stack.worker(&["test.echo"], 1).await.unwrap();
    let forgetful = RawWorker::start(&stack.amqp_url);
    let other = JobType::new("test.other").unwrap();
    let types = vec![other.clone()];
    let features = vec![FEATURE_EVENTS.to_owned()];
    let welcome = Control::Welcome { types, refused: Vec::new(), revoked: Vec::new(), features };
    let mut controls = forgetful.listen(&other, "first").await.unwrap();
    forgetful.announce(&other).await.unwrap();
    assert_eq!(controls.receive().await.unwrap(), welcome);
    for id in ["worker-0", forgetful.worker_id.as_str()] {
        act(&stack, id, "drain").await;
    }
    assert_eq!(controls.receive().await.unwrap(), Control::Drain);
    controls.close().await;
    await_status(&stack, "worker-0", "draining").await;
    let node = broker::shared_broker().await.unwrap();
    node.ctl(&["close_all_connections", "--vhost", &vhost.name, "an operator closes them"]).await.unwrap();
    // One who announces itself but once must be heard, and be told.
    let is_back = async || {
        ["control", "orders", "discovery"].iter().all(|link| {
            stack.backend.log().lines().any(|line| {
                line.contains(&format!("connection=crewcall-backend {link} generation=2"))
                    && line.contains("Connected")
            })
        })
    };
    until("the backend is connected again", RESUMES_WITHIN, is_back).await.unwrap();

    let mut controls = forgetful.listen(&other, "second").await.unwrap();
    forgetful.announce(&other).await.unwrap();
    assert_eq!(controls.receive().await.unwrap(), welcome);
    assert_eq!(controls.receive().await.unwrap(), Control::Drain, "it may have forgotten");
    let id = stack.submit("test.echo", json!({"text": "waits"})).await.unwrap();
    let queue = "crewcall.jobs.test.echo";
    let left = until("the order waits in its queue", JOB_WITHIN * 4, async || {
        forgetful.waiting_in(queue).await.unwrap() == 1
    });
    left.await.unwrap();
    await_status(&stack, "worker-0", "draining").await;
    assert_eq!(stack.api.job(&id).await.unwrap()["state"], "dispatched");

    for id in ["worker-0", forgetful.worker_id.as_str()] {
        act(&stack, id, "resume").await;
    }
    assert_eq!(controls.receive().await.unwrap(), Control::Resume);
    forgetful.announce(&other).await.unwrap();
    assert_eq!(controls.receive().await.unwrap(), welcome);
    forgetful.announce(&other).await.unwrap();
    assert_eq!(controls.receive().await.unwrap(), welcome, "and nothing in between");
    assert_eq!(stack.api.wait_for_end(&id).await.unwrap()["state"], "completed");
    let mut found = stack.settle().await.unwrap();
    found.hold("I9", "a drained worker that came back took nothing until it was told to resume");
    found.print("F86 a drained worker connects again");
}

/// A worker has no connection while it is told to drain, and again while it is told to resume, so it hears neither: each
/// time its next heartbeat shows that, and it is told again. One that drains for reasons of its own is let be.
#[tokio::test]
async fn f86_a_worker_misses_what_it_is_told() {
    let mut stack = Stack::start("f86-missed").await.unwrap();
    let worker = RawWorker::start(&stack.amqp_url);
    let job_type = JobType::new("test.other").unwrap();
    let mut controls = worker.listen(&job_type, "first").await.unwrap();
    worker.announce(&job_type).await.unwrap();
    assert!(matches!(controls.receive().await.unwrap(), Control::Welcome { .. }));
    // Hears all, and so knows when something has been said that the worker missed.
    let mut observer = worker.listen(&job_type, "observer").await.unwrap();
    let mut session = 0;
    for (what, before, missed) in
        [("drain", WorkerStatus::Idle, Control::Drain), ("resume", WorkerStatus::Draining, Control::Resume)]
    {
        controls.close().await;
        act(&stack, worker.worker_id.as_str(), what).await;
        assert_eq!(observer.receive().await.unwrap(), missed, "it is said to whoever is there");
        session += 1;
        controls = worker.listen(&job_type, &format!("after-{session}")).await.unwrap();
        say(&worker, before).await;
        assert_eq!(controls.receive().await.unwrap(), missed, "it has not heard it");
        assert_eq!(observer.receive().await.unwrap(), missed, "the same once more");
    }
    say(&worker, WorkerStatus::Idle).await;
    say(&worker, WorkerStatus::Draining).await;
    worker.announce(&job_type).await.unwrap();
    let next = controls.receive().await.unwrap();
    assert!(matches!(next, Control::Welcome { .. }), "nothing in between, for it heard both: {next:?}");
    worker.vanish().await;
    let mut found = stack.settle().await.unwrap();
    found.hold("I9", "a worker that missed drain, and then resume, was told again after its next heartbeat");
    found.print("F86 a worker misses what it is told");
}

async fn say(worker: &RawWorker, status: WorkerStatus) {
    let (worker_id, at) = (worker.worker_id.clone(), Timestamp::from_millis(0));
    let heartbeat = Heartbeat { worker_id, status, slots_busy: 0, orders: Vec::new(), at };
    worker.discover(MessageKind::Heartbeat, &heartbeat).await.unwrap();
}

async fn act(stack: &Stack, worker_id: &str, what: &str) {
    let (status, answer) =
        stack.api.post(&format!("/v1/workers/{worker_id}/{what}"), Value::Null).await.unwrap();
    assert_eq!(status.as_u16(), 202, "{answer}");
}

async fn await_status(stack: &Stack, worker_id: &str, status: &str) {
    let path = format!("/v1/workers/{worker_id}");
    stack.api.json_when(&path, |worker| worker["status"] == status).await.unwrap();
}
