//! Deliveries and declarations of a session that is over.

use crewcall_amqp::{AckError, Declaration, ExchangeKind, Published};
use e2e::broker::{shared_broker, vhost};

use super::support::{
    Bench, message, messages_with_consumers, publish_until_confirmed, quorum_queue, subscription, within,
};

/// More declarations than channels are opened for them.
const MANY: usize = 200;

#[tokio::test]
async fn a_delivery_of_a_dead_session_cannot_be_acknowledged_and_comes_again() {
    let vhost = vhost("session-over").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let publisher = bench.publisher(vec![quorum_queue("work")]);
    within("publishing", publisher.publish(message("work", "1"))).await.unwrap();
    let (_consumer, mut events) = bench.consumer(vec![], vec![subscription("work", 5)]);
    let first = events.up().await;
    let old = events.delivery().await;
    assert!(!old.redelivered);

    let broker = shared_broker().await.unwrap();
    broker.ctl(&["close_all_connections", "--vhost", &vhost.name, "the test says so"]).await.unwrap();
    let (ended, reason) = events.down().await;
    assert_eq!(ended, first);
    assert!(reason.contains("the test says so"), "{reason}");
    assert_eq!(old.ack().await, Err(AckError::SessionGone));
    assert_eq!(old.ack_up_to().await, Err(AckError::SessionGone));
    assert_eq!(old.nack(true).await, Err(AckError::SessionGone));

    let second = events.up().await;
    let again = events.delivery().await;
    assert!(again.redelivered && second > first);
    assert_eq!((again.generation, &again.properties.message_id), (second, &Some("1".to_owned())));
    assert_eq!(again.properties.delivery_count(), 1);
    again.ack().await.unwrap();
    bench.finish().await;
}

#[tokio::test]
async fn settling_twice_harms_nobody() {
    let vhost = vhost("settle-twice").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let publisher = bench.publisher(vec![quorum_queue("work")]);
    for number in 0..4 {
        within("publishing", publisher.publish(message("work", &number.to_string()))).await.unwrap();
    }
    let (consumer, mut events) = bench.consumer(vec![], vec![subscription("work", 4)]);
    events.up().await;
    let mut deliveries = Vec::new();
    for _ in 0..4 {
        deliveries.push(events.delivery().await);
    }
    deliveries[0].ack().await.unwrap();
    deliveries[0].ack().await.unwrap();
    deliveries[2].ack_up_to().await.unwrap();
    deliveries[1].ack().await.unwrap();
    deliveries[3].nack(true).await.unwrap();
    deliveries[3].ack().await.unwrap();
    let again = events.delivery().await;
    assert_eq!(again.properties.message_id, deliveries[3].properties.message_id);
    again.ack().await.unwrap();
    consumer.close().await;
    assert_eq!(consumer.reconnects(), 0);
    assert_eq!(messages_with_consumers(&publisher, "work", 0).await, 0, "nothing goes back to the queue");
    bench.finish().await;
}

#[tokio::test]
async fn all_that_was_declared_is_declared_again_and_bindings_come_last() {
    let vhost = vhost("declared-again").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let publisher = bench.publisher(vec![]);
    let exchange = |number: usize| format!("exchange-{number}");
    let binding = Declaration::Binding {
        queue: "bound".to_owned(),
        exchange: exchange(MANY - 1),
        routing_key: "#".to_owned(),
    };
    let mut declarations: Vec<Declaration> = (0..MANY)
        .map(|number| Declaration::Exchange {
            name: exchange(number),
            kind: ExchangeKind::Topic,
            alternate: None,
        })
        .collect();
    declarations.extend([quorum_queue("bound"), binding]);
    for some in declarations.chunks(MANY / 10) {
        publisher.declare(some.to_vec()).await.unwrap();
    }
    let broker = shared_broker().await.unwrap();
    broker.ctl(&["delete_queue", "--vhost", &vhost.name, "bound"]).await.unwrap();
    broker.ctl(&["close_all_connections", "--vhost", &vhost.name, "a test closes them"]).await.unwrap();
    let back = async { publisher.state().wait_for(|_| publisher.reconnects() == 1).await.map(drop) };
    within("coming back", back).await.unwrap();
    let mut bound = message("", "m");
    (bound.exchange, bound.routing_key) = (exchange(MANY - 1), "any".to_owned());
    assert_eq!(publish_until_confirmed(&publisher, bound).await, Published::Confirmed);
    bench.finish().await;
}
