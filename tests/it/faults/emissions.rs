//! Events that jobs publish, while backend and workers die (F120 to F122): those of a result are recorded with it, once; those
//! that the broker had, once under their ids, whatever became of their attempts.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use e2e::{
    broker,
    failpoints::{BackendFailpoint, dies_at},
    stack::{ProcessEnvironment, Stack},
    wait::until,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// How many jobs publish.
const JOBS: usize = 20;

/// How many of them run at once.
const SLOTS: u32 = 20;

/// How long all of it may take.
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// Jobs that each publish two events while they run, and two with their results. Those that take no time fail first, every other one.
async fn submit(stack: &mut Stack, ms: u64) {
    for number in 0..JOBS {
        let now = [format!("{number}:first"), format!("{number}:second")];
        let job = json!({
            "type": "test.emit",
            "parameters": {"now": now, "with_result": 2, "ms": ms, "succeed_at": if ms == 0 { number % 2 + 1 } else { 1 }},
            "max_attempts": 5,
            "backoff": {"initial_seconds": 0.1},
        });
        stack.submit_job(job).await.unwrap();
    }
}

/// Waits until all jobs are completed, and their events are there: each once.
async fn all_is_published(stack: &Stack) {
    let expected = i64::try_from(JOBS).unwrap();
    until("the jobs are completed and their events recorded", DONE_WITHIN, async || {
        stack.query("SELECT count(*) FROM jobs WHERE state = 'completed'").unwrap() == expected
            && stack.query("SELECT count(*) FROM events").unwrap() >= expected * 4
    })
    .await
    .unwrap();
    let of = |subject: &str| {
        stack.query(&format!("SELECT count(*) FROM events WHERE subject = '{subject}'")).unwrap()
    };
    assert_eq!((of("count.now"), of("count.result")), (expected * 2, expected * 2));
    let authors = stack.query("SELECT count(*) FROM events JOIN jobs ON jobs.id = origin_job_id").unwrap();
    assert_eq!(authors, expected * 4, "each says which job published it");
}

/// The backend dies when what came is committed and not acknowledged: the broker brings it again.
async fn backend_dies_at(point: BackendFailpoint, number: &str) {
    let vhost = broker::vhost(number).await.unwrap();
    let dying = ProcessEnvironment::variables(&[("FAILPOINTS", &dies_at(point.name(), 2))]);
    let mut stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, dying).await.unwrap();
    submit(&mut stack, 0).await;
    // The backend may be gone before anybody sees that the worker has come.
    let _worker = stack.worker_process(&["test.emit"], SLOTS).unwrap();
    let status = stack.backend.wait().await.unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
    let before = stack.query("SELECT count(*) FROM events").unwrap();
    assert!(before > 0, "it died after a commit");
    stack.set_environment(ProcessEnvironment::default());
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    all_is_published(&stack).await;
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I16",
        format_args!("{} events of {JOBS} jobs, each once; {before} were there when it died", JOBS * 4),
    );
    found.print(&format!("{} the backend dies at {}", number.to_uppercase(), point.name()));
}

#[tokio::test]
async fn f120_the_backend_dies_between_the_commit_of_what_a_job_publishes_and_its_acknowledgement() {
    backend_dies_at(BackendFailpoint::EmissionsRecorded, "f120").await;
}

#[tokio::test]
async fn f121_the_backend_dies_between_the_commit_of_results_with_events_and_their_acknowledgement() {
    backend_dies_at(BackendFailpoint::ResponsesRecorded, "f121").await;
}

/// A worker is killed when its jobs have published something and have no result yet. Others run them: the same ids are the same
/// events, and what comes with a result comes once.
#[tokio::test]
async fn f122_a_worker_is_killed_between_what_its_jobs_publish_and_their_results() {
    let mut stack = Stack::start("f122").await.unwrap();
    submit(&mut stack, 5_000).await;
    let mut killed = stack.worker(&["test.emit"], SLOTS).await.unwrap();
    until("events of the first worker are recorded", DONE_WITHIN, async || {
        stack.query("SELECT count(*) FROM events").unwrap() >= i64::try_from(JOBS).unwrap()
    })
    .await
    .unwrap();
    killed.kill().await.unwrap();
    let jobs: Vec<Value> =
        stack.api.json("/v1/jobs?limit=500").await.unwrap()["jobs"].as_array().unwrap().clone();
    assert!(jobs.iter().all(|job| job["state"] != "completed"), "none of them has a result");
    drop(killed);
    let _worker = stack.worker(&["test.emit"], SLOTS).await.unwrap();
    all_is_published(&stack).await;
    let mut found = stack.settle().await.unwrap();
    found.hold("I16", format_args!("{} events of {JOBS} jobs, each once, over a worker's death", JOBS * 4));
    found.print("F122 a worker is killed between emit_now and its result");
}
