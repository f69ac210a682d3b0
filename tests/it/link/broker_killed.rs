//! The broker is killed while 8 000 messages are published: none that was confirmed is lost.

use std::{
    collections::HashSet,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use crewcall_amqp::{ConsumerEvent, LinkState, Published};
use e2e::broker::own_broker;
use futures_util::{StreamExt, stream};
use tokio::{sync::Notify, time::timeout};

use super::support::{Bench, DEADLINE, message, publish_until_confirmed, quorum_queue, state, subscription};

const MESSAGES: usize = 8_000;

/// How many are read before they are acknowledged: a part of the prefetch, whichever of them came before.
const ACKNOWLEDGED_AT_ONCE: usize = 200;

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
    while_it_goes_on(&confirmed, async { tokio::join!(publishing, fault) }).await;
    assert!(unknown_seen.load(Ordering::Relaxed) > 0, "the broker was killed with messages in flight");
    assert!(publisher.reconnects() > 0);
    assert_eq!(publisher.unconfirmed(), 0);

    let (consumer, mut events) = bench.consumer(vec![], vec![subscription("work", 1000)]);
    events.up().await;
    let (mut seen, mut read) = (HashSet::new(), 0_usize);
    while seen.len() < MESSAGES {
        match events.next().await {
            ConsumerEvent::Delivery(delivery) => {
                seen.insert(delivery.properties.message_id.clone().unwrap());
                read += 1;
                if read.is_multiple_of(ACKNOWLEDGED_AT_ONCE) {
                    // One that comes too late for its session brings them again.
                    let _ = delivery.ack_up_to().await;
                }
            }
            ConsumerEvent::Up { .. } | ConsumerEvent::Down { .. } => {}
        }
    }
    consumer.close().await;
    publisher.close().await;
    bench.finish().await;
    broker.stop().await.unwrap();
}

/// Waits for as long as it goes on: each confirm waits for the disk, and that of a busy machine takes its time for all of
/// them, and for a node that starts.
async fn while_it_goes_on<F: Future>(confirmed: &AtomicUsize, future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let before = confirmed.load(Ordering::Relaxed);
        if let Ok(output) = timeout(DEADLINE * 2, &mut future).await {
            return output;
        }
        assert!(confirmed.load(Ordering::Relaxed) > before, "nothing is confirmed any more");
    }
}
