//! What a round is measured on: an installation of its own, and what all rounds ask of it.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    bench::{
        BODY_BYTES, JOB_TYPE, Load, PATIENCE, Plan,
        broker::Broker,
        costs::Costs,
        figures::{Throughput, Times},
        http::{Http, strange},
        installation::{self, Installation},
        load,
    },
    exit::Failure,
};

/// How many there are of what a part measures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale(usize);

impl Scale {
    pub(super) fn new(most: usize) -> Self {
        Self(most)
    }

    /// Runs, schedules and items of the largest fan-out.
    pub(super) fn most(self) -> usize {
        self.0
    }

    /// Items of a fan-out, and schedules that tick together.
    pub(super) fn tenth(self) -> usize {
        (self.0 / 10).max(1)
    }

    /// Consumers, workflows, and items of a small fan-out.
    pub(super) fn hundredth(self) -> usize {
        (self.0 / 100).max(1)
    }
}

/// An installation of its own, warm.
pub(super) struct Ground<'a> {
    pub(super) installation: Installation<'a>,
    pub(super) http: Http,
    pub(super) plan: Plan,
    pub(super) scale: Scale,
}

impl<'a> Ground<'a> {
    /// Starts it in a new folder.
    ///
    /// # Errors
    ///
    /// When something does not start.
    pub(super) async fn start(
        broker: &'a Broker,
        folder: &Path,
        plan: Plan,
        scale: Scale,
    ) -> Result<Self, Failure> {
        installation::make_empty(folder)?;
        let installation = Installation::start(broker, folder, plan.slots).await?;
        let http = Http::new(installation.http())?;
        http.served(JOB_TYPE).await?;
        load::run(Load::Batches, &http, plan.warm_up()).await?;
        Ok(Self { installation, http, plan, scale })
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.installation.stop().await;
    }

    /// Plain jobs, submitted many at a time: how many a second.
    ///
    /// # Errors
    ///
    /// When they do not end in time.
    pub(super) async fn plain(&self, jobs: usize) -> Result<Throughput, Failure> {
        load::run(Load::Batches, &self.http, Plan { jobs, ..self.plan }).await
    }

    /// What `work` takes of the backend's processor time.
    ///
    /// # Errors
    ///
    /// What it says, and when the backend has ended.
    pub(super) async fn computed<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<(T, Duration), Failure> {
        let before = Costs::now(&self.installation)?;
        let done = work.await?;
        let costs = Costs::now(&self.installation)?.since(&before);
        Ok((done, costs.first().map(|backend| backend.computed).unwrap_or_default()))
    }

    /// The memory of the backend in RAM, in millions of bytes.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(super) fn megabytes(&self) -> Result<f64, Failure> {
        let now = Costs::now(&self.installation)?;
        let resident = now.all().first().map(|backend| backend.resident_bytes);
        Ok(float(resident.unwrap_or_default()) / 1_000_000.0)
    }

    /// Puts a workflow.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub(super) async fn put_workflow(&self, name: &str, document: &Value) -> Result<(), Failure> {
        self.http.put(&format!("/v1/workflows/{name}"), document).await.map(drop)
    }

    /// Starts a run. Returns its id.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub(super) async fn trigger(&self, workflow: &str, data: &Value) -> Result<String, Failure> {
        let path = format!("/v1/workflows/{workflow}/trigger");
        let run = self.http.post(&path, &json!({"data": data})).await?;
        run["id"].as_str().map(str::to_owned).ok_or_else(|| strange(&run))
    }

    /// Waits until a run has completed. Returns it.
    ///
    /// # Errors
    ///
    /// When it ends otherwise, or not in time.
    pub(super) async fn end_of_run(&self, id: &str) -> Result<Value, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let run = self.http.get(&format!("/v1/runs/{id}?wait=60")).await?;
            match run["state"].as_str() {
                Some("completed") => return Ok(run),
                Some("queued" | "running") if Instant::now() < deadline => {}
                _ => return Err(strange(&run)),
            }
        }
    }

    /// How long a run takes, from the request that starts it until its end was seen.
    ///
    /// # Errors
    ///
    /// When it does not complete in time.
    pub(super) async fn run(&self, workflow: &str, data: &Value) -> Result<Duration, Failure> {
        let began = Instant::now();
        let id = self.trigger(workflow, data).await?;
        self.end_of_run(&id).await?;
        Ok(began.elapsed())
    }
}

/// A job that does nothing, as a step of a workflow has it, with `more` fields; `text` is its one parameter.
pub(super) fn step(text: &str, more: &Value) -> Value {
    let mut step = json!({"job": JOB_TYPE, "parameters": {"text": text}});
    for (name, value) in more.as_object().into_iter().flatten() {
        step[name.as_str()] = value.clone();
    }
    step
}

/// A text as long as that of a plain job.
pub(super) fn text() -> String {
    "x".repeat(BODY_BYTES)
}

/// A moment that the API tells, in milliseconds since 1970.
///
/// # Errors
///
/// When it is none.
pub(super) fn moment_ms(told: &Value) -> Result<i64, Failure> {
    let moment: Option<jiff::Timestamp> = told.as_str().and_then(|time| time.parse().ok());
    moment.map(jiff::Timestamp::as_millisecond).ok_or_else(|| strange(told))
}

/// So many milliseconds; none, if it is before.
pub(super) fn between(from_ms: i64, to_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(to_ms - from_ms).unwrap_or_default())
}

/// The time that so many percent took at most, in milliseconds.
pub(super) fn percentile_ms(times: &Times, percent: usize) -> f64 {
    times.percentile(percent).as_secs_f64() * 1_000.0
}

/// The part of each of so many, in microseconds.
pub(super) fn microseconds_each(all: Duration, count: usize) -> f64 {
    all.as_secs_f64() * 1_000_000.0 / float(u64::try_from(count).unwrap_or(u64::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}
