//! Short words for what the tests tell of schedules and their ticks.

use std::sync::Arc;

use crewcall_backend::{
    domain::{
        FiredBy, Job, Pause, ScheduleName, TickKey, TickOrigin,
        schedules::{
            consider::Passed,
            known::Schedule,
            settings::ScheduleSettings,
            tick::{TickRecord, TickState, TickWork},
        },
    },
    engine::ports::{
        ScheduleChange, ScheduleChanged, ScheduleStep, StepTick, TickMade, TickQuery, TickStop, Ticked,
    },
};
use crewcall_proto::Timestamp;
use serde_json::{Value, json};

use super::under_test::{START, StoreUnderTest, accepted};

pub(super) fn named(text: &str) -> ScheduleName {
    text.parse().unwrap()
}

/// A schedule of every minute that makes jobs, with these fields besides.
pub(super) fn document(fields: &Value) -> Value {
    let mut document = json!({"every_seconds": 60, "job": {"type": "j"}});
    let besides = fields.as_object().unwrap().clone();
    document.as_object_mut().unwrap().extend(besides);
    document
}

pub(super) fn put_change(document: &Value) -> ScheduleChange {
    let settings = ScheduleSettings::read(&serde_json::from_str(&document.to_string()).unwrap()).unwrap();
    ScheduleChange::Put {
        settings: Arc::new(settings),
        document: document.to_string().into(),
        by: "ada".to_owned(),
    }
}

pub(super) async fn change(tested: &StoreUnderTest, change: ScheduleChange) -> ScheduleChanged {
    tested.store.change_schedule(&named("s"), change).await.unwrap().value
}

/// Makes the schedule, or changes it.
pub(super) async fn put(tested: &StoreUnderTest, fields: &Value) -> Arc<Schedule> {
    match change(tested, put_change(&document(fields))).await {
        ScheduleChanged::Created(schedule) | ScheduleChanged::Changed(schedule) => schedule,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn pause(tested: &StoreUnderTest) {
    let pause = Pause { by: "ada".to_owned(), reason: Some("☃".to_owned()), at: tested.clock.advance(0) };
    assert!(matches!(change(tested, ScheduleChange::Pause(pause)).await, ScheduleChanged::Changed(_)));
}

pub(super) fn now(tested: &StoreUnderTest) -> Arc<Schedule> {
    tested.store.schedule(&named("s")).unwrap()
}

/// So many minutes after the beginning: a tick.
pub(super) fn at(minute: i64) -> Timestamp {
    START.plus_millis(minute * 60_000)
}

pub(super) fn clock(minute: i64) -> TickKey {
    TickKey { at: at(minute), origin: TickOrigin::Clock }
}

pub(super) fn hand(minute: i64) -> TickKey {
    TickKey { at: at(minute).plus_millis(7), origin: TickOrigin::Hand }
}

pub(super) fn backfill(minute: i64) -> TickKey {
    TickKey { at: at(minute), origin: TickOrigin::Backfill }
}

pub(super) fn fired_by(schedule: &Schedule, tick: TickKey) -> FiredBy {
    FiredBy { schedule: schedule.name.clone(), id: schedule.id, tick }
}

/// A job for a tick.
pub(super) fn job(tested: &StoreUnderTest, schedule: &Schedule, tick: TickKey) -> TickMade {
    TickMade::Job(Box::new(accepted(tested.job("j"), 99)), fired_by(schedule, tick))
}

/// A tick that is to fire, and has a job ready.
pub(super) fn due(tested: &StoreUnderTest, key: TickKey) -> StepTick {
    StepTick::Due { key, made: Some(Box::new(job(tested, &now(tested), key))) }
}

/// A tick that waited, and has a job ready.
pub(super) fn begin(tested: &StoreUnderTest, key: TickKey) -> StepTick {
    StepTick::Begin { key, made: Box::new(job(tested, &now(tested), key)) }
}

/// Ticks that do not fire, from the one minute to the other.
pub(super) fn passed(why: Passed, first: i64, last: i64) -> StepTick {
    let count = u64::try_from(last - first + 1).unwrap();
    StepTick::Passed { first: at(first), last: at(last), count, why, reason: None }
}

/// A step from where the schedule is to that minute.
pub(super) fn step(tested: &StoreUnderTest, to: Timestamp, ticks: Vec<StepTick>) -> ScheduleStep {
    let schedule = now(tested);
    let from = schedule.considered_until;
    ScheduleStep {
        schedule: schedule.name.clone(),
        id: schedule.id,
        revision: schedule.revision,
        from,
        to: to.max(from),
        ticks,
    }
}

/// Takes a step that is not stale. Returns what became of its ticks.
pub(super) async fn tick_or_stop(
    tested: &StoreUnderTest,
    step: ScheduleStep,
) -> (Vec<TickRecord>, Option<TickStop>) {
    match tested.store.tick(step).await.unwrap().value {
        Ticked::Done { told, stop } => (told, stop),
        Ticked::Stale => panic!("it is stale"),
    }
}

/// The same of ticks that all can be done: their states.
pub(super) async fn tick(tested: &StoreUnderTest, minute: i64, ticks: Vec<StepTick>) -> Vec<TickState> {
    let (told, stop) = tick_or_stop(tested, step(tested, at(minute), ticks)).await;
    assert_eq!(stop, None, "{told:?}");
    told.into_iter().map(|record| record.state).collect()
}

/// A tick that fires. Returns its job.
pub(super) async fn fire(tested: &StoreUnderTest, key: TickKey) -> Job {
    let step = step(tested, key.at, vec![due(tested, key)]);
    let (told, _) = tick_or_stop(tested, step).await;
    job_of(tested, &told[0]).await
}

pub(super) async fn job_of(tested: &StoreUnderTest, record: &TickRecord) -> Job {
    let Some(TickWork::Job(id)) = record.work else { panic!("{record:?}") };
    tested.read(id).await.0
}

/// What became of its ticks, newest first.
pub(super) async fn records(tested: &StoreUnderTest, schedule: &Schedule) -> Vec<TickRecord> {
    let query =
        TickQuery { schedule: schedule.id, before: None, from: None, states: Vec::new(), limit: usize::MAX };
    tested.store.ticks(query).await.unwrap()
}

/// The same in short: which tick, how many, and what became of them.
pub(super) async fn told(tested: &StoreUnderTest) -> Vec<(TickKey, u64, TickState)> {
    let records = records(tested, &now(tested)).await;
    records.into_iter().map(|record| (record.key, record.count, record.state)).collect()
}

/// Everything that is known of a schedule, what its document says included.
pub(super) fn view(tested: &StoreUnderTest) -> String {
    format!("{:#?}", tested.store.schedules())
}
