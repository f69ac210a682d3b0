//! The wall clock jumps (F48): a day ahead, an hour back. A preloaded library tells the backend and its worker the
//! other time.

use std::time::Duration;

use e2e::{
    broker,
    preload::Preload,
    process::Process,
    stack::{ProcessEnvironment, Stack},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const HOUR_SECONDS: i64 = 3_600;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;

/// How much later than asked a job may be done: the timers' tick, the retry's way, and a busy machine.
const LATE_MAX: Duration = Duration::from_secs(15);

/// How long the clock stays wrong besides: longer, with the waits, than a worker may be silent.
const JUMPED_FOR: Duration = Duration::from_secs(10);

/// An installation that is lied to about the time, with a worker that holds its attempts after a second.
async fn start(purpose: &str) -> (Stack, Preload, Process) {
    let vhost = broker::vhost(purpose).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let preload = Preload::prepare(folder.path()).await.unwrap();
    let preloaded = preload.variables();
    let all: Vec<_> = preloaded.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut stack = Stack::start_in(folder, vhost.url, ProcessEnvironment::variables(&all)).await.unwrap();
    stack.api.ready().await.unwrap();
    for (name, value) in &preloaded {
        stack.worker_setting(name, value);
    }
    stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "1");
    let worker = stack.worker(&["test.sleep", "test.echo", "test.fail"], 8).await.unwrap();
    (stack, preload, worker)
}

/// A job whose wait is measured.
struct Waits {
    id: String,
    wait: Duration,
    since: Instant,
}

impl Waits {
    /// A job that is due in a while.
    async fn delayed(stack: &mut Stack, seconds: u64) -> Self {
        let job = json!({"type": "test.echo", "parameters": {"text": "later"}, "delay_seconds": seconds});
        let since = Instant::now();
        Self { id: stack.submit_job(job).await.unwrap(), wait: Duration::from_secs(seconds), since }
    }

    /// A job whose first attempt has failed and whose second is due in a while.
    async fn backing_off(stack: &mut Stack, seconds: u64) -> Self {
        let backoff = json!({"initial_seconds": seconds, "max_seconds": seconds, "jitter": 0});
        let parameters = json!({"message": "once", "succeed_at": 2});
        let job = json!({"type": "test.fail", "parameters": parameters, "backoff": backoff});
        let since = Instant::now();
        let id = stack.submit_job(job).await.unwrap();
        stack.api.job_when(&id, |job| job["state"] == "scheduled").await.unwrap();
        Self { id, wait: Duration::from_secs(seconds), since }
    }

    /// Waits for its end, which has to come in time and not before. Returns after how long it came.
    async fn over(&self, stack: &Stack) -> Duration {
        let job = stack.api.wait_for_end(&self.id).await.unwrap();
        let took = self.since.elapsed();
        assert_eq!(job["state"], "completed", "{job}");
        assert!(took >= self.wait, "{took:?} is too early for {:?}: {job}", self.wait);
        assert!(took <= self.wait + LATE_MAX, "{took:?} is too late for {:?}: {job}", self.wait);
        took
    }
}

/// A job that runs for a while and is held, with a timeout that does not come.
async fn long_job(stack: &mut Stack, seconds: u64) -> String {
    let parameters = json!({"steps": seconds * 10, "step_ms": 100, "journal": stack.journal()});
    let timeout = seconds * 2;
    let job = json!({"type": "test.sleep", "parameters": parameters, "timeout_seconds": timeout});
    let id = stack.submit_job(job).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    id
}

/// A job that nobody serves until the end, and that expires then.
async fn expiring(stack: &mut Stack, seconds: i64) -> String {
    let expires_at = stack.from_now(seconds).await.unwrap();
    let job = json!({"type": "test.other", "parameters": {"text": "in time"}, "expires_at": expires_at});
    stack.submit_job(job).await.unwrap()
}

/// That no worker is taken for lost while the clock stays as it is.
async fn nobody_is_lost(stack: &Stack) {
    let until = Instant::now() + JUMPED_FOR;
    while Instant::now() < until {
        let workers = stack.api.json("/v1/workers").await.unwrap();
        let workers = workers["workers"].as_array().unwrap();
        assert!(
            !workers.is_empty() && workers.iter().all(|worker| worker["status"] != "lost"),
            "{workers:?}"
        );
        sleep(Duration::from_millis(500)).await;
    }
}

/// The clock jumps a day ahead and then to an hour behind while the backend and a worker run. Nothing expires, times
/// out, is forgotten or is taken for lost, and waits take as long as they were asked to.
#[tokio::test]
async fn f48_the_wall_clock_jumps() {
    let (mut stack, preload, _worker) = start("f48").await;
    let expires = expiring(&mut stack, HOUR_SECONDS).await;
    let long = long_job(&mut stack, 40).await;
    let named = json!({"type": "test.echo", "parameters": {"text": "named"}}).to_string();
    let key = [("idempotency-key", "f48")];
    let (_, once) = stack.api.send(Method::POST, "/v1/jobs", named.clone(), &key).await.unwrap();
    stack.remember_accepted(once["id"].as_str().unwrap().to_owned());
    let mut took = Vec::new();
    for ahead in [DAY_SECONDS, -HOUR_SECONDS] {
        let waiting = [Waits::delayed(&mut stack, 5).await, Waits::backing_off(&mut stack, 5).await];
        preload.clock_ahead_seconds(ahead).unwrap();
        for waits in &waiting {
            took.push(waits.over(&stack).await);
        }
        // Asked for and waited for under the wrong clock.
        took.push(Waits::delayed(&mut stack, 2).await.over(&stack).await);
        let (status, again) = stack.api.send(Method::POST, "/v1/jobs", named.clone(), &key).await.unwrap();
        assert_eq!((status.as_u16(), &again["id"]), (200, &once["id"]), "the key is remembered: {again}");
        nobody_is_lost(&stack).await;
    }
    let _late = stack.worker(&["test.other"], 1).await.unwrap();
    for id in [&expires, &long] {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    assert_eq!(stack.executions(), 1, "the held attempt kept its lease");
    let mut found = stack.settle().await.unwrap();
    found.hold("I4", "no attempt was charged for the clock: the held one went on, no worker was lost");
    found.hold("I6", "the idempotency key was remembered through both jumps");
    found.hold("I9", format_args!("delays and back-offs of 5, 5 and 2 s took {took:.1?}; nothing expired"));
    found.print("F48 the wall clock jumps +1 day, then to −1 h");
}

/// The clock is another one after each restart of the backend: an hour behind, right, a day ahead, right again. A wait
/// that was asked for as a duration takes as long as it was asked to, and the time without a backend; a time that was
/// named is that of the clock.
#[tokio::test]
async fn f48_the_wall_clock_jumps_while_the_backend_is_away() {
    let (mut stack, preload, _worker) = start("f48-restart").await;
    let expires = expiring(&mut stack, 3 * DAY_SECONDS).await;
    let long = long_job(&mut stack, 30).await;
    let run_at = stack.from_now(20).await.unwrap();
    let named = json!({"type": "test.echo", "parameters": {"text": "named"}, "run_at": run_at});
    let named = stack.submit_job(named).await.unwrap();
    let first = [Waits::delayed(&mut stack, 8).await, Waits::backing_off(&mut stack, 8).await];

    restart_at(&mut stack, &preload, -HOUR_SECONDS).await;
    let mut took = Vec::new();
    for waits in &first {
        took.push(waits.over(&stack).await);
    }
    let job = stack.api.job(&named).await.unwrap();
    assert_eq!((&job["state"], &job["waiting_for"]["reason"]), (&json!("scheduled"), &json!("due")), "{job}");
    assert_eq!(due_in_seconds(&mut stack, &job).await / 60, 60, "a time that was named stays what it is");

    restart_at(&mut stack, &preload, 0).await;
    let on_time = stack.api.wait_for_end(&named).await.unwrap();
    assert_eq!(on_time["state"], "completed", "{on_time}");

    restart_at(&mut stack, &preload, DAY_SECONDS).await;
    let ahead = [Waits::delayed(&mut stack, 8).await, Waits::backing_off(&mut stack, 8).await];
    restart_at(&mut stack, &preload, 0).await;
    for waits in &ahead {
        took.push(waits.over(&stack).await);
    }
    let _late = stack.worker(&["test.other"], 1).await.unwrap();
    for id in [&expires, &long] {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    assert_eq!(stack.executions(), 1, "the held attempt kept its lease");
    let mut found = stack.settle().await.unwrap();
    let moved = stack.backend.log().matches("The machine's clock was set back.").count();
    assert_eq!(moved, 2, "it is said when the clock was set back");
    found.hold("I4", "no attempt was charged for the clock: the held one went on, no worker was lost");
    found.hold("I9", format_args!("waits of 8 s took {took:.1?} over the restarts"));
    found.print("F48 the wall clock jumps −1 h and +1 day across restarts of the backend");
}

async fn restart_at(stack: &mut Stack, preload: &Preload, ahead_seconds: i64) {
    stack.backend.kill().await.unwrap();
    preload.clock_ahead_seconds(ahead_seconds).unwrap();
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
}

/// In how many seconds a job is due, by the backend's clock.
async fn due_in_seconds(stack: &mut Stack, job: &Value) -> i64 {
    let now: jiff::Timestamp = stack.from_now(0).await.unwrap().parse().unwrap();
    let due_at: jiff::Timestamp = job["due_at"].as_str().unwrap().parse().unwrap();
    due_at.as_second() - now.as_second()
}
