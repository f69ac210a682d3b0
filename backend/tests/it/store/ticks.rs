//! What becomes of ticks that collide, come late, or come twice.

use std::time::Duration;

use crewcall_backend::{
    domain::{
        TickKey,
        schedules::{
            consider::Passed,
            known::Wait,
            tick::{TickOutcome, TickState},
        },
    },
    engine::ports::{Cut, ScheduleChange, ScheduleChanged, StepTick, TickMade, TickQuery, TickStop},
};
use crewcall_proto::Timestamp;
use serde_json::json;

use super::{
    schedule_words::{
        at, backfill, begin, change, clock, due, fire, hand, job_of, now, passed, pause, put, records, step,
        tick, tick_or_stop, told, view,
    },
    under_test::{StoreUnderTest, cancel, completed, failed},
};

use TickState::{Fired, Missed, Paused, Queued, Skipped};

fn queue(tested: &StoreUnderTest) -> Vec<TickKey> {
    now(tested).queue.keys().copied().collect()
}

fn open(tested: &StoreUnderTest) -> Vec<TickKey> {
    now(tested).open.keys().copied().collect()
}

async fn make_up(tested: &StoreUnderTest, minutes: &[i64], at_once: bool) -> usize {
    let ticks = minutes.iter().map(|minute| at(*minute)).collect();
    match change(tested, ScheduleChange::Backfill { ticks, at_once, by: "ada".to_owned() }).await {
        ScheduleChanged::Queued(count) => count,
        other => panic!("{other:?}"),
    }
}

/// What there is of the ticks once the store was closed and opened again.
async fn same_after_a_restart(tested: &mut StoreUnderTest) {
    let before = (view(tested), records(tested, &now(tested)).await);
    tested.reopen().await;
    assert_eq!((view(tested), records(tested, &now(tested)).await), before);
}

pub(crate) async fn a_tick_that_comes_too_early_is_skipped(mut tested: StoreUnderTest) {
    put(&tested, &json!({"overlap": "skip"})).await;
    let job = fire(&tested, clock(1)).await;
    let unready = StepTick::Due { key: clock(2), made: None };
    assert_eq!(tick(&tested, 3, vec![unready, due(&tested, clock(3))]).await, [Skipped, Skipped]);
    let reason = records(&tested, &now(&tested)).await[0].reason.clone();
    assert_eq!(reason, Some(format!("job {} of an earlier one was not over", job.id)));
    assert_eq!(tested.store.counts().await.unwrap().iter().map(|count| count.jobs).sum::<u64>(), 1);
    same_after_a_restart(&mut tested).await;
    tested.change(&job, completed(&job)).await;
    assert_eq!(tick(&tested, 4, vec![due(&tested, clock(4))]).await, [Fired]);
    tested.finish().await;
}

pub(crate) async fn ticks_wait_for_those_before_them(mut tested: StoreUnderTest) {
    put(&tested, &json!({"overlap": "queue_all"})).await;
    let first = fire(&tested, clock(1)).await;
    let ticks = vec![due(&tested, clock(2)), due(&tested, hand(2)), due(&tested, clock(3))];
    assert_eq!(tick(&tested, 3, ticks).await, [Queued, Queued, Queued]);
    same_after_a_restart(&mut tested).await;
    assert_eq!((queue(&tested), open(&tested)), (vec![clock(2), hand(2), clock(3)], vec![clock(1)]));
    let early = step(&tested, at(3), vec![begin(&tested, clock(2))]);
    assert_eq!(tick_or_stop(&tested, early).await, (vec![], Some(TickStop::NotReady)), "one is open");
    tested.change(&first, completed(&first)).await;
    let other = step(&tested, at(3), vec![begin(&tested, hand(2))]);
    assert_eq!(tick_or_stop(&tested, other).await, (vec![], Some(TickStop::NotReady)), "another is first");
    tested.clock.advance(9);
    let (begun, _) = tick_or_stop(&tested, step(&tested, at(3), vec![begin(&tested, clock(2))])).await;
    assert_eq!((begun[0].state, begun[0].decided_at), (Fired, tested.clock.advance(0)));
    assert_eq!((queue(&tested), open(&tested)), (vec![hand(2), clock(3)], vec![clock(2)]));
    assert_eq!(tick(&tested, 3, vec![begin(&tested, clock(2))]).await, [], "it began");
    assert_eq!(tick(&tested, 4, vec![due(&tested, clock(4))]).await, [Queued]);
    same_after_a_restart(&mut tested).await;
    pause(&tested).await;
    let job = job_of(&tested, &begun[0]).await;
    tested.change(&job, completed(&job)).await;
    let paused = step(&tested, at(4), vec![begin(&tested, hand(2))]);
    assert_eq!(tick_or_stop(&tested, paused).await, (vec![], Some(TickStop::NotReady)), "it is paused");
    change(&tested, ScheduleChange::Resume).await;
    let nothing = StepTick::Begin { key: hand(2), made: Box::new(TickMade::Nothing("no".to_owned())) };
    assert_eq!(tick(&tested, 4, vec![nothing, begin(&tested, clock(3))]).await, [Skipped, Fired]);
    same_after_a_restart(&mut tested).await;
    let told = told(&tested).await.into_iter().map(|(key, _, state)| (key, state));
    let expected = [(clock(4), Queued), (clock(3), Fired), (hand(2), Skipped), (clock(2), Fired)];
    assert_eq!(told.take(4).collect::<Vec<_>>(), expected);
    tested.finish().await;
}

pub(crate) async fn one_tick_waits(mut tested: StoreUnderTest) {
    put(&tested, &json!({"overlap": "queue_one"})).await;
    let ticks = (1..=3).map(|minute| due(&tested, clock(minute))).collect();
    assert_eq!(tick(&tested, 3, ticks).await, [Fired, Queued, Skipped]);
    let reason = records(&tested, &now(&tested)).await[0].reason.clone().unwrap();
    assert!(reason.contains("another waited for it already"), "{reason}");
    same_after_a_restart(&mut tested).await;
    let job = job_of(&tested, &records(&tested, &now(&tested)).await[2]).await;
    tested.change(&job, failed(&job, false)).await;
    let ticks = vec![begin(&tested, clock(2)), due(&tested, clock(4))];
    assert_eq!(tick(&tested, 4, ticks).await, [Fired, Queued]);
    tested.finish().await;
}

pub(crate) async fn the_last_tick_waits_instead_of_the_one_before(mut tested: StoreUnderTest) {
    put(&tested, &json!({"overlap": "cancel_running"})).await;
    let job = fire(&tested, clock(1)).await;
    assert_eq!(tick(&tested, 2, vec![due(&tested, clock(2))]).await, [Queued]);
    assert_eq!(tick(&tested, 3, vec![due(&tested, clock(3))]).await, [Skipped, Queued]);
    let replaced = &records(&tested, &now(&tested)).await[1];
    assert_eq!((replaced.key, replaced.reason.as_deref()), (clock(2), Some("a later one took its place")));
    same_after_a_restart(&mut tested).await;
    tested.change(&job, cancel()).await;
    assert_eq!(tick(&tested, 3, vec![begin(&tested, clock(3))]).await, [Fired]);
    assert_eq!((queue(&tested), open(&tested)), (vec![], vec![clock(3)]));
    tested.finish().await;
}

pub(crate) async fn ticks_that_may_overlap_fire_at_once(mut tested: StoreUnderTest) {
    put(&tested, &json!({"overlap": "allow"})).await;
    let ticks = vec![due(&tested, clock(1)), due(&tested, hand(1)), due(&tested, clock(2))];
    assert_eq!(tick(&tested, 2, ticks).await, [Fired, Fired, Fired]);
    same_after_a_restart(&mut tested).await;
    assert_eq!(open(&tested), [clock(1), hand(1), clock(2)]);
    tested.finish().await;
}

pub(crate) async fn what_cannot_be_done_is_done_again_from_there(tested: StoreUnderTest) {
    put(&tested, &json!({"overlap": "allow"})).await;
    let unready = |minute| StepTick::Due { key: clock(minute), made: None };
    let ticks =
        vec![passed(Passed::Missed, 1, 2), due(&tested, clock(3)), unready(4), due(&tested, clock(5))];
    let (done, stop) = tick_or_stop(&tested, step(&tested, at(5), ticks)).await;
    assert_eq!((done.len(), stop), (2, Some(TickStop::NotReady)));
    let mark = now(&tested).considered_until;
    assert!(mark >= at(3) && mark < at(4), "{mark:?}");
    // One of somebody is none of the calendar's: what was done before it stays done.
    let ticks = vec![due(&tested, clock(4)), StepTick::Due { key: hand(4), made: None }];
    let (done, stop) = tick_or_stop(&tested, step(&tested, at(5), ticks)).await;
    assert_eq!((done.len(), stop), (1, Some(TickStop::NotReady)));
    let mark = now(&tested).considered_until;
    assert!(mark >= at(4) && mark < at(5), "{mark:?}");
    assert_eq!(tick(&tested, 5, vec![due(&tested, clock(5))]).await, [Fired]);
    let nothing = Some(Box::new(TickMade::Nothing("its parameters are too large".to_owned())));
    assert_eq!(tick(&tested, 6, vec![StepTick::Due { key: clock(6), made: nothing }]).await, [Skipped]);
    let record = records(&tested, &now(&tested)).await.swap_remove(0);
    assert_eq!((record.reason.as_deref(), record.work), (Some("its parameters are too large"), None));
    tested.finish().await;
}

pub(crate) async fn ticks_in_a_row_that_do_not_fire_are_one_record(mut tested: StoreUnderTest) {
    put(&tested, &json!({})).await;
    assert_eq!(tick(&tested, 3, vec![passed(Passed::Missed, 1, 3)]).await, [Missed]);
    tested.reopen().await;
    tick(&tested, 5, vec![passed(Passed::Missed, 4, 5)]).await;
    tick(&tested, 6, vec![due(&tested, clock(6))]).await;
    tick(&tested, 8, vec![passed(Passed::Missed, 7, 7), passed(Passed::Missed, 8, 8)]).await;
    pause(&tested).await;
    tick(&tested, 9, vec![passed(Passed::Paused, 9, 9)]).await;
    tested.reopen().await;
    tick(&tested, 30, vec![passed(Passed::Paused, 10, 30)]).await;
    same_after_a_restart(&mut tested).await;
    let expected =
        [(clock(9), 22, Paused), (clock(7), 2, Missed), (clock(6), 1, Fired), (clock(1), 5, Missed)];
    assert_eq!(told(&tested).await, expected);
    let last: Vec<Timestamp> =
        records(&tested, &now(&tested)).await.iter().map(|record| record.last).collect();
    assert_eq!(last, [at(30), at(8), at(6), at(5)]);
    tested.finish().await;
}

pub(crate) async fn only_what_did_not_fire_is_made_up_for(mut tested: StoreUnderTest) {
    put(&tested, &json!({})).await;
    let ticks = vec![passed(Passed::Missed, 1, 3), due(&tested, clock(4)), due(&tested, clock(5))];
    assert_eq!(tick(&tested, 5, ticks).await, [Missed, Fired, Skipped]);
    let first = job_of(&tested, &records(&tested, &now(&tested)).await[1]).await;
    assert_eq!(make_up(&tested, &[2, 3, 4, 5], false).await, 3, "but for the one that fired");
    assert_eq!(make_up(&tested, &[1, 2, 3, 4, 5], false).await, 1, "three wait already");
    same_after_a_restart(&mut tested).await;
    assert_eq!(queue(&tested), [1, 2, 3, 5].map(backfill));
    assert!(now(&tested).queue.values().all(|wait| *wait == Wait::Alone));
    let of_one = records(&tested, &now(&tested)).await.into_iter().rev().take(2);
    let of_one: Vec<_> = of_one.map(|record| (record.key, record.count, record.reason)).collect();
    let by = Some("asked for by ada".to_owned());
    assert_eq!(of_one, [(backfill(1), 1, by), (clock(1), 3, None)], "what the calendar missed stays missed");
    let early = step(&tested, at(5), vec![begin(&tested, backfill(1))]);
    assert_eq!(tick_or_stop(&tested, early).await.1, Some(TickStop::NotReady), "one is open");
    tested.change(&first, completed(&first)).await;
    assert_eq!(tick(&tested, 5, vec![begin(&tested, backfill(1))]).await, [Fired]);
    // What is due now waits for what is only made up for, also where it would be skipped; and goes before the next of those.
    assert_eq!(tick(&tested, 6, vec![due(&tested, clock(6))]).await, [Queued]);
    let made_up = records(&tested, &now(&tested)).await;
    let made_up = made_up.iter().find(|record| record.key == backfill(1)).unwrap();
    let job = job_of(&tested, made_up).await;
    tested.change(&job, completed(&job)).await;
    let next = step(&tested, at(6), vec![begin(&tested, backfill(2))]);
    assert_eq!(tick_or_stop(&tested, next).await.1, Some(TickStop::NotReady));
    assert_eq!(tick(&tested, 6, vec![begin(&tested, clock(6))]).await, [Fired]);
    assert_eq!(make_up(&tested, &[1, 6], false).await, 0);
    same_after_a_restart(&mut tested).await;
    tested.finish().await;
}

pub(crate) async fn what_is_made_up_for_at_once_waits_for_nothing(mut tested: StoreUnderTest) {
    put(&tested, &json!({})).await;
    assert_eq!(tick(&tested, 4, vec![passed(Passed::Missed, 1, 3), due(&tested, clock(4))]).await.len(), 2);
    assert_eq!(make_up(&tested, &[1, 2, 3], true).await, 3);
    same_after_a_restart(&mut tested).await;
    let all = (1..=3).map(|minute| begin(&tested, backfill(minute))).collect();
    assert_eq!(tick(&tested, 4, all).await, [Fired; 3]);
    assert_eq!(open(&tested), [backfill(1), backfill(2), backfill(3), clock(4)]);
    same_after_a_restart(&mut tested).await;
    assert_eq!(make_up(&tested, &[1, 2, 3, 4], true).await, 0, "a tick fires once");
    // What could not be made may be tried again.
    make_up(&tested, &[-1], true).await;
    let nothing = StepTick::Begin { key: backfill(-1), made: Box::new(TickMade::Nothing("no".to_owned())) };
    assert_eq!(tick(&tested, 4, vec![nothing]).await, [Skipped]);
    assert_eq!(make_up(&tested, &[-1], true).await, 1);
    assert_eq!(tick(&tested, 4, vec![begin(&tested, backfill(-1))]).await, [Fired]);
    tested.finish().await;
}

pub(crate) async fn a_clock_that_is_set_back_makes_nothing_fire_twice(mut tested: StoreUnderTest) {
    put(&tested, &json!({"overlap": "allow"})).await;
    tested.clock.advance(10 * 60_000);
    let ticks = vec![
        passed(Passed::Missed, 1, 4),
        due(&tested, clock(5)),
        due(&tested, clock(6)),
        passed(Passed::Missed, 7, 8),
        due(&tested, clock(9)),
    ];
    tick(&tested, 9, ticks).await;
    let unchanged = change(&tested, ScheduleChange::ClockSetBack { cut: None }).await;
    assert!(matches!(unchanged, ScheduleChanged::Unchanged(_)), "it was not");
    tested.clock.set_machine_ahead(-8 * 60_000);
    let cut = Some(Cut { first: at(1), last: at(2), count: 2 });
    let ScheduleChanged::Changed(known) = change(&tested, ScheduleChange::ClockSetBack { cut }).await else {
        panic!()
    };
    assert_eq!((known.considered_until, known.fired_ahead), (at(2), Some(at(9))));
    let kept = [(clock(9), 1, Fired), (clock(6), 1, Fired), (clock(5), 1, Fired), (clock(1), 2, Missed)];
    assert_eq!(told(&tested).await, kept, "what is still to come has no record, but for what fired");
    assert_eq!(open(&tested), [clock(5), clock(6), clock(9)]);
    same_after_a_restart(&mut tested).await;
    let first = passed(Passed::Missed, 3, 3);
    assert_eq!(tick(&tested, 4, vec![first, due(&tested, clock(4))]).await, [Missed, Fired]);
    assert_eq!(now(&tested).fired_ahead, Some(at(9)));
    tested.reopen().await;
    let again = (5..=7).map(|minute| due(&tested, clock(minute))).collect();
    assert_eq!(tick(&tested, 7, again).await, [Fired], "two of them fired before");
    let rest = vec![passed(Passed::Missed, 8, 8), due(&tested, clock(9)), passed(Passed::Missed, 10, 10)];
    assert_eq!(tick(&tested, 10, rest).await, [Missed, Missed]);
    assert_eq!(now(&tested).fired_ahead, None, "they are behind it");
    let newest: Vec<_> = told(&tested).await.into_iter().take(4).collect();
    let apart = [(clock(10), 1, Missed), (clock(9), 1, Fired), (clock(8), 1, Missed), (clock(7), 1, Fired)];
    assert_eq!(newest, apart);
    same_after_a_restart(&mut tested).await;
    tested.finish().await;
}

pub(crate) async fn what_waits_when_the_clock_is_set_back_comes_again(mut tested: StoreUnderTest) {
    put(&tested, &json!({"overlap": "queue_all"})).await;
    let job = fire(&tested, clock(1)).await;
    tick(&tested, 3, vec![due(&tested, clock(2)), due(&tested, clock(3)), due(&tested, hand(3))]).await;
    assert_eq!(make_up(&tested, &[0], false).await, 1);
    tested.clock.set_machine_ahead(2 * 60_000);
    assert!(matches!(
        change(&tested, ScheduleChange::ClockSetBack { cut: None }).await,
        ScheduleChanged::Changed(_)
    ));
    same_after_a_restart(&mut tested).await;
    assert_eq!(queue(&tested), [backfill(0), clock(2), hand(3)], "one is still to come");
    assert_eq!((now(&tested).considered_until, now(&tested).fired_ahead), (at(2), None));
    assert_eq!(tick(&tested, 3, vec![due(&tested, clock(3))]).await, [Queued]);
    tested.change(&job, completed(&job)).await;
    assert_eq!(tick(&tested, 3, vec![begin(&tested, clock(2))]).await, [Fired]);
    tested.finish().await;
}

pub(crate) async fn ticks_are_read_in_pages_newest_first(mut tested: StoreUnderTest) {
    let schedule = put(&tested, &json!({"overlap": "queue_all"})).await;
    let ticks = vec![
        passed(Passed::Missed, 1, 5),
        due(&tested, clock(6)),
        due(&tested, hand(6)),
        due(&tested, clock(7)),
        passed(Passed::Missed, 8, 9),
    ];
    tick(&tested, 9, ticks).await;
    make_up(&tested, &[3, 8], false).await;
    tested.reopen().await;
    let all = [clock(8), backfill(8), clock(7), hand(6), clock(6), backfill(3), clock(1)];
    let query = TickQuery { schedule: schedule.id, before: None, from: None, states: Vec::new(), limit: 2 };
    let read = async |query: TickQuery| -> Vec<TickKey> {
        tested.store.ticks(query).await.unwrap().into_iter().map(|record| record.key).collect()
    };
    let (mut before, mut pages) = (None, Vec::new());
    loop {
        let page = read(TickQuery { before, ..query.clone() }).await;
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        before = Some(*last);
        pages.extend(page);
    }
    assert_eq!(pages, all);
    let query = TickQuery { limit: 99, ..query };
    let states = |states: &[TickState]| TickQuery { states: states.to_vec(), ..query.clone() };
    assert_eq!(read(states(&[Missed])).await, [clock(8), clock(1)]);
    let waiting = [backfill(8), clock(7), hand(6), backfill(3)];
    assert_eq!(read(states(&[Queued])).await, waiting);
    assert_eq!(read(states(&[Fired, Skipped])).await, [clock(6)]);
    assert_eq!(read(states(&[Paused])).await, []);
    let from = |minute: i64| TickQuery { from: Some(at(minute)), ..query.clone() };
    assert_eq!(read(from(5)).await, [&all[..5], &all[6..]].concat(), "the last of several counts");
    assert_eq!(read(from(9)).await, [clock(8)]);
    assert_eq!(
        read(TickQuery { before: Some(hand(6)), ..states(&[Missed, Fired]) }).await,
        [clock(6), clock(1)]
    );
    tested.finish().await;
}

pub(crate) async fn what_is_over_and_old_is_forgotten(mut tested: StoreUnderTest) {
    put(&tested, &json!({"overlap": "queue_all"})).await;
    tick(&tested, 2, vec![passed(Passed::Missed, 1, 1)]).await;
    let job = fire(&tested, clock(2)).await;
    tested.clock.advance(1);
    tick(&tested, 4, vec![due(&tested, clock(3)), due(&tested, clock(4))]).await;
    tested.clock.advance(1_000);
    let nothing = Some(Box::new(TickMade::Nothing("no".to_owned())));
    let forget = async |tested: &StoreUnderTest, seconds: u64, limit: usize| {
        tested.store.delete_ticks(Duration::from_secs(seconds), limit).await.unwrap();
        told(tested).await.into_iter().map(|(key, ..)| key).collect::<Vec<_>>()
    };
    let all = [4, 3, 2, 1].map(clock);
    assert_eq!(forget(&tested, 2, 9).await, all, "nothing is old");
    assert_eq!(forget(&tested, 0, 9).await, all[..3], "the others wait, or are not over");
    tested.change(&job, completed(&job)).await;
    let begun = vec![begin(&tested, clock(3)), StepTick::Due { key: clock(5), made: nothing }];
    assert_eq!(tick(&tested, 5, begun).await, [Fired, Queued]);
    same_after_a_restart(&mut tested).await;
    assert_eq!(tested.store.cause(job.id).await.unwrap().map(|cause| cause.depth), Some(0));
    assert_eq!(forget(&tested, 1, 9).await, [5, 4, 3].map(clock));
    assert_eq!(tested.store.cause(job.id).await.unwrap(), None, "its record said so");
    let event = crewcall_backend::domain::Event::RetryRequested;
    tested.apply(&job, event).await;
    assert_eq!(open(&tested), [clock(3)]);
    tested.finish().await;
}

pub(crate) async fn the_record_that_goes_on_is_kept(mut tested: StoreUnderTest) {
    put(&tested, &json!({})).await;
    pause(&tested).await;
    tick(&tested, 2, vec![passed(Passed::Paused, 1, 2)]).await;
    tested.clock.advance(60_000);
    tested.store.delete_ticks(Duration::from_secs(1), 9).await.unwrap();
    tick(&tested, 4, vec![passed(Passed::Paused, 3, 4)]).await;
    tested.reopen().await;
    assert_eq!(told(&tested).await, [(clock(1), 4, Paused)]);
    change(&tested, ScheduleChange::Resume).await;
    tested.store.delete_ticks(Duration::from_secs(1), 9).await.unwrap();
    assert_eq!(told(&tested).await, [], "nothing is added to it any more");
    tested.finish().await;
}

pub(crate) async fn records_outlive_their_schedule_and_go_in_steps(mut tested: StoreUnderTest) {
    let schedule = put(&tested, &json!({"overlap": "allow"})).await;
    for minute in 1..=6 {
        let job = fire(&tested, clock(minute)).await;
        tested.clock.advance(1);
        tested.change(&job, completed(&job)).await;
    }
    change(&tested, ScheduleChange::Delete).await;
    tested.reopen().await;
    assert_eq!(records(&tested, &schedule).await.len(), 6);
    for left in [4, 2, 0] {
        tested.store.delete_ticks(Duration::ZERO, 2).await.unwrap();
        let records = records(&tested, &schedule).await;
        assert!(records.iter().all(|record| record.outcome == Some(TickOutcome::Completed)));
        assert_eq!(
            records.iter().map(|record| record.key).collect::<Vec<_>>(),
            ([6, 5, 4, 3].map(clock))[..left]
        );
    }
    tested.finish().await;
}
