//! A queue that disappears under its consumer ends the session, and comes back with the next one.

use crewcall_amqp::Published;
use e2e::broker::{shared_broker, vhost};

use super::support::{Bench, message, quorum_queue, subscription, within};

#[tokio::test]
async fn a_deleted_queue_is_noticed_declared_again_and_consumed_again() {
    let vhost = vhost("deleted-queue").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let publisher = bench.publisher(vec![]);
    let subscriptions = vec![subscription("work", 1), subscription("other", 1)];
    let (consumer, mut events) =
        bench.consumer(vec![quorum_queue("work"), quorum_queue("other")], subscriptions);
    let first = events.up().await;

    let broker = shared_broker().await.unwrap();
    broker.ctl(&["delete_queue", "--vhost", &vhost.name, "work"]).await.unwrap();
    let (ended, reason) = events.down().await;
    assert_eq!(ended, first);
    assert_eq!(reason, "queue work was deleted, or its consumer cancelled");

    assert!(events.up().await > first);
    assert_eq!(consumer.reconnects(), 1);
    for queue in ["work", "other"] {
        let published = within("publishing", publisher.publish(message(queue, "m"))).await;
        assert_eq!(published, Ok(Published::Confirmed));
        let delivery = events.delivery().await;
        assert_eq!(&*delivery.queue, queue);
        delivery.ack().await.unwrap();
    }
    bench.finish().await;
}

#[tokio::test]
async fn a_queue_that_is_missing_from_the_start_is_named_until_it_is_there() {
    let vhost = vhost("missing-queue").await.unwrap();
    let bench = Bench::new(&vhost.url);
    let (consumer, mut events) = bench.consumer(vec![], vec![subscription("later", 1)]);
    let mut state = consumer.state();
    let failing = state.wait_for(|state| {
        matches!(state, crewcall_amqp::LinkState::Connecting { last_error: Some(error), .. }
            if error.to_string() == "queue later does not exist")
    });
    within("the link saying why", failing).await.unwrap();
    let publisher = bench.publisher(vec![]);
    publisher.declare(vec![quorum_queue("later")]).await.unwrap();
    events.up().await;
    bench.finish().await;
}
