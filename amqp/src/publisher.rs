//! Confirmed publishing on a connection of its own.

use std::{sync::Arc, time::Duration};

use lapin::{
    Channel,
    options::{BasicGetOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{FieldTable, ShortString},
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Declaration, LinkConfig, LinkError, LinkState, OutboundMessage, PublishError, Reason,
    declaration::{execute_all, short_string},
    supervisor::{LinkStatus, Supervisor},
    transport::open_channel,
};
use declaration_cache::DeclarationCache;
use prepared_message::PreparedMessage;
use window::{Place, Window};

mod alone;
mod declaration_cache;
mod prepared_message;
mod returns;
mod session;
mod window;

/// The largest body that is sent. Newer brokers refuse more by closing the channel, which would take every other
/// message in flight with it.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a queue that is led may take to show what it has: it takes milliseconds.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How a publisher behaves; see each field for its default.
#[derive(Clone, Copy, Debug)]
pub struct PublisherOptions {
    /// How many publishes may wait for their confirm at once; further callers wait. Default 1024.
    pub unconfirmed_max: usize,
    /// How many bytes their bodies may have together; further callers wait. One body is always let through, however
    /// large it is. Default 64 MiB.
    pub unconfirmed_bytes_max: usize,
    /// How long the broker may take to confirm a message before the session is given up. The clock stands still
    /// while the broker blocks the connection. Default 30 s.
    pub confirm_timeout: Duration,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        Self {
            unconfirmed_max: 1024,
            unconfirmed_bytes_max: 64 * 1024 * 1024,
            confirm_timeout: Duration::from_secs(30),
        }
    }
}

/// What the broker did with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The broker has taken responsibility for it (or dropped it, if it was not `mandatory` and nothing is bound).
    Confirmed,
    /// The message was `mandatory` and no queue takes it.
    Returned {
        /// AMQP's reply code, 312 for `NO_ROUTE`.
        code: u16,
        /// The broker's words.
        text: String,
    },
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages ready for delivery; those that were delivered and not acknowledged are not counted.
    pub messages: u32,
    /// Consumers subscribed to it.
    pub consumers: u32,
}

/// A supervised connection for publishing. Clones share it.
///
/// Any number of tasks may publish at once: messages are pipelined, in the order in which `publish` was called, and
/// each caller waits for its own confirm.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    requests: mpsc::Sender<Request>,
    window: Window,
    operation_timeout: Duration,
    live: watch::Receiver<Option<Arc<lapin::Connection>>>,
    declared: Arc<DeclarationCache>,
    suspicion: Arc<Notify>,
    status: LinkStatus,
    stop: CancellationToken,
}

/// A message on its way to the session.
struct Request {
    message: Box<PreparedMessage>,
    answer: oneshot::Sender<Result<Published, PublishError>>,
    /// Its place in the window, given back when the answer is known.
    place: Place,
}

impl Publisher {
    /// Starts the link; its task runs on `tracker` until `stop` is cancelled or [`close`](Self::close) is called.
    /// Returns at once: whether and when it connects shows in [`state`](Self::state).
    ///
    /// `declarations` are executed on every (re)connect before anything is published. If one of them fails, there
    /// is no session, the state says why, and the link keeps trying.
    pub fn start(
        config: LinkConfig,
        declarations: Vec<Declaration>,
        options: PublisherOptions,
        stop: &CancellationToken,
        tracker: &TaskTracker,
    ) -> Self {
        let stop = stop.child_token();
        let window = Window::new(options.unconfirmed_max, options.unconfirmed_bytes_max);
        let (requests, inbox) = mpsc::channel(window.places());
        let (live_sender, live) = watch::channel(None);
        let declared = Arc::new(DeclarationCache::default());
        let suspicion = Arc::new(Notify::new());
        let operation_timeout = config.operation_timeout;
        let (supervisor, status) = Supervisor::new(config, stop.clone());
        let link = session::Link {
            supervisor,
            declarations,
            declared: declared.clone(),
            suspicion: suspicion.clone(),
            confirm_timeout: options.confirm_timeout,
            live: live_sender,
            inbox,
        };
        tracker.spawn(link.run());
        let shared = Shared { requests, window, operation_timeout, live, declared, suspicion, status, stop };
        Self { shared: Arc::new(shared) }
    }

    /// Publishes a message and waits until the broker has confirmed it. Waits as long as it takes for room in the
    /// window, for a session, and for a blocked connection to open up; put a timeout around it to wait less.
    ///
    /// When the future is dropped, the message may still be sent.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; `is_retryable` says whether to publish it again, which must be done with the same
    /// `message_id`.
    pub async fn publish(&self, message: OutboundMessage) -> Result<Published, PublishError> {
        self.send(message).await?.answer().await
    }

    /// Publishes a message like [`publish`](Self::publish), but returns as soon as there was room for it in the window:
    /// it is on its way, and its answer can be waited for.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish); nothing was sent.
    pub async fn send(&self, message: OutboundMessage) -> Result<Publication, PublishError> {
        let message = PreparedMessage::new(message)?;
        let place = tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => return Err(PublishError::Stopped),
            place = self.shared.window.place(message.body.len()) => place,
        };
        let (answer, answered) = oneshot::channel();
        let publication = Publication { answered, place: place.clone() };
        // There is room for as many requests as there are places; what gave its place back early can fill it up all the
        // same, and is as good as refused then. Otherwise this fails only when the link has ended.
        match self.shared.requests.try_send(Request { message, answer, place }) {
            Ok(()) => Ok(publication),
            Err(mpsc::error::TrySendError::Full(_)) => Err(PublishError::Nacked),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(PublishError::Stopped),
        }
    }

    /// Publishes a message on a channel of its own, and waits at most `limit` for a session and for its confirm: what keeps
    /// its queue from answering holds up nothing else. It takes some more round trips than [`publish`](Self::publish).
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish); [`PublishError::Unknown`] also when the limit is over.
    pub async fn publish_alone(
        &self,
        message: OutboundMessage,
        limit: Duration,
    ) -> Result<Published, PublishError> {
        let message = PreparedMessage::new(message)?;
        let published = async {
            let connection = self
                .connection()
                .await
                .map_err(|error| PublishError::unknown(Reason::from_error(error.to_string(), error)))?;
            alone::publish(&connection, *message, self.shared.operation_timeout).await
        };
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => Err(PublishError::Stopped),
            answer = timeout(limit, published) => answer.unwrap_or_else(|_| {
                let reason = format!("the broker did not confirm a message within {limit:?}");
                Err(PublishError::unknown(Reason::new(reason)))
            }),
        }
    }

    /// Makes things exist on the broker, on a channel of their own: a refusal harms nothing else. What succeeded is
    /// remembered and repeated on every reconnect.
    ///
    /// # Errors
    ///
    /// [`LinkError`], naming the declaration that failed; those before it took effect. Nothing of a refused call is
    /// remembered.
    pub async fn declare(&self, declarations: Vec<Declaration>) -> Result<(), LinkError> {
        let connection = self.connection().await?;
        // DeclarationCache first: a session that begins in between must not miss them.
        let added = self.shared.declared.add(&declarations)?;
        let limit = self.shared.operation_timeout;
        let result = async {
            let channel = open_channel(&connection, limit).await?;
            let what = || declarations.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            timeout(limit, execute_all(&channel, &declarations))
                .await
                .unwrap_or_else(|_| Err(LinkError::Timeout { what: what(), after: limit }))
        }
        .await;
        match result {
            // Once more, in case that a call at the same time failed and took the same declaration back.
            Ok(()) => self.shared.declared.add(&declarations).map(drop),
            Err(error) => {
                self.shared.declared.remove(&added);
                Err(error)
            }
        }
    }

    /// How full a queue is; `None` when there is no such queue.
    ///
    /// # Errors
    ///
    /// [`LinkError`], when there is no session, the broker does not answer, or the user may not see the queue.
    pub async fn queue_depth(&self, queue: &str) -> Result<Option<QueueDepth>, LinkError> {
        let options = QueueDeclareOptions {
            passive: true,  // only ask
            durable: false, // ignored when passive, as are the next two
            exclusive: false,
            auto_delete: false,
            nowait: false, // the answer is the point
        };
        let depth = async |channel: Channel, name| {
            let found = channel.queue_declare(name, options, FieldTable::default()).await?;
            Ok(QueueDepth { messages: found.message_count(), consumers: found.consumer_count() })
        };
        match self.ask("the depth", format!("queue {queue}"), queue, depth).await {
            Err(LinkError::NotFound { .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Whether the queue answers: one that has a leader does, at once. Asked on a channel of its own, which hangs with a queue
    /// that does not. Should there be a message, it is taken and given back.
    ///
    /// # Errors
    ///
    /// [`LinkError`], when there is no session, or no such queue.
    pub async fn queue_answers(&self, queue: &str) -> Result<bool, LinkError> {
        let what = format!("queue {queue}");
        let name = short_string(queue).map_err(|reason| LinkError::Invalid { what: what.clone(), reason })?;
        let connection = self.connection().await?;
        let channel = open_channel(&connection, self.shared.operation_timeout).await?;
        let options = BasicGetOptions {
            no_ack: false, // it is not ours
        };
        match timeout(ANSWER_MAX, channel.basic_get(name, options)).await {
            // One that was taken goes back with the channel.
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) => Err(LinkError::from_client(what, &error)),
            Err(_) => Ok(false),
        }
    }

    /// Something was not answered that should have been: asks the broker for a sign of life at once, and ends the session,
    /// for the next one to begin, if none comes within [`suspect_timeout`](LinkConfig::suspect_timeout). For callers who
    /// cannot wait for the next heartbeat. Without a session, or while the broker blocks it, nothing happens.
    pub fn suspect(&self) {
        self.shared.suspicion.notify_waiters();
    }

    /// Deletes a queue with nothing in it and nobody who consumes from it, and no longer repeats `declared`. Returns
    /// whether it is gone. What is published to it between the look and the deletion goes with it: the flags that would
    /// have the broker look do not exist for quorum queues (RabbitMQ 3.10 closes the connection over them).
    ///
    /// # Errors
    ///
    /// [`LinkError`], when there is no session, the broker does not answer, or refuses.
    pub async fn delete_idle_queue(&self, queue: &str, declared: &[Declaration]) -> Result<bool, LinkError> {
        match self.queue_depth(queue).await? {
            Some(QueueDepth { messages: 0, consumers: 0 }) => {}
            Some(_) => return Ok(false),
            None => {
                self.shared.declared.remove(declared);
                return Ok(true);
            }
        }
        // First: a session that begins in between must not make it again.
        self.shared.declared.remove(declared);
        self.delete_queue(queue).await.map(|()| true)
    }

    /// Deletes a queue with whatever is in it, whoever consumes from it; the next session declares it again if it was declared.
    /// For one without a leader RabbitMQ takes 5 s.
    ///
    /// # Errors
    ///
    /// As for [`delete_idle_queue`](Self::delete_idle_queue).
    pub async fn delete_queue(&self, queue: &str) -> Result<(), LinkError> {
        let options = QueueDeleteOptions {
            if_unused: false, // not for quorum queues, see above
            if_empty: false,  // likewise
            nowait: false,    // the answer is the point
        };
        let delete = async |channel: Channel, name| channel.queue_delete(name, options).await.map(drop);
        self.ask("the deletion", format!("queue {queue}"), queue, delete).await
    }

    /// Deletes an exchange with its bindings, if it is there; the next session declares it again if it was declared.
    ///
    /// # Errors
    ///
    /// As for [`delete_idle_queue`](Self::delete_idle_queue).
    pub async fn delete_exchange(&self, exchange: &str) -> Result<(), LinkError> {
        let options = ExchangeDeleteOptions { if_unused: false, nowait: false };
        let delete = async |channel: Channel, name| channel.exchange_delete(name, options).await;
        self.ask("the deletion", format!("exchange {exchange}"), exchange, delete).await
    }

    /// Asks something of `what`, which is called `name`, on a channel of its own: a refusal closes that.
    async fn ask<T>(
        &self,
        question: &str,
        what: String,
        name: &str,
        ask: impl AsyncFnOnce(Channel, ShortString) -> Result<T, lapin::Error>,
    ) -> Result<T, LinkError> {
        let name = short_string(name).map_err(|reason| LinkError::Invalid { what: what.clone(), reason })?;
        let connection = self.connection().await?;
        let limit = self.shared.operation_timeout;
        let channel = open_channel(&connection, limit).await?;
        match timeout(limit, ask(channel, name)).await {
            Ok(answer) => answer.map_err(|error| LinkError::from_client(what, &error)),
            Err(_) => Err(LinkError::Timeout { what: format!("{question} of {what}"), after: limit }),
        }
    }

    /// What the link is doing; the receiver always holds the latest state.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.shared.status.state.clone()
    }

    /// The session, blocked or not, counted from 1.
    pub fn session(&self) -> Option<u64> {
        match *self.shared.status.state.borrow() {
            LinkState::Connected { generation } | LinkState::Blocked { generation, .. } => Some(generation),
            LinkState::Connecting { .. } | LinkState::Stopped => None,
        }
    }

    /// How many sessions were made after the first one.
    pub fn reconnects(&self) -> u64 {
        self.shared.status.reconnects()
    }

    /// How many publishes wait for an answer, sent or not.
    pub fn unconfirmed(&self) -> usize {
        self.shared.window.taken()
    }

    /// Takes no more messages, waits at most the operation timeout for the outstanding confirms, closes the
    /// connection, and returns when all of that is done. What was still unconfirmed then is answered with
    /// [`PublishError::Unknown`], what was not sent with [`PublishError::Stopped`].
    pub async fn close(&self) {
        self.shared.stop.cancel();
        self.shared.status.wait_until_stopped().await;
    }

    /// The live connection; waits for one as long as one operation may take.
    async fn connection(&self) -> Result<Arc<lapin::Connection>, LinkError> {
        let mut live = self.shared.live.clone();
        let found = timeout(self.shared.operation_timeout, live.wait_for(Option::is_some)).await;
        let Ok(Ok(connection)) = found.map(|found| found.map(|found| found.clone())) else {
            return Err(self.shared.status.not_connected());
        };
        if let LinkState::Blocked { reason, .. } = &*self.shared.status.state.borrow() {
            return Err(LinkError::Blocked { reason: reason.clone() });
        }
        connection.ok_or_else(|| self.shared.status.not_connected())
    }
}

/// A message on its way.
pub struct Publication {
    answered: oneshot::Receiver<Result<Published, PublishError>>,
    place: Place,
}

impl Publication {
    /// Waits until the broker has confirmed it. Cancelling it loses nothing.
    ///
    /// # Errors
    ///
    /// As for [`Publisher::publish`].
    pub async fn answer(&mut self) -> Result<Published, PublishError> {
        (&mut self.answered).await.unwrap_or(Err(PublishError::Stopped))
    }

    /// Gives its place in the window back before the answer is known. The message may wait for its confirm for as long
    /// as its session lasts: it no longer ends it. How many there are of these is for the caller to bound.
    pub fn release_place(&self) {
        self.place.give_back();
    }
}
