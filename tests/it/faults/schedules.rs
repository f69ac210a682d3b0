//! Schedules while something dies or the clock jumps (F127 to F129): a tick fires once, and each has a record.

use std::{collections::BTreeSet, os::unix::process::ExitStatusExt, time::Duration};

use e2e::{
    broker,
    failpoints::{BackendFailpoint, dies_at},
    invariants::Invariants,
    preload::Preload,
    stack::{ProcessEnvironment, Stack},
    wait::until,
};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long a few ticks of a second may take, with a restart or two.
const TICKS_WITHIN: Duration = Duration::from_secs(60);

/// For how long there is no backend, so that there is something to make up for.
const DOWN_FOR: Duration = Duration::from_secs(12);

/// How often it is looked whether that is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);

const HOUR_SECONDS: i64 = 3_600;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;

/// Each second, and each is made up for.
fn each_second(catch_up: &str) -> Value {
    json!({
        "every_seconds": 1,
        "overlap": "allow",
        "catch_up": catch_up,
        "job": {"type": "test.echo", "parameters": {"text": "${{ schedule.scheduled_for }}"}},
    })
}

async fn put(stack: &Stack, name: &str, document: &Value) {
    let path = format!("/v1/schedules/{name}");
    let (status, answer) = stack.api.send(Method::PUT, &path, document.to_string(), &[]).await.unwrap();
    assert!(status.is_success(), "{answer}");
}

async fn fired_at_least(stack: &Stack, ticks: i64) {
    let query = "SELECT count(*) FROM ticks WHERE outcome = 'completed'";
    let fired = async || stack.query(query).unwrap() >= ticks;
    until(&format!("{ticks} ticks have fired"), TICKS_WITHIN, fired).await.unwrap();
}

/// Pauses all schedules, and looks at what they made: each job says the tick that it was made for, and no two say the same.
async fn each_once(stack: &mut Stack) -> Invariants {
    for schedule in stack.api.json("/v1/schedules").await.unwrap()["schedules"].as_array().unwrap() {
        let path = format!("/v1/schedules/{}/pause", schedule["name"].as_str().unwrap());
        let (status, answer) = stack.api.post(&path, json!({})).await.unwrap();
        assert!(status.is_success(), "{answer}");
    }
    let open = "SELECT count(*) FROM jobs WHERE state NOT IN ('completed', 'failed', 'cancelled')";
    until("all jobs are over", TICKS_WITHIN, async || stack.query(open).unwrap() == 0).await.unwrap();
    let (mut seen, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = stack.api.json(&format!("/v1/jobs?limit=200{cursor}")).await.unwrap();
        for job in page["jobs"].as_array().unwrap() {
            let job = stack.api.job(job["id"].as_str().unwrap()).await.unwrap();
            let tick = (job["cause"]["schedule"].to_string(), job["cause"]["tick"].to_string());
            assert_eq!(job["result"]["text"], job["cause"]["tick"], "{job:#}");
            assert!(seen.insert(tick), "two jobs of one tick: {job:#}");
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let fired = stack.query("SELECT count(*) FROM ticks WHERE state = 'fired'").unwrap();
    assert_eq!(i64::try_from(seen.len()).unwrap(), fired, "each fire has its job");
    let mut found = stack.settle().await.unwrap();
    found.hold("E3", format_args!("{fired} jobs, each of another tick"));
    found
}

/// The backend dies between a tick and its mark: right before the commit of both, and right after it, when no order has left.
#[tokio::test]
async fn f127_the_backend_dies_between_a_tick_and_its_mark() {
    for (point, hit) in [
        (BackendFailpoint::Ticking, 1),
        (BackendFailpoint::Ticking, 4),
        (BackendFailpoint::Ticked, 1),
        (BackendFailpoint::Ticked, 4),
    ] {
        let vhost = broker::vhost("f127").await.unwrap();
        let dying = dies_at(point.name(), hit);
        let dying = ProcessEnvironment::variables(&[("FAILPOINTS", &dying)]);
        let mut stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, dying).await.unwrap();
        let _worker = stack.worker(&["test.echo"], 8).await.unwrap();
        put(&stack, "seconds", &each_second("all")).await;
        let status = stack.backend.wait().await.unwrap();
        assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
        stack.set_environment(ProcessEnvironment::default());
        stack.restart_backend().await.unwrap();
        stack.api.ready().await.unwrap();
        fired_at_least(&stack, 6).await;
        let missed = stack.query("SELECT count(*) FROM ticks WHERE state = 'missed'").unwrap();
        assert_eq!(missed, 0, "all are made up for");
        let found = each_once(&mut stack).await;
        found.print(&format!(
            "F127 the backend dies between a tick and its mark, at {} for the {hit}. time",
            point.name()
        ));
    }
}

/// The machine's clock is a day ahead, then an hour behind, then a year ahead for a while, under a backend that runs, and then across
/// restarts. Whatever it says, a tick fires once, and what was to come when the clock was ahead fires when its time comes, unless
/// it did.
#[tokio::test]
async fn f128_the_wall_clock_jumps_under_schedules() {
    let vhost = broker::vhost("f128").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let preload = Preload::prepare(folder.path()).await.unwrap();
    let preloaded = preload.variables();
    let all: Vec<_> = preloaded.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut stack =
        Stack::start_in(folder, vhost.url.clone(), ProcessEnvironment::variables(&all)).await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.echo"], 8).await.unwrap();
    put(&stack, "last", &each_second("last")).await;
    put(&stack, "none", &each_second("none")).await;
    fired_at_least(&stack, 2).await;
    let mut so_far = 0;
    for restarts in [false, true] {
        for ahead in [DAY_SECONDS, -HOUR_SECONDS, 365 * DAY_SECONDS, 0] {
            preload.clock_ahead_seconds(ahead).unwrap();
            if restarts {
                stack.backend.kill().await.unwrap();
                stack.restart_backend().await.unwrap();
                stack.api.ready().await.unwrap();
            }
            // Ticks go on by the new time, of both schedules.
            so_far = stack.query("SELECT count(*) FROM ticks WHERE state = 'fired'").unwrap() + 6;
            let fired =
                async || stack.query("SELECT count(*) FROM ticks WHERE state = 'fired'").unwrap() >= so_far;
            until(&format!("ticks go on {ahead} s ahead"), TICKS_WITHIN, fired).await.unwrap();
        }
    }
    let to_come = "SELECT count(*) FROM ticks WHERE state <> 'fired' AND origin = 'clock'
        AND last_tick > (SELECT max(considered_until) FROM schedules)";
    assert_eq!(stack.query(to_come).unwrap(), 0, "what is to come has no record but for what fired");
    let mut found = each_once(&mut stack).await;
    found.hold(
        "E3",
        format_args!("{so_far} fires while the clock was a day and a year ahead and an hour behind, twice"),
    );
    found.print("F128 the wall clock jumps under schedules");
}

/// The backend is killed again and again while a backfill is under way, one tick after the other.
#[tokio::test]
async fn f129_the_backend_is_killed_half_way_through_a_backfill() {
    let mut stack = Stack::start("f129").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 8).await.unwrap();
    let document = json!({
        "every_seconds": 1,
        "catch_up": "none",
        "job": {"type": "test.echo", "parameters": {"text": "${{ schedule.scheduled_for }}"}},
    });
    put(&stack, "seconds", &document).await;
    fired_at_least(&stack, 1).await;
    stack.backend.kill().await.unwrap();
    let since = Instant::now();
    while since.elapsed() < DOWN_FOR {
        sleep(LOOK_EVERY).await;
    }
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    let missed = "SELECT coalesce(sum(count), 0) FROM ticks WHERE state = 'missed'";
    until("what was missed has a record", TICKS_WITHIN, async || stack.query(missed).unwrap() > 5)
        .await
        .unwrap();
    let records = stack.api.json("/v1/schedules/seconds/ticks?state=missed").await.unwrap();
    let record = records["ticks"].as_array().unwrap().last().unwrap().clone();
    let request = json!({"from": record["tick"], "to": record["last_tick"]});
    let (status, told) = stack.api.post("/v1/schedules/seconds/backfill", request.clone()).await.unwrap();
    assert!(status.is_success(), "{told}");
    let asked = record["count"].as_i64().unwrap();
    let done = "SELECT count(*) FROM ticks WHERE origin = 'backfill' AND outcome = 'completed'";
    for kill in 1..=3 {
        until("some are done", TICKS_WITHIN, async || stack.query(done).unwrap() >= kill).await.unwrap();
        stack.backend.kill().await.unwrap();
        stack.restart_backend().await.unwrap();
        stack.api.ready().await.unwrap();
        // Asking again makes no other.
        let (_, again) = stack.api.post("/v1/schedules/seconds/backfill", request.clone()).await.unwrap();
        assert_eq!(again["ticks"], 0, "{again}");
    }
    until("all are done", TICKS_WITHIN, async || stack.query(done).unwrap() == asked).await.unwrap();
    let mut found = each_once(&mut stack).await;
    found.hold("E3", format_args!("{asked} ticks were made up for over three kills"));
    found.print("F129 the backend is killed half-way through a backfill");
}
