//! How workers make themselves known: announcement, heartbeat, goodbye.
//!
//! Published to `<prefix>.discovery` with the routing keys `announce`, `heartbeat` and `goodbye`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Attempt, AttemptId, ContentType, JobId, JobType, JsonObject, Timestamp, WorkerId, named};

/// How often a worker sends a [`Heartbeat`].
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// A worker that was silent for this long is lost. Three heartbeats: one may be late and one may be
/// dropped before anybody is declared dead.
pub const WORKER_LOST_AFTER: Duration = Duration::from_secs(15);

/// A worker says who it is and what it can do: when it starts, when it reconnects, and when asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// Who speaks: one id for a process, the same over its reconnections.
    pub worker_id: WorkerId,
    /// The program's name, such as `crewcall-workers`.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// What it was built with.
    #[serde(deserialize_with = "named::one")]
    pub sdk: Sdk,
    /// The machine it runs on.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// How many attempts it runs at once.
    pub slots: u32,
    /// The encoding in which it wants to be spoken to.
    pub content_type: ContentType,
    /// What it serves. At most [`Announcement::TYPES_MAX`].
    #[serde(deserialize_with = "named::list")]
    pub types: Vec<AnnouncedType>,
    /// When the process started.
    pub started_at: Timestamp,
}

impl Announcement {
    /// How many types one worker may serve.
    pub const TYPES_MAX: usize = 256;
    /// The most slots one worker may have.
    pub const SLOTS_MAX: u32 = 1_000;
    /// How many characters are kept of the name, the host and each version: they stand in lists.
    pub const TEXT_CHARACTERS_MAX: usize = 200;
}

/// The library that a worker was built with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sdk {
    /// Such as `rust` or `python`.
    pub language: String,
    /// The version of the library, such as `0.3.1`; for people.
    pub version: String,
}

/// One job type that a worker serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnnouncedType {
    /// The name that submissions and queues use.
    pub job_type: JobType,
    /// One sentence for people. At most [`AnnouncedType::DESCRIPTION_CHARACTERS_MAX`].
    #[serde(default, deserialize_with = "named::or_absent")]
    pub description: String,
    /// The version of the handler.
    #[serde(default, deserialize_with = "named::or_absent")]
    pub version: String,
    /// JSON Schema (draft 2020-12) of the parameters; the backend refuses jobs that do not fit it. `{}` takes anything.
    /// At most [`AnnouncedType::SCHEMA_BYTES_MAX`].
    #[serde(default, deserialize_with = "named::or_absent")]
    pub parameters_schema: JsonObject,
    /// JSON Schema of the result, for readers. At most [`AnnouncedType::SCHEMA_BYTES_MAX`].
    #[serde(default, deserialize_with = "named::or_absent")]
    pub result_schema: JsonObject,
    /// Whether orders of the type may come several in one message ([`crate::bundle`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "named::or_absent")]
    pub bundles: bool,
    /// What events its handler may emit. At most [`AnnouncedType::SUBJECTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "named::list_or_absent")]
    pub emits: Vec<EmittedSubject>,
}

impl AnnouncedType {
    /// How many characters of the description are kept.
    pub const DESCRIPTION_CHARACTERS_MAX: usize = 1_000;
    /// How large each schema may be, in bytes of its JSON text.
    pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
    /// How many subjects its events may have.
    pub const SUBJECTS_MAX: usize = 64;
}

/// A subject of the events that a type's handler may emit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmittedSubject {
    /// The subject: a text that [`check_subject`](crate::event::check_subject) takes.
    pub subject: String,
    /// One sentence for people. At most [`AnnouncedType::DESCRIPTION_CHARACTERS_MAX`].
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "named::or_absent")]
    pub description: String,
    /// JSON Schema (draft 2020-12) of the data; the backend refuses events whose data do not fit it. `{}` takes anything.
    /// At most [`AnnouncedType::SCHEMA_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "JsonObject::is_empty", deserialize_with = "named::or_absent")]
    pub schema: JsonObject,
}

/// A worker is alive, and what it is doing. Sent every [`HEARTBEAT_INTERVAL`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who speaks: one id for a process, the same over its reconnections.
    pub worker_id: WorkerId,
    /// What it is about.
    pub status: WorkerStatus,
    /// How many of its slots are taken.
    pub slots_busy: u32,
    /// Each attempt it is running.
    #[serde(deserialize_with = "named::list")]
    pub orders: Vec<RunningOrder>,
    /// When, by the worker's clock.
    pub at: Timestamp,
}

/// What a worker is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerStatus {
    /// Nothing to do.
    Idle,
    /// It runs something, and may take more.
    Busy,
    /// Finishing what runs, taking no more.
    Draining,
    /// A status that this version does not know.
    #[serde(other)]
    Unknown,
}

/// One attempt that a worker is running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningOrder {
    /// The job of an order that is here.
    pub job_id: JobId,
    /// The number of the attempt in that order.
    pub attempt: Attempt,
    /// Whether its order was acknowledged already, so that only this heartbeat keeps the lease.
    #[serde(default, deserialize_with = "named::or_absent")]
    pub held: bool,
    /// Whether the worker asks if the attempt is still wanted: its order came back, and waits here for the answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks: bool,
}

/// A worker leaves for good. What it still held is listed, for others to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// Who speaks: one id for a process, the same over its reconnections.
    pub worker_id: WorkerId,
    /// Why, for people: `drained`, `terminated`, …
    pub reason: String,
    /// Which of the attempts that it holds it hands back; `None` for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "named::optional_list")]
    pub handed_back: Option<Vec<AttemptId>>,
}
