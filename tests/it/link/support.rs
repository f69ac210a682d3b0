//! What the tests of the link share.

use std::time::Duration;

use crewcall_amqp::{
    Consumer, ConsumerEvent, Declaration, Delivery, LinkConfig, LinkState, MessageProperties,
    OutboundMessage, PublishError, Published, Publisher, PublisherOptions, Subscription,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The longest that anything in these tests may take; nothing waits that long when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The link's parts of one test.
pub(crate) struct Bench {
    pub(crate) config: LinkConfig,
    pub(crate) stop: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

impl Bench {
    pub(crate) fn new(url: &str) -> Self {
        e2e::mutants::switch_on_here().expect("it is one of the list");
        let config = LinkConfig::new(url, "link test");
        Self { config, stop: CancellationToken::new(), tracker: TaskTracker::new() }
    }

    /// A link that gives up quickly: heartbeat 1 s, operations 2 s.
    pub(crate) fn impatient(url: &str) -> Self {
        let mut bench = Self::new(url);
        bench.config.heartbeat = Duration::from_secs(1);
        bench.config.operation_timeout = Duration::from_secs(2);
        bench
    }

    pub(crate) fn publisher(&self, declarations: Vec<Declaration>) -> Publisher {
        self.publisher_with(declarations, PublisherOptions::default())
    }

    pub(crate) fn publisher_with(
        &self,
        declarations: Vec<Declaration>,
        options: PublisherOptions,
    ) -> Publisher {
        Publisher::start(self.config.clone(), declarations, options, &self.stop, &self.tracker)
    }

    pub(crate) fn consumer(
        &self,
        declarations: Vec<Declaration>,
        subscriptions: Vec<Subscription>,
    ) -> (Consumer, Events) {
        let (consumer, events) =
            Consumer::start(self.config.clone(), declarations, subscriptions, &self.stop, &self.tracker);
        (consumer, Events(events))
    }

    /// Stops everything and proves that every task of the links ends.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        self.tracker.close();
        within("the links' tasks ending", self.tracker.wait()).await;
    }
}

/// A consumer's events, each awaited with a deadline.
pub(crate) struct Events(pub(crate) mpsc::Receiver<ConsumerEvent>);

impl Events {
    pub(crate) async fn next(&mut self) -> ConsumerEvent {
        within("the consumer's next event", self.0.recv()).await.expect("the consumer goes on")
    }

    pub(crate) async fn up(&mut self) -> u64 {
        match self.next().await {
            ConsumerEvent::Up { generation } => generation,
            other => panic!("expected the session to begin, got {other:?}"),
        }
    }

    pub(crate) async fn delivery(&mut self) -> Delivery {
        match self.next().await {
            ConsumerEvent::Delivery(delivery) => delivery,
            other => panic!("expected a delivery, got {other:?}"),
        }
    }

    /// The session's end, after whatever it still delivered.
    pub(crate) async fn down(&mut self) -> (u64, String) {
        loop {
            match self.next().await {
                ConsumerEvent::Down { generation, reason } => return (generation, reason),
                ConsumerEvent::Delivery(_) => {}
                ConsumerEvent::Up { .. } => panic!("a session began before the last one ended"),
            }
        }
    }
}

pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what} took longer than {DEADLINE:?}"))
}

/// Waits until a link's state is as wanted, and returns it.
pub(crate) async fn state(
    publisher: &Publisher,
    what: &str,
    wanted: impl Fn(&LinkState) -> bool,
) -> LinkState {
    let mut state = publisher.state();
    within(what, state.wait_for(wanted)).await.expect("the link goes on").clone()
}

/// Waits until a queue has so many consumers, and returns how many messages are ready in it. The broker learns of a
/// consumer's end a moment after its client.
pub(crate) async fn messages_with_consumers(publisher: &Publisher, queue: &str, consumers: u32) -> u32 {
    let settled = async {
        loop {
            let depth = publisher.queue_depth(queue).await.unwrap().unwrap();
            if depth.consumers == consumers {
                return depth.messages;
            }
        }
    };
    within("the number of consumers", settled).await
}

pub(crate) fn quorum_queue(name: &str) -> Declaration {
    Declaration::QuorumQueue {
        name: name.to_owned(),
        delivery_limit: None,
        dead_letter_exchange: None,
        length_max: None,
    }
}

pub(crate) fn subscription(queue: &str, prefetch: u16) -> Subscription {
    Subscription { queue: queue.to_owned(), prefetch, tag: "test".to_owned(), exclusive: false }
}

/// A persistent, mandatory message for `queue` through the default exchange.
pub(crate) fn message(queue: &str, id: &str) -> OutboundMessage {
    let properties = MessageProperties {
        message_id: Some(id.to_owned()),
        persistent: true,
        ..MessageProperties::default()
    };
    OutboundMessage {
        routing_key: queue.to_owned(),
        body: id.to_owned().into(),
        properties,
        mandatory: true,
        ..OutboundMessage::default()
    }
}

/// Publishes until the broker has confirmed, as a caller is meant to.
pub(crate) async fn publish_until_confirmed(publisher: &Publisher, message: OutboundMessage) -> Published {
    loop {
        match publisher.publish(message.clone()).await {
            Ok(published) => return published,
            Err(error) if error.is_retryable() => {}
            Err(error @ (PublishError::Stopped | PublishError::TooLarge { .. })) => panic!("{error}"),
            Err(error) => panic!("not retryable: {error}"),
        }
    }
}
