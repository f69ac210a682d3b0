//! Workers that fall silent with an attempt that they hold, and come back when others run it.

use std::time::Duration;

use e2e::{
    broker,
    process::Process,
    proxy::{FaultProxy, Mode},
    stack::{RESUMES_WITHIN, Stack},
    wait::until,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::sleep_parameters;

/// Within which time a held attempt runs elsewhere: its lease (15 s), the back-off (2 s), and a busy machine.
const RESCUED_WITHIN: Duration = Duration::from_secs(30);

/// For how long the attempt runs: it is still running when it was seen that the worker holds it.
const ATTEMPT_TAKES_MS: u64 = 12_000;

/// A worker is frozen (SIGSTOP) for longer than its lease, with an attempt that it holds. When it goes on, the next
/// attempt is under way: the zombie's result is refused and counted, the job ends with the result of the second
/// attempt, and the zombie becomes a worker again.
#[tokio::test]
async fn f28_a_worker_is_frozen_past_its_lease_and_comes_back() {
    let mut stack = Stack::start("f28").await.unwrap();
    stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "1");
    let zombie = stack.worker(&["test.sleep"], 1).await.unwrap();
    let parameters = sleep_parameters(&stack, 1, ATTEMPT_TAKES_MS);
    let id = stack.submit("test.sleep", parameters).await.unwrap();
    held(&stack, &zombie).await;
    let mut second = stack.worker(&["test.sleep"], 1).await.unwrap();
    zombie.signal(Signal::STOP).unwrap();
    until("it runs elsewhere", RESCUED_WITHIN, async || stack.executions() == 2).await.unwrap();
    zombie.signal(Signal::CONT).unwrap();
    let late = async || stack.api.stale("reason=\"attempt\"").await.unwrap() >= 1.0;
    let late = until("the late result is refused", RESUMES_WITHIN, late).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_second_attempt(&job, 1);
    second.kill().await.unwrap();
    // The zombie alone is left to do this.
    let resumed = stack.check_resumes("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    let refused = stack.api.stale("").await.unwrap();
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I5",
        format_args!("the late result was refused {late:?} after the worker went on; {refused} in all"),
    );
    found.hold("I4", "2 executions, 2 attempts charged: worker_lost and completed");
    found.hold("I14", format_args!("the zombie did another job after {resumed:?}"));
    found.print("F28 a worker frozen past its lease, then back");
}

/// A worker is cut off (its line frozen both ways) for longer than its lease, with an attempt that it holds and
/// finishes. When its line is back, the second attempt has ended the job: the zombie's result is refused and counted,
/// and nothing changes any more.
#[tokio::test]
async fn f29_a_worker_is_cut_off_past_its_lease_and_comes_back() {
    let mut stack = Stack::start("f29").await.unwrap();
    stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "1");
    let direct = stack.amqp_url.clone();
    let (line, url) = FaultProxy::before(&direct, &TaskTracker::new()).await.unwrap();
    stack.amqp_url = url;
    let zombie = stack.worker(&["test.sleep"], 1).await.unwrap();
    stack.amqp_url = direct;
    let parameters = sleep_parameters(&stack, 1, ATTEMPT_TAKES_MS);
    let id = stack.submit("test.sleep", parameters).await.unwrap();
    held(&stack, &zombie).await;
    line.set(Mode::FreezeBoth);
    let mut second = stack.worker(&["test.sleep"], 1).await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_second_attempt(&job, 1);
    line.set(Mode::Pass);
    let late = async || stack.api.stale("reason=\"terminal\"").await.unwrap() >= 1.0;
    let late = until("the late result is refused", RESUMES_WITHIN, late).await.unwrap();
    assert_eq!(stack.api.job(&id).await.unwrap(), job, "I7: the job is over");
    assert_eq!(stack.executions(), 2);
    second.kill().await.unwrap();
    let resumed = stack.check_resumes("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    let refused = stack.api.stale("").await.unwrap();
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I5",
        format_args!("the late result was refused {late:?} after the line was back; {refused} in all"),
    );
    found.hold("I7", "the job that was over is the same before and after the late result");
    found.hold("I14", format_args!("the zombie did another job after {resumed:?}"));
    found.print("F29 a worker cut off past its lease, then back");
}

/// Waits until the worker holds its attempt, and the broker has no order of it any more: it would deliver that to
/// somebody else.
async fn held(stack: &Stack, worker: &Process) {
    let told = async || worker.log().contains("The attempt is held");
    until("the attempt is held", RESUMES_WITHIN, told).await.unwrap();
    let (_, vhost) = stack.amqp_url.rsplit_once('/').unwrap();
    let query = ["list_queues", "--silent", "--vhost", vhost, "name", "messages_unacknowledged"];
    let released = async || {
        let queues = broker::shared_broker().await.unwrap().ctl(&query).await.unwrap();
        queues.lines().any(|line| line == "crewcall.jobs.test.sleep\t0")
    };
    until("its order is acknowledged", RESUMES_WITHIN, released).await.unwrap();
}

/// The first attempt was lost with its worker, and the second one made the result.
fn assert_second_attempt(job: &Value, steps: u64) {
    assert_eq!(job["result"], json!({"steps": steps, "worker": "worker-1", "attempt": 2}), "{job}");
    let attempts = job["attempts"].as_array().unwrap();
    let told: Vec<_> = attempts.iter().map(|it| (&it["outcome"], &it["worker_id"])).collect();
    let (lost, completed) = (json!("worker_lost"), json!("completed"));
    assert_eq!(told, [(&lost, &json!("worker-0")), (&completed, &json!("worker-1"))], "{job}");
}
