//! The store takes nothing for a while, amid runs, events and the ticks of a schedule.

use std::time::Duration;

use e2e::{broker, disk::SmallDisk, invariants::Invariants, stack::Stack, wait::until};
use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{GIVEN_UP, not_ready};

/// How many runs are open: fewer where the disk is small.
const RUNS: usize = 20;
const FEW_RUNS: usize = 5;

/// How many items each has.
const ITEMS: usize = 5;

/// After how many refusals there is room again.
const REFUSALS: usize = 5;

/// For how long the database is locked: several ticks of the schedule.
const LOCKED_FOR: Duration = Duration::from_secs(6);

/// How long everything may take afterwards.
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked whether something is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The records of ticks that fired, and whose jobs are over.
const FIRED: &str = "/v1/schedules/seconds/ticks?state=fired&limit=200";

async fn put(stack: &Stack, path: &str, document: Value) {
    let (status, answer) = stack.api.send(Method::PUT, path, document.to_string(), &[]).await.unwrap();
    assert!(status.is_success(), "{answer}");
}

/// A schedule that ticks each second, and runs that work and then wait for an event. Returns when some of each are done.
async fn begin(stack: &Stack, runs: usize) {
    let echo = |text: &str| json!({"job": "test.echo", "parameters": {"text": text}});
    let mut each = echo("item ${{ item }}");
    each["each"] = json!((0..ITEMS).collect::<Vec<_>>());
    let mut last = echo("${{ size(steps.each.results) }} ${{ steps.wait.event.data.who }}");
    last["needs"] = json!(["each", "wait"]);
    let steps = json!({"each": each, "wait": {"wait": {"event": "go"}}, "last": last});
    put(
        stack,
        "/v1/workflows/film",
        json!({"steps": steps, "outputs": {"text": "${{ steps.last.result.text }}"}}),
    )
    .await;
    let job = json!({"type": "test.echo", "parameters": {"text": "${{ schedule.scheduled_for }}"}});
    put(
        stack,
        "/v1/schedules/seconds",
        json!({"every_seconds": 1, "overlap": "allow", "catch_up": "last", "job": job}),
    )
    .await;
    for number in 0..runs {
        let (status, run) =
            stack.api.post("/v1/workflows/film/trigger", json!({"data": {"number": number}})).await.unwrap();
        assert!(status.is_success(), "{run}");
    }
    let fired = |page: &Value| page["ticks"].as_array().is_some_and(|ticks| ticks.len() > 1);
    stack.api.json_when(FIRED, fired).await.unwrap();
}

/// Publishes the event that all runs wait for, until it is recorded; after some refusals something is done about that. Returns how
/// often it was refused.
async fn go(stack: &Stack, heal: impl Fn()) -> usize {
    let event = json!({"subject": "go", "data": {"who": "Ann"}, "id": "go"});
    let mut refused = 0;
    loop {
        let (status, answer) = stack.api.post("/v1/events", event.clone()).await.unwrap();
        if status.is_success() {
            return refused;
        }
        assert_eq!((status, &answer["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("store-unavailable")));
        refused += 1;
        if refused == REFUSALS {
            heal();
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Waits until all runs are completed, has the schedule tick once more and no more, and waits for its jobs.
async fn end(stack: &Stack, runs: usize) -> usize {
    let newest = |page: &Value| page["ticks"][0]["tick"].as_str().map(str::to_owned);
    let before = newest(&stack.api.json(FIRED).await.unwrap());
    stack.api.json_when_within(DONE_WITHIN, FIRED, |page| newest(page) > before).await.unwrap();
    let (status, answer) = stack.api.post("/v1/schedules/seconds/pause", json!({})).await.unwrap();
    assert!(status.is_success(), "{answer}");
    let completed = |page: &Value| page["runs"].as_array().is_some_and(|ended| ended.len() == runs);
    let path = "/v1/runs?state=completed&limit=200";
    let page = stack.api.json_when_within(DONE_WITHIN, path, completed).await.unwrap();
    for run in page["runs"].as_array().unwrap() {
        let run = stack.api.json(&format!("/v1/runs/{}", run["id"].as_str().unwrap())).await.unwrap();
        assert_eq!(run["outputs"]["text"], format!("{ITEMS} Ann"), "{run:#}");
    }
    let over = |page: &Value| page["jobs"] == json!([]);
    stack.api.json_when("/v1/jobs?state=scheduled,ready,dispatched,running", over).await.unwrap();
    stack.api.json(FIRED).await.unwrap()["ticks"].as_array().unwrap().len()
}

/// What all of it made is there, once.
async fn check(stack: &mut Stack, runs: usize, fired: usize) -> Invariants {
    let of_runs = i64::try_from(runs * (ITEMS + 1)).unwrap();
    assert_eq!(stack.query("SELECT count(*) FROM run_items").unwrap(), of_runs, "each item has one job");
    let jobs = of_runs + i64::try_from(fired).unwrap();
    assert_eq!(stack.query("SELECT count(*) FROM jobs WHERE state = 'completed'").unwrap(), jobs);
    let mut found = stack.settle().await.unwrap();
    found.hold("E4", format_args!("{runs} runs made {of_runs} jobs, {fired} ticks one each"));
    found
}

/// The disk of the database gets full while runs work, events are published and a schedule ticks. What is refused says so; all that was begun
/// goes on when there is room again, and no tick is without a record.
#[tokio::test]
async fn f137_the_disk_is_full_amid_runs_events_and_ticks() {
    let vhost = broker::vhost("f137").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (disk, environment) = SmallDisk::prepare(folder.path()).await.unwrap();
    let mut stack = Stack::start_in(folder, vhost.url, environment).await.unwrap();
    stack.expect_error(GIVEN_UP);
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    begin(&stack, FEW_RUNS).await;
    let process = stack.backend.pid().unwrap();
    disk.fill(&stack).unwrap();
    let full = Instant::now();
    // What the log still has room for is taken.
    let (mut status, mut taken) = (StatusCode::CREATED, 0);
    while status.is_success() {
        let event = json!({"subject": "other.event", "data": "x".repeat(1_000)});
        status = stack.api.post("/v1/events", event).await.unwrap().0;
        taken += usize::from(status.is_success());
    }
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let (refusal, run) = stack.api.post("/v1/workflows/film/trigger", json!({"data": {}})).await.unwrap();
    assert_eq!((refusal, &run["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("store-unavailable")));
    let reason = not_ready(&stack).await;
    while full.elapsed() < LOCKED_FOR {
        sleep(LOOK_EVERY).await;
    }
    let refused = go(&stack, || disk.free(&stack).unwrap()).await;
    let took = full.elapsed();
    let fired = end(&stack, FEW_RUNS).await;
    assert_eq!(stack.backend.pid().unwrap(), process, "nobody started it again");
    disk.copy_out(&stack).unwrap();
    let mut found = check(&mut stack, FEW_RUNS, fired).await;
    found.hold("I2", format_args!("{taken} events were taken, then all was refused; {refused} times the one that runs waited for; /readyz: {reason:?}"));
    found.hold("I14", format_args!("it was recorded {took:.1?} after the disk was full, without a restart"));
    found.print(&format!("F137 the disk is full amid runs, events and ticks: {disk}"));
}

/// Another program locks the database for seconds while runs work, an event is published and a schedule ticks: nothing is refused, and
/// everything goes on afterwards.
#[tokio::test]
async fn f138_the_database_is_locked_amid_runs_events_and_ticks() {
    let mut stack = Stack::start("f138").await.unwrap();
    stack.expect_error(GIVEN_UP);
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    begin(&stack, RUNS).await;
    let other = Connection::open(stack.database()).unwrap();
    let exclusive = async || other.execute_batch("BEGIN EXCLUSIVE").is_ok();
    until("the database is locked", DONE_WITHIN, exclusive).await.unwrap();
    let locked = Instant::now();
    let free = async {
        while locked.elapsed() < LOCKED_FOR {
            sleep(LOOK_EVERY).await;
        }
        other.execute_batch("ROLLBACK").unwrap();
    };
    let (refused, ()) = tokio::join!(go(&stack, || ()), free);
    let took = locked.elapsed();
    let fired = end(&stack, RUNS).await;
    let mut found = check(&mut stack, RUNS, fired).await;
    found.hold(
        "I2",
        format_args!(
            "the event that runs waited for was recorded after {took:.1?}, and refused {refused} times"
        ),
    );
    found.print("F138 the database is locked amid runs, events and ticks");
}
