//! Jobs on their way to the broker.

use std::time::Duration;

use crewcall_backend::{
    domain::{Event, Pause, State, TypeSettings},
    engine::ports::{DispatchMarks, DispatchNumber, DispatchedOrder},
};
use crewcall_proto::{JobId, Timestamp};

use super::under_test::{START, StoreUnderTest, completed, held, job_type, started};

async fn take(tested: &StoreUnderTest, window: usize, limit: usize) -> Vec<JobId> {
    let dispatches = tested.dispatch_due(&job_type("a"), window, limit).await.dispatches;
    for dispatch in &dispatches {
        assert_eq!(tested.read(dispatch.job.id).await.0, *dispatch.job);
        assert_eq!(dispatch.job.status.state, State::Dispatched);
        assert!(dispatch.order().is_some());
    }
    dispatches.iter().map(|dispatch| dispatch.job.id).collect()
}

async fn unconfirmed(tested: &StoreUnderTest, after: u64, limit: usize) -> Vec<(u64, JobId)> {
    let dispatches = tested.store.unconfirmed_dispatches(DispatchNumber(after), limit).await.unwrap();
    dispatches.iter().map(|dispatch| (dispatch.number.0, dispatch.job.id)).collect()
}

pub(crate) async fn jobs_go_by_priority_then_due_time_then_id(tested: StoreUnderTest) {
    let mut jobs: Vec<_> =
        [4, 9, 4, 0, 9].into_iter().map(|priority| tested.job_of_priority("a", priority)).collect();
    jobs[2].status.due_at = Timestamp::from_millis(5);
    for job in jobs.iter().rev() {
        tested.insert(job.clone(), 0).await;
    }
    tested.insert(tested.job("b"), 0).await;
    let order = [1, 4, 2, 0, 3].map(|index: usize| jobs[index].id);
    assert_eq!(take(&tested, 100, 2).await, order[..2], "no more than the limit");
    assert_eq!(take(&tested, 4, 100).await, order[2..4], "no more than there is room for");
    assert_eq!(take(&tested, 4, 100).await, []);
    assert_eq!(take(&tested, 5, 100).await, order[4..]);
    tested.finish().await;
}

pub(crate) async fn a_held_or_ended_attempt_makes_room(tested: StoreUnderTest) {
    let jobs = [tested.dispatched("a").await, tested.dispatched("a").await, tested.dispatched("a").await];
    let waiting = tested.insert(tested.job("a"), 3).await.job;
    assert!(!tested.change(&jobs[0], started(&jobs[0])).await.freed_window);
    assert_eq!(take(&tested, 3, 10).await, []);
    assert!(tested.change(&jobs[0], held(&jobs[0])).await.freed_window);
    assert!(tested.change(&jobs[1], completed(&jobs[1])).await.freed_window);
    assert!(!tested.change(&jobs[0], completed(&jobs[0])).await.freed_window, "it was free already");
    assert_eq!(take(&tested, 1, 10).await, [], "one is with the broker");
    assert_eq!(take(&tested, 2, 10).await, [waiting.id]);
    tested.finish().await;
}

pub(crate) async fn what_is_set_for_a_type_holds_for_each_dispatch(mut tested: StoreUnderTest) {
    let jobs = [tested.dispatched("a").await, tested.dispatched("a").await];
    let waiting = tested.insert(tested.job("a"), 0).await.job;
    let set = async |tested: &StoreUnderTest, settings: TypeSettings| {
        assert!(tested.store.put_type_settings(&job_type("a"), &settings).await.unwrap());
    };
    set(&tested, TypeSettings { running_max: Some(2), ..TypeSettings::default() }).await;
    tested.change(&jobs[0], held(&jobs[0])).await;
    assert_eq!(take(&tested, 100, 10).await, [], "a held attempt runs");
    tested.reopen().await;
    assert_eq!(take(&tested, 100, 10).await, [], "also after a restart");
    let pause = Pause { by: "ada".to_owned(), reason: None, at: START };
    set(&tested, TypeSettings { pause: Some(pause), ..TypeSettings::default() }).await;
    assert_eq!(take(&tested, 100, 10).await, [], "it is paused");
    assert_eq!(tested.insert(tested.job("a"), 100).await.dispatched, None);
    set(&tested, TypeSettings { running_max: Some(2), ..TypeSettings::default() }).await;
    tested.change(&jobs[1], completed(&jobs[1])).await;
    assert_eq!(take(&tested, 100, 10).await, [waiting.id]);
    set(&tested, TypeSettings::default()).await;
    assert_eq!(take(&tested, 100, 10).await.len(), 1);
    tested.finish().await;
}

pub(crate) async fn a_rate_limit_remembers_what_began(mut tested: StoreUnderTest) {
    let one_a_day = TypeSettings { rate_per_second: Some(1.0 / 86_400.0), ..TypeSettings::default() };
    tested.store.put_type_settings(&job_type("a"), &one_a_day).await.unwrap();
    for _ in 0..3 {
        tested.insert(tested.job("a"), 100).await;
    }
    let due = tested.dispatch_due(&job_type("a"), 100, 100).await;
    assert_eq!((due.dispatches.len(), due.rate_wait), (1, Some(Duration::from_secs(86_400))));
    let none_begins = async |tested: &StoreUnderTest| {
        tested.clock.advance(1_000);
        let due = tested.dispatch_due(&job_type("a"), 100, 100).await;
        assert!(due.dispatches.is_empty() && due.rate_wait.is_some());
    };
    for _ in 0..10 {
        tested.reopen().await;
        none_begins(&tested).await;
        tested.store.put_type_settings(&job_type("a"), &one_a_day).await.unwrap();
        none_begins(&tested).await;
    }
    tested.clock.advance(86_400_000 - 20 * 1_000);
    let due = tested.dispatch_due(&job_type("a"), 100, 100).await;
    assert_eq!((due.dispatches.len(), due.rate_wait), (1, Some(Duration::from_secs(86_400))));
    // A clock that is set back by an hour lengthens nothing.
    tested.clock.advance(-3_600_000);
    tested.reopen().await;
    none_begins(&tested).await;
    tested.clock.advance(86_399_000);
    assert_eq!(take(&tested, 100, 100).await.len(), 1);
    let due = tested.dispatch_due(&job_type("a"), 100, 100).await;
    assert_eq!(due.rate_wait, None, "nobody waits for it");
    tested.finish().await;
}

pub(crate) async fn room_is_known_after_a_restart(mut tested: StoreUnderTest) {
    let (one, two) = (tested.dispatched("a").await, tested.dispatched("a").await);
    tested.change(&one, started(&one)).await;
    tested.change(&two, started(&two)).await;
    tested.change(&two, held(&two)).await;
    let waiting = tested.insert(tested.job("a"), 1).await.job;
    tested.reopen().await;
    assert_eq!(tested.store.ready_types().await.unwrap(), [job_type("a")]);
    assert_eq!(take(&tested, 1, 10).await, []);
    assert_eq!(take(&tested, 2, 10).await, [waiting.id]);
    assert_eq!(tested.store.ready_types().await.unwrap(), []);
    tested.finish().await;
}

pub(crate) async fn a_lost_order_is_sent_again_with_its_token_and_a_new_number(tested: StoreUnderTest) {
    let job = tested.dispatched("a").await;
    let token = job.status.token.unwrap();
    tested.change(&job, Event::OrderLost { attempt: job.status.attempt, token }).await;
    let again = tested.dispatch_due(&job_type("a"), 1, 1).await.dispatches.remove(0);
    assert_eq!((again.number, again.job.status.token), (DispatchNumber(2), Some(token)));
    assert_eq!(unconfirmed(&tested, 0, 10).await, [(2, job.id)]);
    tested.finish().await;
}

pub(crate) async fn what_was_not_confirmed_is_found_after_a_restart(mut tested: StoreUnderTest) {
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(tested.dispatched("a").await);
    }
    tested.change(&ids[2], completed(&ids[2])).await;
    tested.change(&ids[3], started(&ids[3])).await;
    tested.change(&ids[4], started(&ids[4])).await;
    tested.change(&ids[4], held(&ids[4])).await;
    tested.store.confirm_dispatches(DispatchNumber(1)).await.unwrap();
    tested.store.confirm_dispatches(DispatchNumber(0)).await.unwrap();
    tested.reopen().await;
    let marks = DispatchMarks { confirmed: DispatchNumber(1), issued: DispatchNumber(6) };
    assert_eq!(tested.store.dispatch_marks().await.unwrap(), marks, "a mark never falls");
    let expected = [(2, ids[1].id), (6, ids[5].id)];
    assert_eq!(
        unconfirmed(&tested, 0, 10).await,
        expected,
        "the third is over, the fourth and the fifth have started"
    );
    assert_eq!(unconfirmed(&tested, 2, 1).await, expected[1..2]);
    let next = tested.insert(tested.job("b"), 1).await;
    assert_eq!(next.dispatched, Some(DispatchNumber(7)), "numbers go on");
    tested.finish().await;
}

pub(crate) async fn orders_with_the_broker_are_listed_longest_dispatched_first(tested: StoreUnderTest) {
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(tested.dispatched("a").await);
    }
    tested.dispatched("b").await;
    tested.insert(tested.job("a"), 0).await;
    tested.change(&jobs[1], started(&jobs[1])).await;
    tested.change(&jobs[2], completed(&jobs[2])).await;
    // Sent again: it is the last now.
    let token = jobs[0].status.token.unwrap();
    tested.change(&jobs[0], Event::OrderLost { attempt: jobs[0].status.attempt, token }).await;
    take(&tested, 4, 1).await;
    let expected: Vec<_> = [(3, 4), (4, 5), (0, 7)]
        .map(|(index, number): (usize, u64)| DispatchedOrder {
            job_id: jobs[index].id,
            attempt: jobs[index].status.attempt,
            token: jobs[index].status.token.unwrap(),
            number: DispatchNumber(number),
        })
        .to_vec();
    assert_eq!(tested.store.dispatched(&job_type("a"), 10).await.unwrap(), expected);
    assert_eq!(tested.store.dispatched(&job_type("a"), 2).await.unwrap(), expected[..2]);
    assert_eq!(tested.store.dispatched(&job_type("c"), 10).await.unwrap(), []);
    tested.finish().await;
}
