//! Consuming on a connection of its own.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use delivery::Delivery;
pub use fetcher::Fetcher;

use crate::{
    Declaration, LinkConfig, LinkError, LinkState,
    supervisor::{LinkStatus, Supervisor},
};
use subscription_overrides::SubscriptionOverrides;

mod delivery;
mod fetcher;
mod session;
mod subscription_overrides;

/// How many events wait for the receiver; what is beyond waits in the client library, bounded by the prefetches.
const EVENTS_WAITING_MAX: usize = 256;

/// How many requests (subscribe and its like) may wait for the session.
const COMMANDS_WAITING_MAX: usize = 64;

/// A queue to consume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The name of the queue, which must exist when the session begins.
    pub queue: String,
    /// How many deliveries the broker may leave unacknowledged with this subscription, at least 1.
    pub prefetch: u16,
    /// The consumer's name on the broker. Every (re)subscription adds a number to it.
    pub tag: String,
    /// Whether to refuse other consumers of the queue.
    pub exclusive: bool,
}

/// What a session begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionPlan {
    /// What must exist; executed in order.
    pub declarations: Vec<Declaration>,
    /// What is consumed from the start.
    pub subscriptions: Vec<Subscription>,
}

/// What comes out of a consumer, in the order: `Up`, that session's deliveries, `Down`.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every event is a delivery")]
pub enum ConsumerEvent {
    /// A session began: everything is declared and subscribed.
    Up {
        /// Counts the sessions of this link from 1, attempts included.
        generation: u64,
    },
    /// A message.
    Delivery(Delivery),
    /// The session ended. Its deliveries can no longer be acknowledged; the broker delivers them again.
    Down {
        /// The session that ended.
        generation: u64,
        /// Why, as one sentence for a person.
        reason: String,
    },
}

/// A supervised connection for consuming, with one channel per subscription. Clones share it.
///
/// A queue that disappears, a consumer that the broker cancels, a channel that it closes, an acknowledgement that
/// fails: each ends the session, and the next one begins with the same subscriptions.
#[derive(Clone)]
pub struct Consumer {
    shared: Arc<Shared>,
}

struct Shared {
    live: watch::Receiver<Option<mpsc::Sender<Command>>>,
    overrides: Arc<SubscriptionOverrides>,
    suspicion: Arc<Notify>,
    operation_timeout: Duration,
    status: LinkStatus,
    stop: CancellationToken,
}

/// A request to the running session.
struct Command {
    action: Action,
    answer: oneshot::Sender<Result<(), LinkError>>,
}

enum Action {
    Subscribe(Subscription),
    Unsubscribe(String),
    Resubscribe(Subscription),
    OpenFetcher(oneshot::Sender<Fetcher>),
}

impl Consumer {
    /// Starts the link with the same declarations and subscriptions for every session; see
    /// [`start_with_plan`](Self::start_with_plan).
    pub fn start(
        config: LinkConfig,
        declarations: Vec<Declaration>,
        subscriptions: Vec<Subscription>,
        stop: &CancellationToken,
        tracker: &TaskTracker,
    ) -> (Self, mpsc::Receiver<ConsumerEvent>) {
        let plan = SessionPlan { declarations, subscriptions };
        Self::start_with_plan(config, move |_| plan.clone(), stop, tracker)
    }

    /// Starts the link; its task runs on `tracker` until `stop` is cancelled, [`close`](Self::close) is called or
    /// the receiver is dropped. Returns at once: whether and when it connects shows in [`state`](Self::state) and
    /// in the events.
    ///
    /// `plan` is asked for every session, with its generation: an exclusive queue needs a new name each time,
    /// because that of a dead connection can linger, locked. If a part of the plan fails (a missing queue, say),
    /// there is no session, the state says why, and the link keeps trying.
    pub fn start_with_plan(
        config: LinkConfig,
        plan: impl Fn(u64) -> SessionPlan + Send + Sync + 'static,
        stop: &CancellationToken,
        tracker: &TaskTracker,
    ) -> (Self, mpsc::Receiver<ConsumerEvent>) {
        let stop = stop.child_token();
        let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let (live_sender, live) = watch::channel(None);
        let overrides = Arc::new(SubscriptionOverrides::default());
        let suspicion = Arc::new(Notify::new());
        let operation_timeout = config.operation_timeout;
        let (supervisor, status) = Supervisor::new(config, stop.clone());
        let link = session::Link {
            supervisor,
            plan: Box::new(plan),
            overrides: overrides.clone(),
            suspicion: suspicion.clone(),
            live: live_sender,
            events,
        };
        tracker.spawn(link.run());
        let shared = Shared { live, overrides, suspicion, operation_timeout, status, stop };
        (Self { shared: Arc::new(shared) }, receiver)
    }

    /// Consumes one more queue, in this session and all later ones. A queue that is already consumed is left as it
    /// is: use [`resubscribe`](Self::resubscribe) to change its prefetch.
    ///
    /// # Errors
    ///
    /// [`LinkError::NotConnected`] when there is no session at the moment, or the broker's refusal (which harms
    /// nothing else). The subscription is not kept for later sessions then.
    pub async fn subscribe(&self, subscription: Subscription) -> Result<(), LinkError> {
        self.command(Action::Subscribe(subscription)).await
    }

    /// Stops consuming a queue, now and in later sessions. Deliveries that are already here still come out and can
    /// be acknowledged. A queue that is not consumed is left alone.
    ///
    /// # Errors
    ///
    /// [`LinkError`], when the broker does not answer. Without a session the queue is merely not subscribed again.
    pub async fn unsubscribe(&self, queue: &str) -> Result<(), LinkError> {
        match self.command(Action::Unsubscribe(queue.to_owned())).await {
            Err(LinkError::NotConnected(_)) => {
                self.shared.overrides.leave_out(queue);
                Ok(())
            }
            result => result,
        }
    }

    /// Consumes a queue with another prefetch: cancels the consumer and consumes again, on a new channel and under a
    /// new tag. Deliveries of the cancelled consumer stay unacknowledged and can still be acknowledged, but no
    /// longer count against the prefetch: the sum is the caller's to do.
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Self::subscribe). After a refusal the queue is no longer consumed.
    pub async fn resubscribe(&self, subscription: Subscription) -> Result<(), LinkError> {
        self.command(Action::Resubscribe(subscription)).await
    }

    /// For taking single messages in this session.
    ///
    /// # Errors
    ///
    /// [`LinkError`], when there is no session, or the broker does not answer.
    pub async fn fetcher(&self) -> Result<Fetcher, LinkError> {
        let (fetcher, opened) = oneshot::channel();
        self.command(Action::OpenFetcher(fetcher)).await?;
        opened.await.map_err(|_| self.shared.status.not_connected())
    }

    /// From the next session on, consume only what the plan says: forgets everything that was subscribed,
    /// resubscribed and unsubscribed since the start. The running session goes on as it is.
    pub fn forget_subscriptions(&self) {
        self.shared.overrides.forget();
    }

    /// Asks the broker for a sign of life at once, as [`Publisher::suspect`](crate::Publisher::suspect) does.
    pub fn suspect(&self) {
        self.shared.suspicion.notify_waiters();
    }

    /// What the link is doing; the receiver always holds the latest state.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.shared.status.state.clone()
    }

    /// How many sessions were made after the first one.
    pub fn reconnects(&self) -> u64 {
        self.shared.status.reconnects()
    }

    /// Closes the connection and returns when that is done. Everything unacknowledged goes back to its queue.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        self.shared.status.wait_until_stopped().await;
    }

    async fn command(&self, action: Action) -> Result<(), LinkError> {
        let Some(session) = self.shared.live.borrow().clone() else {
            return Err(self.shared.status.not_connected());
        };
        let (answer, answered) = oneshot::channel();
        // The session bounds each step by the operation timeout, and drops the answer when it ends.
        if session.send(Command { action, answer }).await.is_err() {
            return Err(self.shared.status.not_connected());
        }
        let limit = self.shared.operation_timeout.saturating_mul(STEPS_MAX);
        match timeout(limit, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(self.shared.status.not_connected()),
            Err(_) => Err(LinkError::Timeout { what: "change the subscriptions".to_owned(), after: limit }),
        }
    }
}

/// The most requests to the broker that one command takes: cancel, open, set the prefetch, consume.
const STEPS_MAX: u32 = 4;
