//! What the broker refuses is a clear error for whoever asked, and nobody else's.

use crewcall_amqp::{Declaration, LinkError, LinkState, MESSAGE_BYTES_MAX, PublishError, Published};
use e2e::broker::vhost;

use super::support::{
    Bench, Events, message, publish_until_confirmed, quorum_queue, state, subscription, within,
};

fn limited(name: &str, limit: u32) -> Declaration {
    Declaration::QuorumQueue {
        name: name.to_owned(),
        delivery_limit: Some(limit),
        dead_letter_exchange: None,
        length_max: None,
    }
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_named_with_both_and_the_others_go_on() {
    let vhost = vhost("precondition").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let publisher = bench.publisher(vec![quorum_queue("work")]);
    publisher.declare(vec![limited("limited", 5)]).await.unwrap();
    let refused = publisher.declare(vec![limited("limited", 7)]).await.unwrap_err();
    let LinkError::PreconditionFailed { what, broker_says } = &refused else { panic!("{refused}") };
    assert_eq!(what, "queue limited");
    assert!(broker_says.contains("'5'") && broker_says.contains("'7'"), "{broker_says}");
    assert!(!refused.is_retryable());

    assert_eq!(publisher.publish(message("work", "1")).await, Ok(Published::Confirmed));
    publisher.declare(vec![quorum_queue("another")]).await.unwrap();
    assert_eq!(publisher.reconnects(), 0);
    assert_eq!(publisher.queue_depth("work").await.unwrap().map(|depth| depth.messages), Some(1));
    assert_eq!(publisher.queue_depth("nowhere").await, Ok(None));

    // What is declared at the start is not optional: there is no session, and the state says why.
    let stuck = bench.publisher(vec![limited("limited", 9)]);
    let said = state(
        &stuck,
        "saying why",
        |state| matches!(state, LinkState::Connecting { last_error: Some(error), .. } if error.to_string().contains("'9'")),
    );
    said.await;
    bench.finish().await;
}

#[tokio::test]
async fn a_missing_exchange_is_refused_by_name_and_innocent_messages_get_through() {
    let vhost = vhost("missing-exchange").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let publisher = bench.publisher(vec![quorum_queue("work")]);
    state(&publisher, "connecting", LinkState::is_connected).await;
    let mut wrong = message("key", "wrong");
    wrong.exchange = "nowhere".to_owned();
    let innocent = publish_until_confirmed(&publisher, message("work", "innocent"));
    let (refused, innocent) =
        within("publishing", async { tokio::join!(publisher.publish(wrong), innocent) }).await;
    assert!(
        matches!(&refused, Err(PublishError::Refused { exchange, .. }) if exchange == "nowhere"),
        "{refused:?}"
    );
    assert_eq!(innocent, Published::Confirmed);
    bench.finish().await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_it_harms_the_session() {
    let vhost = vhost("unsendable").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let publisher = bench.publisher(vec![]);
    let mut large = message("work", "large");
    large.body = vec![0; MESSAGE_BYTES_MAX + 1].into();
    assert!(matches!(publisher.publish(large).await, Err(PublishError::TooLarge { .. })));
    let long = publisher.publish(message(&"x".repeat(256), "long")).await;
    assert!(matches!(long, Err(PublishError::Invalid { field: "routing key", .. })), "{long:?}");
    let long = publisher.declare(vec![quorum_queue(&"x".repeat(256))]).await;
    assert!(matches!(long, Err(LinkError::Invalid { .. })), "{long:?}");
    assert_eq!(publisher.reconnects(), 0);
    bench.finish().await;
}

#[tokio::test]
async fn subscribing_to_a_missing_queue_is_refused_and_the_session_goes_on() {
    let vhost = vhost("subscribe-missing").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let publisher = bench.publisher(vec![]);
    let (consumer, mut events): (_, Events) =
        bench.consumer(vec![quorum_queue("work")], vec![subscription("work", 1)]);
    events.up().await;
    let refused = consumer.subscribe(subscription("nowhere", 1)).await.unwrap_err();
    assert_eq!(refused.to_string(), "queue nowhere does not exist");
    let unbounded = consumer.subscribe(subscription("work-2", 0)).await;
    assert!(matches!(unbounded, Err(LinkError::Invalid { .. })), "{unbounded:?}");
    within("publishing", publisher.publish(message("work", "1"))).await.unwrap();
    events.delivery().await.ack().await.unwrap();
    assert_eq!(consumer.reconnects(), 0);
    bench.finish().await;
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named_with_its_address() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let bench = Bench::new(&format!("amqp://someone:hunter2@127.0.0.1:{port}"));
    let publisher = bench.publisher(vec![]);
    let wanted = format!("no broker at 127.0.0.1:{port}: connection refused");
    state(&publisher, "saying why", |state| {
        matches!(state, LinkState::Connecting { last_error: Some(error), attempts, .. } if error.to_string() == wanted && *attempts > 1)
    })
    .await;
    publisher.close().await;
    assert_eq!(publisher.publish(message("work", "1")).await, Err(PublishError::Stopped));
    assert_eq!(publisher.declare(vec![]).await, Err(LinkError::Stopped));
    bench.finish().await;
}
