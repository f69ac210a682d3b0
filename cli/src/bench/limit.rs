//! The broker alone: what no installation on it can be faster than.
//!
//! The way of an order and its response, and nothing else: two persistent, confirmed messages through quorum queues, both
//! consumed and acknowledged, many at a time.

use std::time::Duration;

use crewcall_amqp::{
    Consumer, ConsumerEvent, Declaration, Delivery, MessageProperties, OutboundMessage, Publication,
    Published, Publisher, Subscription,
};
use futures_util::future::try_join4;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{BODY_BYTES, PATIENCE, broker::Broker, figures::Throughput};
use crate::exit::Failure;

/// How many deliveries of a queue may be unacknowledged.
const PREFETCH: u16 = 1_000;
/// How many deliveries are acknowledged together, while more come.
const ACKNOWLEDGED_TOGETHER: usize = 200;

/// Both ends of both ways.
pub(super) struct TwoHops {
    sender: Publisher,
    responder: Publisher,
    orders: Hop,
    responses: Hop,
    stop: CancellationToken,
    queues: [String; 2],
}

/// The far end of one way.
struct Hop {
    consumer: Consumer,
    events: mpsc::Receiver<ConsumerEvent>,
}

impl TwoHops {
    /// Connects to the broker, and declares the queues.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub(super) async fn start(broker: &Broker) -> Result<Self, Failure> {
        let [orders, responses] = broker.limit_queues();
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let publisher = async |queue: &str| {
            let queue = Declaration::QuorumQueue {
                name: queue.to_owned(),
                delivery_limit: None,
                dead_letter_exchange: None,
                length_max: None,
            };
            broker.publisher(vec![queue], &stop, &tracker).await
        };
        let (sender, responder) = (publisher(&orders).await?, publisher(&responses).await?);
        let hop = |queue: &str| {
            let subscription = Subscription {
                queue: queue.to_owned(),
                prefetch: PREFETCH,
                tag: queue.to_owned(),
                exclusive: false,
            };
            let (consumer, events) =
                Consumer::start(broker.link(), Vec::new(), vec![subscription], &stop, &tracker);
            Hop { consumer, events }
        };
        Ok(Self {
            sender,
            responder,
            orders: hop(&orders),
            responses: hop(&responses),
            stop,
            queues: [orders, responses],
        })
    }

    /// How many a second go both ways, with as many on their way as the broker takes.
    ///
    /// # Errors
    ///
    /// When the broker gives up.
    pub(super) async fn throughput(&mut self, count: usize) -> Result<Throughput, Failure> {
        let began = Instant::now();
        let [to_worker, to_backend] = &self.queues;
        let send = async {
            let mut publications = Vec::with_capacity(count);
            for _ in 0..count {
                publications.push(self.sender.send(message(to_worker)).await.map_err(Failure::part)?);
            }
            for publication in publications {
                confirmed(publication).await?;
            }
            Ok::<_, Failure>(())
        };
        // As a worker: the response first, then the order.
        let (responded, mut unconfirmed) = mpsc::channel(usize::from(PREFETCH));
        let (orders, responder) = (&mut self.orders, &self.responder);
        let respond = async {
            for _ in 0..count {
                let order = orders.next().await?;
                let publication = responder.send(message(to_backend)).await.map_err(Failure::part)?;
                // Whoever takes them has failed, and says why.
                let _ = responded.send((order, publication)).await;
            }
            drop(responded);
            Ok(())
        };
        let conclude = async {
            let mut unacknowledged = Vec::new();
            while let Some((order, publication)) = unconfirmed.recv().await {
                confirmed(publication).await?;
                unacknowledged.push(order);
                if unacknowledged.len() == ACKNOWLEDGED_TOGETHER || unconfirmed.is_empty() {
                    acknowledge(&mut unacknowledged).await?;
                }
            }
            Ok(())
        };
        let receive = async {
            let mut unacknowledged = Vec::new();
            for number in 1..=count {
                unacknowledged.push(self.responses.next().await?);
                if number == count || unacknowledged.len() == ACKNOWLEDGED_TOGETHER {
                    acknowledge(&mut unacknowledged).await?;
                }
            }
            Ok(())
        };
        timeout(PATIENCE, try_join4(send, respond, conclude, receive)).await.map_err(Failure::part)??;
        Ok(Throughput::of(count, began.elapsed()))
    }

    /// How long both ways take once, on an idle broker.
    ///
    /// # Errors
    ///
    /// When the broker gives up.
    pub(super) async fn once(&mut self) -> Result<Duration, Failure> {
        let [to_worker, to_backend] = &self.queues;
        let both = async {
            let began = Instant::now();
            self.sender.publish(message(to_worker)).await.map_err(Failure::part)?;
            let order = self.orders.next().await?;
            self.responder.publish(message(to_backend)).await.map_err(Failure::part)?;
            order.ack().await.map_err(Failure::part)?;
            let response = self.responses.next().await?;
            let took = began.elapsed();
            response.ack().await.map_err(Failure::part)?;
            Ok(took)
        };
        timeout(PATIENCE, both).await.map_err(Failure::part)?
    }

    /// Ends the connections.
    pub(super) async fn close(self) {
        self.sender.close().await;
        self.responder.close().await;
        self.orders.consumer.close().await;
        self.responses.consumer.close().await;
        self.stop.cancel();
    }
}

impl Hop {
    async fn next(&mut self) -> Result<Delivery, Failure> {
        loop {
            match self.events.recv().await {
                Some(ConsumerEvent::Delivery(delivery)) => return Ok(delivery),
                Some(ConsumerEvent::Up { .. }) => {}
                Some(ConsumerEvent::Down { reason, .. }) => return Err(Failure::Part(reason.into())),
                None => return Err(Failure::Part("the link to the broker has ended".into())),
            }
        }
    }
}

/// Waits until the broker has a message.
///
/// # Errors
///
/// When it will not.
pub(super) async fn confirmed(mut publication: Publication) -> Result<(), Failure> {
    match publication.answer().await.map_err(Failure::part)? {
        Published::Confirmed => Ok(()),
        Published::Returned { text, .. } => Err(Failure::Part(text.into())),
    }
}

async fn acknowledge(deliveries: &mut Vec<Delivery>) -> Result<(), Failure> {
    if let Some(last) = deliveries.last() {
        last.ack_up_to().await.map_err(Failure::part)?;
    }
    deliveries.clear();
    Ok(())
}

/// A message of the size of a small job, through the default exchange.
fn message(queue: &str) -> OutboundMessage {
    OutboundMessage {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        body: vec![b'x'; BODY_BYTES].into(),
        properties: MessageProperties { persistent: true, ..MessageProperties::default() },
        mandatory: true,
    }
}
