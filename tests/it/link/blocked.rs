//! The broker's memory alarm stops publishing, and nothing else.

use std::time::Duration;

use crewcall_amqp::{LinkError, LinkState, Published, PublisherOptions};
use e2e::broker::own_broker;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::support::{Bench, message, quorum_queue, state, subscription, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_broker_takes_no_messages_consuming_goes_on_and_publishing_waits() {
    let dir = tempfile::tempdir().unwrap();
    let broker = own_broker(&dir).await.unwrap();
    let bench = Bench::impatient(&broker.url("/"));
    let confirm_timeout = Duration::from_secs(1);
    let options = PublisherOptions { confirm_timeout, ..PublisherOptions::default() };
    let publisher = bench.publisher_with(vec![quorum_queue("work")], options);
    let before = (0..100).map(|number| publisher.publish(message("work", &number.to_string())));
    assert!(
        join_all(before.collect::<Vec<_>>()).await.iter().all(|result| *result == Ok(Published::Confirmed))
    );

    broker.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]).await.unwrap();
    let waiting = (100..200).map(|number| publisher.publish(message("work", &number.to_string())));
    let mut waiting = std::pin::pin!(join_all(waiting.collect::<Vec<_>>()));
    let blocked = state(&publisher, "being blocked", |state| matches!(state, LinkState::Blocked { .. }));
    tokio::select! {
        results = &mut waiting => panic!("published during the alarm: {results:?}"),
        state = blocked => assert!(matches!(&state, LinkState::Blocked { reason, .. } if reason.contains("memory"))),
    }
    let refused = publisher.declare(vec![quorum_queue("more")]).await;
    assert!(matches!(refused, Err(LinkError::Blocked { .. })), "{refused:?}");

    let (_consumer, mut events) = bench.consumer(vec![], vec![subscription("work", 10)]);
    events.up().await;
    for _ in 0..100 {
        events.delivery().await.ack().await.unwrap();
    }
    let acknowledged = async {
        while broker.ctl(&["list_queues", "messages", "--no-table-headers"]).await.unwrap() != "0" {}
    };
    within("the acknowledgements reaching the broker", acknowledged).await;
    // Several confirm timeouts and heartbeats: neither counts while the broker blocks us.
    let early = timeout(confirm_timeout * 5, &mut waiting).await;
    assert!(early.is_err(), "published during the alarm");

    broker.ctl(&["set_vm_memory_high_watermark", "0.4"]).await.unwrap();
    let results = within("publishing after the alarm", waiting).await;
    assert!(results.iter().all(|result| *result == Ok(Published::Confirmed)), "{results:?}");
    assert_eq!(publisher.reconnects(), 0);
    assert!(matches!(&*publisher.state().borrow(), LinkState::Connected { .. }));
    bench.finish().await;
    broker.stop().await.unwrap();
}
