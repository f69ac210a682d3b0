//! What is made whenever a moment of a calendar comes, by the public surface alone.

use std::time::Duration;

use e2e::{stack::Stack, wait::until};
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long a few ticks of a second may take.
const TICKS_WITHIN: Duration = Duration::from_secs(30);

/// For how long there is no backend: several ticks, and more than the 2 s after which one is late.
const DOWN_FOR: Duration = Duration::from_secs(8);

/// How often it is looked whether that is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Sets a schedule: every second, unless it says otherwise.
async fn put(stack: &Stack, name: &str, more: Value) -> Value {
    let mut document = json!({"every_seconds": 1});
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let path = format!("/v1/schedules/{name}");
    let (status, answer) = stack.api.send(Method::PUT, &path, document.to_string(), &[]).await.unwrap();
    assert!(status.is_success(), "{status} {answer}");
    answer
}

async fn post(stack: &Stack, path: &str, body: Value) -> (StatusCode, Value) {
    stack.api.post(path, body).await.unwrap()
}

/// Has a schedule do nothing more, and waits until what it made is over.
async fn pause(stack: &Stack, name: &str) {
    let (status, answer) = post(stack, &format!("/v1/schedules/{name}/pause"), json!({"by": "test"})).await;
    assert!(status.is_success(), "{answer}");
    let open = "SELECT count(*) FROM jobs WHERE state NOT IN ('completed', 'failed', 'cancelled')";
    let over = async || stack.query(open).unwrap() == 0;
    until("what it made is over", TICKS_WITHIN, over).await.unwrap();
}

/// The records of a schedule's ticks, newest first.
async fn ticks(stack: &Stack, name: &str, query: &str) -> Vec<Value> {
    let page = stack.api.json(&format!("/v1/schedules/{name}/ticks?limit=200{query}")).await.unwrap();
    page["ticks"].as_array().unwrap().clone()
}

/// Waits until there are so many records in a state.
async fn has(stack: &Stack, name: &str, state: &str, records: usize) -> Vec<Value> {
    let query = format!("&state={state}");
    let there = async || ticks(stack, name, &query).await.len() >= records;
    if let Err(error) = until(&format!("{records} ticks are {state}"), TICKS_WITHIN, there).await {
        panic!("{error}: {:#?}", ticks(stack, name, "").await);
    }
    ticks(stack, name, &query).await
}

fn echo(text: &str) -> Value {
    json!({"type": "test.echo", "parameters": {"text": text}})
}

fn takes(milliseconds: u64) -> Value {
    json!({"type": "test.sleep", "parameters": {"steps": 1, "step_ms": milliseconds}})
}

#[tokio::test]
async fn a_tick_makes_a_job_that_knows_its_time() {
    let mut stack = Stack::start("schedule-ticks").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    let made = put(&stack, "report", json!({"job": echo("${{ schedule.scheduled_for }}")})).await;
    assert_eq!((&made["state"], made["next"].as_array().unwrap().len()), (&json!("active"), 10), "{made:#}");
    let fired = has(&stack, "report", "fired", 3).await;
    pause(&stack, "report").await;
    for tick in &fired {
        let job = stack.api.wait_for_end(tick["job_id"].as_str().unwrap()).await.unwrap();
        assert_eq!(job["result"]["text"], tick["tick"], "{job:#}");
        assert_eq!((&job["cause"]["schedule"], &job["cause"]["tick"]), (&json!("report"), &tick["tick"]));
    }
    has(&stack, "report", "paused", 1).await;
    let (status, tick) = post(&stack, "/v1/schedules/report/trigger", json!({"by": "anna"})).await;
    assert_eq!(
        (status, &tick["state"], &tick["origin"]),
        (StatusCode::CREATED, &json!("fired"), &json!("hand"))
    );
    stack.api.wait_for_end(tick["job_id"].as_str().unwrap()).await.unwrap();
    let shown = stack.api.json("/v1/schedules/report").await.unwrap();
    assert_eq!((&shown["state"], &shown["pause"]["by"]), (&json!("paused"), &json!("test")), "{shown:#}");
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_tick_that_comes_too_early_is_skipped_waits_or_takes_the_place() {
    let mut stack = Stack::start("schedule-overlap").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 8).await.unwrap();
    put(&stack, "skips", json!({"job": takes(2_500)})).await;
    put(&stack, "waits", json!({"job": takes(2_500), "overlap": "queue_one"})).await;
    put(&stack, "replaces", json!({"job": takes(60_000), "overlap": "cancel_running"})).await;
    put(&stack, "allows", json!({"job": takes(2_500), "overlap": "allow"})).await;
    let skipped = has(&stack, "skips", "skipped", 3).await;
    assert!(skipped[0]["reason"].as_str().unwrap().contains("was not over"), "{skipped:#?}");
    has(&stack, "waits", "fired", 2).await;
    let fired = has(&stack, "replaces", "fired", 3).await;
    let first = stack.api.wait_for_end(fired[2]["job_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(
        (&first["state"], &fired[2]["outcome"]),
        (&json!("cancelled"), &json!("cancelled")),
        "{first:#}"
    );
    assert!(has(&stack, "allows", "fired", 3).await.len() >= 3);
    let most_open =
        "SELECT count(*) FROM ticks WHERE schedule <> 'allows' AND state = 'fired' AND outcome IS NULL
        GROUP BY schedule ORDER BY 1 DESC LIMIT 1";
    assert_eq!(stack.query(most_open).unwrap(), 1, "one at a time");
    for name in ["skips", "waits", "allows"] {
        stack.api.send(Method::DELETE, &format!("/v1/schedules/{name}"), String::new(), &[]).await.unwrap();
    }
    let (status, answer) = post(&stack, "/v1/schedules/replaces/pause", json!({})).await;
    assert!(status.is_success(), "{answer}");
    let (_, answer) = post(&stack, "/v1/jobs/cancel", json!({"filter": {"type": "test.sleep"}})).await;
    assert!(answer["changed"].as_u64().unwrap_or(0) >= 1, "{answer}");
    let open = "SELECT count(*) FROM jobs WHERE state NOT IN ('completed', 'failed', 'cancelled')";
    until("all jobs are over", TICKS_WITHIN, async || stack.query(open).unwrap() == 0).await.unwrap();
    stack.settle().await.unwrap();
}

/// A poller goes on where the last one got to, also when one of them fails.
#[tokio::test]
async fn the_result_of_the_last_fire_that_completed_is_known_to_the_next() {
    let mut stack = Stack::start("schedule-poller").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    let text = "${{ schedule.last_result == null ? 'begin' : schedule.last_result.text + 'x' }}";
    put(&stack, "poller", json!({"job": echo(text)})).await;
    has(&stack, "poller", "fired", 4).await;
    pause(&stack, "poller").await;
    let fired = ticks(&stack, "poller", "&state=fired").await;
    for (number, tick) in fired.iter().rev().enumerate() {
        let job = stack.api.job(tick["job_id"].as_str().unwrap()).await.unwrap();
        let expected = format!("begin{}", "x".repeat(number));
        assert_eq!(job["result"]["text"], expected, "{job:#}");
    }
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_schedule_starts_runs_and_events_and_a_workflow_has_its_own() {
    let mut stack = Stack::start("schedule-runs").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    let document = |cron: &str| {
        json!({
            "triggers": [{"schedule": {"every_seconds": 1, "timezone": cron}}],
            "steps": {"only": {"job": "test.echo", "parameters": {"text": "${{ schedule.scheduled_for }}"}}},
            "outputs": {"at": "${{ steps.only.result.text }}"},
        })
    };
    let workflow =
        |zone: &str| stack.api.send(Method::PUT, "/v1/workflows/daily", document(zone).to_string(), &[]);
    let (status, problem) = workflow("Europe/Athen").await.unwrap();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert_eq!(problem["errors"][0]["pointer"], "/triggers/0/schedule/timezone", "{problem}");
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("Europe/Athens"), "{problem}");
    assert!(workflow("Europe/Athens").await.unwrap().0.is_success());
    let fired = has(&stack, "workflow:daily:0", "fired", 2).await;
    let id = fired[1]["run_id"].as_str().unwrap();
    let run =
        stack.api.json_when(&format!("/v1/runs/{id}"), |run| run["state"] == "completed").await.unwrap();
    assert_eq!(run["outputs"]["at"], fired[1]["tick"], "{run:#}");
    assert_eq!(run["started_by"]["schedule"], "workflow:daily:0", "{run:#}");
    let (status, refused) = post(&stack, "/v1/schedules/workflow:daily:0/pause", json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    post(&stack, "/v1/workflows/daily/pause", json!({})).await;
    has(&stack, "workflow:daily:0", "paused", 1).await;

    put(
        &stack,
        "signal",
        json!({"event": {"subject": "day.began", "data": {"at": "${{ schedule.scheduled_for }}"}}}),
    )
    .await;
    let fired = has(&stack, "signal", "fired", 2).await;
    let event = stack.api.json(&format!("/v1/events/{}", fired[0]["event"])).await.unwrap();
    assert_eq!(
        (&event["subject"], &event["data"]["at"]),
        (&json!("day.began"), &fired[0]["tick"]),
        "{event:#}"
    );
    pause(&stack, "signal").await;
    stack.settle().await.unwrap();
}

/// What nobody was there for is in the record, and fires as the schedule says.
#[tokio::test]
async fn ticks_without_a_backend_are_caught_up_with() {
    let mut stack = Stack::start("schedule-missed").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 8).await.unwrap();
    let consumer = json!({"subjects": ["schedule.missed.#"], "start": "now", "then": {"job": echo("${{ event.data.schedule }}")}});
    stack.api.put_consumer("watch", &consumer).await.unwrap();
    for catch_up in ["none", "last", "all"] {
        put(&stack, catch_up, json!({"job": echo(catch_up), "overlap": "allow", "catch_up": catch_up})).await;
    }
    for catch_up in ["none", "last", "all"] {
        has(&stack, catch_up, "fired", 1).await;
    }
    stack.backend.signal(Signal::KILL).unwrap();
    stack.backend.wait().await.unwrap();
    let since = Instant::now();
    while since.elapsed() < DOWN_FOR {
        sleep(LOOK_EVERY).await;
    }
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    let missed = has(&stack, "none", "missed", 1).await;
    assert!(missed[0]["count"].as_u64().unwrap() >= 4, "{missed:#?}");
    has(&stack, "last", "missed", 1).await;
    for catch_up in ["none", "last", "all"] {
        has(&stack, catch_up, "fired", 2).await;
        pause(&stack, catch_up).await;
    }
    assert_eq!(ticks(&stack, "all", "&state=missed").await.len(), 0);
    let heard =
        "SELECT count(*) FROM events WHERE subject IN ('schedule.missed.none', 'schedule.missed.last')";
    assert!(stack.query(heard).unwrap() >= 2);

    // What was missed is made up for, once.
    let (first, last) = (&missed[0]["tick"], &missed[0]["last_tick"]);
    let backfill = json!({"from": first, "to": last, "dry_run": true});
    let (status, told) = post(&stack, "/v1/schedules/none/backfill", backfill).await;
    assert!(status.is_success(), "{told}");
    assert_eq!(told["ticks"], missed[0]["count"], "{told}");
    let (_, again) = post(&stack, "/v1/schedules/none/resume", json!({})).await;
    assert_eq!(again["state"], "active", "{again}");
    let (status, told) =
        post(&stack, "/v1/schedules/none/backfill", json!({"from": first, "to": last})).await;
    assert!(status.is_success(), "{told}");
    let count = missed[0]["count"].as_i64().unwrap();
    let made = "SELECT count(*) FROM ticks WHERE origin = 'backfill' AND outcome = 'completed'";
    until("all is made up for", TICKS_WITHIN, async || stack.query(made).unwrap() == count).await.unwrap();
    let (_, told) = post(&stack, "/v1/schedules/none/backfill", json!({"from": first, "to": last})).await;
    assert_eq!((&told["ticks"], told["fired_before"].as_i64()), (&json!(0), Some(count)), "{told}");
    pause(&stack, "none").await;
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_schedule_that_only_fails_pauses_itself() {
    let mut stack = Stack::start("schedule-fails").await.unwrap();
    let _worker = stack.worker(&["test.fail"], 4).await.unwrap();
    let job =
        json!({"type": "test.fail", "parameters": {"message": "no", "permanent": true}, "max_attempts": 1});
    put(&stack, "fails", json!({"job": job, "pause_after_failures": 2})).await;
    let path = "/v1/schedules/fails";
    let paused = stack.api.json_when(path, |schedule| schedule["state"] == "paused").await.unwrap();
    assert_eq!(
        (&paused["failures"], &paused["pause"]["by"]),
        (&json!(2), &json!("the schedule itself")),
        "{paused:#}"
    );
    assert!(paused["reason"].as_str().unwrap().contains("2 fires in a row failed"), "{paused:#}");
    stack.settle().await.unwrap();
}
