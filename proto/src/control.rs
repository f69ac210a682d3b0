//! What the backend tells workers, each on a queue of its own.
//!
//! Published to `<prefix>.control` with the routing key `worker.<id>`, `type.<job type>` or `all`.

use serde::{Deserialize, Serialize};

use crate::{Attempt, AttemptId, JobId, JobType, named};

/// A word of [`Control::Welcome`]'s features: the backend records [`Completed::events`](crate::response::Completed::events),
/// and reads [`Emitted`](crate::event::Emitted).
pub const FEATURE_EVENTS: &str = "events";

/// One instruction. Told apart by the field `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Control {
    /// The announcement was taken and the queues of these types exist: consume from them.
    Welcome {
        /// The types whose queues are ready.
        types: Vec<JobType>,
        /// What was not taken, and why: a type that is not served, or, of one that is among `types`, its schema.
        #[serde(default, deserialize_with = "named::list", skip_serializing_if = "Vec::is_empty")]
        refused: Vec<RefusedType>,
        /// Attempts of these types that are not wanted any more, and whose orders may still be queued: as if each were
        /// [revoked](Control::Revoke).
        #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "named::list")]
        revoked: Vec<AttemptId>,
        /// What this backend can do that an earlier one could not, such as [`FEATURE_EVENTS`]. The last welcome counts, and a
        /// word that the worker does not know says nothing.
        #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "named::or_absent")]
        features: Vec<String>,
    },
    /// The announcement was not taken, or not as it was sent.
    Refused {
        /// What is wrong with it, in one sentence.
        reason: String,
    },
    /// Stop running this attempt, and say how it ended.
    Cancel {
        /// The job whose attempt is meant.
        job_id: JobId,
        /// Which of its attempts; a worker that has another one ignores the message.
        attempt: Attempt,
    },
    /// Do not start this attempt when its order arrives: acknowledge and forget it.
    Revoke {
        /// The job whose attempt is meant.
        job_id: JobId,
        /// Which of its attempts; a worker that has another one ignores the message.
        attempt: Attempt,
    },
    /// These attempts, which the worker asked about, are wanted: run them.
    Proceed {
        /// The attempts; those that do not wait here are ignored.
        #[serde(deserialize_with = "named::list")]
        orders: Vec<AttemptId>,
    },
    /// Finish what runs, take no more.
    Drain,
    /// Take orders again.
    Resume,
    /// Announce yourself again: the backend does not know you (any more).
    Announce,
    /// A kind that this version does not know; ignored and counted.
    #[serde(other)]
    Unknown,
}

/// A type that was announced and not taken, or not as it was announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedType {
    /// The type, as it was announced.
    pub job_type: JobType,
    /// What is wrong with it, in one sentence.
    pub reason: String,
}
