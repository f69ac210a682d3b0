//! The log of published events.

use std::{sync::Arc, time::Duration};

use crewcall_backend::{
    domain::{EventId, NewEvent, PublishedEvent, Sequence, Subject},
    engine::ports::{Appended, LogBounds, Store},
};

use super::under_test::{START, StoreUnderTest};

/// How many write at once, and how many events each of them.
const WRITERS: usize = 8;
const EVENTS_EACH: usize = 40;

pub(super) fn event(subject: &str, data: &str) -> NewEvent {
    NewEvent {
        subject: Subject::published(subject).unwrap(),
        data: data.to_owned(),
        id: None,
        occurred_at: None,
        origin: None,
    }
}

pub(super) fn named(id: &str, content: u8) -> NewEvent {
    let id = Some(EventId { text: id.to_owned(), content_hash: [content; 32] });
    NewEvent { id, ..event("order.paid", &content.to_string()) }
}

fn sequences(appended: &[Appended]) -> Vec<(&'static str, u64)> {
    let of = |appended: &Appended| match appended {
        Appended::Recorded(event) => ("recorded", event.sequence.0),
        Appended::Replayed(event) => ("replayed", event.sequence.0),
        Appended::IdReused(sequence) => ("reused", sequence.0),
    };
    appended.iter().map(of).collect()
}

pub(super) async fn whole_log(store: &Arc<dyn Store>) -> Vec<PublishedEvent> {
    store.events_after(Sequence(0), usize::MAX, usize::MAX).await.unwrap()
}

pub(crate) async fn events_come_back_as_they_were_published(mut tested: StoreUnderTest) {
    let empty = LogBounds { oldest: Sequence(1), head: Sequence(0) };
    assert_eq!(tested.store.log_bounds().await.unwrap(), empty);
    let first = NewEvent { occurred_at: Some(START.plus_millis(-7)), ..named("github:a1b2", 1) };
    let appended = tested.store.append(vec![first, event("a", r#"{"x":"☃"}"#)]).await.unwrap().value;
    assert_eq!(sequences(&appended), [("recorded", 1), ("recorded", 2)]);
    tested.clock.advance(5);
    tested.store.append(vec![event("b", &"9".repeat(100))]).await.unwrap();
    tested.reopen().await;
    let log = whole_log(&tested.store).await;
    assert_eq!(
        log.iter().map(|event| event.data.as_str()).collect::<Vec<_>>(),
        ["1", r#"{"x":"☃"}"#, &"9".repeat(100)]
    );
    assert_eq!(
        (log[0].id.as_deref(), log[0].occurred_at),
        (Some("github:a1b2"), Some(START.plus_millis(-7)))
    );
    assert_eq!((log[1].id.as_deref(), log[1].occurred_at, log[1].recorded_at), (None, None, START));
    assert_eq!((log[2].sequence, log[2].recorded_at), (Sequence(3), START.plus_millis(5)));
    assert_eq!(tested.store.event(Sequence(2)).await.unwrap().as_ref(), Some(&log[1]));
    assert_eq!(tested.store.event(Sequence(4)).await.unwrap(), None);
    let read = async |after, limit, bytes| {
        let read = tested.store.events_after(Sequence(after), limit, bytes).await.unwrap();
        read.into_iter().map(|event| event.sequence.0).collect::<Vec<_>>()
    };
    assert_eq!(read(1, 1, usize::MAX).await, [2]);
    assert_eq!(read(0, 9, 2).await, [1, 2], "the event that is too much is the last");
    assert_eq!(read(3, 9, usize::MAX).await, [0; 0]);
    tested.finish().await;
}

pub(crate) async fn an_event_that_is_published_again_is_the_same(mut tested: StoreUnderTest) {
    let together = vec![named("a", 1), named("a", 1), event("x.y", "{}"), named("a", 2), named("b", 2)];
    let appended = tested.store.append(together).await.unwrap().value;
    let expected = [("recorded", 1), ("replayed", 1), ("recorded", 2), ("reused", 1), ("recorded", 3)];
    assert_eq!(sequences(&appended), expected);
    tested.reopen().await;
    let again = tested.store.append(vec![named("b", 2), named("b", 1), named("c", 1)]).await.unwrap().value;
    assert_eq!(sequences(&again), [("replayed", 3), ("reused", 3), ("recorded", 4)]);
    let at_once = (0..20).map(|_| tested.store.append(vec![named("d", 1)]));
    let answers = futures_util::future::try_join_all(at_once).await.unwrap();
    let answers: Vec<Appended> = answers.into_iter().flat_map(|answer| answer.value).collect();
    let mut answers = sequences(&answers);
    answers.sort_unstable();
    assert_eq!(answers.first(), Some(&("recorded", 5)));
    assert!(answers[1..].iter().all(|answer| *answer == ("replayed", 5)), "{answers:?}");
    assert_eq!(whole_log(&tested.store).await.len(), 5);
    tested.finish().await;
}

/// Reads on from what it has seen until there is nothing more, and returns all of it.
pub(super) async fn follow(store: Arc<dyn Store>, events: usize) -> Vec<u64> {
    let mut seen: Vec<u64> = Vec::new();
    while seen.len() < events {
        let after = Sequence(seen.last().copied().unwrap_or(0));
        let read = store.events_after(after, 7, usize::MAX).await.unwrap();
        seen.extend(read.iter().map(|event| event.sequence.0));
        tokio::task::yield_now().await;
    }
    seen
}

pub(crate) async fn whoever_follows_the_log_skips_nothing(tested: StoreUnderTest) {
    let total = WRITERS * EVENTS_EACH;
    let write = async |writer: usize| {
        for number in 0..EVENTS_EACH {
            // Jobs come and fail beside them, and some calls bring several.
            let job = tested.job("a");
            let twice =
                vec![super::under_test::accepted(job.clone(), 0), super::under_test::accepted(job, 0)];
            let event = event("count.up", &format!("[{writer},{number}]"));
            let (appended, inserted) =
                tokio::join!(tested.store.append(vec![event]), tested.store.insert(twice));
            assert_eq!(appended.unwrap().value.len(), 1);
            assert!(inserted.is_err(), "one job cannot be stored twice");
        }
    };
    let writers = futures_util::future::join_all((0..WRITERS).map(write));
    let all = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(
            follow(Arc::clone(&tested.store), total),
            follow(Arc::clone(&tested.store), total),
            writers
        )
    });
    let (one, other, _) = all.await.unwrap();
    let expected: Vec<u64> = (1..=u64::try_from(total).unwrap()).collect();
    assert_eq!(one, expected);
    assert_eq!(other, expected);
    tested.finish().await;
}

pub(crate) async fn the_oldest_events_go_and_their_numbers_are_not_used_again(mut tested: StoreUnderTest) {
    const KEPT_FOR: Duration = Duration::from_millis(100);
    const HELD_FOR: Duration = Duration::from_secs(1);
    tested.store.append(vec![named("a", 1), event("x", "1"), event("x", "2")]).await.unwrap();
    tested.clock.advance(60);
    tested.store.append(vec![event("x", "3")]).await.unwrap();
    tested.clock.advance(-50); // set back: what comes next looks older than what was there
    tested.store.append(vec![event("x", "4")]).await.unwrap();
    assert_eq!(tested.store.delete_events(KEPT_FOR, HELD_FOR, 10).await.unwrap(), 0);
    tested.clock.advance(101);
    assert_eq!(tested.store.delete_events(KEPT_FOR, HELD_FOR, 2).await.unwrap(), 2, "in steps");
    assert_eq!(tested.store.delete_events(KEPT_FOR, HELD_FOR, 10).await.unwrap(), 1, "only a beginning");
    assert_eq!(tested.store.event(Sequence(3)).await.unwrap(), None);
    assert_eq!(
        tested.store.log_bounds().await.unwrap(),
        LogBounds { oldest: Sequence(4), head: Sequence(5) }
    );
    tested.clock.advance(1_000);
    assert_eq!(tested.store.delete_events(KEPT_FOR, HELD_FOR, 10).await.unwrap(), 2);
    tested.reopen().await;
    assert_eq!(
        tested.store.log_bounds().await.unwrap(),
        LogBounds { oldest: Sequence(6), head: Sequence(5) }
    );
    let again = tested.store.append(vec![named("a", 2)]).await.unwrap().value;
    assert_eq!(sequences(&again), [("recorded", 6)], "its id is free again");
    tested.finish().await;
}
