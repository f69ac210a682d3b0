//! Many jobs that do nothing, submitted in the ways there are, until the last is completed and can be read.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::time::Instant;

use super::{BODY_BYTES, JOB_TYPE, Load, Plan, costs::Cost, figures::Throughput, http::Http};
use crate::exit::Failure;

/// One measurement of a load.
pub(super) struct Row {
    pub(super) throughput: Throughput,
    /// The limit in the same round.
    pub(super) limit: Throughput,
    pub(super) costs: Vec<Cost>,
}

/// How many jobs a request for many has.
const BATCH_JOBS: usize = 500;
/// How many of these requests are on their way at once.
const BATCHES_AT_ONCE: usize = 4;

/// Runs `plan.jobs` jobs.
///
/// # Errors
///
/// When the backend refuses one, or they do not end in time.
pub(super) async fn run(load: Load, http: &Http, plan: Plan) -> Result<Throughput, Failure> {
    let all = http.completed(JOB_TYPE).await? + u64::try_from(plan.jobs).unwrap_or(u64::MAX);
    let one = job(JOB_TYPE);
    let same = |_| one.clone();
    let mut began = Instant::now();
    match load {
        Load::Batches => batches(http, plan.jobs, same).await?,
        Load::Singles => singles(plan, async || http.submit(one.clone()).await).await?,
        Load::Drain => {
            http.pause(JOB_TYPE, true).await?;
            batches(http, plan.jobs, same).await?;
            began = Instant::now();
            http.pause(JOB_TYPE, false).await?;
        }
    }
    http.until_completed(JOB_TYPE, all).await?;
    Ok(Throughput::of(plan.jobs, began.elapsed()))
}

/// Submits jobs, many at a time; `job` makes each from its number.
///
/// # Errors
///
/// When the backend refuses one.
pub(super) async fn batches(http: &Http, jobs: usize, job: impl Fn(usize) -> String) -> Result<(), Failure> {
    let requests = (0..jobs).step_by(BATCH_JOBS).map(|first| {
        let numbers = first..jobs.min(first + BATCH_JOBS);
        let size = numbers.len();
        let lines: String = numbers.flat_map(|number| [job(number), "\n".to_owned()]).collect();
        http.submit_batch(lines, size)
    });
    stream::iter(requests).buffer_unordered(BATCHES_AT_ONCE).try_collect().await
}

/// Sends `plan.jobs` requests, each connection one after the other.
///
/// # Errors
///
/// When one of them fails.
pub(super) async fn singles<T>(
    plan: Plan,
    send: impl AsyncFn() -> Result<T, Failure>,
) -> Result<(), Failure> {
    let left = AtomicUsize::new(plan.jobs);
    let connection = async || {
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            send().await?;
        }
        Ok(())
    };
    let connections = (0..plan.connections).map(|_| connection());
    stream::iter(connections).buffer_unordered(plan.connections).try_collect().await
}

/// A job that does nothing, as JSON.
pub(super) fn job(job_type: &str) -> String {
    json!({"type": job_type, "parameters": {"text": "x".repeat(BODY_BYTES)}}).to_string()
}
