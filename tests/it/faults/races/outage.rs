//! Everything is due at once (F59).

use std::time::Duration;

use crewcall_proto::{JobType, Topology};
use e2e::{
    footprint::Footprint,
    preload::Preload,
    raw_worker::RawWorker,
    stack::{ProcessEnvironment, RESUMES_WITHIN, Stack},
};
use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

/// How many jobs are submitted with one request.
const BATCH: usize = 10_000;

/// How many of these requests.
const BATCHES: usize = 10;

/// For how long the backend is away: all of them become due meanwhile.
const AWAY_SECONDS: i64 = 7_200;

/// How long all may take. Nothing is optimised here, and other tests run beside.
const OVER_WITHIN: Duration = Duration::from_secs(300);

/// How many orders of a type may be with the broker at once.
const WINDOW_MAX: u64 = 2_000;

/// How long a job of another type may take meanwhile.
const OTHER_WITHIN: Duration = Duration::from_secs(5);

/// How much larger the backend may get, in MiB: the caches of its store take up to about 100.
const GROWTH_MIB_MAX: u64 = 150;

/// How long the sampler rests.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// The largest that was seen while all were done.
struct Peaks {
    first_after: Duration,
    with_broker: u64,
    waiting: u64,
    answer: Duration,
    other: Duration,
    size: Footprint,
}

/// A hundred thousand jobs are to run in an hour; the backend dies, and comes back by a clock that says that
/// two hours have passed. All of them are done, the first at once. No more than a window of them is ever with
/// the broker, memory stays bounded, the API answers, and a job of another type is done in between.
#[tokio::test]
async fn f59_a_hundred_thousand_jobs_are_due_at_once() {
    let _turn = crate::faults::processors().await;
    let mut stack = Stack::start("outage").await.unwrap();
    let preload = Preload::prepare(stack.folder()).await.unwrap();
    let variables = preload.variables();
    let preloaded: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    stack.set_environment(ProcessEnvironment::variables(&preloaded));
    let _workers =
        [stack.worker(&["test.echo"], 64).await.unwrap(), stack.worker(&["test.other"], 2).await.unwrap()];
    let run_at = stack.from_now(AWAY_SECONDS / 2).await.unwrap();
    for batch in 0..BATCHES {
        submit(&mut stack, batch, &run_at).await;
    }
    stack.backend.kill().await.unwrap();
    preload.clock_ahead_seconds(AWAY_SECONDS).unwrap();
    let start = Instant::now();
    stack.restart_backend().await.unwrap();
    let before = Footprint::of(&stack.backend).unwrap();
    let peaks = watch(&mut stack, start, before).await;
    let took = start.elapsed();
    let mut found = stack.settle_within(OVER_WITHIN).await.unwrap();
    let Peaks { first_after, with_broker, waiting, answer, other, size } = peaks;
    let jobs = BATCH * BATCHES;
    assert!(with_broker <= WINDOW_MAX && waiting <= WINDOW_MAX, "{with_broker} orders were with the broker");
    assert!(first_after <= RESUMES_WITHIN, "I14: the first was done after {first_after:?}");
    assert!(other <= OTHER_WITHIN, "I13: a job of another type took {other:?}");
    assert!(size.resident_mib() <= before.resident_mib() + GROWTH_MIB_MAX, "I10: {before}, then {size}");
    found.hold("I10", format_args!("the backend had {before} at its start, and {size} at most"));
    found.hold(
        "I10",
        format_args!("{with_broker} orders at most were with the broker, {waiting} in the queue"),
    );
    found.hold(
        "I13",
        format_args!("the API answered within {answer:?}, a job of another type took {other:?} at most"),
    );
    found.hold(
        "I14",
        format_args!("the first was done {first_after:?} after the restart, all {jobs} after {took:?}"),
    );
    found.print("F59 a hundred thousand jobs due at once after an outage");
}

/// Looks around until all are done.
async fn watch(stack: &mut Stack, start: Instant, before: Footprint) -> Peaks {
    let (raw_worker, job_type) = (RawWorker::start(&stack.amqp_url), JobType::new("test.echo").unwrap());
    let queue = Topology::default().jobs_queue(&job_type);
    let mut peaks = Peaks {
        first_after: Duration::MAX,
        with_broker: 0,
        waiting: 0,
        answer: Duration::ZERO,
        other: Duration::ZERO,
        size: before,
    };
    stack.api.ready().await.unwrap();
    loop {
        let asked = Instant::now();
        let jobs = stack.api.json("/v1/types/test.echo").await.unwrap()["jobs"].clone();
        peaks.answer = peaks.answer.max(asked.elapsed());
        let count = |state: &str| jobs[state].as_u64().unwrap();
        peaks.with_broker = peaks.with_broker.max(count("dispatched") + count("running"));
        peaks.waiting = peaks.waiting.max(raw_worker.waiting_in(&queue).await.unwrap().into());
        if count("completed") > 0 {
            peaks.first_after = peaks.first_after.min(start.elapsed());
        }
        if count("completed") == u64::try_from(BATCH * BATCHES).unwrap() {
            raw_worker.vanish().await;
            return peaks;
        }
        assert!(start.elapsed() < OVER_WITHIN, "I1: {jobs}");
        peaks.other =
            peaks.other.max(stack.check_resumes("test.other", json!({"text": "other"})).await.unwrap());
        let size = Footprint::of(&stack.backend).unwrap();
        peaks.size = if size.resident_bytes > peaks.size.resident_bytes { size } else { peaks.size };
        sleep(SAMPLE_EVERY).await;
    }
}

async fn submit(stack: &mut Stack, batch: usize, run_at: &str) {
    let line = |number: usize| {
        let text = format!("{batch}-{number}");
        format!("{}\n", json!({"type": "test.echo", "parameters": {"text": text}, "run_at": run_at}))
    };
    let lines: String = (0..BATCH).map(line).collect();
    let headers = [("Content-Type", "application/x-ndjson")];
    let (status, answer) = stack.api.send(Method::POST, "/v1/jobs/batch", lines, &headers).await.unwrap();
    assert!(status.is_success() && answer["accepted"] == BATCH, "{status} {}", answer["results"][0]);
    for result in answer["results"].as_array().unwrap() {
        stack.remember_accepted(result["id"].as_str().unwrap().to_owned());
    }
}
