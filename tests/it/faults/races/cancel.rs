//! Cancelling what is about to end by itself (F57).

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use e2e::{api::Api, stack::Stack};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

/// How many races there are with jobs that end at once: these are cancelled while their order is with the
/// broker.
const SHORT_RACES: usize = 9_000;

/// How many with jobs that report their start: these are told to stop.
const RUNNING_RACES: usize = 1_000;

/// How many races go on at once.
const AT_ONCE: usize = 48;

/// How long many jobs may take to end, in all.
const OVER_WITHIN: Duration = Duration::from_secs(120);

/// What somebody who cancels was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    /// 200: it is cancelled.
    Cancelled,
    /// 202: its worker is being told.
    Asked,
    /// 409: it completed.
    Completed,
}

/// Jobs of one kind, and after which time they are cancelled: about when they end, as it is found by trying.
struct Course {
    job: Value,
    delay_us: AtomicU64,
}

impl Course {
    fn new(job: Value, delay: Duration) -> Self {
        Self { job, delay_us: AtomicU64::new(u64::try_from(delay.as_micros()).unwrap()) }
    }

    /// Submits a job, and cancels it at about the moment at which it ends.
    async fn race(&self, api: &Api) -> (String, Answer) {
        let id = api.submit(self.job.clone()).await.unwrap();
        let (submitted, delay_us) = (Instant::now(), self.delay_us.load(Ordering::Relaxed));
        sleep_until(submitted + Duration::from_micros(rand::random_range(delay_us / 2..=delay_us * 3 / 2)))
            .await;
        let (status, answer) =
            api.post(&format!("/v1/jobs/{id}/cancel"), json!({"by": "f57"})).await.unwrap();
        let answer = match (status.as_u16(), answer["state"].as_str()) {
            (200, Some("cancelled")) => Answer::Cancelled,
            (202, Some("running")) => Answer::Asked,
            (409, Some("completed")) => Answer::Completed,
            _ => panic!("a cancellation was answered with {status} {answer}"),
        };
        let next_us = if answer == Answer::Completed { delay_us * 98 / 100 } else { delay_us * 51 / 50 + 1 };
        self.delay_us.store(next_us, Ordering::Relaxed);
        (id, answer)
    }

    async fn races(&self, api: &Api, count: usize) -> Vec<(String, Answer)> {
        stream::iter((0..count).map(|_| self.race(api))).buffer_unordered(AT_ONCE).collect().await
    }
}

/// Ten thousand jobs are cancelled at about the moment at which they complete, some of them while their
/// worker runs them. Each ends once, as completed or as cancelled, and as whoever cancelled it was told: what
/// was said to be cancelled is, what was said to be completed is, and what was to be stopped is either.
#[tokio::test]
async fn f57_ten_thousand_cancellations_race_completions() {
    let _turn = crate::faults::processors().await;
    let mut stack = Stack::start("cancel").await.unwrap();
    let _workers =
        [stack.worker(&["test.echo"], 16).await.unwrap(), stack.worker(&["test.sleep"], 64).await.unwrap()];
    let short =
        Course::new(json!({"type": "test.echo", "parameters": {"text": "quick"}}), Duration::from_millis(20));
    let running = json!({"type": "test.sleep", "parameters": {"steps": 20, "step_ms": 15}});
    let running = Course::new(running, Duration::from_millis(300));
    let mut told = short.races(&stack.api, SHORT_RACES).await;
    told.extend(running.races(&stack.api, RUNNING_RACES).await);
    told.iter().for_each(|(id, _)| stack.remember_accepted(id.clone()));
    let mut found = stack.settle_within(OVER_WITHIN).await.unwrap();
    let ends = ends(&stack);
    let mut counts = BTreeMap::<(Answer, &str), usize>::new();
    for (id, answer) in &told {
        let end = ends[id].as_str();
        let consistent = match answer {
            Answer::Cancelled => end == "cancelled",
            Answer::Completed => end == "completed",
            Answer::Asked => matches!(end, "cancelled" | "completed"),
        };
        assert!(consistent, "{id} is {end}, and whoever cancelled it was told {answer:?}");
        *counts.entry((*answer, end)).or_default() += 1;
    }
    let of = |wanted: Answer| {
        counts.iter().filter(|((answer, _), _)| *answer == wanted).map(|(_, jobs)| jobs).sum()
    };
    for answer in [Answer::Cancelled, Answer::Asked, Answer::Completed] {
        let jobs: usize = of(answer);
        assert!(jobs > 0, "no race was answered with {answer:?}: {counts:?}");
    }
    found.hold("I3", format_args!("{} races, by answer and end: {counts:?}", told.len()));
    found.print("F57 cancel races completion");
}

/// How every job ended, by id.
fn ends(stack: &Stack) -> HashMap<String, String> {
    let sql = rusqlite::Connection::open(stack.database()).unwrap();
    let mut jobs = sql.prepare("SELECT id, state FROM jobs").unwrap();
    let end = |row: &rusqlite::Row<'_>| {
        let id = uuid::Uuid::from_bytes(row.get(0)?);
        Ok((id.to_string(), row.get(1)?))
    };
    jobs.query_map([], end).unwrap().map(Result::unwrap).collect()
}
