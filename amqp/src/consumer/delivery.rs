//! A delivered message and its acknowledgement.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{AckError, MessageProperties, error::sentence, mutant::mutant};

/// A delivered message. It stays with this consumer, counted against the prefetch, until it is acknowledged or the
/// session ends; dropping it does neither.
pub struct Delivery {
    /// The queue it came from.
    pub queue: Arc<str>,
    /// The routing key it was published with.
    pub routing_key: String,
    /// The exchange it was published to; empty for the default exchange.
    pub exchange: String,
    /// Whether the broker may have delivered it before.
    pub redelivered: bool,
    /// The body.
    pub body: Bytes,
    /// Everything beside the body.
    pub properties: MessageProperties,
    /// The session that delivered it.
    pub generation: u64,
    tag: u64,
    settled: AtomicBool,
    source: Arc<Source>,
}

/// The channel of one subscription in one session.
pub(super) struct Source {
    pub(super) channel: lapin::Channel,
    pub(super) queue: Arc<str>,
    pub(super) generation: u64,
    pub(super) operation_timeout: Duration,
    pub(super) end: SessionEnd,
    /// Everything up to this tag was acknowledged by `ack_up_to`.
    pub(super) settled_up_to: AtomicU64,
}

/// Ends a session from outside its task; the first reason counts.
#[derive(Clone, Default)]
pub(super) struct SessionEnd {
    token: CancellationToken,
    reason: Arc<Mutex<Option<String>>>,
}

impl SessionEnd {
    pub(super) fn because(&self, reason: String) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.token.cancel();
    }

    /// Waits for the end and says why.
    pub(super) async fn wait(&self) -> String {
        self.token.cancelled().await;
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    fn is_reached(&self) -> bool {
        self.token.is_cancelled()
    }

    /// From now on acknowledgements fail at once.
    pub(super) fn close(&self) {
        self.token.cancel();
    }
}

impl Delivery {
    pub(super) fn new(raw: lapin::message::Delivery, source: &Arc<Source>) -> Self {
        Self {
            queue: source.queue.clone(),
            routing_key: raw.routing_key.into(),
            exchange: raw.exchange.into(),
            redelivered: raw.redelivered,
            body: raw.data.into(),
            properties: MessageProperties::from_client(&raw.properties),
            generation: source.generation,
            tag: raw.delivery_tag,
            settled: AtomicBool::new(false),
            source: source.clone(),
        }
    }

    /// Acknowledges this message: the broker forgets it. A message that is settled already is left as it is.
    ///
    /// The acknowledgement has left this process when the future completes; if the connection breaks right then, the
    /// broker may still deliver the message once more.
    ///
    /// # Errors
    ///
    /// [`AckError::SessionGone`], when the session is over, or ends because the broker takes no acknowledgement.
    pub async fn ack(&self) -> Result<(), AckError> {
        self.send_ack(false).await
    }

    /// Acknowledges this message and every earlier one of the same subscription that is not settled yet. Nobody may
    /// settle one of those at the same time.
    ///
    /// # Errors
    ///
    /// As for [`ack`](Self::ack).
    pub async fn ack_up_to(&self) -> Result<(), AckError> {
        self.send_ack(true).await
    }

    /// Gives the message back: to its queue, or (`requeue` false) to the dead-letter exchange of its queue.
    ///
    /// # Errors
    ///
    /// As for [`ack`](Self::ack).
    pub async fn nack(&self, requeue: bool) -> Result<(), AckError> {
        if !self.begin_settling()? {
            return Ok(());
        }
        let options = BasicNackOptions {
            multiple: false, // this one alone
            requeue,
        };
        self.finish(self.source.channel.basic_nack(self.tag, options)).await
    }

    async fn send_ack(&self, multiple: bool) -> Result<(), AckError> {
        if !self.begin_settling()? {
            return Ok(());
        }
        if multiple {
            self.source.settled_up_to.fetch_max(self.tag, Ordering::AcqRel);
        }
        let multiple = multiple && !mutant("ack_short");
        self.finish(self.source.channel.basic_ack(self.tag, BasicAckOptions { multiple })).await
    }

    /// Whether there is something to settle. Settling twice would make the broker close the channel.
    fn begin_settling(&self) -> Result<bool, AckError> {
        if self.source.end.is_reached() {
            return Err(AckError::SessionGone);
        }
        let again = self.settled.swap(true, Ordering::AcqRel);
        Ok(!again && self.tag > self.source.settled_up_to.load(Ordering::Acquire))
    }

    async fn finish(&self, sent: impl Future<Output = Result<(), lapin::Error>>) -> Result<(), AckError> {
        let limit = self.source.operation_timeout;
        let reason = match timeout(limit, sent).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => sentence(&error),
            Err(_) => format!("the broker took no acknowledgement within {limit:?}"),
        };
        self.source.end.because(reason);
        Err(AckError::SessionGone)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Delivery")
            .field("queue", &self.queue)
            .field("routing_key", &self.routing_key)
            .field("redelivered", &self.redelivered)
            .field("message_id", &self.properties.message_id)
            .field("body_bytes", &self.body.len())
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
