//! Very many open runs that wait for an event, and as many schedules: what they take of memory and of a core, how soon the backend is
//! ready with them, and what events cost that wake one of the runs or none.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    ground::{Ground, between, moment_ms, percentile_ms, step},
    reading::{Reading, Unit},
};
use crate::{
    bench::{
        PATIENCE,
        events::{OTHER_SUBJECT, batches, published},
        figures::{Spread, Times},
        growth,
        http::strange,
    },
    exit::Failure,
};

/// The workflow whose runs wait, and what wakes them.
const WAITING: &str = "bench.waiting";
const WAKE_SUBJECT: &str = "bench.wake";

/// In which step they wait, and which follows.
const WAIT_STEP: &str = "wake";
const NEXT_STEP: &str = "next";

/// How many requests to make the many are on their way at once.
const REQUESTS_AT_ONCE: usize = 64;

/// How often publishing is measured, without the many and with them.
const PUBLISHED_TIMES: usize = 3;

/// How far apart two ticks of a schedule are: none comes meanwhile.
const EVERY_SECONDS: usize = 31_536_000;

/// How many events that no run wants are published of the subject that all of them look at.
const MISSED_EVENTS: usize = 100;

/// The memory of all of them, in millions of bytes.
const MEMORY_MAX: f64 = 100.0;
/// Seconds from a start until the backend is ready with them.
const READY_MAX: f64 = 3.0;
/// Percent of a core that they take when nothing happens.
const IDLE_MAX: f64 = 1.0;
/// Milliseconds from the event that wakes a run until its next step begins.
const WOKEN_P99_MAX: f64 = 50.0;
/// What is left of the pace of publishing.
const PUBLISHING_MIN: f64 = 0.8;

/// How often is looked whether a run has begun to wait.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What is measured without the many and with them.
struct Quiet {
    megabytes: f64,
    /// Of a core, in the first seconds after the start.
    begun_percent: f64,
    /// In those that follow.
    percent: f64,
    ready: Duration,
}

/// Measures all of it.
///
/// # Errors
///
/// When the backend refuses something, or something does not come in time.
pub(super) async fn round(ground: &mut Ground<'_>) -> Result<Vec<Reading>, Failure> {
    let (many, wakes) = (ground.scale.most(), ground.plan.single_jobs);
    put_waiting(ground).await?;
    let alone = publishing(ground).await?;
    let mut woken_alone = Times::default();
    for key in 0..wakes {
        let run = open(ground, key).await?;
        until_waiting(ground, &run).await?;
        woken_alone.add(wake(ground, key, &run).await?);
    }
    let before = quiet(ground).await?;
    let filled = ground.megabytes()?;
    let runs = fill(ground, many).await?;
    let grown = ground.megabytes()? - filled;
    let with = quiet(ground).await?;
    // The first one finds everything new, and the last one waits for what comes before.
    let cold = wake(ground, 0, &runs[0]).await?;
    let mut woken = Times::default();
    let last = wakes.min(runs.len() - 3) + 1;
    for (key, run) in runs.iter().enumerate().take(last).skip(1) {
        woken.add(wake(ground, key, run).await?);
    }
    let amid = publishing(ground).await?;
    let published = wake(ground, last, &runs[last]).await?;
    let missed = missed(ground, last + 1, &runs[last + 1]).await?;
    let mut readings = standing(&before, &with, grown, many);
    readings.extend(waking(&woken_alone, &woken));
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let alone_p99 = percentile_ms(&woken_alone, 99);
    readings.extend([
        Reading::new("the first of these after a restart", Unit::Milliseconds, ms(cold))
            .beside("where one waits, p99", alone_p99),
        Reading::new("events in batches with them", Unit::PerSecond, amid)
            .beside("without them", alone)
            .ratio_at_least(PUBLISHING_MIN),
        Reading::new("the next that wakes one, after these", Unit::Milliseconds, ms(published))
            .beside("where one waits, p99", alone_p99),
        Reading::new("events that all look at and none wants", Unit::PerSecond, missed),
    ]);
    Ok(readings)
}

/// What they take when nothing happens.
fn standing(before: &Quiet, with: &Quiet, grown: f64, many: usize) -> Vec<Reading> {
    vec![
        Reading::new(format!("memory for {many} waiting runs and schedules"), Unit::Megabytes, grown)
            .at_most(MEMORY_MAX),
        Reading::new("the same after a restart", Unit::Megabytes, with.megabytes - before.megabytes)
            .at_most(MEMORY_MAX),
        Reading::new("ready with them", Unit::Seconds, with.ready.as_secs_f64())
            .beside("without them", before.ready.as_secs_f64())
            .at_most(READY_MAX),
        Reading::new("of a core with them, just started", Unit::Percent, with.begun_percent)
            .beside("without them", before.begun_percent),
        Reading::new("of a core with them, idle", Unit::Percent, with.percent)
            .beside("without them", before.percent)
            .at_most(IDLE_MAX),
    ]
}

/// How soon one is woken where few wait, and where all do.
fn waking(alone: &Times, woken: &Times) -> [Reading; 2] {
    let reading = |percent: usize| {
        let what = format!("event that wakes one to its next step, p{percent}");
        Reading::new(what, Unit::Milliseconds, percentile_ms(woken, percent))
            .beside("where one waits", percentile_ms(alone, percent))
    };
    [reading(50), reading(99).at_most(WOKEN_P99_MAX)]
}

async fn put_waiting(ground: &Ground<'_>) -> Result<(), Failure> {
    let wait = json!({"event": WAKE_SUBJECT, "if": "event.data.key == trigger.data.key"});
    let next = step("${{ trigger.data.key }}", &json!({"needs": [WAIT_STEP]}));
    ground.put_workflow(WAITING, &json!({"steps": {WAIT_STEP: {"wait": wait}, NEXT_STEP: next}})).await
}

/// Starts a run that waits for this key.
async fn open(ground: &Ground<'_>, key: usize) -> Result<String, Failure> {
    ground.trigger(WAITING, &json!({"key": key.to_string()})).await
}

/// Makes so many runs that wait, and as many schedules. Returns the runs, by their keys.
async fn fill(ground: &Ground<'_>, many: usize) -> Result<Vec<String>, Failure> {
    let runs = stream::iter(0..many).map(|key| open(ground, key)).buffered(REQUESTS_AT_ONCE);
    let runs: Vec<String> = runs.try_collect().await?;
    let put = async |number: usize| {
        let document = json!({"every_seconds": EVERY_SECONDS, "job": step_job()});
        ground.http.put(&format!("/v1/schedules/bench-{number}"), &document).await.map(drop)
    };
    let schedules = stream::iter(0..many).map(put).buffer_unordered(REQUESTS_AT_ONCE);
    schedules.try_collect::<()>().await?;
    for run in &runs {
        until_waiting(ground, run).await?;
    }
    Ok(runs)
}

fn step_job() -> Value {
    json!({"type": crate::bench::JOB_TYPE, "parameters": {"text": "${{ schedule.scheduled_for }}"}})
}

async fn until_waiting(ground: &Ground<'_>, run: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = ground.http.get(&format!("/v1/runs/{run}")).await?;
        if step_of(&shown, WAIT_STEP)["state"] == "waiting" {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(strange(&shown));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn step_of<'a>(run: &'a Value, name: &str) -> &'a Value {
    let steps = run["steps"].as_array();
    steps.and_then(|steps| steps.iter().find(|step| step["name"] == name)).unwrap_or(&Value::Null)
}

/// How long it takes from a request to publish the event that a run waits for, until the handler of its next step begins.
async fn wake(ground: &Ground<'_>, key: usize, run: &str) -> Result<Duration, Failure> {
    let began_ms = jiff::Timestamp::now().as_millisecond();
    ground.http.publish(event(key)).await?;
    let run = ground.end_of_run(run).await?;
    let job = step_of(&run, NEXT_STEP)["job"].as_str().unwrap_or_default().to_owned();
    let job = ground.http.get(&format!("/v1/jobs/{job}")).await?;
    Ok(between(began_ms, moment_ms(&job["started_at"])?))
}

fn event(key: usize) -> String {
    json!({"subject": WAKE_SUBJECT, "data": {"key": key.to_string()}}).to_string()
}

/// How many events a second are recorded that nobody waits for.
async fn publishing(ground: &Ground<'_>) -> Result<f64, Failure> {
    let (http, events) = (&ground.http, ground.plan.jobs);
    let mut rates = Vec::new();
    for _ in 0..PUBLISHED_TIMES {
        rates.push(published(events, batches(http, OTHER_SUBJECT, events)).await?.per_second);
    }
    Ok(Spread::of(rates).median)
}

/// How many events a second each of the many looks at, whose keys none of them has: until one that comes after them wakes this run.
async fn missed(ground: &Ground<'_>, key: usize, run: &str) -> Result<f64, Failure> {
    let line = event(usize::MAX) + "\n";
    let began = Instant::now();
    ground.http.publish_batch(line.repeat(MISSED_EVENTS), MISSED_EVENTS).await?;
    wake(ground, key, run).await?;
    Ok(crate::bench::figures::Throughput::of(MISSED_EVENTS, began.elapsed()).per_second)
}

/// Starts the backend anew, and lets it be.
async fn quiet(ground: &mut Ground<'_>) -> Result<Quiet, Failure> {
    let (http, ready) = growth::restart(&mut ground.installation).await?;
    ground.http = http;
    let begun_percent = growth::idle_cores(&ground.installation).await? * 100.0;
    let percent = growth::idle_cores(&ground.installation).await? * 100.0;
    Ok(Quiet { megabytes: ground.megabytes()?, begun_percent, percent, ready })
}
