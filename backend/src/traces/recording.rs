//! The span of the recording of a response.

use std::time::SystemTime;

use crewcall_proto::{Attempt, JobId, TraceParent};
use crewcall_traces::{
    Opening, SpanKind, Traces,
    names::{MESSAGING_OPERATION_TYPE, Message, PROCESS, message},
};

use crate::engine::responses::Response;

/// What is done to a response.
pub(crate) const RECORD: &str = "record";

/// A response that is being recorded: from when it was read to when it is on disk.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    /// The attempt's span.
    attempt_span: TraceParent,
    began: SystemTime,
    message: Message,
    job_id: JobId,
    attempt: Attempt,
}

impl Recording {
    /// `None` for what does not end an attempt.
    pub(crate) fn of(
        response: &Response,
        attempt_span: TraceParent,
        began: SystemTime,
        message: Message,
    ) -> Option<Self> {
        let (job_id, attempt) = match response {
            Response::Completed(completed) => (completed.job_id, completed.attempt),
            Response::Failed(failed) => (failed.job_id, failed.attempt),
            Response::HandedBack(handed_back) => (handed_back.job_id, handed_back.attempt),
            Response::Progression(_)
            | Response::Emitted(_)
            | Response::Held(_)
            | Response::Unreadable { .. }
            | Response::Unroutable(_)
            | Response::DeadLettered { .. } => return None,
        };
        Some(Self { attempt_span, began, message, job_id, attempt })
    }

    /// The response is on disk.
    pub(crate) fn end(self, traces: &Traces) {
        let Self { attempt_span, began, message: recorded, job_id, attempt } = self;
        drop(traces.begin(|| {
            // `<kind>.<job type>`
            let (_, job_type) = recorded.routing_key.split_once('.').unwrap_or_default();
            let job_type = job_type.to_owned();
            let name = format!("{RECORD} {job_type}");
            let mut attributes = message(recorded, job_id, &job_type, attempt);
            attributes.push((MESSAGING_OPERATION_TYPE, PROCESS.into()));
            let kind = SpanKind::Consumer;
            Opening { name, kind, parent: Some(&attempt_span), began: Some(began), attributes }
        }));
    }
}
