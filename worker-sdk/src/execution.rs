//! Running a handler: no broker is needed for it, so tests and `--run-once` run what a worker runs.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use crewcall_proto::{ExecutionId, JsonObject, Timestamp, TraceParent, event::Event, response::ErrorKind};
use futures_util::FutureExt;
use serde_json::Value;
use tokio::{runtime::Handle, time::sleep};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument;

use crate::{
    clock, context::JobContext, error::Failure, handler::ServedType, limits::STOP_GRACE, panics,
    stop_cause::StopCause,
};

/// Where handlers run: on the program's runtime, whatever runtime the rest of the worker is on.
#[derive(Clone)]
pub(crate) struct Handlers {
    pub(crate) runtime: Handle,
    /// Counts their tasks.
    pub(crate) tracker: TaskTracker,
}

impl Handlers {
    /// On the runtime of whoever asks.
    pub(crate) fn here() -> Self {
        panics::note_places();
        Self { runtime: Handle::current(), tracker: TaskTracker::new() }
    }
}

/// How an attempt ended.
pub(crate) type Ending = Result<Completion, Failure>;

/// What came out of an attempt.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) result: Value,
    /// What is to be recorded with the result.
    pub(crate) events: Vec<Event>,
}

/// One delivery that was worked on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Execution {
    pub(crate) id: ExecutionId,
    /// When the handler began; `None` if it did not.
    pub(crate) started_at: Option<Timestamp>,
    /// Whether the order had been delivered before.
    pub(crate) redelivered: bool,
}

impl Execution {
    /// Begins now.
    pub(crate) fn beginning(redelivered: bool) -> Self {
        Self { id: ExecutionId::generate(), started_at: Some(clock::now()), redelivered }
    }

    /// For an order that is answered without running its handler.
    pub(crate) fn not_begun(redelivered: bool) -> Self {
        Self { id: ExecutionId::generate(), started_at: None, redelivered }
    }
}

/// Runs the handler of an attempt to its end: its own, a panic, or the grace after a stop.
///
/// The handler has a task of its own, so that one that computes without `.await` cannot hold up the clock
/// of its timeout, and a panic ends only that task. Dropping the future drops the handler. Never ends if the
/// handlers' runtime was shut down: whoever runs the worker ends with it.
pub(crate) async fn execute(
    served: &ServedType,
    job: &JobContext,
    parameters: JsonObject,
    timeout: Option<Duration>,
    handlers: &Handlers,
) -> Ending {
    let span = tracing::info_span!(
        "job",
        job.id = %job.id(),
        job.r#type = %job.job_type(),
        attempt = job.attempt(),
        trace.id = job.traceparent().map(TraceParent::trace_id)
    );
    // Caught on the thread on which it panics, which knows where.
    let run = AssertUnwindSafe(served.run(job.clone(), parameters)).catch_unwind();
    let run =
        run.map(|ran| ran.unwrap_or_else(|payload| Err(panic_failure(payload.as_ref())))).instrument(span);
    let task = handlers.tracker.spawn_on(run, &handlers.runtime);
    let mut handler = AbortOnDropHandle::new(task);
    let ended = tokio::select! {
        biased;
        ended = &mut handler => Some(ended),
        () = wait_for_overrun(job, timeout) => None,
    };
    let events = job.end_events();
    match (ended, job.stop_cause()) {
        // Who finishes in spite of a stop has finished.
        (Some(Ok(Ok(result))), _) => Ok(Completion { result, events }),
        (Some(Ok(Err(failure))), None) => Err(failure),
        (Some(Ok(Err(failure))), Some(_)) if failure.kind == ErrorKind::Panic => Err(failure),
        (Some(Ok(Err(failure))), Some(cause)) => Err(stop_failure(cause, Some(failure))),
        // Its panics are caught, so it was dropped, and nobody but the end of its runtime can have done that.
        (Some(Err(_)), _) => std::future::pending().await,
        (None, cause) => Err(stop_failure(cause.unwrap_or(StopCause::TimedOut), None)),
    }
}

/// Stops the attempt at its timeout; done when the grace after a stop, of whatever cause, is over.
async fn wait_for_overrun(job: &JobContext, timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::select! {
            () = job.cancelled() => {}
            () = sleep(timeout) => job.stop(StopCause::TimedOut),
        },
        None => job.cancelled().await,
    }
    sleep(STOP_GRACE).await;
}

/// A stopped attempt counts as what stopped it; what its handler said on the way out is detail.
fn stop_failure(cause: StopCause, said: Option<Failure>) -> Failure {
    let mut failure = Failure::new(cause.kind(), cause.is_retryable(), cause.sentence().to_owned());
    if let Some(said) = said.filter(|said| said.kind != cause.kind()) {
        failure.code = said.code;
        failure.detail = Some(said.message);
    }
    failure
}

fn panic_failure(payload: &(dyn Any + Send)) -> Failure {
    let message = format!("the handler panicked: {}", panic_message(payload));
    Failure::new(ErrorKind::Panic, true, message).with_detail(panics::take_place())
}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(a payload that is not text)")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{error::JobError, testing::Setup};

    async fn patient(job: JobContext, parameters: JsonObject) -> Result<String, JobError> {
        for step in 1.. {
            job.check_cancelled()?;
            job.progress(step, "waiting");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(format!("{parameters:?}"))
    }

    #[tokio::test]
    async fn a_panic_ends_the_attempt_and_is_retryable() {
        async fn clumsy(_job: JobContext, width: JsonObject) -> Result<u32, JobError> {
            let missing: Option<u32> = width.get("width").map(|_| 1);
            Ok(missing.expect("größe fehlt"))
        }
        let failure = Setup::new().run(clumsy, json!({})).await.result.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Panic);
        assert!(failure.retryable && failure.message.contains("größe fehlt"), "{failure}");
        assert!(failure.detail.unwrap().starts_with(concat!("at ", file!(), ":")));
    }

    #[tokio::test]
    async fn a_cancelled_attempt_ends_at_its_next_check() {
        let outcome = Setup::new().cancel_at(7).run(patient, json!({})).await;
        let failure = outcome.result.unwrap_err();
        assert_eq!((failure.kind, failure.retryable), (ErrorKind::Cancelled, false));
        assert_eq!(outcome.progress.last().unwrap().percent, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_does_not_listen_is_dropped_after_the_grace() {
        async fn deaf(_job: JobContext, _parameters: JsonObject) -> Result<(), JobError> {
            std::future::pending().await
        }
        let began = tokio::time::Instant::now();
        let outcome = Setup::new().timeout(Duration::from_secs(60)).run(deaf, json!({})).await;
        let failure = outcome.result.unwrap_err();
        assert_eq!((failure.kind, failure.retryable), (ErrorKind::Timeout, true));
        assert_eq!(began.elapsed(), Duration::from_secs(60) + STOP_GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_on_the_way_out_counts_as_what_stopped_the_attempt() {
        async fn grumbling(job: JobContext, _parameters: JsonObject) -> Result<(), JobError> {
            job.cancelled().await;
            Err(JobError::permanent("left the file half written").code("half_written"))
        }
        let outcome = Setup::new().timeout(Duration::from_secs(1)).run(grumbling, json!({})).await;
        let failure = outcome.result.unwrap_err();
        assert_eq!((failure.kind, failure.retryable), (ErrorKind::Timeout, true));
        assert_eq!(failure.code.as_deref(), Some("half_written"));
        assert_eq!(failure.detail.as_deref(), Some("left the file half written"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_in_spite_of_a_stop_is_a_result() {
        async fn thorough(job: JobContext, _parameters: JsonObject) -> Result<u32, JobError> {
            job.cancelled().await;
            Ok(42)
        }
        let outcome = Setup::new().timeout(Duration::from_secs(1)).run(thorough, json!({})).await;
        assert_eq!(outcome.result.unwrap(), json!(42));
    }
}
