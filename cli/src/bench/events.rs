//! The log of events, and a consumer that makes a job of each: how many can be published in a second, how many become jobs that are
//! done, alone and beside consumers that select nothing of it, and how soon a handler begins when all is idle.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::{
    BODY_BYTES, JOB_TYPE, Plan,
    figures::{Percentiles, Spread, Throughput, Times},
    http::Http,
    load,
};
use crate::exit::Failure;

/// What the events are about that become jobs, and all others.
pub(super) const SUBJECT: &str = "bench.happened";
pub(super) const OTHER_SUBJECT: &str = "bench.else";

/// The consumer that makes the jobs.
pub(super) const CONSUMER: &str = "bench";

/// How many consumers there are in the end that select something else.
const OTHERS: usize = 99;

/// How many events a request for many has, and how many of these requests are on their way at once.
const BATCH_EVENTS: usize = 1_000;
const BATCHES_AT_ONCE: usize = 4;

/// What was measured.
#[derive(Default)]
pub(super) struct Events {
    /// Published many at a time.
    pub(super) batches: Vec<Throughput>,
    /// Published one by one, on many connections.
    pub(super) singles: Vec<Throughput>,
    /// From the end of the consumer's pause until the last of its jobs is completed.
    pub(super) to_jobs: Vec<Throughput>,
    /// The same beside [`OTHERS`] consumers.
    pub(super) to_jobs_amid: Vec<Throughput>,
    /// From a request to publish until the handler of its job began, one after the other.
    pub(super) starts: Times,
}

impl Events {
    /// Measures everything once more.
    ///
    /// # Errors
    ///
    /// When the backend refuses something, or something does not come in time.
    pub(super) async fn round(&mut self, http: &Http, plan: Plan) -> Result<(), Failure> {
        self.batches.push(published(plan.jobs, batches(http, OTHER_SUBJECT, plan.jobs)).await?);
        let one = event(OTHER_SUBJECT);
        let singles = load::singles(plan, async || http.publish(one.clone()).await);
        self.singles.push(published(plan.jobs, singles).await?);
        http.consume(CONSUMER, SUBJECT, JOB_TYPE).await?;
        for _ in 0..plan.single_jobs {
            self.starts.add(start(http).await?);
        }
        self.to_jobs.push(to_jobs(http, plan.jobs).await?);
        self.to_jobs_amid.push(to_jobs_amid(http, plan.jobs).await?);
        http.forget_consumer(CONSUMER).await
    }
}

/// What is told of it.
#[derive(Debug, Serialize)]
pub(super) struct EventsReport {
    batches_per_second: Spread,
    singles_per_second: Spread,
    /// Events that became jobs which are completed.
    to_jobs_per_second: Spread,
    to_jobs_amid_per_second: Spread,
    /// The two before, divided round by round.
    amid_ratio: Spread,
    /// Milliseconds from a request to publish until the handler of its job began, on an idle installation.
    start_ms: Percentiles,
}

impl EventsReport {
    pub(super) fn of(events: &Events) -> Self {
        let Events { batches, singles, to_jobs, to_jobs_amid, starts } = events;
        let rate = |measured: &[Throughput]| Spread::of(measured.iter().map(|it| it.per_second));
        let ratios = to_jobs.iter().zip(to_jobs_amid).map(|(alone, amid)| amid.per_second / alone.per_second);
        Self {
            batches_per_second: rate(batches),
            singles_per_second: rate(singles),
            to_jobs_per_second: rate(to_jobs),
            to_jobs_amid_per_second: rate(to_jobs_amid),
            amid_ratio: Spread::of(ratios),
            start_ms: Percentiles::of(starts),
        }
    }

    /// How many a second, and how that is called.
    pub(super) fn rates(&self) -> impl Iterator<Item = (&'static str, Spread)> {
        [
            ("events, batches", self.batches_per_second),
            ("events, singles", self.singles_per_second),
            ("events to jobs", self.to_jobs_per_second),
            ("events to jobs, amid others", self.to_jobs_amid_per_second),
        ]
        .into_iter()
    }

    pub(super) fn start(&self) -> &Percentiles {
        &self.start_ms
    }

    pub(super) fn sentence(&self) -> String {
        let Spread { median, least, most } = self.amid_ratio;
        format!(
            "Amid {OTHERS} other consumers, jobs are made at {median:.2} of the pace ({least:.2} – {most:.2})."
        )
    }
}

fn other(number: usize) -> String {
    format!("{CONSUMER}-{number}")
}

/// How fast so many events are published.
///
/// # Errors
///
/// What publishing says.
pub(super) async fn published(
    events: usize,
    publishing: impl Future<Output = Result<(), Failure>>,
) -> Result<Throughput, Failure> {
    let began = Instant::now();
    publishing.await?;
    Ok(Throughput::of(events, began.elapsed()))
}

/// Publishes events, many at a time.
///
/// # Errors
///
/// When the backend refuses one.
pub(super) async fn batches(http: &Http, subject: &str, events: usize) -> Result<(), Failure> {
    let one = event(subject);
    let requests = (0..events).step_by(BATCH_EVENTS).map(|first| {
        let size = BATCH_EVENTS.min(events - first);
        http.publish_batch(format!("{one}\n").repeat(size), size)
    });
    stream::iter(requests).buffer_unordered(BATCHES_AT_ONCE).try_collect().await
}

/// How many events a second the consumer makes jobs of that are done.
///
/// # Errors
///
/// When the backend refuses something, or the jobs do not end in time.
pub(super) async fn to_jobs(http: &Http, events: usize) -> Result<Throughput, Failure> {
    let all = http.completed(JOB_TYPE).await? + u64::try_from(events).unwrap_or(u64::MAX);
    http.pause_consumer(CONSUMER, true).await?;
    batches(http, SUBJECT, events).await?;
    let began = Instant::now();
    http.pause_consumer(CONSUMER, false).await?;
    http.until_completed(JOB_TYPE, all).await?;
    Ok(Throughput::of(events, began.elapsed()))
}

/// The same beside consumers that select something else, which are there only meanwhile.
///
/// # Errors
///
/// As for [`to_jobs`].
pub(super) async fn to_jobs_amid(http: &Http, events: usize) -> Result<Throughput, Failure> {
    for number in 0..OTHERS {
        http.consume(&other(number), "bench.never.*", JOB_TYPE).await?;
    }
    let throughput = to_jobs(http, events).await?;
    for number in 0..OTHERS {
        http.forget_consumer(&other(number)).await?;
    }
    Ok(throughput)
}

/// How long it takes from a request to publish an event until the handler of its job begins.
///
/// # Errors
///
/// When the backend refuses something, or something does not come in time.
pub(super) async fn start(http: &Http) -> Result<Duration, Failure> {
    let began = jiff::Timestamp::now().as_millisecond();
    let sequence = http.publish(event(SUBJECT)).await?;
    let id = http.job_of_event(sequence).await?;
    http.end_of(&id).await?;
    let started = http.started_ms(&id).await?;
    Ok(Duration::from_millis(u64::try_from(started - began).unwrap_or_default()))
}

/// An event, as JSON.
pub(super) fn event(subject: &str) -> String {
    json!({"subject": subject, "data": {"text": "x".repeat(BODY_BYTES)}}).to_string()
}
