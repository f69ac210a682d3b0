//! What a handler knows about its attempt, and how it talks back.

use std::sync::{Arc, OnceLock};

use crewcall_proto::{Attempt, JobId, JobType, Order, Timestamp, TraceParent, event};
use serde::Serialize;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    emit_error::EmitError,
    emitter::Emitter,
    error::JobError,
    event::{Event, IdentifiedEvent},
    progress::ProgressBoard,
    stop_cause::StopCause,
};

/// The attempt that a handler works on.
///
/// Cloning is cheap, every method may be called from any thread, and none of them blocks: take it into
/// `tokio::task::spawn_blocking` for long computations. After the attempt has ended its methods do nothing, and those that
/// emit events fail.
///
/// A thread of `spawn_blocking` cannot be dropped. When an attempt is cancelled or runs out of time while such a
/// thread works for it, that is still reported in time, but **the slot stays taken until the last clone of
/// the context is gone**: so the machine never runs more than the worker has slots, provided that the thread has
/// a clone. Ask [`is_cancelled`](Self::is_cancelled) in its loop, and it ends soon.
#[derive(Clone)]
pub struct JobContext(Arc<Inner>);

struct Inner {
    job_id: JobId,
    job_type: JobType,
    attempt: Attempt,
    max_attempts: u32,
    created_at: Timestamp,
    traceparent: Option<TraceParent>,
    /// Fires when the attempt should end early; `stop_cause` is set before.
    stopped: CancellationToken,
    stop_cause: OnceLock<StopCause>,
    progress: ProgressBoard,
    emitter: Emitter,
    /// Fires when the last clone is gone, and with it whatever worked for the attempt.
    handler_ended: CancellationToken,
    _handler_guard: DropGuard,
}

impl JobContext {
    pub(crate) fn new(
        order: &Order,
        traceparent: Option<TraceParent>,
        progress: ProgressBoard,
        emitter: Emitter,
    ) -> Self {
        let handler_ended = CancellationToken::new();
        Self(Arc::new(Inner {
            job_id: order.job_id,
            job_type: order.job_type.clone(),
            attempt: order.attempt,
            max_attempts: order.max_attempts,
            created_at: order.created_at,
            traceparent,
            stopped: CancellationToken::new(),
            stop_cause: OnceLock::new(),
            progress,
            emitter,
            _handler_guard: handler_ended.clone().drop_guard(),
            handler_ended,
        }))
    }

    /// The job's id. The same in every attempt, so it serves as a key for work that must not be done twice.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.0.job_id
    }

    /// The job's type.
    #[must_use]
    pub fn job_type(&self) -> &JobType {
        &self.0.job_type
    }

    /// The number of this attempt, counted from 1. After a crash the same attempt may run again.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt.get()
    }

    /// How many attempts the job has at most.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.0.max_attempts
    }

    /// Whether the job fails if this attempt does.
    #[must_use]
    pub fn is_last_attempt(&self) -> bool {
        self.attempt() >= self.max_attempts()
    }

    /// The trace that the job belongs to, if its submitter sent one: to be passed on to the services that the handler
    /// calls, as their `traceparent` header. The attempt's log lines have its id as `trace.id`.
    #[must_use]
    pub fn traceparent(&self) -> Option<&TraceParent> {
        self.0.traceparent.as_ref()
    }

    /// When the job was accepted, by the backend's clock.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.0.created_at
    }

    /// Tells those who watch the job how far it is: `percent` of 100, and a few words (may be empty).
    ///
    /// Cheap enough for an inner loop: the latest news replaces what was not sent yet, and at most one
    /// message leaves every [`PROGRESS_INTERVAL`](crate::limits::PROGRESS_INTERVAL). A percentage above 100
    /// counts as 100, one below the last as the last; the message is kept up to
    /// [`PROGRESS_MESSAGE_CHARACTERS_MAX`](crate::limits::PROGRESS_MESSAGE_CHARACTERS_MAX) characters. Never
    /// fails and never waits: news may be lost, results are not.
    pub fn progress(&self, percent: u64, message: impl Into<String>) {
        if let Some(cause) = self.0.progress.post(percent, message.into()) {
            self.stop(cause);
        }
    }

    /// Emits an event **with the result**: it is recorded in the transaction that completes the job, exactly once. If the
    /// attempt fails, is cancelled or runs again elsewhere, it was never there. The type has to
    /// [declare](crate::JobOptions::emits) the subject; the data are whatever serialises to JSON other than null.
    ///
    /// Never waits: the event is kept until the handler returns, and those of one attempt are recorded in their order. The
    /// backend holds the data against the declared schema: what does not fit fails the attempt for good, with the code
    /// `event_refused`.
    ///
    /// ```
    /// # use crewcall_worker::prelude::*;
    /// # use crewcall_worker::testing::Setup;
    /// # use serde_json::json;
    /// # #[derive(Deserialize, JsonSchema)] struct Charge { order: u64 }
    /// /// An order is paid.
    /// #[derive(Serialize, JsonSchema)]
    /// struct Paid { order: u64 }
    ///
    /// async fn charge(job: JobContext, charge: Charge) -> Result<(), JobError> {
    ///     job.emit("order.paid", Paid { order: charge.order })?;
    ///     Ok(())
    /// }
    ///
    /// let options = JobOptions::new().emits::<Paid>("order.paid");
    /// # let tried = options.clone();
    /// let worker = Worker::from_env()?.job_with("order.charge", charge, options);
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// #     let outcome = Setup::new().options(tried).run(charge, json!({"order": 17})).await;
    /// #     assert_eq!(outcome.events[0].data, json!({"order": 17}));
    /// # });
    /// # Ok::<(), crewcall_worker::WorkerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`EmitError`], at once: an undeclared subject, data that JSON cannot hold, more than
    /// [`EVENTS_MAX`](crate::limits::EVENTS_MAX) events or [`EVENTS_BYTES_MAX`](crate::limits::EVENTS_BYTES_MAX) of data in an
    /// attempt, more than 29 levels, a backend that is too old, an attempt that is over.
    pub fn emit(&self, subject: &str, data: impl Serialize) -> Result<(), EmitError> {
        self.0.emitter.keep(Event::new(subject, data))
    }

    /// Emits an event **now**, and returns once the broker has it on disk: it is recorded under its id, once, whatever becomes
    /// of the attempt. For what others should know of while the handler goes on.
    ///
    /// While the broker is away it waits, as a result does, and ends early when the attempt is stopped; then it is not known
    /// whether the event arrived. An attempt may run twice, so emit the same event under the same id: it is recorded once.
    /// Nobody is told when the backend refuses it, because its data do not fit the declared schema or another event has its id:
    /// the backend counts and logs it. Events of [`emit`](Self::emit) may be recorded before it.
    ///
    /// ```
    /// # use crewcall_worker::prelude::*;
    /// # use serde_json::json;
    /// # async fn push(job: JobContext, commit: &str) -> Result<(), JobError> {
    /// job.emit_now(Event::new("commit.seen", json!({"commit": commit})).id(format!("github:{commit}"))).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit), but for 31 levels; an id that is not one; and [`EmitError::Stopped`].
    pub async fn emit_now(&self, event: IdentifiedEvent) -> Result<(), EmitError> {
        tokio::select! {
            biased;
            () = self.cancelled() => {
                Err(EmitError::Stopped(self.stop_cause().unwrap_or(StopCause::HandedBack)))
            }
            sent = self.0.emitter.send(event) => sent,
        }
    }

    /// Returns early from a handler whose attempt was cancelled or ran out of time:
    /// `job.check_cancelled()?` at every step.
    ///
    /// # Errors
    ///
    /// An error that ends the attempt as cancelled (not retried) or timed out (retried).
    pub fn check_cancelled(&self) -> Result<(), JobError> {
        self.stop_cause().map_or(Ok(()), |cause| {
            Err(JobError::of_kind(cause.kind(), cause.is_retryable(), cause.sentence().to_owned()))
        })
    }

    /// Whether the attempt was cancelled or ran out of time.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.stopped.is_cancelled()
    }

    /// Waits until the attempt is cancelled or runs out of time; for `tokio::select!`. A handler that does
    /// not end within [`STOP_GRACE`](crate::limits::STOP_GRACE) after that is dropped at its next `.await`.
    pub async fn cancelled(&self) {
        self.0.stopped.cancelled().await;
    }

    /// Asks the handler to end. The first cause stands.
    pub(crate) fn stop(&self, cause: StopCause) {
        // A lost race means that a cause is set already, which is all that matters.
        let _ = self.0.stop_cause.set(cause);
        self.0.stopped.cancel();
    }

    /// The handler has ended, as far as the attempt goes. Returns what is to be recorded with its result.
    pub(crate) fn end_events(&self) -> Vec<event::Event> {
        self.0.emitter.end()
    }

    /// Fires when the last clone of this context is gone.
    pub(crate) fn handler_ended(&self) -> CancellationToken {
        self.0.handler_ended.clone()
    }

    pub(crate) fn stop_cause(&self) -> Option<StopCause> {
        self.0.stop_cause.get().copied()
    }
}

impl std::fmt::Debug for JobContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobContext")
            .field("job_id", &self.0.job_id)
            .field("job_type", &self.0.job_type)
            .field("attempt", &self.0.attempt)
            .field("stop_cause", &self.0.stop_cause.get())
            .finish_non_exhaustive()
    }
}
