//! The backend dies at a named point of its work, with jobs in flight (F19–F24): what it had committed goes on where
//! it was, what it had not never happened, and nothing ends twice.

mod parts;

mod unsent;

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt, path::Path, time::Duration};

use crewcall_proto::JobType;
use e2e::{
    api::Api,
    broker,
    failpoints::{BackendFailpoint, LinkFailpoint, dies_at},
    process::Process,
    raw_worker::RawWorker,
    stack::{ProcessEnvironment, RESUMES_WITHIN, Stack},
};
use futures_util::future::join_all;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

/// Several jobs for each slot, so that the backend dies with jobs in every stage.
const JOBS: usize = 40;

/// Who submit at once.
const CLIENTS: usize = 4;

/// A backend that dies at a failpoint as [`dies_at`] says it.
fn dying_at(failpoint: &str) -> ProcessEnvironment {
    ProcessEnvironment::variables(&[("FAILPOINTS", failpoint)])
}

async fn start_dying_at(purpose: &str, failpoint: &str) -> Stack {
    let vhost = broker::vhost(purpose).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stack = Stack::start_in(folder, vhost.url, dying_at(failpoint)).await.unwrap();
    stack.api.ready().await.unwrap();
    stack
}

/// Waits until the backend has died at its failpoint.
async fn dead(stack: &mut Stack) {
    let status = stack.backend.wait().await.unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
}

/// Starts a backend that has nothing to die at.
async fn start_again(stack: &mut Stack) {
    stack.set_environment(ProcessEnvironment::default());
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
}

fn short_job(folder: &Path) -> Value {
    let parameters = json!({"steps": 2, "step_ms": 20, "journal": folder.join("journal")});
    json!({"type": "test.sleep", "parameters": parameters})
}

/// How often each job was begun.
fn executions(folder: &Path) -> BTreeMap<String, usize> {
    let mut executions = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join("journal")).unwrap_or_default().lines() {
        let id = line.split(' ').next().unwrap_or_default();
        *executions.entry(id.to_owned()).or_default() += 1;
    }
    executions
}

/// How many orders the last start found that may not have reached the broker.
fn sent_again(stack: &Stack) -> usize {
    let log = stack.backend.log();
    let line = log.lines().rfind(|line| line.contains("may not have reached the broker"));
    let count = line.and_then(|line| line.split("orders=").nth(1)?.split(' ').next()?.parse().ok());
    count.unwrap_or(0)
}

/// Clients submit jobs, each one after another, until the backend dies; it is started again.
async fn burst(purpose: &str, failpoint: &str) -> (Stack, Process) {
    let mut stack = start_dying_at(purpose, failpoint).await;
    let worker = stack.worker(&["test.sleep"], 4).await.unwrap();
    let clients = (0..CLIENTS).map(|_| {
        let (api, job) = (stack.api.clone(), short_job(stack.folder()));
        async move {
            let mut accepted = Vec::new();
            while let Ok(id) = api.submit(job.clone()).await {
                accepted.push(id);
                assert!(accepted.len() < JOBS, "the backend does not die");
            }
            accepted
        }
    });
    for id in join_all(clients).await.into_iter().flatten() {
        stack.remember_accepted(id);
    }
    for _client in 0..CLIENTS {
        stack.count_unanswered();
    }
    dead(&mut stack).await;
    start_again(&mut stack).await;
    (stack, worker)
}

/// What every test with a burst sees after it.
async fn survived(stack: &mut Stack, fault: &str) {
    let job = short_job(stack.folder());
    let took = stack.check_resumes("test.sleep", job["parameters"].clone()).await.unwrap();
    // Soon: not only when the reconciler misses an order.
    let mut found = stack.settle_within(RESUMES_WITHIN).await.unwrap();
    let attempts = stack.query("SELECT max(attempt) FROM jobs").unwrap();
    assert_eq!(attempts, 1, "the death of a backend costs no attempt");
    let executions = executions(stack.folder());
    let jobs = stack.query("SELECT count(*) FROM jobs").unwrap();
    assert_eq!(i64::try_from(executions.len()).unwrap(), jobs, "each job was begun: {executions:?}");
    let begun: usize = executions.values().sum();
    let stale = stack.api.stale("").await.unwrap();
    let resent = sent_again(stack);
    found.hold("I3", format_args!("{begun} executions of {jobs} jobs; {stale} late answers were refused"));
    found.hold("I9", format_args!("{resent} orders above the mark were sent again"));
    found.hold("I14", format_args!("work resumed {took:?} after the backend was back"));
    found.print(fault);
}

/// The backend dies when submissions are committed and not answered. Whoever sends them again with the same
/// idempotency key gets the same job.
#[tokio::test]
async fn f19_the_backend_dies_between_the_commit_and_the_answer() {
    const ANSWERED: u32 = 5;
    let mut stack = start_dying_at("f19", &dies_at(BackendFailpoint::JobStored.name(), ANSWERED)).await;
    let _worker = stack.worker(&["test.sleep"], 4).await.unwrap();
    for _job in 0..ANSWERED {
        stack.submit_job(short_job(stack.folder())).await.unwrap();
    }
    let send = |api: Api, job: String, key: usize| async move {
        let key = format!("key-{key}");
        api.send(Method::POST, "/v1/jobs", job, &[("idempotency-key", &key)]).await
    };
    let job = short_job(stack.folder()).to_string();
    let answers = join_all((0..JOBS).map(|key| send(stack.api.clone(), job.clone(), key))).await;
    assert!(answers.iter().all(Result::is_err), "nobody was answered: {answers:?}");
    dead(&mut stack).await;
    let stored = stack.query("SELECT count(*) FROM idempotency_keys").unwrap();
    assert!(stored > 0, "the backend died after a commit");
    start_again(&mut stack).await;
    let mut replayed = 0;
    for key in 0..JOBS {
        let (status, job) = send(stack.api.clone(), job.clone(), key).await.unwrap();
        assert!(matches!(status.as_u16(), 200 | 201), "{status} {job}");
        replayed += i64::from(status.as_u16() == 200);
        stack.remember_accepted(job["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(replayed, stored, "what was committed is not made again");
    let named = stack.query("SELECT count(DISTINCT job_seq) FROM idempotency_keys").unwrap();
    assert_eq!(usize::try_from(named).unwrap(), JOBS, "one job for each key");
    let took =
        stack.check_resumes("test.sleep", short_job(stack.folder())["parameters"].clone()).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    let executions = executions(stack.folder());
    assert_eq!(executions.len(), ANSWERED as usize + JOBS + 1, "every job was begun, and no other");
    found
        .hold("I6", format_args!("{JOBS} keys, {named} jobs: {replayed} were there, though nobody was told"));
    found.hold(
        "I3",
        format_args!("{} executions of {} jobs", executions.values().sum::<usize>(), executions.len()),
    );
    found.hold("I14", format_args!("work resumed {took:?} after the backend was back"));
    found.print("F19 the backend dies after a commit, before the answer");
}

/// The backend dies when jobs are committed as dispatched and their orders are not published.
#[tokio::test]
async fn f20_the_backend_dies_before_it_publishes() {
    let (mut stack, _worker) = burst("f20", &dies_at(BackendFailpoint::OrderUnsent.name(), 30)).await;
    assert!(sent_again(&stack) > 0, "an unsent order is above the mark");
    survived(&mut stack, "F20 the backend dies before it publishes an order").await;
}

/// The backend dies when orders are handed to the broker's client and their confirms are outstanding: nobody knows
/// whether the broker has them.
#[tokio::test]
async fn f21_the_backend_dies_before_a_confirm() {
    let (mut stack, _worker) = burst("f21", &dies_at(LinkFailpoint::MessageUnconfirmed.name(), 30)).await;
    assert!(sent_again(&stack) > 0, "an unconfirmed order is above the mark");
    survived(&mut stack, "F21 the backend dies before a confirm").await;
}

/// The backend dies when orders are confirmed and the high-water mark does not say so: they are sent twice, and run
/// twice or are found to be over.
#[tokio::test]
async fn f22_the_backend_dies_before_it_raises_the_mark() {
    let (mut stack, _worker) = burst("f22", &dies_at(BackendFailpoint::OrderConfirmed.name(), 30)).await;
    assert!(sent_again(&stack) > 0, "a confirmed order is above the mark");
    survived(&mut stack, "F22 the backend dies before it raises the mark").await;
}

/// The backend dies when responses are committed and not acknowledged, others are on their way, and further jobs
/// wait: the broker delivers the first ones again, and they are stale.
#[tokio::test]
async fn f23_the_backend_dies_between_a_responses_commit_and_its_acknowledgement() {
    const ANSWERED: usize = 5;
    const WAITING: usize = 10;
    let mut stack = start_dying_at("f23", &dies_at(BackendFailpoint::ResponsesRecorded.name(), 0)).await;
    let job_type = JobType::new("test.echo").unwrap();
    let raw_worker = RawWorker::start(&stack.amqp_url);
    raw_worker.announce(&job_type).await.unwrap();
    stack.api.served_by("test.echo", 1).await.unwrap();
    for _job in 0..ANSWERED + WAITING {
        stack.submit("test.echo", json!({"text": "done by somebody else"})).await.unwrap();
    }
    let mut all_taken = Vec::new();
    for _job in 0..ANSWERED {
        all_taken.push(raw_worker.take(&job_type).await.unwrap());
    }
    // Above the mark, orders are sent again, and their answers would be late as well.
    let open = "SELECT max(value) - min(value) FROM counters WHERE name LIKE 'dispatches_%'";
    while stack.query(open).unwrap() > 0 {
        sleep(Duration::from_millis(50)).await;
    }
    for taken in &all_taken {
        raw_worker.complete(taken, json!({"text": "by hand"})).await.unwrap();
        taken.delivery.ack().await.unwrap();
    }
    dead(&mut stack).await;
    let committed = stack.query("SELECT count(*) FROM jobs WHERE state = 'completed'").unwrap();
    assert!(committed > 0, "the backend died after a commit");
    drop(all_taken);
    raw_worker.vanish().await;
    start_again(&mut stack).await;
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    let took = stack.check_resumes("test.echo", json!({"text": "after it"})).await.unwrap();
    let mut found = stack.settle_within(RESUMES_WITHIN).await.unwrap();
    let by_hand = stack.query("SELECT count(*) FROM jobs WHERE result LIKE '%by hand%'").unwrap();
    assert_eq!(usize::try_from(by_hand).unwrap(), ANSWERED, "no answer was lost");
    let late = stack.api.stale("reason=\"terminal\"").await.unwrap();
    assert_eq!(late.to_string(), committed.to_string(), "what was committed came again and was refused");
    found.hold(
        "I3",
        format_args!("{committed} of {ANSWERED} answers were committed, came again and were refused"),
    );
    found.hold("I14", format_args!("work resumed {took:?} after the backend was back"));
    found.print("F23 the backend dies between a response's commit and its acknowledgement");
}

/// The backend dies inside the sweep that ends leases, before it records anything: three held attempts, whose
/// worker is gone, are charged once each, by the next process.
#[tokio::test]
async fn f24_the_backend_dies_inside_a_rescue() {
    const HELD: usize = 3;
    let mut stack = start_dying_at("f24-rescue", &dies_at(BackendFailpoint::LeasesEnded.name(), 0)).await;
    let job_type = JobType::new("test.echo").unwrap();
    let raw_worker = RawWorker::start(&stack.amqp_url);
    raw_worker.announce(&job_type).await.unwrap();
    stack.api.served_by("test.echo", 1).await.unwrap();
    let mut ids = Vec::new();
    for _job in 0..HELD {
        let id = stack.submit("test.echo", json!({"text": "rescued"})).await.unwrap();
        let taken = raw_worker.take(&job_type).await.unwrap();
        raw_worker.report_start(&taken).await.unwrap();
        stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
        raw_worker.hold(&taken).await.unwrap();
        ids.push(id);
    }
    raw_worker.vanish().await;
    dead(&mut stack).await;
    assert_eq!(stack.query("SELECT count(*) FROM attempts").unwrap(), 0, "nothing was recorded");
    start_again(&mut stack).await;
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    for id in &ids {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(2)), "{job}");
        assert_eq!(job["attempts"][0]["outcome"], "worker_lost", "{job}");
    }
    let mut found = stack.settle().await.unwrap();
    found.hold("I4", format_args!("{HELD} attempts were lost with their worker, each charged once"));
    found.print("F24 the backend dies inside a sweep: a rescue");
}

/// The backend dies inside the sweep that releases due jobs, between two of its steps.
#[tokio::test]
async fn f24_the_backend_dies_inside_a_release() {
    /// More than one step takes.
    const DUE: usize = 600;
    let mut stack = start_dying_at("f24-release", &dies_at(BackendFailpoint::JobsReleased.name(), 0)).await;
    let _worker = stack.worker(&["test.sleep"], 8).await.unwrap();
    let parameters = json!({"steps": 1, "step_ms": 0, "journal": stack.journal()});
    let job = json!({"type": "test.sleep", "parameters": parameters, "delay_seconds": 2});
    batch(&mut stack, &vec![job; DUE]).await;
    dead(&mut stack).await;
    let released = stack.query("SELECT count(*) FROM jobs WHERE state <> 'scheduled'").unwrap();
    assert!(released > 0, "the backend died after a step");
    start_again(&mut stack).await;
    let mut found = stack.settle().await.unwrap();
    let executions = executions(stack.folder());
    assert_eq!(executions.len(), DUE);
    found.hold(
        "I9",
        format_args!("{released} of {DUE} due jobs were released before the death, the others after"),
    );
    found.hold("I3", format_args!("{} executions of {DUE} jobs", executions.values().sum::<usize>()));
    found.print("F24 the backend dies inside a sweep: a release of due jobs");
}

/// The backend dies between two steps of a bulk cancellation: those of the steps before are cancelled, and the same
/// request again cancels the others.
#[tokio::test]
async fn f24_the_backend_dies_inside_a_bulk_cancellation() {
    /// Three steps.
    const JOBS: usize = 1_200;
    let mut stack = start_dying_at("f24-bulk", &dies_at(BackendFailpoint::JobsActedOn.name(), 1)).await;
    let job = json!({"type": "test.later", "parameters": {}, "delay_seconds": 3600});
    batch(&mut stack, &vec![job; JOBS]).await;
    let all = json!({"filter": {"type": "test.later"}});
    let unanswered = stack.api.post("/v1/jobs/cancel", all.clone()).await;
    assert!(unanswered.is_err(), "{unanswered:?}");
    dead(&mut stack).await;
    let cancelled = stack.query("SELECT count(*) FROM jobs WHERE state = 'cancelled'").unwrap();
    start_again(&mut stack).await;
    let (status, answer) = stack.api.post("/v1/jobs/cancel", all).await.unwrap();
    let changed = answer["changed"].as_i64().unwrap();
    assert_eq!((status.as_u16(), cancelled, changed), (200, 1_000, 200), "{answer}");
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I7",
        format_args!("{cancelled} were cancelled before the death, {changed} by the same request again"),
    );
    found.print("F24 the backend dies inside a bulk cancellation");
}

/// The backend dies between two steps of the retention: the next one deletes the rest, with everything about them,
/// and nothing else.
#[tokio::test]
async fn f24_the_backend_dies_inside_the_retention() {
    /// Three steps.
    const OLD: usize = 450;
    let mut stack = Stack::start("f24-retention").await.unwrap();
    let old = json!({"type": "test.old", "parameters": {}, "delay_seconds": 3600, "labels": {"age": "old"}});
    let (status, _) = stack.api.post("/v1/jobs/batch", json!(vec![old; OLD])).await.unwrap();
    assert_eq!(status.as_u16(), 200);
    let (_, answer) =
        stack.api.post("/v1/jobs/cancel", json!({"filter": {"type": "test.old"}})).await.unwrap();
    assert_eq!(answer["changed"], OLD);
    let kept = stack.submit("test.echo", json!({"text": "young"})).await.unwrap();
    stack.backend.kill().await.unwrap();
    let retention = ("CREWCALL_RETENTION_CANCELLED", "1ms");
    stack.set_environment(ProcessEnvironment::variables(&[
        ("FAILPOINTS", &dies_at(BackendFailpoint::JobsDeleted.name(), 1)),
        retention,
    ]));
    stack.restart_backend().await.unwrap();
    dead(&mut stack).await;
    let left = stack.query("SELECT count(*) FROM jobs WHERE type = 'test.old'").unwrap();
    assert_eq!(left, 50, "two steps of 200 were taken");
    stack.set_environment(ProcessEnvironment::variables(&[retention]));
    stack.restart_backend().await.unwrap();
    stack.api.json_when("/v1/jobs?type=test.old", |page| page["jobs"] == json!([])).await.unwrap();
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&kept).await.unwrap()["state"], "completed");
    let mut found = stack.settle().await.unwrap();
    let orphans = stack
        .query(
            "SELECT (SELECT count(*) FROM job_payloads WHERE job_seq NOT IN (SELECT seq FROM jobs))
              + (SELECT count(*) FROM job_labels WHERE job_id NOT IN (SELECT id FROM jobs))",
        )
        .unwrap();
    assert_eq!(orphans, 0);
    found.hold(
        "I2",
        format_args!("of {OLD} old jobs {left} were left by the death, none after it; no orphans"),
    );
    found.print("F24 the backend dies inside the retention");
}

/// The backend is killed at no point in particular, with jobs in every state: each goes on where it was.
#[tokio::test]
async fn f24_jobs_in_every_state_survive_the_backend() {
    let mut stack = Stack::start("f24-states").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.sleep", "test.fail"], 4).await.unwrap();
    let running = stack.submit("test.sleep", json!({"steps": 40, "step_ms": 100})).await.unwrap();
    let unroutable = stack.submit("test.other", json!({"text": "late"})).await.unwrap();
    let failing = json!({"type": "test.fail", "parameters": {"message": "once", "succeed_at": 2}});
    let scheduled = stack.submit_job(failing).await.unwrap();
    stack.api.job_when(&running, |job| job["state"] == "running").await.unwrap();
    stack.api.job_when(&unroutable, |job| job["state"] == "unroutable").await.unwrap();
    stack.api.job_when(&scheduled, |job| job["state"] == "scheduled").await.unwrap();
    let mut short = Vec::new();
    for number in 0..50 {
        short.push(stack.submit("test.echo", json!({"text": number.to_string()})).await.unwrap());
    }
    stack.backend.kill().await.unwrap();
    stack.restart_backend().await.unwrap();
    for (number, id) in short.iter().enumerate() {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!(
            (&job["state"], &job["result"]["text"]),
            (&json!("completed"), &json!(number.to_string()))
        );
    }
    let job = stack.api.wait_for_end(&running).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    assert_eq!(stack.api.wait_for_end(&scheduled).await.unwrap()["state"], "completed");
    // The worker is known again, without having been started again.
    stack.api.served_by("test.echo", 1).await.unwrap();
    assert_eq!(stack.api.job(&unroutable).await.unwrap()["state"], "unroutable");
    let _late = stack.worker(&["test.other"], 1).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I9",
        "a running, a unroutable and a waiting job, and 50 on their way, went on where they were",
    );
    found.print("F19–F24 the backend is killed at no point in particular");
}

/// The backend is killed three times amid submissions and responses.
#[tokio::test]
async fn f24_a_backend_that_is_killed_again_and_again_loses_nothing() {
    const KILLS: usize = 3;
    let mut stack = Stack::start("f24-again").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 4).await.unwrap();
    for _round in 0..KILLS {
        for _job in 0..JOBS {
            stack.submit_job(short_job(stack.folder())).await.unwrap();
        }
        stack.backend.kill().await.unwrap();
        stack.restart_backend().await.unwrap();
    }
    survived(&mut stack, "F19–F24 the backend is killed three times").await;
}

/// Submits jobs in one request; all have to be accepted.
async fn batch(stack: &mut Stack, jobs: &[Value]) {
    let (status, answer) = stack.api.post("/v1/jobs/batch", json!(jobs)).await.unwrap();
    assert_eq!((status.as_u16(), &answer["accepted"]), (200, &json!(jobs.len())), "{answer}");
    for result in answer["results"].as_array().unwrap() {
        stack.remember_accepted(result["id"].as_str().unwrap().to_owned());
    }
}
