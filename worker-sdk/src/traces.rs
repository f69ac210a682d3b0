//! The span of an attempt, for a sink of traces, if there is one: from when its handler begins to when it ends, with the
//! progress that was reported.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crewcall_proto::{Order, Topology, TraceParent, WorkerId};
use crewcall_traces::{
    Opening, Program, Span, SpanKind, Traces,
    names::{MESSAGING_OPERATION_TYPE, Message, PROCESS, WORKER_ID, destination, message},
};

use crate::{checked_worker::CheckedWorker, execution::Ending};

/// Where spans go, as the environment says.
pub(crate) fn open(worker: &CheckedWorker) -> Traces {
    let program = Program {
        name: worker.name.clone(),
        version: worker.version.clone(),
        instance: Some(worker.settings.worker_id.to_string()),
    };
    Traces::from_lookup(&program, |variable| std::env::var(variable).ok())
}

/// The span of an attempt.
pub(crate) struct AttemptSpan(Mutex<Span>);

impl AttemptSpan {
    /// One that begins, as a part of what the order belongs to.
    pub(crate) fn begin(
        traces: &Traces,
        names: &Topology,
        worker_id: &WorkerId,
        order: &Order,
        parent: Option<&TraceParent>,
    ) -> Self {
        let span = traces.begin(|| {
            let job_type = &order.job_type;
            let received = Message {
                operation: PROCESS,
                destination: destination([
                    &names.submit_exchange(),
                    job_type.as_str(),
                    &names.jobs_queue(job_type),
                ]),
                routing_key: job_type.to_string(),
                id: format!("{}.{}", order.job_id, order.attempt),
            };
            let mut attributes = message(received, order.job_id, job_type.as_str(), order.attempt);
            attributes.push((MESSAGING_OPERATION_TYPE, PROCESS.into()));
            attributes.push((WORKER_ID, worker_id.to_string().into()));
            Opening {
                name: format!("{PROCESS} {job_type}"),
                kind: SpanKind::Consumer,
                parent,
                began: None,
                attributes,
            }
        });
        Self(Mutex::new(span))
    }

    /// What the handler and the responses name as their parent; `None` if nobody wants it.
    pub(crate) fn traceparent(&self) -> Option<TraceParent> {
        self.span().traceparent()
    }

    /// The backend is told how far the attempt is.
    pub(crate) fn progressed(&self, percent: u8, message: &str) {
        self.span().event("progress", || {
            vec![
                ("progress.percent", u32::from(percent).into()),
                ("progress.message", message.to_owned().into()),
            ]
        });
    }

    /// The handler ended.
    pub(crate) fn ended(&self, ending: &Ending) {
        let mut span = std::mem::take(&mut *self.span());
        if let Err(failure) = ending {
            span.fail(failure.kind.as_str(), &failure.message);
        }
    }

    fn span(&self) -> MutexGuard<'_, Span> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
