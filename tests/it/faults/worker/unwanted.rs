//! Orders that are queued although nobody wants them any more.

use e2e::{
    process::{PATIENCE, Process},
    raw_worker::RawWorker,
    stack::Stack,
    wait::until,
};
use serde_json::json;

/// How many jobs are cancelled while nobody serves their type.
const CANCELLED_JOBS: usize = 50;

/// Fifty jobs are cancelled while they are with the broker and no worker is there; the backend is killed and started again.
/// A worker that comes then runs none of them, and does what is submitted later.
#[tokio::test]
async fn f105_jobs_are_cancelled_before_their_workers_come() {
    let mut stack = Stack::start("f105").await.unwrap();
    let mut gone = stack.worker(&["test.echo"], 1).await.unwrap();
    gone.signal(rustix::process::Signal::TERM).unwrap();
    gone.wait().await.unwrap();
    stack.api.served_by("test.echo", 0).await.unwrap();
    for number in 0..CANCELLED_JOBS {
        let id = stack.submit("test.echo", json!({"text": number.to_string()})).await.unwrap();
        stack.api.job_when(&id, |job| job["state"] == "dispatched").await.unwrap();
    }
    let all = json!({"filter": {"type": "test.echo"}});
    let (_, outcome) = stack.api.post("/v1/jobs/cancel", all).await.unwrap();
    assert_eq!(outcome["changed"], CANCELLED_JOBS, "{outcome}");
    stack.backend.kill().await.unwrap();
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    let journal = stack.journal();
    stack.worker_setting("TEST_WORKER_JOURNAL", journal.to_str().unwrap());
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    let id = stack.submit("test.echo", json!({"text": "wanted"})).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&id).await.unwrap()["state"], "completed");
    assert_eq!(stack.executions(), 1, "what was cancelled is run all the same");
    let mut found = stack.settle().await.unwrap();
    found.hold("I7", format_args!("{CANCELLED_JOBS} jobs were cancelled, and none of them was run"));
    found.print("F105 jobs are cancelled before their workers come");
}

/// A job ends the process of whoever takes it, is cancelled, and its order comes back: the next worker asks, and lives. The
/// first of two such jobs is cancelled before anybody reported its start, the other one while its last worker is taken for
/// alive.
#[tokio::test]
async fn f106_a_job_that_kills_workers_is_cancelled() {
    let mut stack = Stack::start("f106").await.unwrap();
    let journal = stack.journal();
    stack.worker_setting("TEST_WORKER_JOURNAL", journal.to_str().unwrap());
    let (raw_worker, types) = (RawWorker::start(&stack.amqp_url), ["test.abort", "test.echo"]);
    for (kills, running) in [(1, "dispatched"), (2, "running")] {
        let before = stack.executions();
        let id = stack.submit("test.abort", json!({})).await.unwrap();
        for _ in 0..kills {
            died(stack.worker_process(&types, 1).unwrap()).await;
        }
        stack.api.job_when(&id, |job| job["state"] == running).await.unwrap();
        let (status, answer) = stack.api.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await.unwrap();
        assert!(status.is_success(), "{status} {answer}");
        let mut survivor = stack.worker_process(&types, 1).unwrap();
        let alive = stack.submit("test.echo", json!({"text": "alive"})).await.unwrap();
        assert_eq!(stack.api.wait_for_end(&alive).await.unwrap()["state"], "completed");
        assert_eq!(stack.api.wait_for_end(&id).await.unwrap()["state"], "cancelled");
        let taken = async || raw_worker.waiting_in("crewcall.jobs.test.abort").await.unwrap() == 0;
        until("somebody has the order", PATIENCE, taken).await.unwrap();
        let again = stack.submit("test.echo", json!({"text": "alive"})).await.unwrap();
        assert_eq!(stack.api.wait_for_end(&again).await.unwrap()["state"], "completed");
        assert_eq!(survivor.try_wait().unwrap(), None, "a cancelled job ended one more worker");
        assert_eq!(stack.executions(), before + kills + 2, "those that died, and the other jobs");
        survivor.kill().await.unwrap();
    }
    raw_worker.vanish().await;
    let mut found = stack.settle().await.unwrap();
    found.hold("I7", "each of the two deadly jobs was run no more after it had been cancelled");
    found.print("F106 a job that kills its workers is cancelled");
}

async fn died(mut worker: Process) {
    assert!(!worker.wait().await.unwrap().success());
}
