//! Events of a running attempt on their way to the backend.

use std::sync::Arc;

use crewcall_amqp::{OutboundMessage, PublishError};
use crewcall_proto::{
    JobType, MessageKind, TraceParent,
    discovery::EmittedSubject,
    event::{Emitted, Event},
    response::Origin,
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};
use serde_json::Value;
use tokio::{runtime::Handle, sync::watch};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::{
    emit_error::EmitError,
    emitter::EventSink,
    metrics::WorkerMetrics,
    response_publisher::{JobReference, ResponsePublisher},
    stop_cause::StopCause,
};

/// Publishes what handlers emit while they run.
pub(crate) struct EventPublisher {
    responses: Arc<ResponsePublisher>,
    /// Whether the backend takes events, as its last welcome said.
    pub(crate) taken: watch::Sender<bool>,
    metrics: Arc<WorkerMetrics>,
    tasks: TaskTracker,
    /// The worker's own, whose clock goes on while handlers block theirs.
    runtime: Handle,
}

/// Takes what the handler of one attempt emits.
pub(crate) struct AttemptEvents {
    pub(crate) publisher: Arc<EventPublisher>,
    pub(crate) origin: Origin,
    pub(crate) job_type: JobType,
    pub(crate) traceparent: Option<TraceParent>,
}

impl EventSink for AttemptEvents {
    fn check(&self, _subject: &EmittedSubject, _data: &Value) -> Result<(), EmitError> {
        if *self.publisher.taken.borrow() { Ok(()) } else { Err(EmitError::BackendTooOld) }
    }

    fn send(&self, id: String, event: Event) -> BoxFuture<'static, Result<(), EmitError>> {
        let message = match self.message(id, event) {
            Ok(message) => message,
            Err(error) => return ready(Err(error)).boxed(),
        };
        let EventPublisher { tasks, runtime, .. } = &*self.publisher;
        let delivery = Arc::clone(&self.publisher).deliver(message, self.job_type.clone());
        let delivery = AbortOnDropHandle::new(tasks.spawn_on(delivery, runtime));
        // It breaks off only with the runtime of the worker.
        delivery.map(|sent| sent.unwrap_or(Err(EmitError::Stopped(StopCause::HandedBack)))).boxed()
    }
}

impl AttemptEvents {
    fn message(&self, id: String, event: Event) -> Result<OutboundMessage, EmitError> {
        let emitted = Emitted {
            job_id: self.origin.job_id,
            attempt: self.origin.attempt,
            attempt_token: self.origin.attempt_token,
            execution_id: self.origin.execution_id,
            worker_id: self.origin.worker_id.clone(),
            id,
            subject: event.subject,
            data: event.data,
            occurred_at: event.occurred_at,
        };
        let reference = JobReference {
            job_id: self.origin.job_id,
            job_type: &self.job_type,
            traceparent: self.traceparent.as_ref(),
        };
        self.publisher
            .responses
            .response(MessageKind::Emitted, &reference, &emitted)
            .map_err(|error| EmitError::Unsendable { reason: error.to_string() })
    }
}

impl EventPublisher {
    /// One that publishes on the runtime of whoever asks. Until a welcome says otherwise, the backend takes no events.
    pub(crate) fn start(
        responses: &Arc<ResponsePublisher>,
        metrics: &Arc<WorkerMetrics>,
        tasks: &TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            responses: Arc::clone(responses),
            taken: watch::Sender::new(false),
            metrics: Arc::clone(metrics),
            tasks: tasks.clone(),
            runtime: Handle::current(),
        })
    }

    /// Publishes an event until it is confirmed, or a backend has taken over that does not listen to events.
    async fn deliver(self: Arc<Self>, message: OutboundMessage, job_type: JobType) -> Result<(), EmitError> {
        let mut taken = self.taken.subscribe();
        tokio::select! {
            delivered = self.responses.deliver(&message) => match delivered {
                Ok(()) => {
                    self.metrics.events_emitted(&job_type, 1);
                    Ok(())
                }
                Err(PublishError::Stopped) => Err(EmitError::Stopped(StopCause::HandedBack)),
                Err(error) => Err(EmitError::Unsendable { reason: error.to_string() }),
            },
            true = async { taken.wait_for(|taken| !taken).await.is_ok() } => Err(EmitError::BackendTooOld),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use crewcall_proto::{
        Attempt, AttemptToken, ContentType, ExecutionId, JobId, JsonObject, Order, Timestamp, codec,
    };
    use futures_util::poll;
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        IdentifiedEvent, JobContext, Settings, checked_worker::CheckedWorker, emitter::Emitter,
        progress::ProgressBoard, testing::Setup,
    };

    /// What takes the events of an attempt, with a backend that takes them or not, and without a broker.
    fn events(taken: bool, stop: &CancellationToken) -> AttemptEvents {
        let responses = ResponsePublisher::without_broker(ContentType::Json, stop);
        let worker = CheckedWorker {
            settings: Settings::from_lookup(|_| None).unwrap(),
            name: "test".to_owned(),
            version: String::new(),
            slots: 1,
            types: Vec::new(),
            unavailable: Vec::new(),
        };
        let origin = Origin {
            job_id: JobId::generate(),
            attempt: Attempt::FIRST,
            attempt_token: AttemptToken::generate(),
            execution_id: ExecutionId::generate(),
            worker_id: responses.worker_id.clone(),
        };
        let metrics = Arc::new(WorkerMetrics::new(&worker));
        let publisher = EventPublisher::start(&Arc::new(responses), &metrics, &TaskTracker::new());
        publisher.taken.send_replace(taken);
        AttemptEvents { publisher, origin, job_type: JobType::new("test").unwrap(), traceparent: None }
    }

    fn event() -> Event {
        Event {
            subject: "order.paid".to_owned(),
            data: json!({"order": 17}),
            occurred_at: Some(Timestamp::from_millis(7)),
        }
    }

    fn declared() -> EmittedSubject {
        let (subject, description) = ("order.paid".to_owned(), String::new());
        EmittedSubject { subject, description, schema: JsonObject::new() }
    }

    /// The attempt whose handler emits these.
    fn job(events: AttemptEvents) -> JobContext {
        let Origin { job_id, attempt, attempt_token, .. } = events.origin;
        let order = Order { job_id, attempt, attempt_token, ..Setup::new().order(&events.job_type) };
        let emitter = Emitter::new(order.job_type.clone(), vec![declared()].into(), Box::new(events));
        JobContext::new(&order, None, ProgressBoard::new(None).0, emitter)
    }

    fn identified() -> IdentifiedEvent {
        crate::Event::new("order.paid", 1).id("shop:17")
    }

    #[tokio::test]
    async fn an_event_is_a_message_that_must_arrive() {
        let events = events(true, &CancellationToken::new());
        let message = events.message("shop:17".to_owned(), event()).unwrap();
        assert_eq!((&*message.exchange, &*message.routing_key), ("crewcall.response", "emitted.test"));
        assert!(
            message.mandatory && message.properties.persistent && message.properties.message_id.is_some()
        );
        assert_eq!(message.properties.message_type.as_deref(), Some("emitted"));
        let emitted: Emitted = codec::decode(ContentType::Json, &message.body).unwrap();
        assert_eq!(emitted.origin(), events.origin);
        assert_eq!((emitted.id.as_str(), emitted.subject.as_str()), ("shop:17", "order.paid"));
        assert_eq!((emitted.data, emitted.occurred_at), (event().data, event().occurred_at));
    }

    #[tokio::test]
    async fn a_backend_that_is_too_old_gets_no_event() {
        let events = events(false, &CancellationToken::new());
        let publisher = Arc::clone(&events.publisher);
        let job = job(events);
        assert_eq!(job.emit("order.paid", 1), Err(EmitError::BackendTooOld));
        assert_eq!(job.emit_now(identified()).await, Err(EmitError::BackendTooOld));
        publisher.taken.send_replace(true);
        assert_eq!(job.emit("order.paid", 1), Ok(()));
    }

    #[tokio::test]
    async fn an_event_waits_for_the_broker_until_an_older_backend_takes_over() {
        let events = events(true, &CancellationToken::new());
        let mut sent = events.send("shop:17".to_owned(), event());
        assert!(poll!(&mut sent).is_pending());
        events.publisher.taken.send_replace(false);
        assert_eq!(sent.await, Err(EmitError::BackendTooOld));
    }

    #[tokio::test]
    async fn an_event_waits_for_the_broker_until_the_attempt_is_stopped() {
        let job = job(events(true, &CancellationToken::new()));
        let mut sent = pin!(job.emit_now(identified()));
        assert!(poll!(&mut sent).is_pending());
        job.stop(StopCause::TimedOut);
        assert_eq!(sent.await, Err(EmitError::Stopped(StopCause::TimedOut)));
    }

    #[tokio::test]
    async fn an_event_waits_for_the_broker_until_the_worker_ends() {
        let stop = CancellationToken::new();
        let mut sent = events(true, &stop).send("shop:17".to_owned(), event());
        assert!(poll!(&mut sent).is_pending());
        stop.cancel();
        assert_eq!(sent.await, Err(EmitError::Stopped(StopCause::HandedBack)));
    }
}
