//! Orders that are lost.

use std::time::Duration;

use crewcall_backend::{
    domain::{Event, State},
    engine::{
        fleet::overtaking::OVERTAKEN_BY,
        ports::OrdersWaiting,
        upkeep::reconcile::{MISSING_FOR, Reconciler, UNROUTABLE_OR_DEAD_FOR},
    },
};
use crewcall_proto::{JobId, Timestamp};

use super::{dispatch, figure, say, server};
use crate::http::server::Server;

/// What is more than two heartbeats.
const A_WHILE: Duration = Duration::from_secs(11);

async fn resends(server: &Server, id: JobId) -> u32 {
    server.store.get(id).await.unwrap().unwrap().0.status.resends
}

/// Later orders of the type come and are done.
async fn others_are_done(server: &Server, count: usize) {
    let ids = dispatch(server, count, None).await;
    say(server, &ids, |origin| Event::Completed {
        origin,
        result: "1".to_owned(),
        emitted: Vec::new(),
        started_at: Timestamp::from_millis(0),
        finished_at: Timestamp::from_millis(1),
    })
    .await;
}

#[tokio::test]
async fn an_order_that_later_ones_overtake_is_sent_again_whatever_waits() {
    let server = server().await;
    let [lost] = dispatch(&server, 1, None).await[..] else { unreachable!() };
    server.broker.wait(OrdersWaiting { jobs: Some(5_000), unroutable_or_dead: 0 });
    let mut reconciler = Reconciler::default();
    // It waits behind others for long: that shows nothing.
    for _ in 0..3 {
        server.engine.look_for_lost_orders(&mut reconciler).await.unwrap();
        server.hear_nobody_for(MISSING_FOR).await;
    }
    // Others are done, but they may have been in front of it.
    server.engine.look_for_lost_orders(&mut reconciler).await.unwrap();
    assert_eq!(resends(&server, lost).await, 0);
    for enough in [OVERTAKEN_BY - 1, 1] {
        assert_eq!(resends(&server, lost).await, 0, "one more may have been in front of it");
        others_are_done(&server, enough).await;
        for _ in 0..2 {
            server.engine.look_for_lost_orders(&mut reconciler).await.unwrap();
            server.hear_nobody_for(A_WHILE).await;
        }
    }
    // The round of its first look is over; it was missing for 45 s when the next one began.
    others_are_done(&server, OVERTAKEN_BY).await;
    for _ in 0..3 {
        server.engine.look_for_lost_orders(&mut reconciler).await.unwrap();
        server.hear_nobody_for(A_WHILE).await;
    }
    assert_eq!(resends(&server, lost).await, 1);
    assert_eq!(figure(&server, "crewcall_orders_sent_again_total").await, 1.0);
    server.stop().await;
}

#[tokio::test]
async fn an_attempt_whose_start_was_reported_is_looked_for_in_the_same_way() {
    let server = server().await;
    let ids = dispatch(&server, 1, None).await;
    say(&server, &ids, |origin| Event::Started { origin, seq: 1, at: Timestamp::from_millis(0) }).await;
    server.broker.wait(OrdersWaiting { jobs: Some(5_000), unroutable_or_dead: 0 });
    let mut reconciler = Reconciler::default();
    server.engine.look_for_lost_orders(&mut reconciler).await.unwrap();
    server.hear_nobody_for(MISSING_FOR).await;
    for _ in 0..2 {
        others_are_done(&server, OVERTAKEN_BY).await;
        for _ in 0..2 {
            server.engine.look_for_lost_orders(&mut reconciler).await.unwrap();
            server.hear_nobody_for(A_WHILE).await;
        }
    }
    assert_eq!(resends(&server, ids[0]).await, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_nobody_reads_does_not_hide_what_is_lost_for_ever() {
    let server = server().await;
    let [lost] = dispatch(&server, 1, None).await[..] else { unreachable!() };
    server.broker.wait(OrdersWaiting { jobs: None, unroutable_or_dead: 1 });
    let mut reconciler = Reconciler::default();
    let looks = UNROUTABLE_OR_DEAD_FOR.as_secs() / A_WHILE.as_secs();
    for _ in 0..looks {
        server.engine.look_for_lost_orders(&mut reconciler).await.unwrap();
        assert_eq!(resends(&server, lost).await, 0, "it may be on its way to us");
        server.hear_nobody_for(A_WHILE).await;
    }
    for _ in 0..2 {
        server.engine.look_for_lost_orders(&mut reconciler).await.unwrap();
        server.hear_nobody_for(A_WHILE).await;
    }
    assert_eq!(resends(&server, lost).await, 1);
    let (job, _) = server.store.get(lost).await.unwrap().unwrap();
    // The relay may have sent it again by now.
    assert!(matches!(job.status.state, State::Ready | State::Dispatched), "{:?}", job.status.state);
    server.stop().await;
}

#[tokio::test]
async fn a_lease_on_what_is_over_is_forgotten_when_its_order_is_missed() {
    let server = server().await;
    let ids = dispatch(&server, 1, None).await;
    let started = |origin| Event::Started { origin, seq: 1, at: Timestamp::from_millis(0) };
    let started = say(&server, &ids, started).await;
    say(&server, &ids, |origin| Event::Completed {
        origin,
        result: "1".to_owned(),
        emitted: Vec::new(),
        started_at: Timestamp::from_millis(0),
        finished_at: Timestamp::from_millis(1),
    })
    .await;
    assert_eq!(server.engine.delivered(), 0);
    // The news of its start, which was recorded first, is followed last.
    server.engine.changes().after_commit(&started);
    server.broker.wait(OrdersWaiting { jobs: Some(0), unroutable_or_dead: 0 });
    let mut reconciler = Reconciler::default();
    server.engine.look_for_lost_orders(&mut reconciler).await.unwrap();
    assert_eq!(server.engine.delivered(), 1, "it is not missed for long");
    server.hear_nobody_for(MISSING_FOR).await;
    server.engine.look_for_lost_orders(&mut reconciler).await.unwrap();
    assert_eq!(server.engine.delivered(), 0, "it would be missed every 5 s, for ever");
    server.stop().await;
}
