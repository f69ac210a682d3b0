//! Write a worker: a typed function, a few lines around it, tested without a broker.
//!
//! ```no_run
//! use crewcall_worker::prelude::*;
//!
//! /// Resize one image.
//! #[derive(Deserialize, JsonSchema)]
//! struct Resize { source: PathBuf, #[schemars(range(min = 1, max = 8192))] width: u32 }
//! #[derive(Serialize, JsonSchema)]
//! struct Resized { bytes: u64 }
//!
//! async fn resize(job: JobContext, parameters: Resize) -> Result<Resized, JobError> {
//!     let data = tokio::fs::read(&parameters.source).await?;      // `?`: retryable; `.or_fail()?`: permanent
//!     for step in 1..=10 {
//!         job.check_cancelled()?;
//!         job.progress(step * 10, format!("slice {step}/10"));    // coalesced, last wins
//!     }
//!     Ok(Resized { bytes: data.len() as u64 })
//! }
//!
//! #[tokio::main]
//! async fn main() -> anyhow::Result<()> {
//!     Worker::from_env()?.job("image.resize", resize).slots(8).run().await
//! }
//! ```
//!
//! `Cargo.toml` needs `crewcall-worker`, `tokio` (features `macros` and `rt-multi-thread`), and `serde` (feature
//! `derive`) and `schemars`, whose derive macros name their crates; `anyhow` is a convenience for `main`.
//!
//! # What the worker takes care of
//!
//! * It announces its job types with their JSON schemas, so that bad parameters are refused before they get here.
//! * An attempt that runs for more than a minute is *held*: the worker acknowledges its order and keeps the
//!   attempt by its heartbeats, so that it outlives reconnections and the broker's acknowledgement timeout.
//!   While it runs, the worker asks the broker for fewer orders.
//! * What a handler emits ([`JobContext::emit`]) is recorded with its result, exactly once: events for other programs, and for
//!   jobs that follow. What others should know at once, it sends under an id ([`JobContext::emit_now`]).
//! * An order's time limit stops the handler, and so does a cancellation. Whether a job expired before it was
//!   started is not decided here: the worker does not look at `expires_at`, because its clock is not the backend's.
//! * It reports progress, and the result before it acknowledges the order: a crash loses no job. The price is that
//!   an attempt **may run twice**; make side effects repeatable, with [`JobContext::id`] as the key.
//! * Its loop and its links run on a thread of their own, handlers on the program's runtime, each in a tracing span with
//!   `job.id`, `job.type`, `attempt` and, if its submitter sent one, the trace's `trace.id`
//!   ([`JobContext::traceparent`]). A handler that computes for long or makes blocking calls holds up the other
//!   handlers: do that in `tokio::task::spawn_blocking`. The worker's heartbeats go on, and its log says what blocks.
//! * A panic fails the attempt, and the process goes on. A broken link is opened again, however often.
//! * SIGTERM and Ctrl-C drain: what runs may finish, nothing new begins. A second signal hands back at once.
//! * Short jobs that wait in numbers come several in one message, and are answered so, if every worker of their type allows it
//!   ([`JobOptions::bundles`]).
//! * With `CREWCALL_WORKER_LISTEN=127.0.0.1:9464` it serves `/metrics`, `/livez` and `/readyz` there, also while handlers
//!   block their runtime, whose delay is among the metrics.
//! * Built with the feature `otlp`, it sends a span of every attempt, with its progress, to the sink of OpenTelemetry that
//!   `OTEL_EXPORTER_OTLP_ENDPOINT` names. It is part of the trace of the job's submission.
//! * Every worker understands `--describe`, `--check` and `--run-once TYPE PARAMETERS`.
//!
//! # Reading order
//!
//! [`Worker`] and [`JobOptions`], [`JobContext`], [`JobError`], [`testing`] are what a user sees. Behind them, in
//! the order in which an order meets them: `session` (the link to the broker), `worker_loop` (the loop that decides),
//! `prefetch_control`, `door` and `in_flight_orders` (what may be here, what is) with `waiting_orders` and `order_delivery`
//! (what the broker has to be told of an order, or of the bundle that it came in), `attempt` and `execution` (one
//! attempt, step by step), `hold`, `progress`, `emitter` and `event_publisher`, `announce`, `answers` and `response_publisher`. Beside them, `metrics` counts
//! and `endpoints` shows it, and `traces` tells how each attempt went.

#![deny(missing_docs)]

mod worker;

mod worker_error;

mod checked_worker;

mod options;

mod settings;

mod schema;

mod handler;

mod context;

mod event;

mod emit_error;

mod emitter;

mod stop_cause;

mod error;

pub mod testing;

pub mod limits;

mod validation;

mod command_line;

mod log_filter;

mod check;

mod shutdown;

mod own_thread;

mod worker_loop;

mod handler_runtime;

mod health;

mod metrics;

mod traces;

mod endpoints;

mod session;

mod prefetch_control;

mod door;

mod rest;

mod in_flight_orders;

mod waiting_orders;

mod pace;

mod order_delivery;

mod order_key;

mod attempt;

mod hold;

mod execution;

mod panics;

mod progress;

mod announce;

mod answers;

mod response_publisher;

mod event_publisher;

mod fifo_cache;

mod clock;

mod mutant;

#[doc(hidden)]
pub mod failpoints;

pub use context::JobContext;
pub use crewcall_proto::{JobId, JobType, Timestamp, TraceParent, response::ErrorKind};
pub use emit_error::EmitError;
pub use error::{JobError, OrFail};
pub use event::{Event, IdentifiedEvent};
pub use handler::Handler;
pub use options::{FailureStrategy, JobOptions};
pub use settings::{Settings, SettingsError};
pub use stop_cause::StopCause;
pub use tokio_util::sync::CancellationToken;
pub use worker::Worker;
pub use worker_error::WorkerError;

/// What a worker's source file needs: `use crewcall_worker::prelude::*;`.
pub mod prelude {
    pub use std::path::PathBuf;

    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};

    pub use crate::{Event, FailureStrategy, JobContext, JobError, JobOptions, OrFail, Worker};
}
