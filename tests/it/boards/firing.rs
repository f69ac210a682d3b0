//! Real faults make alerts fire: what promtool tries with made-up series is seen here with those of a live installation.
//!
//! Several faults share one, and the rules are ours but for their `for`, which would take minutes. The other alerts fire in
//! `standstill` and in the test of the boards.

use std::time::Duration;

use crewcall_proto::{JobType, MessageKind, Topology};
use e2e::{
    broker,
    preload::Preload,
    process::{ENDPOINTS_SAID, PATIENCE, Process},
    proxy::{FaultProxy, Mode},
    raw_worker::RawWorker,
    stack::{ProcessEnvironment, Stack},
};
use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::prometheus::Prometheus;

/// Nobody ever serves it.
const UNKNOWN_TYPE: &str = "test.unknown";

/// An order of it gets lost.
const LOST_TYPE: &str = "test.lost";

const HOUR_SECONDS: i64 = 3_600;

/// For how long handlers block their runtime: the alert wants more than 3 s.
const BLOCKED_MS: u64 = 6_000;

/// For how long another program locks the database, each time: the alert wants commits of more than half a second.
const LOCKED_FOR: Duration = Duration::from_millis(700);

/// How often it is looked whether that is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often it does.
const LOCKED_TIMES: usize = 3;

/// What fires here, and nothing else makes it.
pub(crate) const FIRING: [&str; 12] = [
    "CrewcallBrokerDown",
    "CrewcallClockSetBack",
    "CrewcallOldestWaitingTooOld",
    "CrewcallQuarantineGrowing",
    "CrewcallReconcilerHadWork",
    "CrewcallRunStuck",
    "CrewcallRuntimeBlocked",
    "CrewcallScheduleMissed",
    "CrewcallStoreSlow",
    "CrewcallVersionSkew",
    "CrewcallWebhookFailing",
    "CrewcallWorkerLost",
];

/// Two workflows: the runs of one wait for a worker that never comes, those of the other for somebody.
const HELD: &str = "held.steps";
const ASKING: &str = "asking.steps";

/// An installation behind a line that can be cut, whose backend is lied to about the time.
async fn start() -> (Stack, FaultProxy, Preload, String) {
    let direct = broker::vhost("alerts").await.unwrap().url;
    let (line, through) = FaultProxy::before(&direct, &TaskTracker::new()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let preload = Preload::prepare(folder.path()).await.unwrap();
    let preloaded = preload.variables();
    let all: Vec<_> = preloaded.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let stack = Stack::start_in(folder, through, ProcessEnvironment::variables(&all)).await.unwrap();
    stack.api.ready().await.unwrap();
    (stack, line, preload, direct)
}

/// Two workers of one program in two versions. Returns them, and where the first shows its metrics.
async fn two_versions(stack: &mut Stack, direct: &str) -> ([Process; 2], String) {
    for (variable, value) in [
        ("CREWCALL_AMQP_URL", direct),
        ("CREWCALL_WORKER_LISTEN", "127.0.0.1:0"),
        ("TOKIO_WORKER_THREADS", "1"), // so that one handler blocks all others
    ] {
        stack.worker_setting(variable, value);
    }
    let older = stack.worker(&["test.echo", "test.block"], 4).await.unwrap();
    let endpoints = older.logged_after(ENDPOINTS_SAID).await.unwrap();
    stack.worker_setting("TEST_WORKER_BUILD", "newer");
    let newer = stack.worker(&["test.echo"], 1).await.unwrap();
    ([older, newer], endpoints)
}

/// Takes an order, says that it began, acknowledges the order and is gone. Returns the job.
async fn swallow(stack: &mut Stack, direct: &str) -> String {
    let (raw_worker, job_type) = (RawWorker::start(direct), JobType::new(LOST_TYPE).unwrap());
    raw_worker.announce(&job_type).await.unwrap();
    stack.api.served_by(LOST_TYPE, 1).await.unwrap();
    let id = stack.submit(LOST_TYPE, json!({})).await.unwrap();
    let taken = raw_worker.take(&job_type).await.unwrap();
    raw_worker.report_start(&taken).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    taken.delivery.ack().await.unwrap();
    let names = Topology::default();
    let (exchange, key) = (names.response_exchange(), names.response_key(MessageKind::Completed, &job_type));
    raw_worker.send(&exchange, &key, b"not ours".to_vec(), "application/json").await.unwrap();
    drop(taken);
    raw_worker.vanish().await;
    id
}

/// A webhook to where none may lead.
async fn webhook_inward(stack: &Stack) {
    let webhook = json!({"url": "https://localhost/", "subjects": ["order.paid"]}).to_string();
    let (status, answer) = stack.api.send(Method::PUT, "/v1/webhooks/inward", webhook, &[]).await.unwrap();
    assert!(status.is_success(), "{answer}");
}

/// Starts a run of each workflow. Returns the one whose job nobody takes.
async fn runs(stack: &Stack) -> String {
    let steps = [(ASKING, json!({"approval": {}})), (HELD, json!({"job": UNKNOWN_TYPE}))];
    let mut held = String::new();
    for (name, step) in steps {
        let path = format!("/v1/workflows/{name}");
        let document = json!({"steps": {"only": step}}).to_string();
        let (status, answer) = stack.api.send(Method::PUT, &path, document, &[]).await.unwrap();
        assert!(status.is_success(), "{answer}");
        let (status, run) = stack.api.post(&format!("{path}/trigger"), json!({})).await.unwrap();
        assert!(status.is_success(), "{run}");
        held = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    }
    held
}

/// Another program locks the database while jobs are submitted.
async fn lock_database(stack: &mut Stack) {
    for _ in 0..LOCKED_TIMES {
        let other = rusqlite::Connection::open(stack.database()).unwrap();
        other.busy_timeout(PATIENCE).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let unlock = async {
            let since = Instant::now();
            while since.elapsed() < LOCKED_FOR {
                sleep(LOOK_EVERY).await;
            }
            other.execute_batch("COMMIT").unwrap();
        };
        let (submitted, ()) = tokio::join!(stack.submit("test.echo", json!({"text": "slow"})), unlock);
        submitted.unwrap();
    }
}

#[tokio::test]
async fn alerts_fire_for_real_faults() {
    let (mut stack, line, preload, direct) = start().await;
    let (_workers, endpoints) = two_versions(&mut stack, &direct).await;
    let prometheus = Prometheus::start(stack.folder(), &[stack.http_listen()], &[&endpoints]).await.unwrap();
    prometheus.fires("CrewcallVersionSkew").await;
    let others = FIRING.into_iter().filter(|alert| *alert != "CrewcallVersionSkew");
    prometheus.all_is_quiet(&others.collect::<Vec<_>>()).await;

    let schedule = json!({"every_seconds": 60, "catch_up": "none", "event": {"subject": "minute.began"}});
    let path = "/v1/schedules/minutes";
    let (status, answer) = stack.api.send(Method::PUT, path, schedule.to_string(), &[]).await.unwrap();
    assert!(status.is_success(), "{answer}");

    webhook_inward(&stack).await;
    let began = Instant::now();
    let lost = swallow(&mut stack, &direct).await;
    let unknown = stack.submit(UNKNOWN_TYPE, json!({})).await.unwrap();
    let held = runs(&stack).await;
    let block = json!({"ms": BLOCKED_MS, "journal": stack.journal()});
    stack.submit("test.block", block).await.unwrap();
    lock_database(&mut stack).await;
    // The series of the webhook were seen at zero by now.
    stack.api.post("/v1/events", json!({"subject": "order.paid", "data": {}})).await.unwrap();
    for alert in [
        "CrewcallQuarantineGrowing",
        "CrewcallStoreSlow",
        "CrewcallRuntimeBlocked",
        "CrewcallWorkerLost",
        "CrewcallReconcilerHadWork",
        "CrewcallWebhookFailing",
    ] {
        prometheus.fires(alert).await;
    }
    assert!(began.elapsed() > Duration::from_secs(45), "an order is not lost before");

    // The machine's clock was an hour behind while the backend was started first.
    stack.backend.kill().await.unwrap();
    preload.clock_ahead_seconds(HOUR_SECONDS).unwrap();
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    prometheus.fires("CrewcallOldestWaitingTooOld").await;
    prometheus.fires("CrewcallScheduleMissed").await;
    prometheus.fires("CrewcallRunStuck").await;
    let asking = format!("crewcall_workflow_run_standstill_seconds{{workflow=\"{ASKING}\"}} == 0");
    assert_eq!(prometheus.ask(&asking).await.unwrap().len(), 1, "a run that waits for somebody gets on");
    assert!(stack.backend.log().contains("A run stands still."), "the log names it");
    let (status, answer) = stack.api.post(&format!("{held}/cancel"), json!({})).await.unwrap();
    assert!(status.is_success(), "{answer}");
    prometheus.is_over("CrewcallRunStuck").await;
    preload.clock_ahead_seconds(0).unwrap();
    prometheus.fires("CrewcallClockSetBack").await;

    line.set(Mode::Refuse);
    line.reset_all();
    prometheus.fires("CrewcallBrokerDown").await;
    line.set(Mode::Pass);
    stack.api.ready().await.unwrap();
    prometheus.is_over("CrewcallBrokerDown").await;
    for id in [unknown, lost] {
        stack.api.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await.unwrap();
    }
    stack.settle().await.unwrap();
}
