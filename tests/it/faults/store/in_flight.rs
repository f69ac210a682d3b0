//! Results that are on their way when the store fails for good.

use e2e::{
    broker::{self, Vhost},
    preload::Preload,
    process::{PATIENCE, Process},
    stack::{ProcessEnvironment, Stack},
    wait::until,
};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{GIVEN_UP, responses_with_the_broker};

/// How many attempts each of the two workers runs: those of the first are held, those of the second have their orders.
const EACH: u32 = 100;

/// How long each takes: long enough for all to start and be held before the first ends, on a busy machine.
const ATTEMPT_TAKES_MS: u64 = 12_000;

/// The disk takes writes but no `fsync` from one moment on, with 200 results in flight: not one of them is lost.
#[tokio::test]
async fn f42_results_are_in_flight_when_fsync_fails() {
    results_outlive("F42 200 results in flight when fsync fails", "f42-fsync", Preload::fsync_fails).await;
}

/// The same with a disk that takes no write at all: nothing that was not committed shows up again by luck.
#[tokio::test]
async fn f42_results_are_in_flight_when_writing_fails() {
    results_outlive("F42 200 results in flight when writing fails", "f42-write", Preload::writes_fail).await;
}

/// The database is locked until every result is with the broker, and fails as soon as it is free. No job has an attempt
/// to lose.
async fn results_outlive(fault: &str, purpose: &str, fails: fn(&Preload, bool) -> anyhow::Result<()>) {
    let vhost = broker::vhost(purpose).await.unwrap();
    let (preload, mut stack) = preloaded(&vhost).await;
    stack.expect_error(GIVEN_UP);
    stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "1");
    let _holder = stack.worker(&["test.sleep"], EACH).await.unwrap();
    stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "3600");
    let _keeper = stack.worker(&["test.sleep"], EACH).await.unwrap();
    let jobs = submit_all(&mut stack).await;
    let all_run = "SELECT count(*) FROM jobs WHERE state = 'running'";
    let held = "SELECT count(*) FROM jobs WHERE claim_held";
    let under_way =
        async || stack.query(all_run).unwrap() == i64::from(2 * EACH) && stack.query(held).unwrap() > 0;
    until("all attempts run, and some are held", PATIENCE, under_way).await.unwrap();

    let other = Connection::open(stack.database()).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let held = stack.query(held).unwrap();
    let over = async || {
        let (ready, unacknowledged) = responses_with_the_broker(&vhost).await;
        ready + unacknowledged == 2 * EACH
    };
    until("every result is with the broker", PATIENCE, over).await.unwrap();
    fails(&preload, true).unwrap();
    other.execute_batch("ROLLBACK").unwrap();
    let last = ended(&mut stack.backend).await;

    fails(&preload, false).unwrap();
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    for id in &jobs {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    assert_eq!(stack.executions(), jobs.len(), "nothing ran twice");
    let took = stack.check_resumes("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    found.hold("I3", format_args!("{} results, {held} of held attempts, outlived it", jobs.len()));
    found.hold("I15", format_args!("{last:?}"));
    found.hold("I14", format_args!("work resumed {took:?} after the backend was back"));
    found.print(fault);
}

async fn preloaded(vhost: &Vhost) -> (Preload, Stack) {
    let folder = tempfile::tempdir().unwrap();
    let preload = Preload::prepare(folder.path()).await.unwrap();
    let variables = preload.variables();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let environment = ProcessEnvironment::variables(&variables);
    let stack = Stack::start_in(folder, vhost.url.clone(), environment).await.unwrap();
    stack.api.ready().await.unwrap();
    (preload, stack)
}

async fn submit_all(stack: &mut Stack) -> Vec<String> {
    let parameters = json!({"steps": 1, "step_ms": ATTEMPT_TAKES_MS, "journal": stack.journal()});
    let job = json!({"type": "test.sleep", "parameters": parameters, "max_attempts": 1});
    let batch = Value::Array(vec![job; usize::try_from(2 * EACH).unwrap()]);
    let (_, answer) = stack.api.post("/v1/jobs/batch", batch).await.unwrap();
    let results = answer["results"].as_array().unwrap();
    let jobs: Vec<String> = results.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    for id in &jobs {
        stack.remember_accepted(id.clone());
    }
    jobs
}

/// Why a backend ends by itself.
async fn ended(backend: &mut Process) -> String {
    let status = backend.wait().await.unwrap();
    let why = backend.why_it_ended();
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {why}");
    assert!(why.contains("the process ends rather than guess what is on disk; start it again"), "{why}");
    why
}
