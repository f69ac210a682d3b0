//! Orders that come in bundles, and answers that go in bundles, as a [`RawWorker`] takes and sends them by hand.

use anyhow::ensure;
use crewcall_amqp::{ConsumerEvent, Delivery, MessageProperties, OutboundMessage};
use crewcall_proto::{
    ContentType, ExecutionId, JobType, JsonObject, MessageKind, Order, Timestamp,
    bundle::{self, is_bundle_of},
    decode,
    discovery::{Heartbeat, WorkerStatus},
};
use tokio::sync::mpsc;

use crate::raw_worker::{RawWorker, next_delivery};

/// How many messages are delivered before the first is acknowledged.
const PREFETCH: u16 = 100;

/// The queue of a type, as its worker sees it.
pub struct Arrivals {
    /// Ends the consumer when dropped.
    events: mpsc::Receiver<ConsumerEvent>,
}

/// A message of a type's queue.
pub struct Arrival {
    /// Its orders; one, unless it is a bundle.
    pub orders: Vec<Order>,
    /// Whether it calls itself a bundle.
    pub is_bundle: bool,
    /// How it came: to be acknowledged, or not.
    pub delivery: Delivery,
}

impl Arrivals {
    /// The next message, whatever it is.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn next_delivery(&mut self) -> anyhow::Result<Delivery> {
        next_delivery(&mut self.events).await
    }

    /// The next message, which has to be an order or a bundle of them.
    ///
    /// # Errors
    ///
    /// When none comes, or another message.
    pub async fn next(&mut self) -> anyhow::Result<Arrival> {
        let delivery = self.next_delivery().await?;
        let message_type = delivery.properties.message_type.as_deref().unwrap_or_default();
        let content_type = delivery.properties.content_type.as_deref().unwrap_or_default().parse()?;
        let is_bundle = is_bundle_of(MessageKind::Order, message_type);
        let bodies = if is_bundle {
            bundle::split(content_type, &delivery.body)?
        } else {
            ensure!(message_type == MessageKind::Order.as_str(), "a message of type {message_type:?}");
            vec![delivery.body.as_ref()]
        };
        let orders = bodies.into_iter().map(|body| decode(content_type, body)).collect::<Result<_, _>>()?;
        Ok(Arrival { orders, is_bundle, delivery })
    }
}

impl RawWorker {
    /// Announces itself as a worker of one type, of which several orders may come in one message.
    ///
    /// # Errors
    ///
    /// When the broker does not take it.
    pub async fn announce_bundles(
        &self,
        job_type: &JobType,
        content_type: ContentType,
    ) -> anyhow::Result<()> {
        let mut announcement = self.announcement(&[(job_type.as_str(), JsonObject::new())])?;
        announcement.content_type = content_type;
        announcement.types.iter_mut().for_each(|announced| announced.bundles = true);
        self.discover(MessageKind::Announce, &announcement).await
    }

    /// Says that it is alive.
    ///
    /// # Errors
    ///
    /// When the broker does not take it.
    pub async fn say_alive(&self) -> anyhow::Result<()> {
        let heartbeat = Heartbeat {
            worker_id: self.worker_id.clone(),
            status: WorkerStatus::Idle,
            slots_busy: 0,
            orders: Vec::new(),
            at: Timestamp::from_millis(0),
        };
        self.discover(MessageKind::Heartbeat, &heartbeat).await
    }

    /// Takes everything that comes for a type.
    #[must_use]
    pub fn arrivals(&self, job_type: &JobType) -> Arrivals {
        Arrivals { events: self.consume(self.names.jobs_queue(job_type), PREFETCH) }
    }

    /// Publishes a body that calls itself a bundle of messages of this kind, to where those go.
    ///
    /// # Errors
    ///
    /// When the broker does not take it.
    pub async fn send_bundle(
        &self,
        kind: MessageKind,
        job_type: &JobType,
        content_type: ContentType,
        body: Vec<u8>,
    ) -> anyhow::Result<()> {
        let (exchange, routing_key) = match kind {
            MessageKind::Order => (self.names.submit_exchange(), job_type.to_string()),
            _ => (self.names.response_exchange(), self.names.response_key(kind, job_type)),
        };
        let properties = MessageProperties {
            message_id: Some(ExecutionId::generate().to_string()),
            message_type: bundle::word(kind).map(str::to_owned),
            content_type: Some(content_type.as_str().to_owned()),
            persistent: true,
            ..MessageProperties::default()
        };
        self.publish(OutboundMessage {
            exchange,
            routing_key,
            body: body.into(),
            properties,
            mandatory: true,
        })
        .await
    }
}
