//! The consumer's task: one session after the other.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
};

use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use lapin::{
    Channel,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};

use super::{
    Action, COMMANDS_WAITING_MAX, Command, ConsumerEvent, Fetcher, SessionPlan, Subscription,
    SubscriptionOverrides,
    delivery::{Delivery, SessionEnd, Source},
};
use crate::{
    Declaration, LinkError,
    declaration::{execute_all, short_string},
    error::Reason,
    supervisor::Supervisor,
    transport::{Transport, TransportEvent},
    upkeep,
};

/// The consumer's task and what it owns.
pub(super) struct Link {
    pub(super) supervisor: Supervisor,
    pub(super) plan: Box<dyn Fn(u64) -> SessionPlan + Send + Sync>,
    pub(super) overrides: Arc<SubscriptionOverrides>,
    pub(super) suspicion: Arc<Notify>,
    pub(super) live: watch::Sender<Option<mpsc::Sender<Command>>>,
    pub(super) events: mpsc::Sender<ConsumerEvent>,
}

enum Outcome {
    Lost(Reason),
    Stopped,
}

impl Link {
    pub(super) async fn run(mut self) {
        while let Some(transport) = self.supervisor.connect().await {
            let generation = self.supervisor.generation();
            let mut session = Session::new(transport, self.overrides.clone(), &self.supervisor);
            let stop = self.supervisor.stop().clone();
            let plan = (self.plan)(generation);
            let declarations = plan.declarations.clone();
            let prepared = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                prepared = session.prepare(plan) => prepared,
            };
            if let Err(error) = prepared {
                self.supervisor.on_failed(error);
                continue;
            }
            let (commands, inbox) = mpsc::channel(COMMANDS_WAITING_MAX);
            self.supervisor.on_connected();
            self.live.send_replace(Some(commands));
            let outcome = self.drive(&mut session, inbox, declarations).await;
            self.live.send_replace(None);
            session.end.close();
            match outcome {
                Outcome::Lost(reason) => {
                    drop(session);
                    self.supervisor.on_failed(LinkError::SessionLost(reason.clone()));
                    self.tell(ConsumerEvent::Down { generation, reason: reason.to_string() }).await;
                }
                Outcome::Stopped => {
                    session.transport.close().await;
                    let reason = "the consumer was stopped".to_owned();
                    // Whoever stopped it may no longer listen, and must not have to.
                    let _ = self.events.try_send(ConsumerEvent::Down { generation, reason });
                    break;
                }
            }
        }
        self.supervisor.on_stopped();
    }

    async fn tell(&self, event: ConsumerEvent) {
        tokio::select! {
            biased;
            () = self.supervisor.stop().cancelled() => {}
            // A receiver that is gone is noticed by the next session.
            _ = self.events.send(event) => {}
        }
    }

    async fn drive(
        &self,
        session: &mut Session,
        mut inbox: mpsc::Receiver<Command>,
        declarations: Vec<Declaration>,
    ) -> Outcome {
        let stop = self.supervisor.stop();
        let watchdog = session.transport.watchdog(self.suspicion.clone());
        let upkeep = upkeep::keep(session.transport.connection(), declarations, session.operation_timeout);
        tokio::pin!(watchdog, upkeep);
        let end = session.end.clone();
        let mut waiting = Some(ConsumerEvent::Up { generation: session.generation });
        // One event waits at a time, and the streams are read only when it is gone: a slow receiver so fills the client
        // library's buffer, which the prefetches bound, and nothing of ours. Commands come before deliveries, or "consume
        // no more" would wait behind everything that it is meant to stop.
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Outcome::Stopped,
                () = self.events.closed() => return Outcome::Stopped,
                reason = end.wait() => return Outcome::Lost(Reason::new(reason)),
                event = session.transport.next_event() => {
                    if let TransportEvent::Lost(reason) = event {
                        return Outcome::Lost(reason);
                    }
                    // A connection that never publishes is never blocked.
                }
                reason = &mut watchdog => return Outcome::Lost(reason),
                never = &mut upkeep => match never {},
                Some(command) = inbox.recv() => session.execute(command).await,
                // The receiver may be slow, or be the very task whose command is waiting above: never wait for it
                // in any other place than here.
                place = self.events.reserve(), if waiting.is_some() => {
                    let (Ok(place), Some(event)) = (place, waiting.take()) else { return Outcome::Stopped };
                    place.send(event);
                }
                item = next(&mut session.streams, &session.active), if waiting.is_none() => match item {
                    Ok(delivery) => {
                        session.transport.note_activity();
                        waiting = Some(ConsumerEvent::Delivery(delivery));
                    }
                    Err(reason) => return Outcome::Lost(reason),
                },
            }
        }
    }
}

/// One connection with its subscriptions.
struct Session {
    transport: Transport,
    overrides: Arc<SubscriptionOverrides>,
    generation: u64,
    operation_timeout: std::time::Duration,
    end: SessionEnd,
    streams: SelectAll<BoxStream<'static, Item>>,
    /// By queue; one that was cancelled is no longer in here.
    active: HashMap<String, Active>,
    subscriptions_made: u64,
}

struct Active {
    tag: String,
    source: Arc<Source>,
}

/// What a subscription's stream yields.
struct Item {
    tag: String,
    source: Arc<Source>,
    what: What,
}

#[expect(clippy::large_enum_variant, reason = "nearly every item is a delivery")]
enum What {
    Delivery(lapin::message::Delivery),
    Failed(lapin::Error),
    Ended,
}

impl Session {
    fn new(transport: Transport, overrides: Arc<SubscriptionOverrides>, supervisor: &Supervisor) -> Self {
        Self {
            transport,
            overrides,
            generation: supervisor.generation(),
            operation_timeout: supervisor.config().operation_timeout,
            end: SessionEnd::default(),
            streams: SelectAll::new(),
            active: HashMap::new(),
            subscriptions_made: 0,
        }
    }

    async fn prepare(&mut self, plan: SessionPlan) -> Result<(), LinkError> {
        if !plan.declarations.is_empty() {
            self.declare(&plan.declarations).await?;
        }
        for subscription in self.overrides.apply(plan.subscriptions) {
            self.subscribe(&subscription).await?;
        }
        Ok(())
    }

    async fn declare(&mut self, declarations: &[Declaration]) -> Result<(), LinkError> {
        let channel = self.transport.open_channel().await?;
        for declaration in declarations {
            let limit = self.operation_timeout;
            timeout(limit, execute_all(&channel, std::slice::from_ref(declaration))).await.unwrap_or_else(
                |_| Err(LinkError::Timeout { what: declaration.to_string(), after: limit }),
            )?;
        }
        Ok(())
    }

    /// Opens a channel and consumes a queue on it. A channel for each, because a refusal closes its channel and would take
    /// every other subscription on it along.
    async fn subscribe(&mut self, subscription: &Subscription) -> Result<(), LinkError> {
        let what = format!("queue {}", subscription.queue);
        let invalid = |reason: String| LinkError::Invalid { what: what.clone(), reason };
        self.subscriptions_made += 1;
        let tag = format!("{}.{}", subscription.tag, self.subscriptions_made);
        let short_queue = short_string(&subscription.queue).map_err(invalid)?;
        let short_tag = short_string(&tag).map_err(invalid)?;
        if subscription.prefetch == 0 {
            // To the broker 0 means no limit, and the client library's buffer has none either.
            return Err(invalid("the prefetch must be at least 1".to_owned()));
        }
        let consumed =
            self.consume(&what, &short_queue, &short_tag, subscription, cancelled_with_queue()).await;
        let (channel, consumer) = match consumed {
            // A version that does not know the argument for this kind of queue.
            Err(LinkError::PreconditionFailed { .. }) => {
                self.consume(&what, &short_queue, &short_tag, subscription, FieldTable::default()).await?
            }
            consumed => consumed?,
        };
        self.attach(subscription, tag, channel, consumer);
        Ok(())
    }

    async fn consume(
        &mut self,
        what: &str,
        queue: &ShortString,
        tag: &ShortString,
        subscription: &Subscription,
        arguments: FieldTable,
    ) -> Result<(Channel, lapin::Consumer), LinkError> {
        let channel = self.transport.open_channel().await?;
        let qos = BasicQosOptions {
            global: false, // per consumer; the per-channel form is refused by newer brokers
        };
        // Before consuming: afterwards would be too late for the first deliveries.
        let prefetch_set = channel.basic_qos(subscription.prefetch, qos);
        self.with_timeout("set the prefetch", what, prefetch_set).await?;
        let options = BasicConsumeOptions {
            no_local: false, // RabbitMQ does not implement it
            no_ack: false,   // every message is acknowledged by whoever has dealt with it
            exclusive: subscription.exclusive,
            nowait: false, // a missing queue must be told
        };
        let consume = channel.basic_consume(queue.clone(), tag.clone(), options, arguments);
        let consumer = self.with_timeout("consume", what, consume).await?;
        Ok((channel, consumer))
    }

    fn attach(
        &mut self,
        subscription: &Subscription,
        tag: String,
        channel: Channel,
        consumer: lapin::Consumer,
    ) {
        let source = Arc::new(Source {
            channel,
            queue: subscription.queue.as_str().into(),
            generation: self.generation,
            operation_timeout: self.operation_timeout,
            end: self.end.clone(),
            settled_up_to: AtomicU64::new(0),
        });
        let ended = stream::once(async { What::Ended });
        let whats = consumer.map(|result| result.map_or_else(What::Failed, What::Delivery)).chain(ended);
        let (item_tag, item_source) = (tag.clone(), source.clone());
        let items = whats.map(move |what| Item { tag: item_tag.clone(), source: item_source.clone(), what });
        self.streams.push(items.boxed());
        self.active.insert(subscription.queue.clone(), Active { tag, source });
    }

    async fn with_timeout<T>(
        &mut self,
        action: &str,
        what: &str,
        request: impl Future<Output = Result<T, lapin::Error>>,
    ) -> Result<T, LinkError> {
        match timeout(self.operation_timeout, request).await {
            Ok(result) => result.map_err(|error| LinkError::from_client(what, &error)),
            Err(_) => {
                let what = format!("{action} ({what})");
                self.end.because(format!("the broker did not answer in time to: {what}"));
                Err(LinkError::Timeout { what, after: self.operation_timeout })
            }
        }
    }

    async fn execute(&mut self, Command { action, answer }: Command) {
        let result = match action {
            Action::Subscribe(subscription) => match self.active.contains_key(&subscription.queue) {
                true => Ok(()),
                false => self.subscribe_for_good(subscription).await,
            },
            Action::Unsubscribe(queue) => {
                self.overrides.leave_out(&queue);
                self.cancel(&queue).await
            }
            Action::Resubscribe(subscription) => match self.cancel(&subscription.queue).await {
                Ok(()) => self.subscribe_for_good(subscription).await,
                Err(error) => Err(error),
            },
            Action::OpenFetcher(opened) => self.transport.open_channel().await.map(|channel| {
                // Who no longer waits for it does not want it.
                drop(opened.send(Fetcher {
                    channel,
                    generation: self.generation,
                    operation_timeout: self.operation_timeout,
                    end: self.end.clone(),
                }));
            }),
        };
        // Who no longer waits for the answer does not want it.
        let _ = answer.send(result);
    }

    async fn subscribe_for_good(&mut self, subscription: Subscription) -> Result<(), LinkError> {
        let result = self.subscribe(&subscription).await;
        match &result {
            Ok(()) => self.overrides.consume(subscription),
            Err(_) => self.overrides.leave_out(&subscription.queue),
        }
        result
    }

    /// Cancels a consumer. Its stream ends after what was already delivered; its channel lives on as long as there
    /// are deliveries of it.
    async fn cancel(&mut self, queue: &str) -> Result<(), LinkError> {
        let Some(Active { tag, source }) = self.active.remove(queue) else { return Ok(()) };
        let options = BasicCancelOptions {
            nowait: false, // after the answer nothing more is delivered
        };
        let cancelled = source.channel.basic_cancel(tag.as_str().into(), options).boxed();
        self.with_timeout("cancel", &format!("queue {queue}"), cancelled).await
    }
}

/// Without this argument, RabbitMQ 3.x moves a subscription whose queue was deleted to the next queue of that name, says
/// nothing, and then drops what that one delivers, because it counts on from the old one.
fn cancelled_with_queue() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-cancel-on-ha-failover".into(), AMQPValue::Boolean(true));
    arguments
}

/// The next delivery of any subscription, or why the session is over. Cancelling it loses nothing.
async fn next(
    streams: &mut SelectAll<BoxStream<'static, Item>>,
    active: &HashMap<String, Active>,
) -> Result<Delivery, Reason> {
    loop {
        let Some(Item { tag, source, what }) = streams.next().await else {
            // Without a subscription there is nothing to wait for here.
            return std::future::pending().await;
        };
        match what {
            What::Delivery(raw) => return Ok(Delivery::new(raw, &source)),
            What::Failed(error) => {
                return Err(Reason::from(&error).within(|reason| format!("queue {}: {reason}", source.queue)));
            }
            // The broker ends a consumer without a word when its queue is deleted.
            What::Ended if active.values().any(|active| active.tag == tag) => {
                return Err(Reason::new(format!(
                    "queue {} was deleted, or its consumer cancelled",
                    source.queue
                )));
            }
            What::Ended => {}
        }
    }
}
