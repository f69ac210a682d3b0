//! How soon jobs start, and are cancelled, while others come at a steady pace.
//!
//! The pace is that of the clock: a job that could not be submitted when it was its turn has waited since then, so that a
//! slow moment counts for all that came in it.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, future::join, stream};
use serde_json::json;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, interval},
};

use super::{JOB_TYPE, WAITING_TYPE, figures::Times, http::Http, load::job};
use crate::exit::Failure;

/// How many jobs are read back at once.
const READS_AT_ONCE: usize = 8;

/// What was measured.
pub(super) struct Paced {
    /// From the moment at which a job was to be submitted until its handler began.
    pub(super) starts: Times,
    /// From a cancellation until the job, which ran, was seen to be cancelled.
    pub(super) cancels: Times,
}

/// Submits `per_second` jobs a second for so long, and meanwhile cancels running ones, one after the other.
///
/// # Errors
///
/// When the backend refuses something, or something does not come in time.
pub(super) async fn run(http: &Http, per_second: u32, lasts: Duration) -> Result<Paced, Failure> {
    let (over, mut submitting) = oneshot::channel::<()>();
    let submit = async {
        let submitted = submit_steadily(http, per_second, lasts).await;
        drop(over);
        submitted
    };
    let cancel = async {
        let mut cancels = Times::default();
        while submitting.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            cancels.add(cancel_one(http).await?);
        }
        Ok::<_, Failure>(cancels)
    };
    let (submitted, cancels) = join(submit, cancel).await;
    let mut starts = Times::default();
    let read = stream::iter(submitted?).map(async |(id, due_ms)| {
        http.end_of(&id).await?;
        let started_ms = http.started_ms(&id).await?;
        Ok::<_, Failure>(Duration::from_millis(u64::try_from(started_ms - due_ms).unwrap_or_default()))
    });
    let mut read = read.buffer_unordered(READS_AT_ONCE);
    while let Some(took) = read.try_next().await? {
        starts.add(took);
    }
    Ok(Paced { starts, cancels: cancels? })
}

/// Returns the ids, and when each was to be submitted, in milliseconds since 1970.
async fn submit_steadily(
    http: &Http,
    per_second: u32,
    lasts: Duration,
) -> Result<Vec<(String, i64)>, Failure> {
    let every = Duration::from_secs(1) / per_second;
    let (began, began_ms) = (Instant::now(), jiff::Timestamp::now().as_millisecond());
    // Those that were missed come at once.
    let (mut turns, mut requests) = (interval(every), JoinSet::new());
    let mut due = Duration::ZERO;
    while began.elapsed() < lasts {
        turns.tick().await;
        let (http, job) = (http.clone(), job(JOB_TYPE));
        let due_ms = began_ms + i64::try_from(due.as_millis()).unwrap_or(i64::MAX);
        requests.spawn(async move { Ok((http.submit(job).await?, due_ms)) });
        due += every;
    }
    requests.join_all().await.into_iter().collect()
}

/// Lets a job run that waits to be cancelled. Returns how long that took.
async fn cancel_one(http: &Http) -> Result<Duration, Failure> {
    let id = http.submit(json!({"type": WAITING_TYPE, "parameters": {}}).to_string()).await?;
    http.until_running(&id).await?;
    let began = Instant::now();
    http.cancel(&id).await?;
    let state = http.end_of(&id).await?;
    match state.as_str() {
        "cancelled" => Ok(began.elapsed()),
        _ => Err(Failure::Part(format!("job {id} was cancelled while it ran, and is {state}").into())),
    }
}
