//! The broker is killed while 20 000 messages are published: none that was confirmed is lost.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crewcall_amqp::{ConsumerEvent, LinkState, Published};
use e2e::broker::own_broker;
use futures_util::{StreamExt, stream};
use tokio::sync::Notify;

use super::support::{Bench, message, publish_until_confirmed, quorum_queue, state, subscription, within};

const MESSAGES: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_when_the_broker_is_killed_while_publishing() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = own_broker(&dir).await.unwrap();
    let bench = Bench::new(&broker.url("/"));
    let publisher = bench.publisher(vec![quorum_queue("work")]);
    state(&publisher, "connecting", LinkState::is_connected).await;
    broker.sync().await.unwrap();

    let (confirmed, unknown_seen, quarter_done) = (AtomicUsize::new(0), AtomicUsize::new(0), Notify::new());
    let publishing = stream::iter(0..MESSAGES).for_each_concurrent(800, |number| {
        let (publisher, confirmed, unknown_seen, quarter_done) =
            (&publisher, &confirmed, &unknown_seen, &quarter_done);
        async move {
            let message = message("work", &number.to_string());
            if publisher.publish(message.clone()).await != Ok(Published::Confirmed) {
                unknown_seen.fetch_add(1, Ordering::Relaxed);
                assert_eq!(publish_until_confirmed(publisher, message).await, Published::Confirmed);
            }
            if confirmed.fetch_add(1, Ordering::Relaxed) == MESSAGES / 4 {
                quarter_done.notify_one();
            }
        }
    });
    let fault = async {
        quarter_done.notified().await;
        broker.kill().await.unwrap();
        broker.restart().await.unwrap();
    };
    within("publishing over the restart", async { tokio::join!(publishing, fault) }).await;
    assert!(unknown_seen.load(Ordering::Relaxed) > 0, "the broker was killed with messages in flight");
    assert_eq!(publisher.reconnects(), 1);
    assert_eq!(publisher.unconfirmed(), 0);

    let (consumer, mut events) = bench.consumer(vec![], vec![subscription("work", 1000)]);
    events.up().await;
    let mut seen = HashSet::new();
    while seen.len() < MESSAGES {
        let ConsumerEvent::Delivery(delivery) = events.next().await else { panic!("the session ended") };
        seen.insert(delivery.properties.message_id.clone().unwrap());
        if seen.len().is_multiple_of(200) {
            delivery.ack_up_to().await.unwrap();
        }
    }
    consumer.close().await;
    publisher.close().await;
    bench.finish().await;
    broker.stop().await.unwrap();
}
