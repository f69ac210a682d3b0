//! The backend's queues: what is read from each, and who gets it.
//!
//! Three links, so that none can hold up another: results (which matter), progressions (which may flood),
//! and discovery.

use std::sync::Arc;

use crewcall_amqp::{Consumer, Delivery, LinkConfig, Subscription};
use crewcall_proto::{
    ContentType, DecodeError, MessageKind, Order, TRACEPARENT, Topology, WorkerId,
    numbers::{ARRIVE, ChangedNumber, changed_numbers},
    response::{Completed, ErrorKind, Failed, Origin, Progression},
};
use crewcall_traces::{
    Traces,
    names::{Message, destination},
};
use serde::Deserialize;
use tokio::sync::watch;

use super::{
    inbox::{Inbox, Part, Reader},
    topology,
};
use crate::{
    clock::Clock,
    domain::excerpt,
    engine::{
        Engine,
        discovery::Discovered,
        ports::{BrokerStatus, LoopbackProbe, StoreError},
        responses::{DeathReason, EVENT_REFUSED, Response},
        tasks::Tasks,
    },
    metrics::Metrics,
    traces::{self, Recording},
};

/// The code of a result with a number that would be kept as another one.
pub(crate) const RESULT_NOT_EXACT: &str = "result_not_exact";

/// Unacknowledged messages per queue: a few batches, so that the next is here while one commits.
const PREFETCH: u16 = 256;

/// Everything that reading needs.
pub struct Inbound {
    pub amqp_url: String,
    /// What things are called there.
    pub topology: Topology,
    /// Whose they are.
    pub installation: String,
    /// Who takes what is read.
    pub engine: Arc<Engine>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Where the spans of what is recorded go.
    pub traces: Traces,
    /// Where links and readers run.
    pub tasks: Tasks,
}

impl Inbound {
    /// Reads every queue of the backend, from the moment on when the publishing link has declared them. Were
    /// all links to declare the same new queues at once, RabbitMQ 3.10 would answer some with an internal error.
    pub async fn run(self, mut broker: watch::Receiver<BrokerStatus>) {
        tokio::select! {
            () = self.tasks.stop().cancelled() => {}
            up = broker.wait_for(|status| *status == BrokerStatus::Up) => {
                if up.is_ok() {
                    self.start();
                }
            }
        }
    }

    fn start(&self) {
        let names = &self.topology;
        let results = vec![
            names.response_queue(MessageKind::Completed),
            names.response_queue(MessageKind::Error),
            names.response_queue(MessageKind::Held),
            names.response_queue(MessageKind::Emitted),
            names.unroutable(),
            names.dead(),
        ];
        let progressions = vec![names.response_queue(MessageKind::Progression)];
        let discovery = vec![names.discovery_queue()];
        self.read(
            ("results", "the reader of results"),
            results,
            Results {
                engine: Arc::clone(&self.engine),
                topology: names.clone(),
                traces: self.traces.clone(),
            },
        );
        self.read(
            ("progressions", "the reader of progressions"),
            progressions,
            Progressions { engine: Arc::clone(&self.engine) },
        );
        self.read(
            ("discovery", "the reader of discovery"),
            discovery,
            DiscoveryInbox { engine: Arc::clone(&self.engine) },
        );
    }

    fn read<I: Inbox + 'static>(
        &self,
        (link, part): (&'static str, &'static str),
        queues: Vec<String>,
        inbox: I,
    ) {
        let subscriptions = queues
            .into_iter()
            .map(|queue| Subscription {
                tag: format!("crewcall-backend.{queue}"),
                queue,
                prefetch: PREFETCH,
                exclusive: false, // a connection of ours that is dead may linger, and must not keep us out
            })
            .collect();
        let (consumer, events) = Consumer::start(
            LinkConfig::new(self.amqp_url.clone(), format!("crewcall-backend {link}")),
            topology::declarations(&self.topology, &self.installation),
            subscriptions,
            self.tasks.stop(),
            self.tasks.tracker(),
        );
        let reader = Reader {
            inbox,
            link,
            consumer,
            engine: Arc::clone(&self.engine),
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
            stop: self.tasks.stop().clone(),
        };
        self.tasks.part(part, reader.run(events));
    }
}

/// Completed, error, held, emitted, unroutable and dead.
struct Results {
    engine: Arc<Engine>,
    topology: Topology,
    traces: Traces,
}

/// A response, and the span of its recording.
type Received = (Response, Option<Recording>);

impl Results {
    fn response(&self, part: &Part<'_>) -> Result<Response, DecodeError> {
        let queue: &str = &part.delivery.queue;
        if queue == self.topology.response_queue(MessageKind::Completed) {
            completed(part)
        } else if queue == self.topology.response_queue(MessageKind::Error) {
            part.read().map(Response::Failed)
        } else if queue == self.topology.response_queue(MessageKind::Emitted) {
            emitted(part)
        } else if queue == self.topology.response_queue(MessageKind::Held) {
            read_held(part)
        } else if queue == self.topology.dead() {
            let order: Order = part.read()?;
            let content_type = part.content_type()?;
            Ok(Response::DeadLettered { order, reason: death_reason(part), content_type })
        } else {
            part.read().map(Response::Unroutable)
        }
    }

    /// What a sink of traces is told of the recording of a response, if it is part of a trace.
    fn recording(&self, response: &Response, delivery: &Delivery) -> Option<Recording> {
        let began = self.traces.now()?;
        let traceparent = delivery.properties.header_text(TRACEPARENT)?.parse().ok()?;
        let message = Message {
            operation: traces::RECORD,
            destination: destination([
                &self.topology.response_exchange(),
                &delivery.routing_key,
                &delivery.queue,
            ]),
            routing_key: delivery.routing_key.clone(),
            id: delivery.properties.message_id.clone().unwrap_or_default(),
        };
        Recording::of(response, traceparent, began, message)
    }
}

impl Inbox for Results {
    type Message = Received;

    fn bundled(&self, queue: &str) -> Option<MessageKind> {
        [MessageKind::Completed, MessageKind::Error]
            .into_iter()
            .find(|kind| queue == self.topology.response_queue(*kind))
            .or_else(|| {
                let brings_orders = queue == self.topology.dead() || queue == self.topology.unroutable();
                brings_orders.then_some(MessageKind::Order)
            })
    }

    fn read(&self, part: &Part<'_>) -> Result<Received, DecodeError> {
        let response = self.response(part)?;
        let recording = self.recording(&response, part.delivery);
        Ok((response, recording))
    }

    /// An answer that cannot be read still ends its attempt: no other will come.
    fn salvage(&self, part: &Part<'_>, error: &DecodeError) -> Option<Received> {
        let is_answer = [MessageKind::Completed, MessageKind::Error]
            .into_iter()
            .any(|kind| *part.delivery.queue == *self.topology.response_queue(kind));
        let origin = Origin::salvage(part.body).filter(|_| is_answer)?;
        Some((Response::Unreadable { origin, reason: error.to_string() }, None))
    }

    async fn take(&self, messages: Vec<Received>) -> Result<(), StoreError> {
        let (responses, recordings): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
        self.engine.respond(responses).await?;
        recordings.into_iter().flatten().for_each(|recording| recording.end(&self.traces));
        Ok(())
    }

    async fn restored(&self) {}
}

/// A result; or a failure in its place, if a number of it or of its events would be kept as another one.
fn completed(part: &Part<'_>) -> Result<Response, DecodeError> {
    let completed: Completed = part.read()?;
    let in_result = changed_number(part, "/result")?.map(|message| (RESULT_NOT_EXACT, message));
    let in_events = match &in_result {
        None if !completed.events.is_empty() => changed_number(part, "/events")?,
        _ => None,
    };
    let Some((code, message)) = in_result.or(in_events.map(|message| (EVENT_REFUSED, message))) else {
        return Ok(Response::Completed(completed));
    };
    let Completed {
        job_id, attempt, attempt_token, execution_id, worker_id, started_at, finished_at, ..
    } = completed;
    Ok(Response::Failed(Failed {
        job_id,
        attempt,
        attempt_token,
        execution_id,
        worker_id,
        kind: ErrorKind::Handler,
        code: Some(code.to_owned()),
        message,
        detail: None,
        redelivered: Some(true), // as for any result, it does not matter who was the first
        retryable: false,
        retry_after_ms: None,
        started_at: Some(started_at),
        finished_at,
    }))
}

/// An event that is published while an attempt runs, without a number that would be kept as another one.
fn emitted(part: &Part<'_>) -> Result<Response, DecodeError> {
    let emitted = part.read()?;
    changed_number(part, "/data")?
        .map_or(Ok(Response::Emitted(emitted)), |message| Err(DecodeError::Malformed(message)))
}

/// What is said of the first number below the pointer `within` that would be kept as another one.
fn changed_number(part: &Part<'_>, within: &str) -> Result<Option<String>, DecodeError> {
    if part.content_type()? != ContentType::Json {
        return Ok(None);
    }
    let changed = changed_numbers(part.body, within, 1).pop();
    Ok(changed.map(|ChangedNumber { pointer, number }| {
        format!("the number {} at {} cannot be kept as it is: {ARRIVE}", excerpt(&number), excerpt(&pointer))
    }))
}

/// The routing key says what it is, as everywhere on the exchange of responses.
fn read_held(part: &Part<'_>) -> Result<Response, DecodeError> {
    match part.delivery.routing_key.split_once('.').map(|(head, _)| head) {
        Some("started") => part.read().map(Response::Progression),
        Some(head) if MessageKind::from_word(head) == Some(MessageKind::HandedBack) => {
            part.read().map(Response::HandedBack)
        }
        _ => part.read().map(Response::Held),
    }
}

/// Whatever became of a bundle says nothing of one order in it: each is sent again, alone.
fn death_reason(part: &Part<'_>) -> DeathReason {
    match part.delivery.properties.first_death() {
        Some(death) if part.is_bundled => DeathReason::Other(format!("its bundle: {}", death.reason)),
        Some(death) if death.reason == "delivery_limit" => {
            DeathReason::DeliveryLimit { returns_max: topology::DELIVERY_LIMIT }
        }
        Some(death) if death.reason == "rejected" => DeathReason::Rejected,
        Some(death) => DeathReason::Other(death.reason),
        None => DeathReason::Other("it came without a reason".to_owned()),
    }
}

/// Progressions.
struct Progressions {
    engine: Arc<Engine>,
}

impl Inbox for Progressions {
    type Message = Progression;

    fn read(&self, part: &Part<'_>) -> Result<Progression, DecodeError> {
        part.read()
    }

    async fn take(&self, messages: Vec<Progression>) -> Result<(), StoreError> {
        self.engine.respond(messages.into_iter().map(Response::Progression).collect()).await
    }

    async fn restored(&self) {}
}

/// What is read of an announcement that cannot be read.
#[derive(Deserialize)]
struct Sender {
    worker_id: WorkerId,
}

/// Announcements, heartbeats and goodbyes.
struct DiscoveryInbox {
    engine: Arc<Engine>,
}

impl Inbox for DiscoveryInbox {
    type Message = Discovered;

    fn read(&self, part: &Part<'_>) -> Result<Discovered, DecodeError> {
        let delivery = part.delivery;
        if delivery.routing_key == topology::PROBE_KEY {
            return probe(delivery).map(Discovered::Probe);
        }
        match MessageKind::from_word(&delivery.routing_key) {
            Some(MessageKind::Announce) => {
                part.read().map(Discovered::Announced).inspect_err(|error| {
                    // Quarantined like any other, but its sender can be told.
                    if let (Ok(Sender { worker_id }), Ok(content_type)) = (part.read(), part.content_type()) {
                        self.engine.announcement_unreadable(worker_id, content_type, error.to_string());
                    }
                })
            }
            Some(MessageKind::Heartbeat) => part.read().map(Discovered::Heartbeat),
            Some(MessageKind::Goodbye) => part.read().map(Discovered::Goodbye),
            Some(
                MessageKind::Order
                | MessageKind::Progression
                | MessageKind::Held
                | MessageKind::HandedBack
                | MessageKind::Completed
                | MessageKind::Error
                | MessageKind::Emitted
                | MessageKind::Control,
            )
            | None => Err(DecodeError::Malformed(format!(
                "{:?} is no routing key of discovery; use announce, heartbeat or goodbye",
                delivery.routing_key
            ))),
        }
    }

    async fn take(&self, messages: Vec<Discovered>) -> Result<(), StoreError> {
        self.engine.discover(messages).await
    }

    async fn restored(&self) {
        self.engine.discovery_restored().await;
    }
}

/// A probe is all in its message id.
pub(super) fn probe_id(LoopbackProbe { backend, number }: LoopbackProbe) -> String {
    format!("{backend}.{number}")
}

fn probe(delivery: &Delivery) -> Result<LoopbackProbe, DecodeError> {
    let id = delivery.properties.message_id.as_deref().unwrap_or_default();
    let read = id.split_once('.').and_then(|(backend, number)| {
        Some(LoopbackProbe { backend: backend.parse().ok()?, number: number.parse().ok()? })
    });
    read.ok_or_else(|| DecodeError::Malformed(format!("{id:?} is no id of a probe")))
}
