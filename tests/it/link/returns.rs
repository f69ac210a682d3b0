//! Unroutable messages among routable ones.

use crewcall_amqp::{Declaration, ExchangeKind, Published};
use e2e::broker::vhost;
use futures_util::future::join_all;

use super::support::{Bench, message, quorum_queue, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_one_of_2000_pipelined_messages_gets_its_own_fate() {
    let vhost = vhost("returns").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let topic =
        Declaration::Exchange { name: "topic".to_owned(), kind: ExchangeKind::Topic, alternate: None };
    let binding = Declaration::Binding {
        queue: "work".to_owned(),
        exchange: "topic".to_owned(),
        routing_key: "known".to_owned(),
    };
    let publisher = bench.publisher(vec![topic, quorum_queue("work"), binding]);
    // Runs of both kinds and of different lengths, so that confirms of several messages at once and of single ones
    // occur.
    let unroutable = |number: usize| number.is_multiple_of(3) || (number / 50).is_multiple_of(4);
    let publishes = (0..2000).map(|number| {
        let mut message = message(if unroutable(number) { "unknown" } else { "known" }, &number.to_string());
        message.exchange = "topic".to_owned();
        publisher.publish(message)
    });
    let results = within("publishing", join_all(publishes.collect::<Vec<_>>())).await;
    for (number, result) in results.into_iter().enumerate() {
        match result.unwrap() {
            Published::Returned { code: 312, .. } => assert!(unroutable(number), "{number} was routable"),
            Published::Returned { code, text } => panic!("{number} was returned with {code} {text}"),
            Published::Confirmed => {
                assert!(!unroutable(number), "{number} was confirmed, but no queue takes it");
            }
        }
    }
    let depth = publisher.queue_depth("work").await.unwrap().unwrap();
    assert_eq!(depth.messages as usize, (0..2000).filter(|number| !unroutable(*number)).count());
    bench.finish().await;
}

#[tokio::test]
async fn a_message_that_is_not_mandatory_is_confirmed_and_dropped() {
    let vhost = vhost("not-mandatory").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let publisher = bench.publisher(vec![]);
    let mut dropped = message("nobody", "1");
    dropped.mandatory = false;
    assert_eq!(within("publishing", publisher.publish(dropped)).await, Ok(Published::Confirmed));
    let returned = within("publishing", publisher.publish(message("nobody", "2"))).await.unwrap();
    assert!(matches!(returned, Published::Returned { .. }), "{returned:?}");
    bench.finish().await;
}
