//! Schedules, what their ticks make, and how that ends. What becomes of ticks that collide or come late is in `ticks`.

use std::sync::Arc;

use crewcall_backend::{
    domain::{
        Cause, CausedBy, ConsumerSettings, Event, Pause, PublishedEvent, Root, Sequence, Start, State,
        Submission, Then, TickKey,
        schedules::{
            consider::Passed,
            tick::{TickOutcome, TickRecord, TickState, TickWork},
        },
        workflow::{facts::Happened, known::StartedBy, run::RunState},
    },
    engine::ports::{
        Applied, ConsumerChange, JobEvent, NewRun, RunData, RunQuery, ScheduleChange, ScheduleChanged,
        ScheduleStep, StepTick, TickMade, TickStop, Ticked,
    },
};
use serde_json::{Value, json};

use super::{
    events::{event, whole_log},
    schedule_words::{
        at, backfill, begin, change, clock, document, due, fire, fired_by, job, job_of, named, now, passed,
        pause, put, put_change, records, step, tick, tick_or_stop, told, view,
    },
    under_test::{START, StoreUnderTest, cancel, completed, failed, started},
    workflows,
};

pub(crate) async fn a_schedule_that_is_put_twice_is_one_revision(mut tested: StoreUnderTest) {
    let first = document(&json!({"timezone": "Europe/Athens", "jitter_seconds": 5}));
    let created = tested.store.change_schedule(&named("s"), put_change(&first)).await.unwrap();
    let ScheduleChanged::Created(schedule) = created.value else { panic!("{:?}", created.value) };
    assert_eq!((schedule.revision, schedule.created_at, schedule.considered_until), (1, START, START));
    assert_eq!((&*schedule.changed_by, &*schedule.document), ("ada", &*first.to_string()));
    assert_eq!(created.schedules.len(), 1, "it is told");
    let later = tested.clock.advance(5);
    let ScheduleChanged::Unchanged(same) = change(&tested, put_change(&first)).await else { panic!() };
    assert_eq!((same.revision, same.changed_at, same.considered_until), (1, START, START));
    tested.clock.set_machine_ahead(70);
    let second = put(&tested, &json!({"overlap": "allow"})).await;
    assert_eq!((second.id, second.revision, second.created_at), (schedule.id, 2, START));
    let wall = later.plus_millis(70);
    assert_eq!((second.changed_at, second.considered_until), (later, wall), "the past does not fire");
    tested.clock.set_machine_ahead(0);
    let third = put(&tested, &json!({})).await;
    assert_eq!((third.revision, third.considered_until), (3, wall), "the mark never goes back by it");
    pause(&tested).await;
    let again = Pause { by: "eve".to_owned(), reason: None, at: later };
    assert!(matches!(change(&tested, ScheduleChange::Pause(again)).await, ScheduleChanged::Unchanged(_)));
    let before = view(&tested);
    tested.reopen().await;
    assert_eq!(view(&tested), before);
    assert_eq!(now(&tested).pause.as_ref().unwrap().by, "ada");
    assert!(matches!(change(&tested, ScheduleChange::Resume).await, ScheduleChanged::Changed(_)));
    assert!(matches!(change(&tested, ScheduleChange::Resume).await, ScheduleChanged::Unchanged(_)));
    assert_eq!((&now(&tested).pause, now(&tested).revision), (&None, 3));
    let nobody = tested.store.change_schedule(&named("t"), ScheduleChange::Resume).await.unwrap();
    assert!(matches!(nobody.value, ScheduleChanged::Unknown));
    tested.finish().await;
}

pub(crate) async fn another_schedule_of_the_same_name_is_another(mut tested: StoreUnderTest) {
    let first = put(&tested, &json!({"overlap": "queue_all"})).await;
    let job = fire(&tested, clock(1)).await;
    tick(&tested, 2, vec![due(&tested, clock(2))]).await;
    assert!(matches!(change(&tested, ScheduleChange::Delete).await, ScheduleChanged::Deleted));
    assert!(matches!(change(&tested, ScheduleChange::Delete).await, ScheduleChanged::Unknown));
    assert!(tested.store.schedules().is_empty() && tested.store.schedule(&named("s")).is_none());
    let waited = &records(&tested, &first).await[0];
    assert_eq!((waited.key, waited.state), (clock(2), TickState::Skipped));
    assert!(waited.reason.as_ref().unwrap().contains("deleted"), "{waited:?}");
    tested.reopen().await;
    let second = put(&tested, &json!({})).await;
    assert_ne!(second.id, first.id);
    let of_second = fire(&tested, clock(1)).await;
    let before = view(&tested);
    tested.change(&job, failed(&job, false)).await;
    assert_eq!(view(&tested), before, "it is none of its fires");
    let ended = &records(&tested, &first).await[1];
    assert_eq!((ended.key, ended.outcome), (clock(1), Some(TickOutcome::Failed)));
    tested.change(&job, Event::RetryRequested).await;
    assert_eq!(view(&tested), before);
    assert_eq!(records(&tested, &first).await[1].outcome, None);
    assert_eq!(records(&tested, &second).await.len(), 1);
    // One of which nothing is left had its number all the same.
    change(&tested, ScheduleChange::Delete).await;
    let third = put(&tested, &json!({})).await;
    change(&tested, ScheduleChange::Delete).await;
    tested.reopen().await;
    assert!(put(&tested, &json!({})).await.id > third.id);
    tested.change(&of_second, cancel()).await;
    tested.finish().await;
}

pub(crate) async fn what_a_tick_makes_and_the_mark_are_stored_together(mut tested: StoreUnderTest) {
    let schedule = put(&tested, &json!({})).await;
    let made = step(&tested, at(1), vec![due(&tested, clock(1))]);
    let decided_at = tested.clock.advance(61_000);
    let written = tested.store.tick(made.clone()).await.unwrap();
    let Ticked::Done { told, stop: None } = written.value else { panic!("{:?}", written.value) };
    assert_eq!((written.changes.len(), written.schedules.len()), (1, 1), "the job and the schedule are told");
    let job = job_of(&tested, &told[0]).await;
    assert_eq!(job.status.state, State::Dispatched, "there was room for it");
    let record = TickRecord {
        key: clock(1),
        last: at(1),
        count: 1,
        state: TickState::Fired,
        reason: None,
        decided_at,
        work: Some(TickWork::Job(job.id)),
        outcome: None,
        ended_at: None,
    };
    assert_eq!(told, std::slice::from_ref(&record));
    let others = [
        made,
        ScheduleStep { revision: 7, ..step(&tested, at(2), vec![due(&tested, clock(2))]) },
        ScheduleStep { from: START, ..step(&tested, at(2), vec![due(&tested, clock(2))]) },
        ScheduleStep { schedule: named("t"), ..step(&tested, at(2), vec![due(&tested, clock(2))]) },
    ];
    for other in others {
        let written = tested.store.tick(other).await.unwrap();
        assert_eq!((written.value, written.changes.len()), (Ticked::Stale, 0));
    }
    let cause =
        Cause { by: CausedBy::Schedule(fired_by(&schedule, clock(1))), root: Root::Job(job.id), depth: 0 };
    for _ in 0..2 {
        assert_eq!(records(&tested, &schedule).await, std::slice::from_ref(&record));
        let known = now(&tested);
        assert_eq!((known.considered_until, known.open.get(&clock(1))), (at(1), record.work.as_ref()));
        assert_eq!(tested.store.cause(job.id).await.unwrap().as_ref(), Some(&cause));
        let jobs = tested.store.counts().await.unwrap();
        assert_eq!(jobs.iter().map(|count| count.jobs).sum::<u64>(), 1);
        tested.reopen().await;
    }
    tested.change(&job, completed(&job)).await;
    assert!(now(&tested).open.is_empty(), "why it was made is known after a restart");
    tested.finish().await;
}

pub(crate) async fn of_many_that_take_the_same_step_one_counts(tested: StoreUnderTest) {
    put(&tested, &json!({"overlap": "allow"})).await;
    for minute in 1..10 {
        let steps =
            (0..8).map(|_| tested.store.tick(step(&tested, at(minute), vec![due(&tested, clock(minute))])));
        let answers = futures_util::future::try_join_all(steps).await.unwrap();
        let stale = answers.iter().filter(|answer| answer.value == Ticked::Stale).count();
        assert_eq!(stale, 7);
    }
    assert_eq!((told(&tested).await.len(), now(&tested).open.len()), (9, 9));
    tested.finish().await;
}

pub(crate) async fn how_fires_end_is_kept(mut tested: StoreUnderTest) {
    let reads = json!({"job": {"type": "j", "parameters": {"since": "${{ schedule.last_result }}"}}});
    let schedule = put(&tested, &reads).await;
    let result = async |tested: &StoreUnderTest| tested.store.last_result(schedule.id).await.unwrap();
    let job = fire(&tested, clock(1)).await;
    let ended_at = tested.clock.advance(500);
    tested.change(&job, completed(&job)).await;
    let record = &records(&tested, &schedule).await[0];
    assert_eq!((record.outcome, record.ended_at), (Some(TickOutcome::Completed), Some(ended_at)));
    let known = now(&tested);
    assert_eq!((known.last_completed, known.failures, known.open.len()), (Some(at(1)), 0, 0));
    assert_eq!(result(&tested).await.as_deref(), Some(r#"{"bytes":1}"#));
    for (minute, failures) in [(2, 1), (3, 2)] {
        let job = fire(&tested, clock(minute)).await;
        tested.change(&job, failed(&job, false)).await;
        assert_eq!((now(&tested).last_completed, now(&tested).failures), (Some(at(1)), failures));
    }
    let job = fire(&tested, clock(4)).await;
    tested.change(&job, cancel()).await;
    assert_eq!(now(&tested).failures, 2, "what somebody cancelled did not fail");
    tested.reopen().await;
    assert_eq!((now(&tested).failures, now(&tested).last_completed), (2, Some(at(1))));
    assert_eq!(result(&tested).await.as_deref(), Some(r#"{"bytes":1}"#));
    let outcomes: Vec<_> =
        records(&tested, &schedule).await.into_iter().filter_map(|record| record.outcome).collect();
    let failed_twice = [TickOutcome::Failed; 2];
    assert_eq!(outcomes, [&[TickOutcome::Cancelled], &failed_twice[..], &[TickOutcome::Completed]].concat());
    // What is made up for does not set back a poller that goes on where it was.
    let ticks = vec![at(-5)];
    change(&tested, ScheduleChange::Backfill { ticks, at_once: true, by: "ada".to_owned() }).await;
    let (told, _) = tick_or_stop(&tested, step(&tested, at(4), vec![begin(&tested, backfill(-5))])).await;
    let job = job_of(&tested, &told[0]).await;
    let other = Event::Completed {
        origin: super::under_test::origin(&job, 1),
        result: "7".to_owned(),
        emitted: Vec::new(),
        started_at: START,
        finished_at: START,
    };
    tested.change(&job, other).await;
    assert_eq!((now(&tested).failures, now(&tested).last_completed), (0, Some(at(1))));
    assert_eq!(result(&tested).await.as_deref(), Some(r#"{"bytes":1}"#));
    // Who reads none has none kept.
    change(&tested, ScheduleChange::Delete).await;
    assert_eq!(result(&tested).await, None);
    let other = put(&tested, &json!({})).await;
    let job = fire(&tested, clock(5)).await;
    tested.change(&job, completed(&job)).await;
    assert_eq!(now(&tested).last_completed, Some(at(5)));
    assert_eq!(tested.store.last_result(other.id).await.unwrap(), None);
    tested.finish().await;
}

pub(crate) async fn who_fails_too_often_is_paused_with_the_failure(mut tested: StoreUnderTest) {
    put(&tested, &json!({"pause_after_failures": 2, "overlap": "allow"})).await;
    let (one, two) = (fire(&tested, clock(1)).await, fire(&tested, clock(2)).await);
    tested.change(&one, failed(&one, false)).await;
    assert_eq!(now(&tested).pause, None);
    tested.reopen().await;
    let read_before = step(&tested, at(3), vec![due(&tested, clock(3))]);
    let events = vec![JobEvent { job_id: two.id, event: failed(&two, false) }];
    let written = tested.store.apply(events).await.unwrap();
    let paused = written.schedules.last().unwrap().pause.clone().expect("it is told with the failure");
    assert!(paused.reason.as_ref().unwrap().contains("2 fires in a row failed"), "{paused:?}");
    let stale = tested.store.tick(read_before).await.unwrap().value;
    assert_eq!(stale, Ticked::Stale, "it is paused, and the step was read before");
    tested.reopen().await;
    assert_eq!(now(&tested).pause, Some(paused));
    assert_eq!(tick(&tested, 3, vec![passed(Passed::Paused, 3, 3)]).await, [TickState::Paused]);
    let read_before = step(&tested, at(4), vec![passed(Passed::Paused, 4, 4)]);
    change(&tested, ScheduleChange::Resume).await;
    assert_eq!(tested.store.tick(read_before).await.unwrap().value, Ticked::Stale, "it is not, any more");
    assert_eq!((&now(&tested).pause, now(&tested).failures), (&None, 0));
    let three = fire(&tested, clock(4)).await;
    tested.change(&three, failed(&three, false)).await;
    assert_eq!((&now(&tested).pause, now(&tested).failures), (&None, 1), "it counts from the beginning");
    tested.finish().await;
}

pub(crate) async fn a_fire_that_is_tried_again_is_open_again(mut tested: StoreUnderTest) {
    let schedule = put(&tested, &json!({})).await;
    let job = fire(&tested, clock(1)).await;
    tested.change(&job, failed(&job, false)).await;
    assert!(now(&tested).open.is_empty());
    tested.reopen().await;
    tested.change(&job, Event::RetryRequested).await;
    for _ in 0..2 {
        assert_eq!(now(&tested).open.get(&clock(1)), Some(&TickWork::Job(job.id)));
        let record = &records(&tested, &schedule).await[0];
        assert_eq!((record.state, record.outcome, record.ended_at), (TickState::Fired, None, None));
        tested.reopen().await;
    }
    assert_eq!(tick(&tested, 2, vec![due(&tested, clock(2))]).await, [TickState::Skipped]);
    // Its end and another attempt at it, in one transaction.
    let both = [cancel(), Event::RetryRequested].map(|event| JobEvent { job_id: job.id, event });
    let applied = tested.store.apply(both.to_vec()).await.unwrap().value;
    assert_eq!(applied, [Applied::Changed, Applied::Changed]);
    for _ in 0..2 {
        assert_eq!((now(&tested).open.len(), records(&tested, &schedule).await[1].outcome), (1, None));
        tested.reopen().await;
    }
    let job = tested.read(job.id).await.0;
    tested.change(&job, cancel()).await;
    assert_eq!(records(&tested, &schedule).await[1].outcome, Some(TickOutcome::Cancelled));
    assert!(now(&tested).open.is_empty());
    tested.finish().await;
}

pub(crate) async fn a_job_that_fails_at_its_birth_ends_its_fire(mut tested: StoreUnderTest) {
    let schedule = put(&tested, &json!({"pause_after_failures": 1})).await;
    let mut unfilled = job(&tested, &schedule, clock(1));
    let TickMade::Job(new, _) = &mut unfilled else { panic!() };
    new.job.status.fail_at_birth("unfilled", "no field total".to_owned(), START);
    let made = Some(Box::new(unfilled));
    assert_eq!(tick(&tested, 1, vec![StepTick::Due { key: clock(1), made }]).await, [TickState::Fired]);
    for _ in 0..2 {
        let record = &records(&tested, &schedule).await[0];
        assert_eq!((record.state, record.outcome), (TickState::Fired, Some(TickOutcome::Failed)));
        assert_eq!(job_of(&tested, record).await.status.state, State::Failed);
        let known = now(&tested);
        assert_eq!((known.open.len(), known.failures, known.pause.is_some()), (0, 1, true));
        tested.reopen().await;
    }
    tested.finish().await;
}

pub(crate) async fn a_run_of_a_tick_ends_its_fire(mut tested: StoreUnderTest) {
    let schedule = put(&tested, &json!({})).await;
    workflows::put(&tested, &workflows::child()).await;
    let run = |key: TickKey, workflow: &str| {
        let started_by = StartedBy::Schedule(fired_by(&schedule, key));
        let data =
            RunData { data: "{}".to_owned(), event: None, schedule: Some(r#"{"name":"s"}"#.to_owned()) };
        let new = NewRun { started_by, data, ..workflows::new_run(workflow) };
        (new.id, vec![StepTick::Due { key, made: Some(Box::new(TickMade::Run(new))) }])
    };
    let (id, ticks) = run(clock(1), "child");
    assert_eq!(tick(&tested, 1, ticks).await, [TickState::Fired]);
    tested.reopen().await;
    let (stored, data) = tested.store.run(id).await.unwrap().unwrap();
    assert_eq!(stored.info.started_by, StartedBy::Schedule(fired_by(&schedule, clock(1))));
    assert_eq!(data.schedule.as_deref(), Some(r#"{"name":"s"}"#));
    assert_eq!(now(&tested).open.get(&clock(1)), Some(&TickWork::Run(id)));
    let listed = tested.store.runs(&RunQuery { limit: 9, ..RunQuery::default() }).await.unwrap();
    assert_eq!(listed[0].info.started_by, stored.info.started_by);
    let (_, ticks) = run(clock(2), "child");
    assert_eq!(tick(&tested, 2, ticks).await, [TickState::Skipped]);
    let reason = records(&tested, &schedule).await[0].reason.clone().unwrap();
    assert!(reason.contains(&id.to_string()), "{reason}");
    workflows::tell(&tested, id, workflows::stop()).await;
    assert!(now(&tested).open.is_empty());
    tested.reopen().await;
    let ended = &records(&tested, &schedule).await[1];
    assert_eq!((ended.key, ended.outcome), (clock(1), Some(TickOutcome::Cancelled)));
    let again = Happened::RetryRequested { by: "ada".to_owned(), from: None };
    let run_again = workflows::tell(&tested, id, again).await;
    assert_eq!(run_again.run.state, RunState::Running);
    for _ in 0..2 {
        assert_eq!(now(&tested).open.get(&clock(1)), Some(&TickWork::Run(id)));
        tested.reopen().await;
    }
    workflows::tell(&tested, id, workflows::stop()).await;
    let (_, ticks) = run(clock(3), "nobody");
    assert_eq!(tick(&tested, 3, ticks).await, [TickState::Skipped], "there is no such workflow");
    let (_, mut ticks) = run(clock(4), "child");
    let StepTick::Due { made: Some(made), .. } = &mut ticks[0] else { panic!() };
    let TickMade::Run(new) = made.as_mut() else { panic!() };
    new.version = 7;
    let (told, stop) = tick_or_stop(&tested, step(&tested, at(4), ticks)).await;
    assert_eq!((told, stop), (vec![], Some(TickStop::NotReady)), "it was made ready by another version");
    assert!(now(&tested).considered_until < at(4), "it is to be done once more");
    tested.finish().await;
}

pub(crate) async fn an_event_of_a_tick_is_over_at_once(mut tested: StoreUnderTest) {
    let schedule = put(&tested, &json!({})).await;
    tested.store.append(vec![event("x", "1")]).await.unwrap();
    for minute in [1, 2] {
        let made = Some(Box::new(TickMade::Event(event("day.began", "{}"))));
        let due = StepTick::Due { key: clock(minute), made };
        assert_eq!(tick(&tested, minute, vec![due]).await, [TickState::Fired]);
    }
    tested.reopen().await;
    let works: Vec<_> = records(&tested, &schedule).await.into_iter().map(|record| record.work).collect();
    assert_eq!(works, [3, 2].map(|sequence| Some(TickWork::Event(Sequence(sequence)))));
    assert!(now(&tested).open.is_empty(), "nothing stands in the way of the next");
    let subjects: Vec<_> = whole_log(&tested.store).await.into_iter().map(|event| event.subject).collect();
    assert_eq!(
        subjects.iter().map(|subject| subject.as_str()).collect::<Vec<_>>(),
        ["x", "day.began", "day.began"]
    );
    tested.finish().await;
}

pub(crate) async fn missed_and_skipped_ticks_are_in_the_log_if_anybody_wants_them(
    mut tested: StoreUnderTest,
) {
    put(&tested, &json!({})).await;
    let job = fire(&tested, clock(1)).await;
    tick(&tested, 3, vec![due(&tested, clock(2)), passed(Passed::Missed, 3, 3)]).await;
    assert_eq!(whole_log(&tested.store).await, [], "nobody wants them");
    let submission = Submission { job_type: "a".to_owned(), ..Submission::default() };
    let settings = Arc::new(ConsumerSettings {
        subjects: vec!["schedule.*.s".parse().unwrap()],
        condition: None,
        then: Then::Job(Box::new(submission)),
        in_flight_max: 9,
    });
    let consumer = "c".parse().unwrap();
    let put = ConsumerChange::Put { settings, start: Some(Start::Oldest), begin: Some(Sequence(0)) };
    tested.store.change_consumer(&consumer, put).await.unwrap();
    tested.reopen().await;
    tick(&tested, 7, vec![due(&tested, clock(4)), passed(Passed::Missed, 5, 7)]).await;
    pause(&tested).await;
    tick(&tested, 8, vec![passed(Passed::Paused, 8, 8)]).await;
    tested.store.change_consumer(&consumer, ConsumerChange::Delete).await.unwrap();
    change(&tested, ScheduleChange::Resume).await;
    tick(&tested, 9, vec![due(&tested, clock(9))]).await;
    let log: Vec<PublishedEvent> = whole_log(&tested.store).await;
    let told: Vec<(u64, &str, Value)> = log
        .iter()
        .map(|event| (event.sequence.0, event.subject.as_str(), serde_json::from_str(&event.data).unwrap()))
        .collect();
    let [(1, "schedule.skipped.s", skipped), (2, "schedule.missed.s", missed)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(skipped["reason"], format!("job {} of an earlier one was not over", job.id));
    let of = |event: &Value| [&event["tick"], &event["last_tick"], &event["count"]].map(ToString::to_string);
    let times = ["\"2023-11-14T22:18:20.000Z\"", "\"2023-11-14T22:20:20.000Z\"", "3"];
    assert_eq!(of(missed), times, "{missed}");
    tested.change(&job, started(&job)).await;
    tested.finish().await;
}
