//! Reading a queue in batches: decode, pass on, and acknowledge only what is on disk.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crewcall_amqp::{Consumer, ConsumerEvent, Delivery};
use crewcall_proto::{ContentType, DecodeError, MessageKind, bundle, decode};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::strike;
use crate::{
    clock::Clock,
    engine::{
        Engine,
        ports::{QUARANTINE_BODY_BYTES_MAX, QuarantinedMessage, StoreError},
    },
    failpoints::Failpoint,
    metrics::Metrics,
    mutant::{die_at, mutant},
};

/// How many deliveries are read together at most.
const BATCH_MAX: usize = 256;

/// How many bytes they have together, but for one that has more: what is read of them takes some twenty times as much, and a
/// fleet that is asked to announce itself sends all its schemas at once.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How many messages are taken together at most: one transaction. A batch may have bundles of them.
const TAKEN_MAX: usize = 512;

/// How long to wait before handing a batch over again that the store could not take. The deliveries stay
/// with us meanwhile: giving them back would only bring them again, at once and for ever.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// What a group of queues is read for.
pub(super) trait Inbox: Send + Sync {
    /// What a message says.
    type Message: Clone + Send + Sync;

    /// The kind of messages that may come in bundles through this queue, if any may.
    fn bundled(&self, _queue: &str) -> Option<MessageKind> {
        None
    }

    /// Reads one message.
    fn read(&self, part: &Part<'_>) -> Result<Self::Message, DecodeError>;

    /// What a message that cannot be read means all the same. It is quarantined as well, so that people can look at it.
    fn salvage(&self, _part: &Part<'_>, _error: &DecodeError) -> Option<Self::Message> {
        None
    }

    /// Takes what was read. After `Ok` it is on disk, or needs not be.
    fn take(&self, messages: Vec<Self::Message>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The queues can be read again.
    fn restored(&self) -> impl Future<Output = ()> + Send;
}

/// One message of a delivery: all of it, or one of its bundle.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) delivery: &'a Delivery,
    pub(super) body: &'a [u8],
    /// Whether it came in a bundle.
    pub(super) is_bundled: bool,
}

impl<'a> Part<'a> {
    fn whole(delivery: &'a Delivery) -> Self {
        Self { delivery, body: &delivery.body, is_bundled: false }
    }

    /// Reads the body by the delivery's content type.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        decode(self.content_type()?, self.body)
    }

    /// How the body is encoded; MessagePack, when the delivery does not say.
    pub(super) fn content_type(&self) -> Result<ContentType, DecodeError> {
        let content_type = self.delivery.properties.content_type.as_deref();
        content_type.map_or(Ok(ContentType::default()), str::parse)
    }
}

/// Reads queues until its consumer ends.
pub(super) struct Reader<I> {
    pub(super) inbox: I,
    /// The link's name in metrics.
    pub(super) link: &'static str,
    pub(super) consumer: Consumer,
    /// Who quarantines unreadable messages.
    pub(super) engine: Arc<Engine>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
}

/// A message of a batch, with what brought it.
type Read<'a, M> = (M, Part<'a>);

impl<I: Inbox> Reader<I> {
    /// # Errors
    ///
    /// [`StoreError`] when the store does not let it go on. What was not recorded is not acknowledged: it is delivered
    /// again to the next process.
    pub(super) async fn run(self, mut events: mpsc::Receiver<ConsumerEvent>) -> Result<(), StoreError> {
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
            if deliveries.is_empty() {
                continue;
            }
            for together in by_bytes(&deliveries, |delivery| delivery.body.len()) {
                match self.process(together).await {
                    Ok(()) => {}
                    Err(End::Stopping) => return Ok(()),
                    Err(End::Store(error)) => return Err(error),
                }
            }
        }
        Ok(())
    }

    async fn up(&self) {
        self.metrics.amqp_link(self.link, true);
        if self.consumer.reconnects() > 0 {
            self.metrics.amqp_reconnected(self.link);
        }
        self.inbox.restored().await;
    }

    /// Acknowledges the deliveries when all of them are on disk, and none of them otherwise.
    async fn process(&self, deliveries: &[Delivery]) -> Result<(), End> {
        if mutant("ack_early") {
            acknowledge(deliveries).await;
        }
        let mut readable = Vec::with_capacity(deliveries.len());
        let mut unreadable = Vec::new();
        for delivery in deliveries {
            let parts = match self.parts(delivery) {
                Ok(parts) => parts,
                Err(error) => {
                    unreadable.push(self.quarantined(
                        &Part::whole(delivery),
                        error.code(),
                        error.to_string(),
                    ));
                    continue;
                }
            };
            for part in parts {
                match self.inbox.read(&part) {
                    Ok(message) => readable.push((message, part)),
                    Err(error) => {
                        readable.extend(self.inbox.salvage(&part, &error).map(|message| (message, part)));
                        unreadable.push(self.quarantined(&part, error.code(), error.to_string()));
                    }
                }
            }
        }
        for together in readable.chunks(TAKEN_MAX) {
            unreadable.extend(self.take(together).await?);
        }
        self.quarantine(unreadable).await?;
        if self.link == "results" {
            die_at(Failpoint::ResponsesRecorded);
        }
        acknowledge(deliveries).await;
        Ok(())
    }

    /// The messages of a delivery.
    fn parts<'a>(&self, delivery: &'a Delivery) -> Result<Vec<Part<'a>>, DecodeError> {
        let whole = Part::whole(delivery);
        let message_type = delivery.properties.message_type.as_deref().unwrap_or_default();
        match self.inbox.bundled(&delivery.queue) {
            Some(kind) if bundle::is_bundle_of(kind, message_type) => {
                let mut bodies = bundle::split(whole.content_type()?, &delivery.body)?;
                if mutant("bundle_cut_short") {
                    bodies.truncate(1);
                }
                Ok(bodies.into_iter().map(|body| Part { body, is_bundled: true, ..whole }).collect())
            }
            _ => Ok(vec![whole]),
        }
    }

    /// Hands messages over. Returns those that the store can never take, to be quarantined: it takes others, so it is
    /// they.
    async fn take(&self, readable: &[Read<'_, I::Message>]) -> Result<Vec<QuarantinedMessage>, End> {
        match self.take_together(readable).await {
            Ok(()) => return Ok(Vec::new()),
            Err(End::Store(error @ StoreError::Broken { .. })) => {
                tracing::error!(link = self.link, %error, messages = readable.len(), "Messages cannot be recorded together.");
            }
            Err(end) => return Err(end),
        }
        // One of them is the culprit: the others must not suffer.
        let mut unreadable = Vec::new();
        for single in readable.chunks(1) {
            match (self.take_together(single).await, single) {
                (Err(End::Store(error @ StoreError::Broken { .. })), [(_, part)]) => {
                    unreadable.push(self.quarantined(part, "unrecordable", error.to_string()));
                }
                (outcome, _) => outcome?,
            }
        }
        if !unreadable.is_empty() {
            self.patiently(|| self.engine.check_store()).await?;
        }
        Ok(unreadable)
    }

    async fn take_together(&self, readable: &[Read<'_, I::Message>]) -> Result<(), End> {
        if readable.is_empty() {
            return Ok(());
        }
        self.patiently(|| self.inbox.take(readable.iter().map(|(message, _)| message.clone()).collect()))
            .await
    }

    /// Keeps messages that nobody can use.
    async fn quarantine(&self, messages: Vec<QuarantinedMessage>) -> Result<(), End> {
        for message in &messages {
            self.metrics.message_malformed(&message.queue, &message.reason);
            tracing::warn!(
                queue = message.queue,
                routing_key = message.routing_key,
                reason = message.detail,
                bytes = message.body_bytes,
                "A message could not be read and is quarantined."
            );
        }
        if messages.is_empty() {
            return Ok(());
        }
        self.patiently(|| self.engine.quarantine(messages.clone())).await
    }

    /// Asks something of the store until it can answer.
    async fn patiently<F>(&self, ask: impl Fn() -> F) -> Result<(), End>
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        loop {
            match ask().await {
                Ok(()) => return Ok(()),
                Err(StoreError::Closed) => return Err(End::Stopping),
                Err(error) if error.is_retryable() => {
                    tracing::warn!(link = self.link, %error, "Messages wait for the store.");
                }
                Err(error) => return Err(End::Store(error)),
            }
            tokio::select! {
                () = self.stop.cancelled() => return Err(End::Stopping),
                () = tokio::time::sleep(STORE_RETRY) => {}
            }
        }
    }

    fn quarantined(&self, part: &Part<'_>, reason: &str, detail: String) -> QuarantinedMessage {
        let Part { delivery, body: whole, .. } = part;
        let mut body = whole[..whole.len().min(QUARANTINE_BODY_BYTES_MAX)].to_vec();
        strike::tokens(&mut body);
        QuarantinedMessage {
            queue: delivery.queue.to_string(),
            routing_key: delivery.routing_key.clone(),
            reason: reason.to_owned(),
            detail: strike::tokens_of_text(detail),
            body,
            body_bytes: whole.len(),
            at: self.clock.now(),
        }
    }
}

/// Why nothing more is read, and what was read is not acknowledged.
enum End {
    /// The process is shutting down.
    Stopping,
    /// The store does not take it, now or later.
    Store(StoreError),
}

/// Parts of [`BATCH_BYTES_MAX`] at most, or of one item, in their order.
fn by_bytes<T>(items: &[T], bytes_of: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut bytes = 0;
    items.chunk_by(move |before, next| {
        bytes += bytes_of(before);
        let fits = bytes + bytes_of(next) <= BATCH_BYTES_MAX;
        if !fits {
            bytes = 0;
        }
        fits
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_as_large_as_it_may_be_and_nothing_is_left_out() {
        const HALF: usize = BATCH_BYTES_MAX / 2;
        let sizes = [HALF, HALF, 1, 3 * HALF, 0, HALF, 1, HALF - 1];
        let parts: Vec<&[usize]> = by_bytes(&sizes, |size| *size).collect();
        assert_eq!(parts, [&[HALF, HALF][..], &[1], &[3 * HALF], &[0, HALF, 1, HALF - 1]]);
        assert_eq!(by_bytes(&[], |size: &usize| *size).count(), 0);
    }
}
