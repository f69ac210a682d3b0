//! The store: its disk is full, it is locked, its `fsync` fails (F40–F42); also amid runs, events and ticks (F137, F138).

mod in_flight;

mod amid_runs;

use std::time::Duration;

use e2e::{
    broker::{self, Vhost},
    disk::SmallDisk,
    preload::Preload,
    stack::{ProcessEnvironment, Stack},
};
use futures_util::future::join_all;
use reqwest::StatusCode;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// What the backend logs of a store that cannot write.
const GIVEN_UP: &str = "A transaction of the store was given up.";

/// One slot is busy with it while the fault is there, and its response comes in the middle of it.
fn job_of_seconds(stack: &Stack, seconds: u64) -> Value {
    json!({"steps": seconds * 10, "step_ms": 100, "journal": stack.journal()})
}

/// Submits until it is refused, and returns the problem.
async fn refused(stack: &mut Stack) -> Value {
    let job = json!({"type": "test.echo", "parameters": {"text": "x".repeat(1_000)}}).to_string();
    loop {
        let (status, answer) = stack.api.post_job(job.clone()).await.unwrap();
        if status != StatusCode::CREATED {
            assert_eq!((status.as_u16(), &answer["code"]), (503, &json!("store-unavailable")), "{answer}");
            return answer;
        }
        stack.remember_accepted(answer["id"].as_str().unwrap().to_owned());
    }
}

/// What `/readyz` says of the store, as soon as it is not well.
async fn not_ready(stack: &Stack) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (status, body) = stack.api.get("/readyz").await.unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        if let (503, Some(reason)) = (status.as_u16(), body["checks"]["store"]["reason"].as_str()) {
            return reason.to_owned();
        }
        assert!(Instant::now() < deadline, "/readyz says {status} {body}");
    }
}

/// How many results are ready in the broker, and how many are delivered and not acknowledged.
async fn responses_with_the_broker(vhost: &Vhost) -> (u32, u32) {
    let columns = ["-p", &vhost.name, "list_queues", "name", "messages_ready", "messages_unacknowledged"];
    let queues = broker::shared_broker().await.unwrap().ctl(&columns).await.unwrap();
    let line = queues.lines().find_map(|line| line.strip_prefix("crewcall.completed"));
    let numbers: Vec<u32> = line.unwrap().split_whitespace().map(|number| number.parse().unwrap()).collect();
    (numbers[0], numbers[1])
}

/// The disk of the database gets full while a job runs: submissions are refused with a reason, the job's response is
/// held, and all goes on when there is room again. Where no file system can be mounted, a library answers what a full
/// disk would.
#[tokio::test]
async fn f40_the_disk_is_full() {
    let vhost = broker::vhost("f40").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (disk, environment) = SmallDisk::prepare(folder.path()).await.unwrap();
    let mut stack = Stack::start_in(folder, vhost.url.clone(), environment).await.unwrap();
    stack.expect_error(GIVEN_UP);
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.sleep", "test.echo"], 2).await.unwrap();
    let parameters = job_of_seconds(&stack, 2);
    let held = stack.submit("test.sleep", parameters).await.unwrap();
    stack.api.job_when(&held, |job| job["state"] == "running").await.unwrap();
    let process = stack.backend.pid().unwrap();

    disk.fill(&stack).unwrap();
    let full = Instant::now();
    let problem = refused(&mut stack).await;
    let detail = problem["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("the disk of the database is full: free some space"), "{problem}");
    let reason = not_ready(&stack).await;
    assert!(reason.contains("disk of the database is full"), "{reason}");
    // The response is delivered and not acknowledged, and it is not given back.
    let mut held_at_all_looks = 0;
    while held_at_all_looks < 3 {
        match responses_with_the_broker(&vhost).await {
            (0, 1) => held_at_all_looks += 1,
            responses => assert_eq!((responses, held_at_all_looks), ((0, 0), 0), "ready, unacknowledged"),
        }
        assert!(full.elapsed() < Duration::from_secs(60), "no response came");
    }
    let job = stack.api.job(&held).await.unwrap();
    assert_eq!(job["state"], "running", "what is not on disk did not happen, and reading goes on: {job}");

    disk.free(&stack).unwrap();
    let lasted = full.elapsed();
    let took = stack.check_resumes("test.echo", json!({"text": "room"})).await.unwrap();
    stack.api.ready().await.unwrap();
    let job = stack.api.wait_for_end(&held).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    assert_eq!(stack.backend.pid().unwrap(), process, "nobody started it again");
    let links_lost = stack.api.metric("crewcall_amqp_reconnects_total", "").await.unwrap();
    assert_eq!((stack.executions(), links_lost), (1, 0.0));
    let over = |page: &Value| page["jobs"] == json!([]);
    stack.api.json_when("/v1/jobs?state=scheduled,ready,dispatched,running", over).await.unwrap();
    disk.copy_out(&stack).unwrap();
    let mut found = stack.settle().await.unwrap();
    let said = stack.backend.log().matches(GIVEN_UP).count();
    found.hold("I2", format_args!("503 store-unavailable: {detail:?}; /readyz: {reason:?}"));
    found.hold(
        "I3",
        format_args!("the response was held, and seen so {held_at_all_looks} times in {lasted:?}"),
    );
    found.hold("I14", format_args!("work resumed {took:?} after there was room, without a restart"));
    found.hold("I15", format_args!("the failing store was logged {said} times"));
    found.print(&format!("F40 the disk is full: {disk}"));
}

/// Another program locks the database for 10 s: whoever writes waits, reading goes on, and nothing is refused. While
/// it is locked for longer than that, submissions are refused with a reason.
#[tokio::test]
async fn f41_the_database_is_locked() {
    const LOCKED_FOR: Duration = Duration::from_secs(10);
    let mut stack = Stack::start("f41").await.unwrap();
    stack.expect_error(GIVEN_UP);
    let _worker = stack.worker(&["test.sleep", "test.echo"], 2).await.unwrap();
    let parameters = job_of_seconds(&stack, 2);
    let held = stack.submit("test.sleep", parameters).await.unwrap();
    stack.api.job_when(&held, |job| job["state"] == "running").await.unwrap();
    let other = Connection::open(stack.database()).unwrap();

    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let locked = Instant::now();
    let job = json!({"type": "test.echo", "parameters": {"text": "patience"}});
    let submissions = join_all((0..10).map(|_| stack.api.submit(job.clone())));
    let release = async {
        let reason = not_ready(&stack).await;
        while locked.elapsed() < LOCKED_FOR {
            let job = stack.api.job(&held).await.unwrap();
            assert_eq!(job["state"], "running", "reading goes on: {job}");
            sleep(Duration::from_millis(100)).await;
        }
        other.execute_batch("ROLLBACK").unwrap();
        reason
    };
    let (answers, reason) = tokio::join!(submissions, release);
    let waited = locked.elapsed();
    assert!(waited >= LOCKED_FOR);
    for answer in answers {
        stack.remember_accepted(answer.unwrap());
    }
    let took = stack.check_resumes("test.echo", json!({"text": "free"})).await.unwrap();
    stack.api.ready().await.unwrap();

    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let problem = refused(&mut stack).await;
    other.execute_batch("ROLLBACK").unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("another program has locked the database file: close it"), "{problem}");
    let took_again = stack.check_resumes("test.echo", json!({"text": "free again"})).await.unwrap();
    let job = stack.api.wait_for_end(&held).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    assert_eq!(stack.executions(), 1);
    let mut found = stack.settle().await.unwrap();
    found.hold("I2", format_args!("10 submissions were answered 201 after {waited:?}; /readyz: {reason:?}"));
    found.hold("I2", format_args!("locked for longer: 503 store-unavailable: {detail:?}"));
    found.hold("I14", format_args!("work resumed {took:?} and {took_again:?} after the locks were gone"));
    found.print("F41 the database is locked");
}

/// `fsync` fails: nobody knows any more what is on the disk, so the backend says so and ends, and whoever was not
/// answered knows that, too. On a disk that works again it goes on. The failure is a preloaded library's, so what was
/// written is there in the end; what must hold is that nobody was told so.
#[tokio::test]
async fn f42_fsync_fails() {
    const CLIENTS: usize = 8;
    let vhost = broker::vhost("f42").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let preload = Preload::prepare(folder.path()).await.unwrap();
    let variables = preload.variables();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let environment = ProcessEnvironment::variables(&variables);
    let mut stack = Stack::start_in(folder, vhost.url, environment).await.unwrap();
    stack.expect_error(GIVEN_UP);
    stack.expect_error("A request failed.");
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.sleep", "test.echo"], 2).await.unwrap();
    let parameters = job_of_seconds(&stack, 2);
    let running = stack.submit("test.sleep", parameters).await.unwrap();
    stack.api.job_when(&running, |job| job["state"] == "running").await.unwrap();

    preload.fsync_fails(true).unwrap();
    let job = json!({"type": "test.echo", "parameters": {"text": "lost?"}}).to_string();
    let answers = join_all((0..CLIENTS).map(|_| stack.api.post_job(job.clone()))).await;
    for answer in answers {
        let told = answer.ok().map(|(status, _)| status.as_u16());
        assert!(matches!(told, None | Some(500 | 503)), "nobody is told that it is stored: {told:?}");
        stack.count_unanswered();
    }
    let status = stack.backend.wait().await.unwrap();
    let last = stack.backend.why_it_ended();
    assert!(last.contains("the process ends rather than guess what is on disk"), "{last}");
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {last}");

    preload.fsync_fails(false).unwrap();
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    let took = stack.check_resumes("test.echo", json!({"text": "sane"})).await.unwrap();
    let job = stack.api.wait_for_end(&running).await.unwrap();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    let mut found = stack.settle().await.unwrap();
    found.hold("I2", format_args!("none of {CLIENTS} submissions was told that it is stored"));
    found.hold("I15", format_args!("{status}: {last:?}"));
    found.hold("I14", format_args!("work resumed {took:?} after the backend was back"));
    found.print("F42 fsync fails");
}
