//! Subscriptions come and go while a session lives, and are remembered when it does not.

use std::collections::HashSet;

use crewcall_amqp::{Consumer, ConsumerEvent, Declaration, SessionPlan};
use e2e::broker::{shared_broker, vhost};

use super::support::{Bench, Events, message, messages_with_consumers, quorum_queue, subscription, within};

#[tokio::test]
async fn resubscribing_changes_the_prefetch_and_keeps_what_was_delivered() {
    let vhost = vhost("resubscribe").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let publisher = bench.publisher(vec![quorum_queue("work")]);
    for number in 0..5 {
        within("publishing", publisher.publish(message("work", &number.to_string()))).await.unwrap();
    }
    let (consumer, mut events) = bench.consumer(vec![], vec![subscription("work", 2)]);
    events.up().await;
    let held = [events.delivery().await, events.delivery().await];
    within("resubscribing", consumer.resubscribe(subscription("work", 1))).await.unwrap();
    let third = events.delivery().await;
    assert!(!third.redelivered, "what the cancelled consumer got stays with us");

    // Acknowledging the old deliveries makes no room: they do not count against the new prefetch.
    for delivery in &held {
        delivery.ack().await.unwrap();
    }
    third.ack().await.unwrap();
    let fourth = events.delivery().await;
    let ids: HashSet<_> =
        held.iter().chain([&third, &fourth]).map(|delivery| delivery.properties.message_id.clone()).collect();
    assert_eq!(ids.len(), 4);

    within("unsubscribing", consumer.unsubscribe("work")).await.unwrap();
    fourth.ack().await.unwrap();
    assert_eq!(messages_with_consumers(&publisher, "work", 0).await, 1);
    bench.finish().await;
}

#[tokio::test]
async fn later_sessions_begin_with_what_was_subscribed_and_without_what_was_not() {
    let vhost = vhost("remembered").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let queues = ["planned", "added", "removed"];
    let publisher = bench.publisher(queues.map(quorum_queue).to_vec());
    let planned = vec![subscription("planned", 1), subscription("removed", 1)];
    let (consumer, mut events) = bench.consumer(queues.map(quorum_queue).to_vec(), planned);
    events.up().await;
    consumer.subscribe(subscription("added", 1)).await.unwrap();
    consumer.unsubscribe("removed").await.unwrap();
    let broker = shared_broker().await.unwrap();
    broker.ctl(&["close_all_connections", "--vhost", &vhost.name, "again"]).await.unwrap();
    events.down().await;
    events.up().await;
    for (queue, consumers) in [("planned", 1), ("added", 1), ("removed", 0)] {
        messages_with_consumers(&publisher, queue, consumers).await;
    }
    bench.finish().await;
}

#[tokio::test]
async fn each_session_can_have_an_exclusive_queue_of_its_own() {
    let vhost = vhost("exclusive").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let plan = |generation: u64| {
        let name = format!("mine.{generation}");
        let subscriptions = vec![subscription(&name, 10)];
        SessionPlan { declarations: vec![Declaration::ExclusiveQueue { name }], subscriptions }
    };
    let (consumer, events) =
        Consumer::start_with_plan(bench.config.clone(), plan, &bench.stop, &bench.tracker);
    let mut events = Events(events);
    let publisher = bench.publisher(vec![]);
    let broker = shared_broker().await.unwrap();
    for _ in 0..2 {
        let generation = events.up().await;
        let sent =
            within("publishing", publisher.publish(message(&format!("mine.{generation}"), "hello"))).await;
        sent.unwrap();
        assert_eq!(&events.delivery().await.body[..], b"hello");
        broker.ctl(&["close_all_connections", "--vhost", &vhost.name, "next"]).await.unwrap();
        events.down().await;
    }
    drop(events);
    within("the link ending with its receiver", async {
        let mut state = consumer.state();
        state.wait_for(|state| *state == crewcall_amqp::LinkState::Stopped).await.map(drop)
    })
    .await
    .unwrap();
    bench.finish().await;
}

#[tokio::test]
async fn a_receiver_that_is_busy_subscribing_does_not_stall() {
    let vhost = vhost("busy-receiver").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let publisher = bench.publisher(vec![quorum_queue("full"), quorum_queue("late")]);
    for number in 0..600 {
        within("publishing", publisher.publish(message("full", &number.to_string()))).await.unwrap();
    }
    // More deliveries than events may wait: the session's task has a delivery in hand that nobody takes.
    let (consumer, mut events) = bench.consumer(vec![], vec![subscription("full", 600)]);
    events.up().await;
    let full = async {
        while events.0.len() < events.0.max_capacity() {
            tokio::task::yield_now().await;
        }
    };
    within("the events piling up", full).await;
    within("subscribing with a full channel", consumer.subscribe(subscription("late", 1))).await.unwrap();
    for _ in 0..600 {
        assert!(matches!(events.next().await, ConsumerEvent::Delivery(_)));
    }
    bench.finish().await;
}
