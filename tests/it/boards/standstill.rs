//! Real faults make those alerts fire that say that nothing goes on: a queue does not confirm, the broker takes nothing, the
//! database is locked, a disk is full. The broker is the test's own, and one Prometheus sees all of it.

use crewcall_dev_broker::DevBroker;
use e2e::{broker, disk::SmallDisk, process::PATIENCE, stack::Stack};
use reqwest::Method;
use serde_json::json;

use super::prometheus::Prometheus;

/// What fires here because something breaks.
const BROKEN: [&str; 3] = ["CrewcallBrokerBlocked", "CrewcallDispatchStuck", "CrewcallTypeNotConfirmed"];

/// What fires because a backend has too little room from its start.
const CRAMPED: &str = "CrewcallDiskNearlyFull";

/// All that fires here, and nothing else makes it.
pub(crate) const FIRING: [&str; 4] = [BROKEN[0], BROKEN[1], BROKEN[2], CRAMPED];

/// How many jobs of the limited type wait, and how many of them may begin in a second: some are left when the database is locked.
const LIMITED_JOBS: usize = 8;
const RATE_PER_SECOND: f64 = 0.5;

/// More than they take: the other type is served as well.
const SLOTS: u32 = 10;

/// What the backend logs of a store that cannot write.
const GIVEN_UP: &str = "A transaction of the store was given up.";

/// Suspends or resumes the process that leads the queue of a type. One that was replaced meanwhile need not be resumed.
async fn leader(node: &DevBroker, what: &str, job_type: &str) {
    let program = format!("catch sys:{what}(whereis('%2F_crewcall.jobs.{job_type}')), ok.");
    assert_eq!(node.ctl(&["eval", &program]).await.unwrap(), "ok");
}

/// A backend on a disk with less room than the alert wants; `None` where no file system can be mounted.
#[expect(clippy::print_stdout, reason = "what was not tried, shown with --show-output")]
async fn cramped(amqp_url: String) -> Option<Stack> {
    let folder = tempfile::tempdir().unwrap();
    let (disk, environment) = SmallDisk::prepare(folder.path()).await.unwrap();
    if let SmallDisk::Pretended(_) = disk {
        println!("CrewcallDiskNearlyFull: NOT TRIED, no file system can be mounted here");
        return None;
    }
    let stack = Stack::start_in(folder, amqp_url, environment).await.unwrap();
    stack.api.ready().await.unwrap();
    Some(stack)
}

/// Jobs whose turn comes in time. None of them ends by itself.
async fn rated_jobs(stack: &mut Stack) -> Vec<String> {
    let limits = json!({"rate_per_second": RATE_PER_SECOND}).to_string();
    let (status, answer) =
        stack.api.send(Method::PUT, "/v1/types/test.sleep/limits", limits, &[]).await.unwrap();
    assert!(status.is_success(), "{answer}");
    let mut ids = Vec::new();
    for _ in 0..LIMITED_JOBS {
        ids.push(stack.submit("test.sleep", json!({"steps": 10_000, "step_ms": 100})).await.unwrap());
    }
    ids
}

/// While its leader is suspended, a queue takes orders and confirms none; a minute later the backend would have replaced it.
/// Meanwhile another program locks the database, so that nothing is dispatched although nothing else keeps it. Then RabbitMQ
/// raises its memory alarm.
#[tokio::test]
async fn alerts_fire_when_nothing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let node = broker::own_broker(&folder).await.unwrap();
    node.add_vhosts(&["cramped"]).await.unwrap();
    let cramped = cramped(node.url("cramped")).await;
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.expect_error(GIVEN_UP);
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.other", "test.sleep"], SLOTS).await.unwrap();
    stack.check_resumes("test.other", json!({"text": "before"})).await.unwrap();
    let backends: Vec<&str> = [&stack].into_iter().chain(&cramped).map(Stack::http_listen).collect();
    let prometheus = Prometheus::start(stack.folder(), &backends, &[]).await.unwrap();
    if cramped.is_some() {
        prometheus.fires(CRAMPED).await;
    }
    prometheus.all_is_quiet(&BROKEN).await;

    leader(&node, "suspend", "test.other").await;
    stack.submit("test.other", json!({"text": "unconfirmed"})).await.unwrap();
    let rated = rated_jobs(&mut stack).await;
    let other = rusqlite::Connection::open(stack.database()).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    prometheus.fires("CrewcallDispatchStuck").await;
    other.execute_batch("ROLLBACK").unwrap();
    prometheus.fires("CrewcallTypeNotConfirmed").await;
    leader(&node, "resume", "test.other").await;

    node.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]).await.unwrap();
    let blocked = stack.submit("test.other", json!({"text": "blocked"})).await.unwrap();
    prometheus.fires("CrewcallBrokerBlocked").await;
    node.ctl(&["set_vm_memory_high_watermark", "0.4"]).await.unwrap();
    stack.api.wait_for_end(&blocked).await.unwrap();
    for id in rated {
        stack.api.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await.unwrap();
    }
    stack.settle().await.unwrap();
    node.stop().await.unwrap();
}
