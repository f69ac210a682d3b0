//! The span of the time that an attempt's order waits: from its dispatch to when a worker begins with it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crewcall_proto::{Attempt, JobId, Timestamp, Topology, TraceParent};
use crewcall_traces::{
    Opening, SpanKind, Traces,
    names::{Message, destination, message},
};

use crate::{
    domain::State,
    engine::{
        Observer,
        ports::{Dispatch, JobChanged},
    },
};

/// What is done to an order meanwhile.
const QUEUE: &str = "queue";

/// How many attempts may wait at once for their spans to end. More wait only with over a hundred types at work; then
/// those that wait are forgotten, and get none.
const WAITING_MAX: usize = 200_000;

/// Sees attempts dispatched and begun. After a restart it knows nothing of those that were dispatched before.
pub(crate) struct QueueTimes {
    traces: Traces,
    exchange: String,
    waiting: Mutex<HashMap<JobId, Waiting>>,
}

/// An attempt whose order is with the broker.
struct Waiting {
    attempt: Attempt,
    since: SystemTime,
    traceparent: TraceParent,
}

impl QueueTimes {
    /// One that is told of every change; `None` if nobody wants spans.
    pub(crate) fn observer(traces: &Traces, names: &Topology) -> Option<Arc<dyn Observer>> {
        traces.is_on().then(|| {
            let waiting = Mutex::default();
            Arc::new(Self { traces: traces.clone(), exchange: names.submit_exchange(), waiting }) as _
        })
    }

    fn dispatched(&self, waiting: &mut HashMap<JobId, Waiting>, dispatch: &Dispatch) {
        let attempt = dispatch.job.status.attempt;
        let traceparent = dispatch.job.traceparent.clone().filter(TraceParent::is_sampled);
        let (Some(traceparent), Some(since)) = (traceparent, self.traces.now()) else { return };
        // One that is sent again has been waiting since it was sent first.
        if waiting.get(&dispatch.job.id).is_some_and(|waiting| waiting.attempt == attempt) {
            return;
        }
        if waiting.len() >= WAITING_MAX {
            waiting.clear();
        }
        waiting.insert(dispatch.job.id, Waiting { attempt, since, traceparent });
    }

    fn waited(&self, waited: &Waiting, change: &JobChanged) {
        // A short attempt reports its start together with its end. One that was given up before it began has none.
        let started_at = match (&change.ended, &change.is) {
            (Some(ended), _) => ended.started_at,
            (None, Some(status)) if status.state == State::Running => status.started_at,
            (None, _) => None,
        };
        let Some(started_at) = started_at else { return };
        let Waiting { attempt, since, traceparent } = waited;
        let JobChanged { job_id, job_type, .. } = change;
        let span = self.traces.begin(|| {
            let order = Message {
                operation: QUEUE,
                destination: destination([&self.exchange, job_type.as_str()]),
                routing_key: job_type.to_string(),
                id: format!("{job_id}.{attempt}"),
            };
            Opening {
                name: format!("{QUEUE} {job_type}"),
                kind: SpanKind::Internal,
                parent: Some(traceparent),
                began: Some(*since),
                attributes: message(order, *job_id, job_type.as_str(), *attempt),
            }
        });
        // The worker's clock may be behind ours.
        span.end_at(time(started_at).max(*since));
    }
}

impl Observer for QueueTimes {
    fn after_commit(&self, changes: &[JobChanged]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let waits = change.ended.is_none()
                && change.is.as_ref().is_some_and(|status| status.state == State::Dispatched);
            if !waits && let Some(waited) = waiting.remove(&change.job_id) {
                self.waited(&waited, change);
            }
            if let Some(dispatch) = &change.dispatch {
                self.dispatched(&mut waiting, dispatch);
            }
        }
    }
}

fn time(timestamp: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(timestamp.as_millis()).unwrap_or(0))
}
