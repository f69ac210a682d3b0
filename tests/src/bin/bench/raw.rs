//! The broker alone: what no installation on it can be faster than.

use std::time::Duration;

use anyhow::Context;
use crewcall_amqp::{
    Consumer, ConsumerEvent, Declaration, Delivery, LinkConfig, MessageProperties, OutboundMessage,
    Publisher, PublisherOptions, Subscription,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A round that takes longer than this is broken, not slow.
pub(crate) const ROUND_MAX: Duration = Duration::from_secs(30);

const ORDERS: &str = "bench.orders";
const RESPONSES: &str = "bench.responses";

/// The way of an order and its response through the broker, and nothing else: one confirmed persistent message to a
/// quorum queue each, both consumed and acknowledged.
pub(crate) struct TwoHops {
    publisher: Publisher,
    orders: mpsc::Receiver<ConsumerEvent>,
    responses: mpsc::Receiver<ConsumerEvent>,
    consumers: [Consumer; 2],
}

impl TwoHops {
    /// Connects to the broker at `url`.
    pub(crate) async fn start(url: String) -> anyhow::Result<Self> {
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let queues = [ORDERS, RESPONSES].map(|name| Declaration::QuorumQueue {
            name: name.to_owned(),
            delivery_limit: None,
            dead_letter_exchange: None,
            length_max: None,
        });
        let link = LinkConfig::new(url, "bench");
        let options = PublisherOptions::default();
        let publisher = Publisher::start(link.clone(), queues.to_vec(), options, &stop, &tracker);
        timeout(ROUND_MAX, publisher.state().wait_for(crewcall_amqp::LinkState::is_connected)).await??;
        let consume = |queue: &str| {
            let subscription = Subscription {
                queue: queue.to_owned(),
                prefetch: 1,
                tag: queue.to_owned(),
                exclusive: false,
            };
            Consumer::start(link.clone(), Vec::new(), vec![subscription], &stop, &tracker)
        };
        let ((first, orders), (second, responses)) = (consume(ORDERS), consume(RESPONSES));
        Ok(Self { publisher, orders, responses, consumers: [first, second] })
    }

    /// How long the two hops take now.
    pub(crate) async fn round(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.publisher.publish(message(ORDERS)).await?;
        let order = delivery(&mut self.orders).await?;
        self.publisher.publish(message(RESPONSES)).await?;
        order.ack().await?;
        let response = delivery(&mut self.responses).await?;
        let took = began.elapsed();
        response.ack().await?;
        Ok(took)
    }

    /// Ends the connections.
    pub(crate) async fn close(&self) {
        self.publisher.close().await;
        for consumer in &self.consumers {
            consumer.close().await;
        }
    }
}

/// A message of the size of a small order, through the default exchange.
fn message(queue: &str) -> OutboundMessage {
    OutboundMessage {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        body: vec![b'x'; 300].into(),
        properties: MessageProperties { persistent: true, ..MessageProperties::default() },
        mandatory: true,
    }
}

async fn delivery(events: &mut mpsc::Receiver<ConsumerEvent>) -> anyhow::Result<Delivery> {
    loop {
        match events.recv().await.context("the consumer ended")? {
            ConsumerEvent::Delivery(delivery) => return Ok(delivery),
            ConsumerEvent::Up { .. } => {}
            ConsumerEvent::Down { reason, .. } => anyhow::bail!("the consumer lost its session: {reason}"),
        }
    }
}
