//! The broker is there, but does nothing for a minute, or takes nothing: it is frozen, or raises an alarm.

use std::time::Duration;

use crewcall_dev_broker::DevBroker;
use e2e::{
    broker,
    process::{PATIENCE, Process},
    stack::Stack,
};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{super::attempts::LongAttempts, LOOK_EVERY, Load, Operator, charged, not_ready};

/// How long each of these faults lasts.
const LASTS: Duration = Duration::from_secs(60);

/// How long the attempts last that go on throughout.
const ATTEMPTS_LAST: Duration = Duration::from_secs(80);

/// Within which time a backend notices that the broker does nothing any more: it asks at every heartbeat of 10 s, waits
/// 10 s for the answer, and the machine may be busy.
const NOTICED_WITHIN: Duration = Duration::from_secs(25);

/// Results that wait for the backend when the broker stops taking messages.
const RESULTS: u32 = 16;

/// For how long the attempts behind them run: long enough that all have begun before any ends.
const RESULT_TAKES_MS: u64 = 2_000;

/// An alarm of the broker.
struct Alarm {
    fault: &'static str,
    raise: &'static [&'static str],
    clear: &'static [&'static str],
    /// What the broker says about it.
    says: &'static str,
    /// For how long nobody submits anything.
    quiet_for: Duration,
}

/// The broker is stopped by a signal for a minute, without a word to anybody, while jobs go in and two long attempts
/// run. The backend gives the session up, goes on accepting, and takes it up again; neither attempt is charged for the
/// silence, though nobody's heartbeat was heard for four times as long as a worker may be silent.
#[tokio::test]
async fn f05_the_broker_freezes_for_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let node = broker::own_broker(&folder).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.other"], 4).await.unwrap();
    let attempts = LongAttempts::begin(&mut stack, ATTEMPTS_LAST).await.unwrap();
    let load = Load::slow(&stack);
    let began = Instant::now();
    node.suspend().unwrap();
    let (reason, noticed) = not_ready(&stack.api).await.unwrap();
    assert!(noticed <= NOTICED_WITHIN, "noticed after {noticed:?} only");
    while began.elapsed() < LASTS {
        attempts.are_running(&stack).await.unwrap();
        sleep(LOOK_EVERY).await;
    }
    node.resume().unwrap();
    let took = stack.check_resumes("test.other", json!({"text": "resumed"})).await.unwrap();
    let submitted = load.end(&mut stack).await.unwrap();
    submitted.are_echoed(&stack.api).await.unwrap();
    attempts.are_uncharged(&stack).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "a frozen broker costs no attempt");
    found.hold("I2", submitted.accepted());
    found.hold("I4", "both long attempts, one of them held, went on and were charged nothing");
    found.hold("I14", format_args!("noticed after {noticed:.1?}; a job done {took:.1?} after it went on"));
    found.hold("I15", format_args!("meanwhile /readyz said: {reason}"));
    found.print("F5 the broker freezes for a minute");
    node.stop().await.unwrap();
}

/// The broker raises a memory alarm for a minute, and takes no messages from anybody. Results that it has already are
/// recorded and acknowledged all the same, jobs are accepted, and nobody's heartbeat is heard: neither long attempt is
/// charged for that.
#[tokio::test]
async fn f11_a_memory_alarm_for_a_minute() {
    alarm(&Alarm {
        fault: "F11 a memory alarm for a minute",
        raise: &["set_vm_memory_high_watermark", "absolute", "1MB"],
        clear: &["set_vm_memory_high_watermark", "0.4"],
        says: "memory",
        quiet_for: Duration::ZERO,
    })
    .await;
}

/// The broker raises a disk alarm for a minute. For most of it nobody submits anything, so that no order that is stuck
/// tells the backend of it. The rest is as with the memory.
#[tokio::test]
async fn f12_a_disk_alarm_for_a_minute() {
    alarm(&Alarm {
        fault: "F12 a disk alarm for a minute",
        raise: &["set_disk_free_limit", "1000000000000000"],
        clear: &["set_disk_free_limit", "1000000"],
        says: "disk",
        quiet_for: LASTS - Duration::from_secs(10),
    })
    .await;
}

async fn alarm(alarm: &Alarm) {
    let folder = tempfile::tempdir().unwrap();
    let node = broker::own_broker(&folder).await.unwrap();
    let mut stack = Stack::start_on(node.url("/")).await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.other"], 4).await.unwrap();
    let attempts = LongAttempts::begin(&mut stack, ATTEMPTS_LAST).await.unwrap();
    let results = Results::withheld(&mut stack, &node).await;
    node.ctl(alarm.raise).await.unwrap();
    let began = Instant::now();
    let recorded = results.are_recorded(&stack, &node).await;
    while began.elapsed() < alarm.quiet_for {
        attempts.are_running(&stack).await.unwrap();
        sleep(LOOK_EVERY).await;
    }
    let load = Load::slow(&stack);
    let (reason, _) = not_ready(&stack.api).await.unwrap();
    assert!(reason.contains(alarm.says), "{reason}");
    while began.elapsed() < LASTS {
        attempts.are_running(&stack).await.unwrap();
        sleep(LOOK_EVERY).await;
    }
    node.ctl(alarm.clear).await.unwrap();
    let took = stack.check_resumes("test.other", json!({"text": "resumed"})).await.unwrap();
    let submitted = load.end(&mut stack).await.unwrap();
    submitted.are_echoed(&stack.api).await.unwrap();
    attempts.are_uncharged(&stack).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    assert_eq!(charged(&stack).unwrap(), 0, "an alarm costs no attempt");
    found.hold("I2", submitted.accepted());
    found.hold("I4", "both long attempts, one of them held, went on and were charged nothing");
    found.hold(
        "I13",
        format_args!("{RESULTS} results were recorded and acknowledged {recorded:.1?} into the alarm"),
    );
    found.hold("I14", format_args!("a job was done {took:.1?} after the alarm"));
    found.hold("I15", format_args!("meanwhile /readyz said: {reason}"));
    found.print(alarm.fault);
    node.stop().await.unwrap();
}

/// Results that the broker has, and the backend has not read: it is stopped.
struct Results {
    ids: Vec<String>,
    _worker: Process,
}

impl Results {
    async fn withheld(stack: &mut Stack, node: &DevBroker) -> Self {
        let worker = stack.worker(&["test.sleep"], RESULTS).await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..RESULTS {
            let parameters = json!({"steps": 1, "step_ms": RESULT_TAKES_MS});
            ids.push(stack.submit("test.sleep", parameters).await.unwrap());
        }
        for id in &ids {
            stack.api.job_when(id, |job| job["state"] == "running").await.unwrap();
        }
        stack.backend.signal(Signal::STOP).unwrap();
        completed_messages_are(node, u64::from(RESULTS)).await;
        Self { ids, _worker: worker }
    }

    /// Lets the backend go on. Returns how long it takes until they are recorded, and their messages acknowledged.
    async fn are_recorded(&self, stack: &Stack, node: &DevBroker) -> Duration {
        let began = Instant::now();
        stack.backend.signal(Signal::CONT).unwrap();
        for id in &self.ids {
            let job = stack.api.wait_for_end(id).await.unwrap();
            assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
        }
        completed_messages_are(node, 0).await;
        began.elapsed()
    }
}

/// Waits until the broker has so many results that nobody acknowledged.
async fn completed_messages_are(node: &DevBroker, wanted: u64) {
    let operator = Operator { node, vhost: "/".to_owned() };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = operator.ctl("list_queues", &["name", "messages", "--no-table-headers"]).await.unwrap();
        let line = listed.lines().find_map(|line| line.strip_prefix("crewcall.completed")).unwrap();
        let messages: u64 = line.trim().parse().unwrap();
        if messages == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{messages} results are with the broker, not {wanted}");
        sleep(LOOK_EVERY).await;
    }
}
