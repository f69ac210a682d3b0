//! Consumers of the log: what they make, and how far they got.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crewcall_backend::{
    domain::{
        Cause, CausedBy, Consumer, ConsumerName, ConsumerSettings, Event, Job, MadeOf, Origin, Pass, Pause,
        PublishedEvent, Replay, Root, Sequence, Source, Start, State, Submission, Then,
        times::{BackoffRequest, Times},
    },
    engine::ports::{
        Applied, ConsumerChange, ConsumerChanged, ConsumerStep, JobEvent, Made, MatchedEvent, REPLAYS_KEPT,
        ReplayRequest, Stepped, Stop, Store,
    },
};
use crewcall_proto::JobId;
use serde_json::json;

use super::{
    events::event,
    under_test::{START, StoreUnderTest, accepted, cancel, completed, started},
};

fn settings(subject: &str, in_flight_max: u32) -> Arc<ConsumerSettings> {
    let job = Submission { job_type: "a".to_owned(), ..Submission::default() };
    let subjects = vec![subject.parse().unwrap()];
    Arc::new(ConsumerSettings { subjects, condition: None, then: Then::Job(Box::new(job)), in_flight_max })
}

fn name(text: &str) -> ConsumerName {
    text.parse().unwrap()
}

fn put(settings: &Arc<ConsumerSettings>) -> ConsumerChange {
    ConsumerChange::Put {
        settings: Arc::clone(settings),
        start: Some(Start::Oldest),
        begin: Some(Sequence(0)),
    }
}

/// A consumer of these subjects, from the beginning.
pub(super) fn put_of(subject: &str) -> ConsumerChange {
    put(&settings(subject, 9))
}

async fn change(store: &Arc<dyn Store>, change: ConsumerChange) -> ConsumerChanged {
    store.change_consumer(&name("c"), change).await.unwrap()
}

/// A consumer that begins with the first event.
async fn consumer(tested: &StoreUnderTest, in_flight_max: u32) -> Arc<Consumer> {
    match change(&tested.store, put(&settings("x.#", in_flight_max))).await {
        ConsumerChanged::Created(consumer) => consumer,
        other => panic!("{other:?}"),
    }
}

async fn publish(tested: &StoreUnderTest, events: usize) {
    let events = (0..events).map(|_| event("x", "{}")).collect();
    tested.store.append(events).await.unwrap();
}

fn cause(pass: Pass, sequence: u64) -> Cause {
    let (sequence, root) = (Sequence(sequence), Root::Event(Sequence(sequence)));
    let made_of = MadeOf { consumer: name("c"), pass, sequence };
    Cause { by: CausedBy::Consumer(made_of), root, depth: 1 }
}

/// A step over a part of the log that makes a job of each of these events.
fn step(
    tested: &StoreUnderTest,
    consumer: &Consumer,
    pass: Pass,
    part: (u64, u64),
    of: &[u64],
) -> ConsumerStep {
    let made = |sequence: &u64| {
        let made = Made::Job(Box::new(accepted(tested.job("a"), 9)));
        MatchedEvent { made, cause: cause(pass, *sequence) }
    };
    ConsumerStep {
        consumer: consumer.name.clone(),
        pass,
        revision: consumer.revision,
        from: Sequence(part.0),
        to: Sequence(part.1),
        matches: of.iter().map(made).collect(),
    }
}

async fn consume(tested: &StoreUnderTest, step: ConsumerStep) -> (Stepped, Vec<JobId>) {
    let written = tested.store.consume(step).await.unwrap();
    (written.value, written.changes.into_iter().map(|change| change.job_id).collect())
}

fn now(tested: &StoreUnderTest) -> Arc<Consumer> {
    tested.store.consumer(&name("c")).unwrap()
}

fn done(cursor: u64, made: usize, stop: Option<Stop>) -> Stepped {
    Stepped::Done { cursor: Sequence(cursor), made, stop }
}

pub(crate) async fn what_is_made_and_the_place_are_stored_together(mut tested: StoreUnderTest) {
    let consumer = consumer(&tested, 10).await;
    publish(&tested, 5).await;
    let first = step(&tested, &consumer, consumer.pass, (0, 4), &[1, 3]);
    let (stepped, jobs) = consume(&tested, first.clone()).await;
    assert_eq!((stepped, jobs.len()), (done(4, 2, None), 2));
    assert_eq!(consume(&tested, first).await.0, Stepped::Stale, "it is behind that already");
    let other = ConsumerStep { revision: 7, ..step(&tested, &consumer, consumer.pass, (4, 5), &[5]) };
    assert_eq!(consume(&tested, other).await.0, Stepped::Stale, "by other settings");
    let other = step(&tested, &consumer, Pass(99), (4, 5), &[5]);
    assert_eq!(consume(&tested, other).await.0, Stepped::Stale, "another time through the log");
    let before = now(&tested);
    assert_eq!((before.cursor, before.in_flight), (Sequence(4), 2));
    tested.reopen().await;
    assert_eq!(now(&tested), before);
    assert_eq!(tested.store.cause(jobs[1]).await.unwrap(), Some(cause(consumer.pass, 3)));
    assert_eq!(tested.store.cause(JobId::generate()).await.unwrap(), None);
    assert_eq!(tested.read(jobs[0]).await.0.status.state, State::Dispatched, "there was room for it");
    let nothing = step(&tested, &consumer, consumer.pass, (4, 5), &[]);
    assert_eq!(consume(&tested, nothing).await.0, done(5, 0, None));
    tested.finish().await;
}

pub(crate) async fn of_many_that_step_at_once_one_counts(tested: StoreUnderTest) {
    let consumer = consumer(&tested, 1_000).await;
    publish(&tested, 40).await;
    let at_once = |from: u64| {
        let steps = (0..8).map(move |_| (from, from + 4));
        steps.map(|part| {
            let of: Vec<u64> = (part.0 + 1..=part.1).collect();
            tested.store.consume(step(&tested, &consumer, consumer.pass, part, &of))
        })
    };
    for round in 0..10 {
        let answers = futures_util::future::try_join_all(at_once(round * 4)).await.unwrap();
        let counted = answers.iter().filter(|answer| answer.value == done(round * 4 + 4, 4, None)).count();
        let stale = answers.iter().filter(|answer| answer.value == Stepped::Stale).count();
        assert_eq!((counted, stale), (1, 7));
    }
    assert_eq!((now(&tested).cursor, now(&tested).in_flight), (Sequence(40), 40));
    tested.finish().await;
}

pub(crate) async fn as_many_jobs_are_unfinished_as_may_be(mut tested: StoreUnderTest) {
    let consumer = consumer(&tested, 2).await;
    publish(&tested, 5).await;
    let all = step(&tested, &consumer, consumer.pass, (0, 5), &[1, 2, 4, 5]);
    let (stepped, jobs) = consume(&tested, all).await;
    assert_eq!((stepped, jobs.len()), (done(3, 2, Some(Stop::Full)), 2), "it stops in front of the third");
    let next = || step(&tested, &consumer, consumer.pass, (3, 5), &[4, 5]);
    assert_eq!(consume(&tested, next()).await, (done(3, 0, Some(Stop::Full)), vec![]));
    let (job, _) = tested.read(jobs[0]).await;
    let ends = vec![started(&job), completed(&job)];
    let ends = ends.into_iter().map(|event| JobEvent { job_id: job.id, event }).collect();
    tested.store.apply(ends).await.unwrap();
    assert_eq!(now(&tested).in_flight, 1, "its end made room, in the same transaction");
    let (stepped, _) = consume(&tested, next()).await;
    assert_eq!(stepped, done(4, 1, Some(Stop::Full)));
    let other = tested.read(jobs[1]).await.0;
    tested.change(&other, cancel()).await;
    assert_eq!(now(&tested).in_flight, 1);
    assert_eq!(tested.apply(&other, Event::RetryRequested).await, Applied::Changed);
    assert_eq!(now(&tested).in_flight, 2, "tried again, it is unfinished again");
    tested.reopen().await;
    assert_eq!(now(&tested).in_flight, 2);
    tested.finish().await;
}

pub(crate) async fn a_job_that_is_over_at_its_birth_takes_no_room_and_is_not_tried_again(
    tested: StoreUnderTest,
) {
    let consumer = consumer(&tested, 1).await;
    publish(&tested, 2).await;
    let mut both = step(&tested, &consumer, consumer.pass, (0, 2), &[1, 2]);
    let Made::Job(first) = &mut both.matches[0].made else { panic!("it makes jobs") };
    first.job.status.fail_at_birth("unfilled", "no field total".to_owned(), START);
    let (stepped, jobs) = consume(&tested, both).await;
    assert_eq!((stepped, now(&tested).in_flight), (done(2, 2, None), 1));
    let failed = tested.read(jobs[0]).await.0;
    assert_eq!((failed.status.state, failed.status.token), (State::Failed, None));
    assert!(matches!(tested.apply(&failed, Event::RetryRequested).await, Applied::Stale(_)));
    tested.finish().await;
}

async fn log(tested: &StoreUnderTest) -> Vec<PublishedEvent> {
    tested.store.events_after(Sequence(0), usize::MAX, usize::MAX).await.unwrap()
}

async fn complete(tested: &StoreUnderTest) -> Arc<Job> {
    let job = tested.dispatched("a").await;
    tested.change(&job, started(&job)).await;
    tested.change(&job, completed(&job)).await;
    job
}

pub(crate) async fn the_end_of_a_job_is_recorded_if_anybody_may_want_it(mut tested: StoreUnderTest) {
    complete(&tested).await;
    consumer(&tested, 9).await;
    complete(&tested).await;
    assert_eq!(log(&tested).await, [], "nobody wants it");
    let ends = settings("job.completed.*", 9);
    assert!(matches!(change(&tested.store, put(&ends)).await, ConsumerChanged::Changed(_)));
    let job = complete(&tested).await;
    let cancelled = tested.dispatched("a").await;
    tested.change(&cancelled, cancel()).await;
    tested.reopen().await;
    let job_after = complete(&tested).await;
    let log = log(&tested).await;
    let about: Vec<(u64, &str, Option<Origin>)> =
        log.iter().map(|event| (event.sequence.0, event.subject.as_str(), event.origin)).collect();
    let origin = |job: &Job| Some(Origin { source: Source::Job(job.id), root: Root::Job(job.id), depth: 0 });
    assert_eq!(about, [(1, "job.completed.a", origin(&job)), (2, "job.completed.a", origin(&job_after))]);
    let data: serde_json::Value = serde_json::from_str(&log[0].data).unwrap();
    assert_eq!((&data["job_id"], &data["state"]), (&json!(job.id.to_string()), &json!("completed")));
    assert!(data["result"].is_object() && data["finished_at"].is_string(), "{data}");
    assert!(matches!(change(&tested.store, ConsumerChange::Delete).await, ConsumerChanged::Deleted));
    complete(&tested).await;
    assert_eq!(tested.store.log_bounds().await.unwrap().head, Sequence(2));
    tested.finish().await;
}

pub(crate) async fn what_a_consumers_job_ends_with_is_as_deep_as_the_job(tested: StoreUnderTest) {
    let consumer = match change(&tested.store, put(&settings("#", 9))).await {
        ConsumerChanged::Created(consumer) => consumer,
        other => panic!("{other:?}"),
    };
    publish(&tested, 1).await;
    let mut one = step(&tested, &consumer, consumer.pass, (0, 1), &[1]);
    one.matches[0].cause.depth = 5;
    let (_, jobs) = consume(&tested, one).await;
    let (job, _) = tested.read(jobs[0]).await;
    tested.change(&job, cancel()).await;
    let log = log(&tested).await;
    let origin = Origin { source: Source::Job(job.id), root: Root::Event(Sequence(1)), depth: 5 };
    assert_eq!((log[1].subject.as_str(), log[1].origin), ("job.cancelled.a", Some(origin)));
    tested.finish().await;
}

pub(crate) async fn consumers_are_kept_as_they_were_set(mut tested: StoreUnderTest) {
    let backoff = BackoffRequest { factor: Some(1.5), ..BackoffRequest::default() };
    let times = Times {
        delay_seconds: Some(0.5),
        timeout_seconds: Some(60.0),
        backoff: Some(backoff),
        ..Times::default()
    };
    let job = Submission {
        job_type: "a.b".to_owned(),
        parameters: json!({ "x": "${{ event.data }}", "n": 9_007_199_254_740_993_u64 })
            .as_object()
            .unwrap()
            .clone(),
        priority: Some(9),
        max_attempts: Some(2),
        labels: BTreeMap::from([("k".to_owned(), "☃".to_owned())]),
        times,
        ..Submission::default()
    };
    let subjects = vec!["order.*".parse().unwrap(), "#".parse().unwrap()];
    let full = ConsumerSettings {
        subjects,
        condition: Some("true".to_owned()),
        then: Then::Job(Box::new(job)),
        in_flight_max: 3,
    };
    let (start, full) = (Start::Since(START.plus_millis(-5)), Arc::new(full));
    let first = ConsumerChange::Put { settings: Arc::clone(&full), start: Some(start), begin: None };
    publish(&tested, 3).await;
    let ConsumerChanged::Created(created) = change(&tested.store, first.clone()).await else { panic!() };
    assert_eq!((created.cursor, created.created_at), (Sequence(3), START), "it begins at the end");
    assert_eq!(change(&tested.store, first).await, ConsumerChanged::Unchanged(Arc::clone(&created)));
    let pause = Pause { by: "me".to_owned(), reason: Some("why".to_owned()), at: START };
    change(&tested.store, ConsumerChange::Pause(pause.clone())).await;
    let later = tested.clock.advance(7);
    let other = ConsumerChange::Put { settings: settings("y", 1), start: None, begin: None };
    change(&tested.store, other).await;
    let before = now(&tested);
    assert_eq!((before.pause.as_ref(), before.changed_at, before.revision), (Some(&pause), later, 2));
    assert_eq!((before.cursor, before.start, before.created_at), (Sequence(3), start, START));
    tested.reopen().await;
    assert_eq!(now(&tested), before);
    change(&tested.store, ConsumerChange::Put { settings: Arc::clone(&full), start: None, begin: None })
        .await;
    tested.reopen().await;
    assert_eq!(now(&tested).settings, full);
    let elsewhere = ConsumerChange::Put { settings: full, start: Some(Start::Now), begin: None };
    assert_eq!(change(&tested.store, elsewhere).await, ConsumerChanged::OtherStart(start));
    assert_eq!(tested.store.consumers().len(), 1);
    change(&tested.store, ConsumerChange::Delete).await;
    tested.reopen().await;
    assert_eq!(tested.store.consumers(), []);
    assert_eq!(change(&tested.store, ConsumerChange::Delete).await, ConsumerChanged::Unknown);
    tested.finish().await;
}

pub(crate) async fn a_paused_consumer_makes_nothing(tested: StoreUnderTest) {
    let consumer = consumer(&tested, 9).await;
    publish(&tested, 3).await;
    let pause = Pause { by: "me".to_owned(), reason: None, at: START };
    change(&tested.store, ConsumerChange::Pause(pause)).await;
    let paused = step(&tested, &consumer, consumer.pass, (0, 1), &[1]);
    assert_eq!(consume(&tested, paused.clone()).await.0, Stepped::Stale);
    let ConsumerChanged::Changed(resumed) =
        change(&tested.store, ConsumerChange::Resume { from_now: false }).await
    else {
        panic!()
    };
    assert_eq!((resumed.cursor, resumed.pass), (Sequence(0), consumer.pass));
    assert_eq!(consume(&tested, paused).await.0, done(1, 1, None));
    let ConsumerChanged::Changed(skipped) =
        change(&tested.store, ConsumerChange::Resume { from_now: true }).await
    else {
        panic!()
    };
    assert_eq!((skipped.cursor, skipped.pass), (Sequence(3), consumer.pass));
    tested.finish().await;
}

pub(crate) async fn who_goes_back_makes_each_job_once_more(mut tested: StoreUnderTest) {
    let consumer = consumer(&tested, 9).await;
    publish(&tested, 3).await;
    consume(&tested, step(&tested, &consumer, consumer.pass, (0, 3), &[1, 2, 3])).await;
    assert_eq!(
        change(&tested.store, ConsumerChange::Seek(Some(Sequence(4)))).await,
        ConsumerChanged::Beyond { place: Sequence(4), head: Sequence(3) }
    );
    let ConsumerChanged::Changed(back) = change(&tested.store, ConsumerChange::Seek(Some(Sequence(1)))).await
    else {
        panic!()
    };
    assert_eq!(back.cursor, Sequence(1));
    assert!(back.pass > consumer.pass, "it is another time through the log");
    let again = step(&tested, &consumer, back.pass, (1, 3), &[2, 3]);
    assert_eq!(consume(&tested, again).await.0, done(3, 2, None));
    assert_eq!(now(&tested).in_flight, 5);
    // One of the same name that is made later has nothing to do with the jobs of the one before.
    change(&tested.store, ConsumerChange::Delete).await;
    let ConsumerChanged::Created(new) = change(&tested.store, put(&settings("x", 9))).await else { panic!() };
    assert!(new.pass > back.pass && new.in_flight == 0);
    tested.reopen().await;
    assert_eq!(now(&tested).in_flight, 0);
    assert_eq!(consume(&tested, step(&tested, &new, new.pass, (0, 3), &[1, 2, 3])).await.0, done(3, 3, None));
    tested.finish().await;
}

fn request(after: u64, to: u64, key: Option<&str>) -> ConsumerChange {
    let (by, reason) = ("me".to_owned(), Some("lost".to_owned()));
    let key = key.map(str::to_owned);
    ConsumerChange::Replay(ReplayRequest { after: Sequence(after), to: Sequence(to), by, reason, key })
}

pub(crate) async fn a_part_of_the_log_is_gone_through_once_more(mut tested: StoreUnderTest) {
    let consumer = consumer(&tested, 99).await;
    publish(&tested, 4).await;
    consume(&tested, step(&tested, &consumer, consumer.pass, (0, 4), &[1, 2, 3, 4])).await;
    let ConsumerChanged::Changed(asked) = change(&tested.store, request(1, 3, Some("k"))).await else {
        panic!()
    };
    let replay = asked.replays[0].clone();
    assert_eq!((replay.cursor, replay.finished_at), (Sequence(1), None));
    assert_eq!(asked.needs_after(), Sequence(1));
    assert_eq!(
        change(&tested.store, request(1, 3, Some("k"))).await,
        ConsumerChanged::Repeated(Box::new(replay.clone()))
    );
    assert_eq!(change(&tested.store, request(1, 2, Some("k"))).await, ConsumerChanged::KeyReused);
    let half = step(&tested, &consumer, replay.pass, (1, 2), &[2]);
    assert_eq!(consume(&tested, half).await.0, done(2, 1, None));
    tested.reopen().await;
    assert_eq!(now(&tested).replays, [Replay { cursor: Sequence(2), ..replay.clone() }]);
    let at = tested.clock.advance(5);
    let rest = step(&tested, &consumer, replay.pass, (2, 3), &[3]);
    assert_eq!(consume(&tested, rest.clone()).await.0, done(3, 1, None));
    assert_eq!(consume(&tested, rest).await.0, Stepped::Stale);
    let ended = Replay { cursor: Sequence(3), finished_at: Some(at), ..replay };
    assert_eq!((now(&tested).cursor, now(&tested).replays.as_slice()), (Sequence(4), [ended].as_slice()));
    // Of those that ended, the last are remembered.
    for _ in 0..REPLAYS_KEPT + 2 {
        let ConsumerChanged::Changed(asked) = change(&tested.store, request(3, 4, None)).await else {
            panic!()
        };
        let pass = asked.replays.last().unwrap().pass;
        consume(&tested, step(&tested, &consumer, pass, (3, 4), &[4])).await;
    }
    tested.reopen().await;
    assert_eq!(now(&tested).replays.len(), REPLAYS_KEPT + 1);
    assert!(!now(&tested).replays.iter().any(|replay| replay.key.is_some()));
    tested.finish().await;
}

pub(crate) async fn events_are_kept_for_those_who_have_not_seen_them(tested: StoreUnderTest) {
    const KEPT_FOR: Duration = Duration::from_millis(100);
    const HELD_FOR: Duration = Duration::from_millis(1_000);
    let consumer = consumer(&tested, 99).await;
    publish(&tested, 4).await;
    tested.clock.advance(101);
    let delete = async || tested.store.delete_events(KEPT_FOR, HELD_FOR, 10).await.unwrap();
    assert_eq!(delete().await, 0);
    consume(&tested, step(&tested, &consumer, consumer.pass, (0, 3), &[1])).await;
    change(&tested.store, request(1, 2, None)).await;
    assert_eq!(delete().await, 1, "a replay has them still to see");
    let pass = now(&tested).replays[0].pass;
    consume(&tested, step(&tested, &consumer, pass, (1, 2), &[])).await;
    assert_eq!(delete().await, 2);
    assert_eq!(delete().await, 0);
    tested.clock.advance(900);
    assert_eq!(delete().await, 1, "but not for ever");
    assert_eq!(now(&tested).cursor, Sequence(3), "nobody says that it was seen");
    tested.finish().await;
}
