//! The log of events and the jobs that are made of it, beside plain jobs.

use super::{
    ground::{Ground, between, moment_ms, percentile_ms},
    reading::{Reading, Unit},
};
use crate::{
    bench::{
        JOB_TYPE, PAUSED_TYPE,
        events::{CONSUMER, OTHER_SUBJECT, SUBJECT, batches, event, published, start, to_jobs, to_jobs_amid},
        figures::Times,
        load::{self, job},
    },
    exit::Failure,
};

/// How many events a second are recorded, and become jobs of one consumer.
const RECORDED_MIN: f64 = 15_000.0;
const TO_JOBS_MIN: f64 = 5_000.0;
/// What is left of that amid consumers that select something else.
const AMID_MIN: f64 = 0.7;
/// How long it takes from an event to the order at the worker, in milliseconds.
const START_P50_MAX: f64 = 10.0;
const START_P99_MAX: f64 = 40.0;

/// Measures all of it.
///
/// # Errors
///
/// When the backend refuses something, or something does not come in time.
pub(super) async fn round(ground: &mut Ground<'_>) -> Result<Vec<Reading>, Failure> {
    let (http, jobs) = (&ground.http, ground.plan.jobs);
    let plain = ground.plain(jobs).await?.per_second;
    let batched = published(jobs, batches(http, OTHER_SUBJECT, jobs)).await?.per_second;
    let [event_posts, job_posts] = posts(ground).await?;
    http.consume(CONSUMER, SUBJECT, JOB_TYPE).await?;
    let (events, submissions) = starts(ground).await?;
    let alone = to_jobs(http, jobs).await?.per_second;
    let amid = to_jobs_amid(http, jobs).await?.per_second;
    http.forget_consumer(CONSUMER).await?;
    let late = |percent| percentile_ms(&events, percent);
    let late_jobs = |percent| percentile_ms(&submissions, percent);
    Ok(vec![
        Reading::new("events in batches", Unit::PerSecond, batched)
            .beside("plain jobs in batches", plain)
            .at_least(RECORDED_MIN),
        Reading::new("events one by one", Unit::PerSecond, event_posts)
            .beside("jobs one by one, accepted", job_posts)
            .ratio_at_least(1.0),
        Reading::new("events to jobs that are done", Unit::PerSecond, alone)
            .beside("plain jobs in batches", plain)
            .at_least(TO_JOBS_MIN),
        Reading::new("events to jobs amid 99 others", Unit::PerSecond, amid)
            .beside("alone", alone)
            .ratio_at_least(AMID_MIN),
        Reading::new("event to start of its job, p50", Unit::Milliseconds, late(50))
            .beside("a submission to its start", late_jobs(50))
            .at_most(START_P50_MAX),
        Reading::new("event to start of its job, p99", Unit::Milliseconds, late(99))
            .beside("a submission to its start", late_jobs(99))
            .at_most(START_P99_MAX),
    ])
}

/// How many events, and how many jobs, are accepted in a second, one in a request. The jobs wait meanwhile, as events do, so that
/// nothing else is done of either.
async fn posts(ground: &Ground<'_>) -> Result<[f64; 2], Failure> {
    let (http, plan) = (&ground.http, ground.plan);
    let (one_event, one_job) = (event(OTHER_SUBJECT), job(PAUSED_TYPE));
    let publish = load::singles(plan, async || http.publish(one_event.clone()).await);
    let events = published(plan.jobs, publish).await?;
    http.pause(PAUSED_TYPE, true).await?;
    let submit = load::singles(plan, async || http.submit(one_job.clone()).await);
    let jobs = published(plan.jobs, submit).await?;
    http.cancel_all(PAUSED_TYPE).await?;
    http.pause(PAUSED_TYPE, false).await?;
    Ok([events.per_second, jobs.per_second])
}

/// On an idle installation, in turn: from a request to publish, and from one to submit, until the handler began.
async fn starts(ground: &Ground<'_>) -> Result<(Times, Times), Failure> {
    let http = &ground.http;
    let (mut events, mut jobs) = (Times::default(), Times::default());
    for _ in 0..ground.plan.single_jobs {
        events.add(start(http).await?);
        let began = jiff::Timestamp::now().as_millisecond();
        let id = http.submit(job(JOB_TYPE)).await?;
        http.end_of(&id).await?;
        let shown = http.get(&format!("/v1/jobs/{id}")).await?;
        jobs.add(between(began, moment_ms(&shown["started_at"])?));
    }
    Ok((events, jobs))
}
