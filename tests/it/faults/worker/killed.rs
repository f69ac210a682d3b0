//! Workers that die: before anybody knows that they began, in the middle, and when all was done.

use std::time::Duration;

use crewcall_proto::Topology;
use e2e::{
    broker,
    failpoints::WorkerFailpoint,
    proxy::{FaultProxy, Mode},
    stack::{RESUMES_WITHIN, Stack},
    wait::until,
};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{doomed_worker, sleep_parameters};

/// Within which time a held attempt runs elsewhere: its lease (15 s), the back-off (2 s), and a busy machine.
const RESCUED_WITHIN: Duration = Duration::from_secs(30);

/// A worker aborts right before it would report that the attempt runs. Nobody ever heard of it: the broker delivers the
/// order to the next worker, as the same attempt, and nothing is charged.
#[tokio::test]
async fn f25_a_worker_dies_before_its_start_report() {
    let mut stack = Stack::start("f25").await.unwrap();
    let mut doomed = doomed_worker(&mut stack, "test.sleep", WorkerFailpoint::StartUnreported).await;
    let parameters = sleep_parameters(&stack, 1, 1_000);
    let id = stack.submit("test.sleep", parameters).await.unwrap();
    assert!(!doomed.wait().await.unwrap().success());
    assert_eq!(stack.executions(), 1, "it was at it");
    let job = stack.api.job(&id).await.unwrap();
    assert_eq!((&job["state"], &job["started_at"]), (&json!("dispatched"), &json!(null)), "{job}");
    runs_again(&mut stack, &id, "F25 a worker killed before its start report").await;
}

/// A worker is killed in the middle of a short job while another one is idle: the broker delivers the order again at
/// once, and the other finishes it as the same attempt, which is not charged twice.
#[tokio::test]
async fn f26_a_worker_is_killed_in_the_middle_of_a_short_job() {
    let mut stack = Stack::start("f26-short").await.unwrap();
    let mut first = stack.worker(&["test.sleep"], 1).await.unwrap();
    let parameters = sleep_parameters(&stack, 10, 200);
    let id = stack.submit("test.sleep", parameters).await.unwrap();
    let _second = stack.worker(&["test.sleep"], 1).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    first.kill().await.unwrap();
    let again = until("it runs elsewhere", RESUMES_WITHIN, async || stack.executions() == 2).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(job["result"], json!({"steps": 10, "worker": "worker-1", "attempt": 1}), "{job}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    let (_, lost) = stack.api.get("/v1/workers/worker-0").await.unwrap();
    assert!(lost.contains("worker-0"), "a lost worker is still shown: {lost}");
    let mut found = stack.settle().await.unwrap();
    found.hold("I4", "2 executions, 1 attempt charged: that of the worker that finished");
    found.hold("I14", format_args!("the order ran elsewhere {again:?} after the kill"));
    found.print("F26 a worker killed mid-job (short)");
}

/// A worker is killed with an attempt that it held, whose order is gone from the broker: when its lease ends the
/// attempt is charged, once, as lost with its worker, and the next one runs on another.
#[tokio::test]
async fn f26_a_worker_is_killed_in_the_middle_of_a_held_job() {
    let mut stack = Stack::start("f26-held").await.unwrap();
    stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "1");
    let mut first = stack.worker(&["test.sleep"], 1).await.unwrap();
    let parameters = sleep_parameters(&stack, 20, 200);
    let id = stack.submit("test.sleep", parameters).await.unwrap();
    let held = async || first.log().contains("The attempt is held");
    until("the attempt is held", RESUMES_WITHIN, held).await.unwrap();
    let _second = stack.worker(&["test.sleep"], 1).await.unwrap();
    first.kill().await.unwrap();
    let again = until("it runs elsewhere", RESCUED_WITHIN, async || stack.executions() == 2).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(job["result"], json!({"steps": 20, "worker": "worker-1", "attempt": 2}), "{job}");
    let outcomes: Vec<_> = job["attempts"].as_array().unwrap().iter().map(|it| &it["outcome"]).collect();
    assert_eq!(outcomes, ["worker_lost", "completed"], "{job}");
    assert_eq!(job["attempts"][0]["worker_id"], "worker-0", "{job}");
    let lost = stack.api.json("/v1/workers/worker-0").await.unwrap();
    assert_eq!(lost["status"], "lost", "{lost}");
    let mut found = stack.settle().await.unwrap();
    found.hold("I4", format_args!("2 executions, 2 attempts charged: {outcomes:?}"));
    found.hold(
        "I14",
        format_args!("the job ran elsewhere {again:?} after the kill, a lease of 15 s included"),
    );
    found.print("F26 a worker killed mid-job (held)");
}

/// A worker aborts when its handler has ended, before it says a word of it: the work is done again by another worker,
/// and concluded once.
#[tokio::test]
async fn f27_a_worker_dies_after_finishing_before_it_answers() {
    let mut stack = Stack::start("f27-unsent").await.unwrap();
    let mut doomed = doomed_worker(&mut stack, "test.sleep", WorkerFailpoint::AttemptEnded).await;
    let parameters = sleep_parameters(&stack, 1, 10);
    let id = stack.submit("test.sleep", parameters).await.unwrap();
    assert!(!doomed.wait().await.unwrap().success());
    assert_eq!(stack.api.job(&id).await.unwrap()["state"], "dispatched");
    runs_again(&mut stack, &id, "F27 a worker killed after finishing, before it answered").await;
}

/// The order of a worker that died unheard runs again, as the same attempt, on a worker that is started now.
async fn runs_again(stack: &mut Stack, id: &str, fault: &str) {
    let died = Instant::now();
    let _next = stack.worker(&["test.sleep"], 1).await.unwrap();
    until("it runs again", RESUMES_WITHIN, async || stack.executions() == 2).await.unwrap();
    let again = died.elapsed();
    let job = stack.api.wait_for_end(id).await.unwrap();
    assert_eq!(job["result"], json!({"steps": 1, "worker": "worker-1", "attempt": 1}), "{job}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    let mut found = stack.settle().await.unwrap();
    found.hold("I4", "2 executions, 1 attempt charged: that of the worker that finished");
    found.hold(
        "I14",
        format_args!("the order ran again {again:?} after the death, on a worker that was started then"),
    );
    found.print(fault);
}

/// The worker's answer reaches the broker, the confirm never reaches the worker (its line is frozen that way), and then
/// it is killed: the order is delivered again, the next worker asks about it, and does not run it.
#[tokio::test]
async fn f27_a_worker_dies_after_its_answer_before_the_confirm() {
    let mut stack = Stack::start("f27-unconfirmed").await.unwrap();
    let direct = stack.amqp_url.clone();
    let (line, url) = FaultProxy::before(&direct, &TaskTracker::new()).await.unwrap();
    stack.amqp_url = url;
    let mut first = stack.worker(&["test.sleep"], 1).await.unwrap();
    stack.amqp_url = direct;
    let parameters = sleep_parameters(&stack, 4, 250);
    let id = stack.submit("test.sleep", parameters).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    line.set(Mode::FreezeToClient);
    let concluded = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(concluded["result"]["worker"], "worker-0", "{concluded}");
    first.kill().await.unwrap();
    is_not_run_again(&mut stack, &id, "F27 a worker killed after its answer, before the confirm").await;
}

/// A worker aborts when its answer is confirmed, before it acknowledges the order: the order is delivered again, the next
/// worker asks about it, and does not run it.
#[tokio::test]
async fn f27_a_worker_dies_after_the_confirm_before_it_acknowledges() {
    let mut stack = Stack::start("f27-unacknowledged").await.unwrap();
    let mut doomed = doomed_worker(&mut stack, "test.sleep", WorkerFailpoint::ResponseConfirmed).await;
    let parameters = sleep_parameters(&stack, 1, 10);
    let id = stack.submit("test.sleep", parameters).await.unwrap();
    assert!(!doomed.wait().await.unwrap().success());
    let concluded = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(concluded["result"]["worker"], "worker-0", "{concluded}");
    is_not_run_again(&mut stack, &id, "F27 a worker killed after the confirm, before its acknowledgement")
        .await;
}

/// The order of a job that is over goes to another worker, which asks whether it is wanted, and drops it.
async fn is_not_run_again(stack: &mut Stack, id: &str, fault: &str) {
    let before = stack.api.job(id).await.unwrap();
    // Counted anew every few seconds only: a nought that is not old.
    until("the order is back", RESUMES_WITHIN, async || unsettled(stack).await == 1).await.unwrap();
    let came = Instant::now();
    let _next = stack.worker(&["test.sleep"], 1).await.unwrap();
    let gone = async || unsettled(stack).await == 0;
    until("the order is gone", RESUMES_WITHIN, gone).await.unwrap();
    let gone = came.elapsed();
    assert_eq!(stack.executions(), 1, "nobody wants it any more");
    assert_eq!(stack.api.job(id).await.unwrap(), before, "I7: the job is over");
    let mut found = stack.settle().await.unwrap();
    found.hold("I3", "1 execution, 1 conclusion; the order that came again was asked about");
    found.hold("I14", format_args!("that order was gone {gone:?} after another worker came"));
    found.print(fault);
}

/// How many orders wait, or are with a worker that has not acknowledged them.
async fn unsettled(stack: &Stack) -> u64 {
    let vhost = stack.amqp_url.rsplit('/').next().unwrap();
    let node = broker::shared_broker().await.unwrap();
    let listed =
        node.ctl(&["list_queues", "-q", "--no-table-headers", "-p", vhost, "name", "messages"]).await;
    let queue = Topology::default().jobs_queue(&"test.sleep".parse().unwrap());
    let listed = listed.unwrap();
    let messages = listed.lines().find_map(|line| line.strip_prefix(&queue)?.trim().parse().ok());
    messages.unwrap()
}
