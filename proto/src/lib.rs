//! The wire contract between the backend and its workers.
//!
//! Everything that travels through RabbitMQ is defined here and nowhere else: the messages, how they
//! are encoded, and what the exchanges and queues are called. The crate does no I/O and knows no
//! broker client, so that a worker, the backend and a test can all speak from one page. The same
//! contract in words, for workers in other languages, is `proto/README.md`.
//!
//! Reading order: [`job_type`] and [`ids`] (the validated words), [`order`] → [`response`] (the life
//! of one attempt) with [`event`] (what its handler emits), [`discovery`] and [`control`] (who is there, and what they
//! are told), [`codec`] (bytes), [`bundle`] (several in one), [`numbers`] (which of them arrive), [`topology`] (names).

#![deny(missing_docs)]

pub mod job_type;

pub mod ids;

pub mod time;

pub mod order;

pub mod response;

pub mod event;

pub mod discovery;

pub mod control;

pub mod message;

pub mod codec;

pub mod bundle;

pub mod numbers;

mod named;

mod origin;

mod salvage;

pub mod topology;

mod trace_parent;

pub use codec::{ContentType, DecodeError, EncodeError, decode, encode};
pub use ids::{Attempt, AttemptId, AttemptToken, ExecutionId, InvalidId, JobId, RunId, WorkerId};
pub use job_type::{InvalidJobType, JobType};
pub use message::MessageKind;
pub use order::Order;
pub use time::Timestamp;
pub use topology::Topology;
pub use trace_parent::{InvalidTraceParent, TRACEPARENT, TraceParent};

/// The version of this contract, sent in every [`Order`]. It grows only when an old worker could no
/// longer do its work; a new optional field or a new message kind does not change it.
pub const PROTOCOL_VERSION: u16 = 1;

/// A JSON object: the shape of parameters, results and schemas.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;
