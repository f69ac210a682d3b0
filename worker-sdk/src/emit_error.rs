//! Why an event was not emitted.

use crewcall_proto::JobType;

use crate::{
    limits::{EVENTS_BYTES_MAX, EVENTS_MAX},
    stop_cause::StopCause,
};

/// The code of an attempt that failed because of what it emitted, here or in the backend.
pub(crate) const EVENT_REFUSED: &str = "event_refused";

/// Why an event was not emitted, and what to do about it.
///
/// `?` makes it a permanent [`JobError`](crate::JobError) with the code `event_refused`; [`EmitError::Stopped`] ends the
/// attempt as [`JobContext::check_cancelled`](crate::JobContext::check_cancelled) does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The type was announced without this subject.
    #[error(
        "the type {job_type} does not declare the subject {subject:?}: serve it with JobOptions::new().emits::<Data>({subject:?})"
    )]
    Undeclared {
        /// The type of the job.
        job_type: JobType,
        /// The subject of the event.
        subject: String,
    },
    /// The id of an event is not one.
    #[error(
        "{id:?} is not the id of an event: use 1 to 255 visible ASCII characters without spaces, such as \"github:a1b2\""
    )]
    InvalidId {
        /// As it was given.
        id: String,
    },
    /// JSON cannot hold the data.
    #[error("the data of an event about {subject} have no form in JSON: {reason}")]
    Unencodable {
        /// The subject of the event.
        subject: String,
        /// What the serialiser said.
        reason: String,
    },
    /// The data are null.
    #[error(
        "the data of an event about {subject} are null: say what happened, or {{}} if there is nothing to say"
    )]
    NoData {
        /// The subject of the event.
        subject: String,
    },
    /// The data nest too deep.
    #[error("the data of an event about {subject} nest deeper than {levels_max} levels: flatten them")]
    TooDeep {
        /// The subject of the event.
        subject: String,
        /// How many levels they may have.
        levels_max: usize,
    },
    /// In a test or with `--run-once`: the data do not fit the schema that the subject was declared with. In a worker it is
    /// the backend that refuses them.
    #[error("the data of an event about {subject} do not fit their schema: {problems}")]
    Unfit {
        /// The subject of the event.
        subject: String,
        /// Each with its place in the data.
        problems: String,
    },
    /// The attempt has emitted as much as it may.
    #[error("an attempt emits at most {EVENTS_MAX} events: say more in each of them")]
    TooMany,
    /// The data of the attempt's events are too large together.
    #[error(
        "the data of the events of the attempt would be {bytes} bytes of JSON and at most {EVENTS_BYTES_MAX} are sent: \
         write large data to a file or a store and say where they are"
    )]
    TooLarge {
        /// How large they would be with this event.
        bytes: usize,
    },
    /// The backend does not know that workers can emit.
    #[error("the backend is older than events of workers, and would not record this one: update it")]
    BackendTooOld,
    /// The event cannot be sent, however often it is tried.
    #[error("the event cannot be sent: {reason}")]
    Unsendable {
        /// What the link said.
        reason: String,
    },
    /// The attempt was stopped before it was known whether the event arrived.
    #[error("{}", .0.sentence())]
    Stopped(StopCause),
    /// The attempt is over.
    #[error(
        "the attempt is over, and nothing is emitted any more: wait for what emits before the handler returns"
    )]
    Ended,
}
