//! Schedules that tick: a thousand at one moment, and a few at moments of their own.

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    commits::Commits,
    ground::{Ground, between, moment_ms, percentile_ms},
    reading::{Reading, Unit},
};
use crate::{
    bench::{
        JOB_TYPE,
        figures::Times,
        http::{Http, strange},
    },
    exit::Failure,
};

/// How long before the first tick the schedules are put, in milliseconds, and how much earlier for each of them: longer than that
/// takes.
const LEAD_MS: i64 = 5_000;
const LEAD_MS_EACH: i64 = 5;

/// How many schedules tick at moments of their own, each once a second, and how often.
const APART: usize = 20;
const APART_TICKS: usize = 10;

/// A schedule that ticks once: the next tick would be in a year.
const ONCE_SECONDS: usize = 31_536_000;

/// The label by which their jobs are found, and the one that says of which tick each is.
const LABEL: &str = "bench";
const TICK_LABEL: &str = "tick";

/// How many jobs a page has at most.
const PAGE_JOBS: usize = 500;

/// How many requests are on their way at once.
const REQUESTS_AT_ONCE: usize = 64;

/// Seconds in which those of one moment fire.
const TOGETHER_MAX: f64 = 1.0;
/// How late others are, in milliseconds.
const LATE_P99_MAX: f64 = 150.0;

/// Measures both.
///
/// # Errors
///
/// When the backend refuses something, or something does not come in time.
pub(super) async fn round(ground: &mut Ground<'_>) -> Result<Vec<Reading>, Failure> {
    let number = ground.scale.tenth();
    let together = Ticking { label: "together", schedules: number, ticks: 1, apart_ms: 0 };
    let apart = Ticking {
        label: "apart",
        schedules: APART,
        ticks: APART_TICKS,
        apart_ms: 1_000 / i64::try_from(APART).unwrap_or(1),
    };
    let begun = Commits::now(&ground.http).await?;
    let together = together.measure(ground).await?;
    let after_ticks = Commits::now(&ground.http).await?;
    let plain = ground.plain(number).await?;
    let after_plain = Commits::now(&ground.http).await?;
    let apart = apart.measure(ground).await?;
    let burst = super::ground::float(u64::try_from(number).unwrap_or(u64::MAX)) / plain.per_second;
    Ok(vec![
        Reading::new(
            format!("{number} ticks of one moment, the last"),
            Unit::Seconds,
            percentile_ms(&together, 100) / 1_000.0,
        )
        .beside("as many plain jobs", burst)
        .at_most(TOGETHER_MAX),
        Reading::new("other ticks to their handlers, p50", Unit::Milliseconds, percentile_ms(&apart, 50)),
        Reading::new("other ticks to their handlers, p99", Unit::Milliseconds, percentile_ms(&apart, 99))
            .at_most(LATE_P99_MAX),
        after_ticks.since(begun).reading("ticks of one moment", after_plain.since(after_ticks)),
    ])
}

/// Schedules that are measured together.
struct Ticking {
    /// The label of their jobs.
    label: &'static str,
    schedules: usize,
    /// How often each ticks, once a second.
    ticks: usize,
    /// By how much each is later than the one before.
    apart_ms: i64,
}

impl Ticking {
    /// How late the handlers of their jobs began, each after the moment of its tick.
    async fn measure(&self, ground: &Ground<'_>) -> Result<Times, Failure> {
        let http = &ground.http;
        let jobs = self.schedules * self.ticks;
        let all = http.completed(JOB_TYPE).await? + u64::try_from(jobs).unwrap_or(u64::MAX);
        // A whole second, as people say it.
        let lead_ms = LEAD_MS + LEAD_MS_EACH * i64::try_from(self.schedules).unwrap_or_default();
        let first_ms = (Timestamp::now().as_millisecond() + lead_ms) / 1_000 * 1_000;
        let put = async |number: usize| {
            let path = format!("/v1/schedules/bench-{}-{number}", self.label);
            http.put(&path, &self.document(number, first_ms)?).await.map(drop)
        };
        let schedules = stream::iter(0..self.schedules).map(put).buffer_unordered(REQUESTS_AT_ONCE);
        schedules.try_collect::<()>().await?;
        if Timestamp::now().as_millisecond() >= first_ms {
            return Err(Failure::Part("the schedules could not be put before their first tick".into()));
        }
        http.until_completed(JOB_TYPE, all).await?;
        self.lateness(http, jobs).await
    }

    fn document(&self, number: usize, first_ms: i64) -> Result<Value, Failure> {
        let from_ms = first_ms + self.apart_ms * i64::try_from(number).unwrap_or_default();
        let until_ms = from_ms + i64::try_from(self.ticks).unwrap_or_default() * 1_000 - 1;
        let at = |ms| Timestamp::from_millisecond(ms).map(|moment| moment.to_string());
        Ok(json!({
            "every_seconds": if self.ticks == 1 { ONCE_SECONDS } else { 1 },
            "from": at(from_ms).map_err(Failure::part)?,
            "until": at(until_ms).map_err(Failure::part)?,
            "overlap": "allow",
            "job": {
                "type": JOB_TYPE,
                "parameters": {"text": "${{ schedule.scheduled_for }}"},
                "labels": {LABEL: self.label, TICK_LABEL: "${{ schedule.scheduled_for }}"},
            },
        }))
    }

    async fn lateness(&self, http: &Http, jobs: usize) -> Result<Times, Failure> {
        let (mut times, mut cursor) = (Times::default(), String::new());
        loop {
            let path = format!("/v1/jobs?label.{LABEL}={}&limit={PAGE_JOBS}{cursor}", self.label);
            let page = http.get(&path).await?;
            for job in page["jobs"].as_array().into_iter().flatten() {
                let due_ms = moment_ms(&job["labels"][TICK_LABEL])?;
                times.add(between(due_ms, moment_ms(&job["started_at"])?));
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None if times.len() == jobs => return Ok(times),
                None => return Err(strange(&page)),
            }
        }
    }
}
