//! What can happen to a job.

use std::time::Duration;

use crewcall_proto::{Attempt, AttemptToken, ExecutionId, Timestamp, response::Origin};

use super::{Cancellation, JobError, NewEvent};

/// Something that happened. Past tense: an event is news, not a command, and may come late, twice or in
/// the wrong order.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Everything is over that the job comes after.
    Unblocked,
    /// The due time came.
    Due,
    /// The relay took the job to publish an order. `token` is used if the attempt has none yet.
    Dispatched { token: AttemptToken },
    /// The order came back: no worker ever served the type.
    Unroutable { attempt: Attempt, token: AttemptToken },
    /// An order of the same type came back, and no worker served it since: this one would come back as well.
    TypeUnserved,
    /// A worker announced the type for the first time.
    TypeServed,
    Started {
        origin: Origin,
        /// The sequence number of the message.
        seq: u64,
        /// When, by the worker's clock.
        at: Timestamp,
    },
    /// An execution got further.
    Progressed {
        origin: Origin,
        /// The sequence number of the message.
        seq: u64,
        /// How much is done.
        percent: Option<u8>,
        /// What is being done.
        message: Option<String>,
        /// When, by the worker's clock.
        at: Timestamp,
    },
    /// An execution acknowledged its order and goes on.
    Held {
        origin: Origin,
        /// The sequence number of the message.
        seq: u64,
    },
    /// A worker gave the attempt up without an answer, so that another one runs it: not charged.
    HandedBack {
        origin: Origin,
        /// Whether its order is gone, so that another one has to be sent; otherwise it is back in its queue.
        resend: bool,
        message: Option<String>,
        /// When it began, by the worker's clock, if it did.
        started_at: Option<Timestamp>,
        /// When it was given up.
        at: Timestamp,
    },
    Completed {
        origin: Origin,
        /// What came out, as JSON text.
        result: String,
        /// What is published with it.
        emitted: Vec<NewEvent>,
        /// When it began, by the worker's clock.
        started_at: Timestamp,
        finished_at: Timestamp,
    },
    Failed {
        origin: Origin,
        error: JobError,
        /// Whether the broker had delivered the order before: the execution then has it, and whoever reported its start has
        /// lost it.
        redelivered: bool,
        /// Whether another attempt may succeed.
        retryable: bool,
        /// How long to wait before it, if the worker knows better than the back-off.
        retry_after: Option<Duration>,
        /// When it began, by the worker's clock.
        started_at: Option<Timestamp>,
        finished_at: Timestamp,
    },
    /// The broker gave up delivering the order.
    DeadLettered {
        attempt: Attempt,
        token: AttemptToken,
        /// Delivered too often (`crash_loop`), or refused by a worker (`malformed`): the end of the job. But an order that
        /// was delivered too often and hardly ever begun is sent again, once.
        error: JobError,
    },
    /// The worker that ran the attempt fell silent for longer than its lease.
    LeaseExpired {
        attempt: Attempt,
        /// Whose lease.
        execution_id: ExecutionId,
    },
    /// The attempt ran longer than the job allows, and its worker did not end it.
    TimedOut {
        attempt: Attempt,
        /// Whose.
        execution_id: ExecutionId,
    },
    /// The time came after which the job is not worth starting.
    Expired,
    /// The order of an in-flight attempt is in no queue and with no worker: it has to be sent again, unless it was sent
    /// [`SENDINGS_MAX`](super::retry::SENDINGS_MAX) times already.
    OrderLost { attempt: Attempt, token: AttemptToken },
    /// Somebody asked to cancel the job.
    CancelRequested(Cancellation),
    /// Somebody asked to try a failed or cancelled job again.
    RetryRequested,
}
