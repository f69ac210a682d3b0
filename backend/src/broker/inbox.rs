//! Reading a queue in batches: decode, hand over, and acknowledge only what is on disk.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crewcall_amqp::{Consumer, ConsumerEvent, Delivery};
use crewcall_proto::{ContentType, DecodeError, decode};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    dispatch::ports::{JobStore, QUARANTINE_BODY_BYTES_MAX, QuarantinedMessage, StoreError},
    metrics::Metrics,
};

/// How many messages are taken together at most: one transaction.
const BATCH_MAX: usize = 256;

/// How long to wait before handing a batch over again that the store could not take. The deliveries stay
/// with us meanwhile: giving them back would only bring them again, at once and for ever.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// What a group of queues is read for.
pub(super) trait Inbox: Send + Sync {
    /// What a message says.
    type Message: Clone + Send + Sync;

    /// Reads one message.
    fn read(&self, delivery: &Delivery) -> Result<Self::Message, DecodeError>;

    /// Takes what was read. After `Ok` it is on disk, or needs not be.
    fn take(&self, messages: Vec<Self::Message>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The queues can be read again.
    fn restored(&self) -> impl Future<Output = ()> + Send;
}

/// Reads queues until its consumer ends.
pub(super) struct Reader<I> {
    /// What for.
    pub(super) inbox: I,
    /// The link's name in metrics.
    pub(super) link: &'static str,
    /// The link.
    pub(super) consumer: Consumer,
    /// Where unreadable messages are set aside.
    pub(super) store: Arc<dyn JobStore>,
    /// The time.
    pub(super) clock: Arc<dyn Clock>,
    /// What is counted.
    pub(super) metrics: Arc<Metrics>,
    /// When to stop.
    pub(super) stop: CancellationToken,
}

/// A message of a batch, with the delivery that brought it.
type Read<'a, M> = (M, &'a Delivery);

impl<I: Inbox> Reader<I> {
    pub(super) async fn run(self, mut events: mpsc::Receiver<ConsumerEvent>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while events.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let mut deliveries = Vec::with_capacity(batch.len());
            for event in batch.drain(..) {
                match event {
                    ConsumerEvent::Delivery(delivery) => deliveries.push(delivery),
                    ConsumerEvent::Up { .. } => self.up().await,
                    ConsumerEvent::Down { .. } => self.metrics.amqp_link(self.link, false),
                }
            }
            if !deliveries.is_empty() && self.process(deliveries).await.is_err() {
                return; // stopping: what is not recorded is delivered again to the next process
            }
        }
    }

    async fn up(&self) {
        self.metrics.amqp_link(self.link, true);
        if self.consumer.reconnects() > 0 {
            self.metrics.amqp_reconnected(self.link);
        }
        self.inbox.restored().await;
    }

    /// `Err` when the process stops.
    async fn process(&self, deliveries: Vec<Delivery>) -> Result<(), Stopping> {
        let mut readable = Vec::with_capacity(deliveries.len());
        let mut set_aside = Vec::new();
        for delivery in &deliveries {
            match self.inbox.read(delivery) {
                Ok(message) => readable.push((message, delivery)),
                Err(error) => set_aside.push(self.set_aside(delivery, error.code(), error.to_string())),
            }
        }
        set_aside.extend(self.take(&readable).await?);
        self.quarantine(set_aside).await?;
        #[cfg(feature = "failpoints")]
        fail::fail_point!("responses_recorded", self.link == "results", |_| std::process::abort());
        acknowledge(&deliveries).await;
        Ok(())
    }

    /// Hands messages over. Answers those that the store can never take, to be set aside.
    async fn take(&self, readable: &[Read<'_, I::Message>]) -> Result<Vec<QuarantinedMessage>, Stopping> {
        match self.take_together(readable).await {
            Ok(()) => return Ok(Vec::new()),
            Err(Refusal::Stopping) => return Err(Stopping),
            Err(Refusal::Broken(error)) => {
                tracing::error!(link = self.link, %error, messages = readable.len(), "Messages cannot be recorded together.");
            }
        }
        // One of them is the culprit: the others must not suffer.
        let mut set_aside = Vec::new();
        for single in readable.chunks(1) {
            match (self.take_together(single).await, single) {
                (Err(Refusal::Stopping), _) => return Err(Stopping),
                (Err(Refusal::Broken(error)), [(_, delivery)]) => {
                    set_aside.push(self.set_aside(delivery, "unrecordable", error.to_string()));
                }
                _ => {}
            }
        }
        Ok(set_aside)
    }

    async fn take_together(&self, readable: &[Read<'_, I::Message>]) -> Result<(), Refusal> {
        if readable.is_empty() {
            return Ok(());
        }
        loop {
            let messages = readable.iter().map(|(message, _)| message.clone()).collect();
            match self.inbox.take(messages).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Closed) => return Err(Refusal::Stopping),
                Err(error @ StoreError::Broken { .. }) => return Err(Refusal::Broken(error)),
                Err(error @ StoreError::Unavailable { .. }) => {
                    self.wait_for_store(&error).await.map_err(|Stopping| Refusal::Stopping)?;
                }
            }
        }
    }

    async fn quarantine(&self, messages: Vec<QuarantinedMessage>) -> Result<(), Stopping> {
        for message in &messages {
            self.metrics.message_malformed(&message.queue, &message.reason);
            tracing::warn!(
                queue = message.queue,
                routing_key = message.routing_key,
                reason = message.detail,
                bytes = message.body_bytes,
                "A message could not be read and is set aside."
            );
        }
        while !messages.is_empty() {
            match self.store.quarantine(messages.clone()).await {
                Ok(()) => break,
                Err(StoreError::Closed) => return Err(Stopping),
                Err(error @ StoreError::Unavailable { .. }) => self.wait_for_store(&error).await?,
                Err(error) => {
                    tracing::error!(%error, "Unreadable messages could not be kept; they are dropped.");
                    break;
                }
            }
        }
        Ok(())
    }

    async fn wait_for_store(&self, error: &StoreError) -> Result<(), Stopping> {
        tracing::warn!(link = self.link, %error, "Messages wait for the store.");
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopping),
            () = tokio::time::sleep(STORE_RETRY) => Ok(()),
        }
    }

    fn set_aside(&self, delivery: &Delivery, reason: &str, detail: String) -> QuarantinedMessage {
        let kept = delivery.body.len().min(QUARANTINE_BODY_BYTES_MAX);
        QuarantinedMessage {
            queue: delivery.queue.to_string(),
            routing_key: delivery.routing_key.clone(),
            reason: reason.to_owned(),
            detail,
            body: delivery.body[..kept].to_vec(),
            body_bytes: delivery.body.len(),
            at: self.clock.now(),
        }
    }
}

/// The process is shutting down.
struct Stopping;

/// Why a batch was not taken.
enum Refusal {
    Stopping,
    Broken(StoreError),
}

/// One multiple-acknowledgement for each queue of the batch: the deliveries of a queue come in order. A
/// session that is gone takes none: the broker delivers again, and the state machine finds it stale.
async fn acknowledge(deliveries: &[Delivery]) {
    let mut last = HashMap::new();
    for delivery in deliveries {
        last.insert((&delivery.queue, delivery.generation), delivery);
    }
    for delivery in last.into_values() {
        if let Err(error) = delivery.ack_up_to().await {
            tracing::debug!(queue = %delivery.queue, %error, "An acknowledgement came too late.");
        }
    }
}

/// Reads a message body by its content type.
pub(super) fn read_body<T: DeserializeOwned>(delivery: &Delivery) -> Result<T, DecodeError> {
    decode(content_type(delivery)?, &delivery.body)
}

/// How a message body is encoded; MessagePack, when it does not say.
pub(super) fn content_type(delivery: &Delivery) -> Result<ContentType, DecodeError> {
    delivery.properties.content_type.as_deref().map_or(Ok(ContentType::default()), str::parse)
}
