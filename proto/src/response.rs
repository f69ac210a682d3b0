//! What a worker says of an attempt: progression, held, handed back, completed, error. (What its handler emits meanwhile is
//! [`Emitted`].)
//!
//! Published to `<prefix>.response` with the routing key `<kind>.<job type>`. Every response names
//! the attempt and echoes its token; without them it concerns nobody and is dropped.
//!
//! [`Emitted`]: crate::event::Emitted

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Attempt, AttemptToken, ExecutionId, JobId, Timestamp, WorkerId, event::Event, named, origin::origin,
};

pub use crate::origin::Origin;

/// News of a running attempt. Lossy by contract: the backend may skip any of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progression {
    /// The job of the order that is answered.
    pub job_id: JobId,
    /// The number of the attempt in that order. A response to an attempt that is over is stale, and changes nothing.
    pub attempt: Attempt,
    /// The token of that order, which only its receiver knows: without it nothing can be said of the attempt.
    pub attempt_token: AttemptToken,
    /// This run of the attempt. An order that is delivered again gets another one.
    pub execution_id: ExecutionId,
    /// Whose run it is: the id that the worker announced itself by.
    pub worker_id: WorkerId,
    /// Counts the progressions of one execution upwards; a lower or equal number is dropped.
    pub seq: u64,
    /// What happened.
    pub kind: ProgressionKind,
    /// How much is done, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// What is being done, for people. At most [`Progression::MESSAGE_CHARACTERS_MAX`] characters are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When, by the worker's clock.
    pub at: Timestamp,
}

impl Progression {
    /// How much of a progress message is kept, in characters.
    pub const MESSAGE_CHARACTERS_MAX: usize = 500;
}

origin!(Progression);

/// What a progression tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressionKind {
    /// The attempt began. Sent when it is still running after 250 ms, and at once for a redelivered order.
    Started,
    /// It got further.
    Progress,
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}

/// The worker keeps running the attempt but acknowledges its order: from now on its heartbeat, not the
/// broker, holds the attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The job of the order that is answered.
    pub job_id: JobId,
    /// The number of the attempt in that order. A response to an attempt that is over is stale, and changes nothing.
    pub attempt: Attempt,
    /// The token of that order, which only its receiver knows: without it nothing can be said of the attempt.
    pub attempt_token: AttemptToken,
    /// This run of the attempt. An order that is delivered again gets another one.
    pub execution_id: ExecutionId,
    /// Whose run it is: the id that the worker announced itself by.
    pub worker_id: WorkerId,
    /// Shares its counter with [`Progression::seq`].
    pub seq: u64,
    /// When, by the worker's clock.
    pub at: Timestamp,
}

origin!(Held);

/// The worker does not go on with the attempt, and does not answer for it either: it is not charged, and another worker
/// runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandedBack {
    /// The job of the order that is answered.
    pub job_id: JobId,
    /// The number of the attempt in that order. A response to an attempt that is over is stale, and changes nothing.
    pub attempt: Attempt,
    /// The token of that order, which only its receiver knows: without it nothing can be said of the attempt.
    pub attempt_token: AttemptToken,
    /// This run of the attempt. An order that is delivered again gets another one.
    pub execution_id: ExecutionId,
    /// Whose run it is: the id that the worker announced itself by.
    pub worker_id: WorkerId,
    /// Whether the backend is to send another order: this one is, or will be, acknowledged. Otherwise it goes back to its
    /// queue.
    pub resend: bool,
    /// Why, for people. At most [`Progression::MESSAGE_CHARACTERS_MAX`] characters are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the handler began, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When, by the worker's clock.
    pub at: Timestamp,
}

origin!(HandedBack);

/// The attempt succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completed {
    /// The job of the order that is answered.
    pub job_id: JobId,
    /// The number of the attempt in that order. A response to an attempt that is over is stale, and changes nothing.
    pub attempt: Attempt,
    /// The token of that order, which only its receiver knows: without it nothing can be said of the attempt.
    pub attempt_token: AttemptToken,
    /// This run of the attempt. An order that is delivered again gets another one.
    pub execution_id: ExecutionId,
    /// Whose run it is: the id that the worker announced itself by.
    pub worker_id: WorkerId,
    /// What came out. At most [`crate::codec::PAYLOAD_BYTES_MAX`] bytes as JSON; larger results travel by reference.
    pub result: Value,
    /// What the handler emitted: recorded in this order, in the transaction that completes the job. At most
    /// [`EVENTS_MAX`](crate::event::EVENTS_MAX).
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "named::list_or_absent")]
    pub events: Vec<Event>,
    /// When the handler began, by the worker's clock.
    pub started_at: Timestamp,
    /// When the handler ended, by the worker's clock: for people, and no decision rests on it.
    pub finished_at: Timestamp,
}

origin!(Completed);

/// The attempt failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The job of the order that is answered.
    pub job_id: JobId,
    /// The number of the attempt in that order. A response to an attempt that is over is stale, and changes nothing.
    pub attempt: Attempt,
    /// The token of that order, which only its receiver knows: without it nothing can be said of the attempt.
    pub attempt_token: AttemptToken,
    /// This run of the attempt. An order that is delivered again gets another one.
    pub execution_id: ExecutionId,
    /// Whose run it is: the id that the worker announced itself by.
    pub worker_id: WorkerId,
    /// Which kind of failure.
    pub kind: ErrorKind,
    /// The handler's own stable code, such as `source_not_found`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// One sentence for people. At most [`Failed::MESSAGE_CHARACTERS_MAX`] characters are kept.
    pub message: String,
    /// The chain of causes, or anything else that helps; the same limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether the order had been delivered before, so that this execution has it and no earlier one. Absent: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redelivered: Option<bool>,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// How long to wait before it, in milliseconds, instead of the job's own back-off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// When the handler began, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the handler ended, by the worker's clock: for people, and no decision rests on it.
    pub finished_at: Timestamp,
}

impl Failed {
    /// How much of `message` and of `detail` is kept, in characters each.
    pub const MESSAGE_CHARACTERS_MAX: usize = 4_000;
}

origin!(Failed);

/// Why an attempt or a job failed: a closed set, the same in messages, API, logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The handler returned an error.
    Handler,
    /// The handler panicked.
    Panic,
    /// The attempt ran longer than the job allows.
    Timeout,
    /// The worker could not read the parameters as its type.
    InvalidParameters,
    /// The worker that held the attempt fell silent, or its order was gone again and again without an answer.
    WorkerLost,
    /// The order was delivered too often without an answer: it probably kills its worker.
    CrashLoop,
    /// The order could not be decoded, or the answer to it.
    Malformed,
    /// The job was cancelled while the attempt ran.
    Cancelled,
    /// The job was not started in time.
    Expired,
    /// A kind that this version does not know; treated as [`ErrorKind::Handler`].
    #[serde(other)]
    Unknown,
}

impl ErrorKind {
    /// The word used on the wire, in the API and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::InvalidParameters => "invalid_parameters",
            Self::WorkerLost => "worker_lost",
            Self::CrashLoop => "crash_loop",
            Self::Malformed => "malformed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }

    /// Whether another attempt may end otherwise. An order that does not fit its type, or that was called off, stays so
    /// however often it is tried, whatever the worker says of it.
    #[must_use]
    pub const fn permits_retry(self) -> bool {
        match self {
            Self::Handler
            | Self::Panic
            | Self::Timeout
            | Self::WorkerLost
            | Self::CrashLoop
            | Self::Unknown => true,
            Self::InvalidParameters | Self::Malformed | Self::Cancelled | Self::Expired => false,
        }
    }

    /// The kind of this word; `None` for any other word, [`ErrorKind::Unknown`]'s among them.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Handler,
            Self::Panic,
            Self::Timeout,
            Self::InvalidParameters,
            Self::WorkerLost,
            Self::CrashLoop,
            Self::Malformed,
            Self::Cancelled,
            Self::Expired,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == word)
    }
}
