//! Somebody on the broker who speaks the protocol by hand: a worker that misbehaves as a test needs it, or
//! no worker at all.

use anyhow::{Context, bail};
use crewcall_amqp::{
    Consumer, ConsumerEvent, Declaration, Delivery, LinkConfig, MessageProperties, OutboundMessage,
    Published, Publisher, PublisherOptions, Subscription,
};
use crewcall_proto::{
    ContentType, ExecutionId, JobType, JsonObject, MessageKind, Order, Timestamp, Topology, WorkerId,
    control::Control,
    decode,
    discovery::{AnnouncedType, Announcement, Heartbeat, RunningOrder, Sdk, WorkerStatus},
    encode,
    response::{Completed, Held, Progression, ProgressionKind},
};
use serde::Serialize;
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::process::PATIENCE;

/// A connection to the broker, and a name.
pub struct RawWorker {
    /// What it calls itself.
    pub worker_id: WorkerId,
    pub(crate) names: Topology,
    link: LinkConfig,
    publisher: Publisher,
    stop: CancellationToken,
    tracker: TaskTracker,
}

/// An order that a raw worker took.
pub struct Taken {
    /// The order.
    pub order: Order,
    /// How it came: to be acknowledged, or not.
    pub delivery: Delivery,
    /// The execution that the raw worker pretends.
    pub execution_id: ExecutionId,
    /// Ends the consumer when dropped.
    _events: mpsc::Receiver<ConsumerEvent>,
}

/// A worker's queue for instructions, of one session.
pub struct ControlQueue {
    events: mpsc::Receiver<ConsumerEvent>,
    consumer: Consumer,
}

impl ControlQueue {
    /// The next thing that the worker is told.
    ///
    /// # Errors
    ///
    /// When nothing comes.
    pub async fn receive(&mut self) -> anyhow::Result<Control> {
        let delivery = async {
            loop {
                match self.events.recv().await.context("the consumer ended")? {
                    ConsumerEvent::Delivery(delivery) => return anyhow::Ok(delivery),
                    ConsumerEvent::Up { .. } | ConsumerEvent::Down { .. } => {}
                }
            }
        };
        let delivery = timeout(PATIENCE, delivery).await.context("the worker was told nothing")??;
        delivery.ack().await?;
        let content_type = delivery.properties.content_type.as_deref().unwrap_or_default().parse()?;
        Ok(decode(content_type, &delivery.body)?)
    }

    /// Ends the session.
    pub async fn close(self) {
        self.consumer.close().await;
    }
}

impl RawWorker {
    /// Listens to what it is told, on a queue of a new session.
    ///
    /// # Errors
    ///
    /// When the broker does not let it.
    pub async fn listen(&self, job_type: &JobType, session: &str) -> anyhow::Result<ControlQueue> {
        let queue = self.names.control_queue(&self.worker_id, session);
        let binding = |routing_key: String| Declaration::Binding {
            queue: queue.clone(),
            exchange: self.names.control_exchange(),
            routing_key,
        };
        let declarations = vec![
            Declaration::ExclusiveQueue { name: queue.clone() },
            binding(self.names.control_key_worker(&self.worker_id)),
            binding(self.names.control_key_type(job_type)),
        ];
        let subscription =
            Subscription { queue: queue.clone(), prefetch: 10, tag: "control".to_owned(), exclusive: true };
        let (consumer, mut events) =
            Consumer::start(self.link.clone(), declarations, vec![subscription], &self.stop, &self.tracker);
        loop {
            match timeout(PATIENCE, events.recv())
                .await
                .context("no session")?
                .context("the consumer ended")?
            {
                ConsumerEvent::Up { .. } => return Ok(ControlQueue { events, consumer }),
                ConsumerEvent::Delivery(_) | ConsumerEvent::Down { .. } => {}
            }
        }
    }

    /// Connects to the broker at `url`.
    #[must_use]
    pub fn start(url: &str) -> Self {
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let link = LinkConfig::new(url, "raw_worker");
        let publisher =
            Publisher::start(link.clone(), Vec::new(), PublisherOptions::default(), &stop, &tracker);
        Self { worker_id: WorkerId::generate(), names: Topology::default(), link, publisher, stop, tracker }
    }

    /// Publishes bytes that call themselves `content_type`; somebody has to take them.
    ///
    /// # Errors
    ///
    /// When the broker does not.
    pub async fn send(
        &self,
        exchange: &str,
        routing_key: &str,
        body: Vec<u8>,
        content_type: &str,
    ) -> anyhow::Result<()> {
        let properties = MessageProperties {
            content_type: Some(content_type.to_owned()),
            persistent: true,
            ..MessageProperties::default()
        };
        let (exchange, routing_key) = (exchange.to_owned(), routing_key.to_owned());
        self.publish(OutboundMessage {
            exchange,
            routing_key,
            body: body.into(),
            properties,
            mandatory: true,
        })
        .await
    }

    /// Publishes any message; when it is mandatory, somebody has to take it.
    ///
    /// # Errors
    ///
    /// When the broker does not.
    pub async fn publish(&self, message: OutboundMessage) -> anyhow::Result<()> {
        match self.publisher.publish(message).await? {
            Published::Confirmed => Ok(()),
            Published::Returned { text, .. } => bail!("no queue takes it: {text}"),
        }
    }

    /// How many messages wait in a queue; none, when there is no such queue.
    ///
    /// # Errors
    ///
    /// When the broker does not say.
    pub async fn waiting_in(&self, queue: &str) -> anyhow::Result<u32> {
        Ok(self.publisher.queue_depth(queue).await?.map_or(0, |depth| depth.messages))
    }

    /// How many messages wait in a queue; `None`, when there is no such queue.
    ///
    /// # Errors
    ///
    /// When the broker does not say.
    pub async fn depth_of(&self, queue: &str) -> anyhow::Result<Option<u32>> {
        Ok(self.publisher.queue_depth(queue).await?.map(|depth| depth.messages))
    }

    /// Publishes a response.
    ///
    /// # Errors
    ///
    /// When the broker does not take it.
    pub async fn respond(
        &self,
        kind: MessageKind,
        job_type: &JobType,
        response: &impl Serialize,
    ) -> anyhow::Result<()> {
        let body = encode(ContentType::Json, response)?;
        let key = self.names.response_key(kind, job_type);
        self.send(&self.names.response_exchange(), &key, body, ContentType::Json.as_str()).await
    }

    /// Announces itself as a worker of one type with one slot.
    ///
    /// # Errors
    ///
    /// When the broker does not take it.
    pub async fn announce(&self, job_type: &JobType) -> anyhow::Result<()> {
        let announcement = self.announcement(&[(job_type.as_str(), JsonObject::new())])?;
        self.discover(MessageKind::Announce, &announcement).await
    }

    /// What a worker of these types, each with the schema of its parameters, with one slot says of itself.
    ///
    /// # Errors
    ///
    /// When a type has no valid name.
    pub fn announcement(&self, types: &[(&str, JsonObject)]) -> anyhow::Result<Announcement> {
        let announced = |(name, schema): &(&str, JsonObject)| {
            Ok(AnnouncedType {
                job_type: JobType::new(name)?,
                description: String::new(),
                version: String::new(),
                parameters_schema: schema.clone(),
                result_schema: JsonObject::new(),
                bundles: false,
                emits: Vec::new(),
            })
        };
        Ok(Announcement {
            worker_id: self.worker_id.clone(),
            name: "raw_worker".to_owned(),
            version: "1".to_owned(),
            sdk: Sdk { language: "none".to_owned(), version: "1".to_owned() },
            host: "nowhere".to_owned(),
            pid: 1,
            slots: 1,
            content_type: ContentType::Json,
            types: types.iter().map(announced).collect::<anyhow::Result<_>>()?,
            started_at: Timestamp::from_millis(0),
        })
    }

    /// Says that it is alive and runs `taken`.
    ///
    /// # Errors
    ///
    /// When the broker does not take it.
    pub async fn heartbeat(&self, taken: &Taken, held: bool) -> anyhow::Result<()> {
        let running =
            RunningOrder { job_id: taken.order.job_id, attempt: taken.order.attempt, held, asks: false };
        let heartbeat = Heartbeat {
            worker_id: self.worker_id.clone(),
            status: WorkerStatus::Busy,
            slots_busy: 1,
            orders: vec![running],
            at: Timestamp::from_millis(0),
        };
        self.discover(MessageKind::Heartbeat, &heartbeat).await
    }

    /// Takes one order of the type, and does not acknowledge it.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn take(&self, job_type: &JobType) -> anyhow::Result<Taken> {
        let mut events = self.consume(self.names.jobs_queue(job_type), 1);
        let delivery = next_delivery(&mut events).await?;
        let content_type = delivery.properties.content_type.as_deref().unwrap_or_default().parse()?;
        let order = decode(content_type, &delivery.body)?;
        Ok(Taken { order, delivery, execution_id: ExecutionId::generate(), _events: events })
    }

    /// Gives back every order of the type that comes, until so many came.
    ///
    /// # Errors
    ///
    /// When none comes any more.
    pub async fn give_back(&self, job_type: &JobType, times: usize) -> anyhow::Result<()> {
        let mut events = self.consume(self.names.jobs_queue(job_type), 1);
        for _ in 0..times {
            next_delivery(&mut events).await?.nack(true).await?;
        }
        Ok(())
    }

    /// Looks at a response that nobody took yet. It goes back to its queue.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn look_at_response(&self, kind: MessageKind) -> anyhow::Result<Delivery> {
        next_delivery(&mut self.consume(self.names.response_queue(kind), 1)).await
    }

    /// Takes so many messages at a time, until the receiver is dropped.
    pub(crate) fn consume(&self, queue: String, prefetch: u16) -> mpsc::Receiver<ConsumerEvent> {
        let subscription = Subscription { queue, prefetch, tag: "raw_worker".to_owned(), exclusive: false };
        let (_consumer, events) =
            Consumer::start(self.link.clone(), Vec::new(), vec![subscription], &self.stop, &self.tracker);
        events
    }

    /// Reports the start of an attempt.
    ///
    /// # Errors
    ///
    /// When the broker does not take it.
    pub async fn report_start(&self, taken: &Taken) -> anyhow::Result<()> {
        let started = Progression {
            job_id: taken.order.job_id,
            attempt: taken.order.attempt,
            attempt_token: taken.order.attempt_token,
            execution_id: taken.execution_id,
            worker_id: self.worker_id.clone(),
            seq: 1,
            kind: ProgressionKind::Started,
            percent: None,
            message: None,
            at: Timestamp::from_millis(0),
        };
        self.respond(MessageKind::Progression, &taken.order.job_type, &started).await
    }

    /// Reports how far an attempt is.
    ///
    /// # Errors
    ///
    /// When the broker does not take it.
    pub async fn report_progress(&self, taken: &Taken, seq: u64, percent: u8) -> anyhow::Result<()> {
        let progress = Progression {
            job_id: taken.order.job_id,
            attempt: taken.order.attempt,
            attempt_token: taken.order.attempt_token,
            execution_id: taken.execution_id,
            worker_id: self.worker_id.clone(),
            seq,
            kind: ProgressionKind::Progress,
            percent: Some(percent),
            message: Some(format!("{percent} of 100")),
            at: Timestamp::from_millis(0),
        };
        self.respond(MessageKind::Progression, &taken.order.job_type, &progress).await
    }

    /// Holds an attempt, and acknowledges its order.
    ///
    /// # Errors
    ///
    /// When the broker does not take it.
    pub async fn hold(&self, taken: &Taken) -> anyhow::Result<()> {
        let held = Held {
            job_id: taken.order.job_id,
            attempt: taken.order.attempt,
            attempt_token: taken.order.attempt_token,
            execution_id: taken.execution_id,
            worker_id: self.worker_id.clone(),
            seq: 2,
            at: Timestamp::from_millis(0),
        };
        self.respond(MessageKind::Held, &taken.order.job_type, &held).await?;
        Ok(taken.delivery.ack().await?)
    }

    /// Says that an attempt is done.
    ///
    /// # Errors
    ///
    /// When the broker does not take it.
    pub async fn complete(&self, taken: &Taken, result: Value) -> anyhow::Result<()> {
        let completed = Completed {
            job_id: taken.order.job_id,
            attempt: taken.order.attempt,
            attempt_token: taken.order.attempt_token,
            execution_id: taken.execution_id,
            worker_id: self.worker_id.clone(),
            result,
            events: Vec::new(),
            started_at: Timestamp::from_millis(0),
            finished_at: Timestamp::from_millis(1),
        };
        self.respond(MessageKind::Completed, &taken.order.job_type, &completed).await
    }

    /// Goes away without a word to the backend.
    pub async fn vanish(self) {
        self.publisher.close().await;
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Publishes what a worker says of itself.
    ///
    /// # Errors
    ///
    /// When the broker does not take it.
    pub async fn discover(&self, kind: MessageKind, message: &impl Serialize) -> anyhow::Result<()> {
        let body = encode(ContentType::Json, message)?;
        self.send(&self.names.discovery_exchange(), kind.as_str(), body, ContentType::Json.as_str()).await
    }
}

/// The next delivery.
pub(crate) async fn next_delivery(events: &mut mpsc::Receiver<ConsumerEvent>) -> anyhow::Result<Delivery> {
    let delivery = async {
        loop {
            match events.recv().await.context("the consumer ended")? {
                ConsumerEvent::Delivery(delivery) => return Ok(delivery),
                ConsumerEvent::Up { .. } | ConsumerEvent::Down { .. } => {}
            }
        }
    };
    timeout(PATIENCE, delivery).await.context("no order came")?
}
