//! Which spans the backend tells a sink of traces of, if there is one: of a request, of the time that an attempt's order
//! waits, and of the recording of what a worker answers. The attempt itself is the worker's.
//!
//! The spans of a job belong to the trace of the request that submitted it: its `traceparent` names the span of that
//! request. That of a recording is a part of the attempt's, which the response names.

mod queue_times;

mod recording;

mod request;

use crewcall_traces::{Program, Traces};

pub(crate) use queue_times::QueueTimes;
pub(crate) use recording::{RECORD, Recording};
pub(crate) use request::{answered, request};

/// Where spans go, as the environment says.
pub(crate) fn open() -> Traces {
    let program = Program {
        name: "crewcall-backend".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: None,
    };
    Traces::from_lookup(&program, |variable| std::env::var(variable).ok())
}
