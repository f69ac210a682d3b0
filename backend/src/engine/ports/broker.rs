//! The broker as the use-cases see it.

use std::{fmt, str::FromStr};

use async_trait::async_trait;
use crewcall_proto::{ContentType, JobType, WorkerId, control::Control};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::store::Dispatch;

/// The way to the workers.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Enqueues orders, in their order, and returns at once. Of each is told, by its place in the list, when the broker has it,
    /// however long that takes: through reconnects, and while the broker takes nothing. Safe to repeat: the message id is
    /// that of the attempt.
    fn publish_orders(&self, orders: Vec<OutgoingOrder>) -> Confirmations;

    /// Makes sure that the type has a queue and is routed to it.
    async fn declare_type(&self, job_type: &JobType) -> Result<QueueFound, BrokerError>;

    /// Deletes the type's queue, if nothing waits there and nobody consumes it. Returns whether it is gone.
    async fn delete_type(&self, job_type: &JobType) -> Result<bool, BrokerError>;

    /// Tells one worker something, in its own encoding. Lossy: a worker that is not there hears nothing.
    async fn send_to_worker(
        &self,
        worker_id: &WorkerId,
        content_type: ContentType,
        control: &Control,
    ) -> Result<(), BrokerError>;

    /// Tells every worker of a type something.
    async fn send_to_type(&self, job_type: &JobType, control: &Control) -> Result<(), BrokerError>;

    /// Tells every worker something.
    async fn send_to_all(&self, control: &Control) -> Result<(), BrokerError>;

    /// Sends a probe the way that heartbeats take; it comes back as [`Discovered::Probe`].
    ///
    /// [`Discovered::Probe`]: crate::engine::discovery::Discovered::Probe
    async fn probe(&self, probe: LoopbackProbe) -> Result<(), BrokerError>;

    /// Where orders of the type may wait, not counting those with workers. A queue that takes nothing does not know.
    async fn orders_waiting(&self, job_type: &JobType) -> Result<OrdersWaiting, BrokerError>;

    /// Why the queue that the type's orders go to takes none, although the broker is there; `None` when it does, or when
    /// nothing was sent to it.
    fn queue_error(&self, job_type: &JobType) -> Option<String>;

    /// The types whose queues have taken nothing for so long, although the broker is there, that they may have to be replaced.
    fn queues_to_replace(&self) -> Vec<JobType>;

    /// Deletes the type's queue, with the orders in it, and declares it anew, if nobody leads it. Returns whether that was
    /// done; if it could not be, the log and [`queue_error`](Broker::queue_error) say why, and what helps.
    async fn replace_queue(&self, job_type: &JobType) -> bool;

    /// Changes whenever a queue that took nothing takes orders again.
    fn queues_recovered(&self) -> watch::Receiver<u64>;

    /// How the link is, and every change of it.
    fn status(&self) -> watch::Receiver<BrokerStatus>;
}

/// Which backend: one process, from its start to its end. Later ones are greater, as far as clocks agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(Uuid);

impl BackendId {
    /// That of a process that starts now.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for BackendId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// What the backend says to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopbackProbe {
    pub backend: BackendId,
    /// Counts up.
    pub number: u64,
}

/// An order on its way out.
#[derive(Debug, Clone)]
pub struct OutgoingOrder {
    pub dispatch: Dispatch,
    /// How the order is encoded.
    pub content_type: ContentType,
    /// In how large a bundle it may travel, counted in orders; 1: alone.
    pub bundle_max: usize,
    /// Among how many workers the orders of its type that leave at once are divided; at least 1.
    pub workers: usize,
}

/// Tells of orders that were enqueued together, each by its place: the broker has it, or it was given up. Ends when all were
/// told of.
pub type Confirmations = mpsc::UnboundedReceiver<(usize, Result<(), BrokerError>)>;

/// What there was when the queue of a type was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueFound {
    /// No queue: it is new, so nobody consumes it.
    New,
    Known,
}

/// How many orders wait at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OrdersWaiting {
    /// In the type's queue; `None` when there is no such queue.
    pub jobs: Option<u32>,
    /// In the queues of the unroutable and of the dead, of whichever type.
    pub unroutable_or_dead: u32,
}

impl OrdersWaiting {
    /// Whether there are none, so that an order that no worker has is lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.unwrap_or(0) == 0 && self.unroutable_or_dead == 0
    }
}

/// How the link to the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerStatus {
    /// Not there: connecting, or trying again.
    Down {
        /// Why, in one sentence.
        reason: String,
    },
    /// There, and taking messages.
    Up,
    /// There, but taking no messages: an alarm of its own.
    Blocked { reason: String },
}

impl BrokerStatus {
    /// What is wrong, in words for people; `None` when nothing is.
    #[must_use]
    pub fn unavailable_reason(&self) -> Option<String> {
        match self {
            Self::Up => None,
            Self::Down { reason } => Some(format!("not connected: {reason}")),
            Self::Blocked { reason } => Some(format!("it takes no messages: {reason}")),
        }
    }
}

/// Why the broker did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// The link ended; may work later.
    #[error("the broker cannot be reached: {reason}")]
    Unavailable { reason: String },
    /// The broker refuses: what exists there differs, or a right is missing.
    #[error("the broker refuses: {reason}")]
    Refused {
        /// What it says, and what to do.
        reason: String,
    },
    /// The backend is shutting down.
    #[error("the link to the broker is closed")]
    Closed,
}
