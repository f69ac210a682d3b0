//! Any lives of schedules: a store says what the reference says, whatever comes in which order, and after each restart.

use std::{collections::BTreeMap, time::Duration};

use crewcall_backend::{
    domain::{
        Event, Job, ScheduleId, TickKey, TickOrigin,
        run_names::RunState,
        schedules::{
            consider::Passed,
            known::Schedule,
            tick::{TickRecord, TickWork},
        },
        workflow::{
            facts::Happened,
            known::{StartedBy, StoredRun},
        },
    },
    engine::ports::{
        Applied, ConsumerChange, Cut, JobEvent, JobQuery, NewRun, ScheduleChange, ScheduleStep, StepTick,
        TickMade, TickQuery,
    },
};
use crewcall_proto::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::{
    consumers,
    events::{event, whole_log},
    schedule_words::{at, fired_by, named, put_change},
    under_test::{START, StoreUnderTest, accepted, cancel, completed, failed},
    workflows,
};

/// How many random lives are tried. Each step of one is a commit to disk.
const LIVES: u32 = 48;

/// The schedules of a life.
const NAMES: [&str; 2] = ["s", "t"];

/// What is done next: what, and with which of the things that it can be done with.
type Choice = (u8, u8, u8);

/// The store, and the reference beside it: everything is done to both.
struct Both {
    store: StoreUnderTest,
    reference: StoreUnderTest,
    /// The last moment of which anything was decided, and the next of somebody.
    hands: i64,
}

/// The same of both, or a test that fails.
macro_rules! both {
    ($both:expr, |$tested:ident| $doing:expr) => {{
        let said = {
            let $tested = &$both.store;
            format!("{:#?}", $doing)
        };
        let expected = {
            let $tested = &$both.reference;
            format!("{:#?}", $doing)
        };
        assert_eq!(said, expected);
    }};
}

impl Both {
    fn advance(&self, milliseconds: i64) {
        self.store.clock.advance(milliseconds);
        self.reference.clock.advance(milliseconds);
    }

    fn set_machine_ahead(&self, milliseconds: i64) {
        self.store.clock.set_machine_ahead(milliseconds);
        self.reference.clock.set_machine_ahead(milliseconds);
    }

    async fn reopen(&mut self) {
        self.store.reopen().await;
        self.reference.reopen().await;
    }

    fn known(&self, name: &str) -> Option<std::sync::Arc<Schedule>> {
        self.reference.store.schedule(&named(name))
    }

    async fn change(&self, name: &str, change: ScheduleChange) {
        both!(self, |tested| {
            let written = tested.store.change_schedule(&named(name), change.clone()).await.unwrap();
            (written.value, written.schedules, written.recorded)
        });
    }

    async fn tick(&self, step: &ScheduleStep) {
        both!(self, |tested| {
            let written = tested.store.tick(step.clone()).await.unwrap();
            let jobs: Vec<_> = written.changes.iter().map(|change| (change.job_id, change.was)).collect();
            (written.value, jobs, written.schedules, written.recorded, written.newest)
        });
    }

    async fn apply(&self, job: &Job, events: [Option<Event>; 2]) {
        let events = events.into_iter().flatten().map(|event| JobEvent { job_id: job.id, event });
        let events: Vec<JobEvent> = events.collect();
        both!(self, |tested| {
            // Each store gave the job a token of its own.
            let job = tested.read(job.id).await.0;
            let events = events.iter().cloned().map(|told| own(told, &job)).collect();
            let written = tested.store.apply(events).await.unwrap();
            let applied: Vec<bool> =
                written.value.iter().map(|applied| *applied == Applied::Changed).collect();
            (applied, written.schedules, written.recorded, written.newest)
        });
    }

    /// All that can be read is the same.
    async fn look(&self) {
        both!(self, |tested| tested.store.schedules());
        for id in 1..=9 {
            both!(self, |tested| all_ticks(tested, ScheduleId(id)).await);
            both!(self, |tested| tested.store.last_result(ScheduleId(id)).await.unwrap());
        }
        both!(self, |tested| jobs(tested).await);
        both!(self, |tested| whole_log(&tested.store).await);
        both!(self, |tested| {
            let open = tested.store.open_runs().into_iter();
            let run = |run: std::sync::Arc<StoredRun>| (run.id(), run.info.started_by.clone(), run.run.state);
            let mut open: Vec<_> = open.map(run).collect();
            open.sort_by_key(|(id, ..)| *id);
            open
        });
        self.check().await;
    }

    /// What has to hold whatever happened: what is open is what fired and is not over, and what waits is queued.
    async fn check(&self) {
        for schedule in self.store.store.schedules() {
            let records = all_ticks(&self.store, schedule.id).await;
            let mut fired = BTreeMap::new();
            for TickRecord { key, state, .. } in &records {
                let word = state.as_str();
                if matches!(word, "fired" | "queued") && key.origin != TickOrigin::Hand {
                    assert_eq!(fired.insert(key.at, word), None, "a tick fires once: {records:#?}");
                }
                assert_eq!(word == "queued", schedule.queue.contains_key(key), "{schedule:#?} {records:#?}");
            }
            for (key, work) in &schedule.open {
                let is_it = |record: &&TickRecord| record.key == *key;
                // What was forgotten and then tried again has no record any more.
                if let Some(record) = records.iter().find(is_it) {
                    assert_eq!((record.work, record.outcome), (Some(*work), None), "{schedule:#?}");
                }
            }
        }
    }
}

async fn all_ticks(tested: &StoreUnderTest, schedule: ScheduleId) -> Vec<TickRecord> {
    let query = TickQuery { schedule, before: None, from: None, states: Vec::new(), limit: usize::MAX };
    tested.store.ticks(query).await.unwrap()
}

/// Which jobs there are, how they stand, and why they were made.
async fn jobs(tested: &StoreUnderTest) -> Vec<String> {
    let query = JobQuery { limit: usize::MAX, ..JobQuery::default() };
    let mut told = Vec::new();
    for job in tested.store.list(&query).await.unwrap() {
        let cause = tested.store.cause(job.id).await.unwrap();
        let status = &job.status;
        told.push(format!("{} {} {} {cause:?}", job.id, status.state, status.attempt));
    }
    told
}

/// The same event, told by the worker that has this job of this store.
fn own(JobEvent { job_id, event }: JobEvent, job: &Job) -> JobEvent {
    let event = match event {
        _ if job.status.token.is_none() => event,
        Event::Completed { .. } => completed(job),
        Event::Failed { .. } => failed(job, false),
        event => event,
    };
    JobEvent { job_id, event }
}

async fn live(mut both: Both, choices: Vec<Choice>) {
    both!(both, |tested| {
        workflows::put(tested, &workflows::child()).await;
    });
    for (what, which, how) in choices {
        both.advance(1_000);
        let name = NAMES[usize::from(which) % NAMES.len()];
        match what % 16 {
            0 => change(&both, name, which, how).await,
            1..=6 => step(&mut both, name, which, how).await,
            7..=10 => end_one(&both, which, how).await,
            11 => make_up(&both, name, which, how).await,
            12 => set_clock(&both, name, which, how).await,
            13 => forget(&both, how).await,
            14 => consume(&both, how).await,
            _ => both.reopen().await,
        }
        both.look().await;
    }
    both.reopen().await;
    both.look().await;
    both.store.finish().await;
    both.reference.finish().await;
}

async fn change(both: &Both, name: &str, which: u8, how: u8) {
    let overlaps = ["skip", "queue_one", "queue_all", "allow", "cancel_running"];
    let overlap = overlaps[usize::from(how) % overlaps.len()];
    let change = match which / 2 % 8 {
        0 | 1 => {
            let mut document = json!({"every_seconds": 60, "overlap": overlap, "job": {"type": "j"}, "pause_after_failures": 3});
            if overlap != "allow" && how > 127 {
                document["job"]["parameters"] = json!({"since": "${{ schedule.last_result }}"});
            }
            put_change(&document)
        }
        2 => ScheduleChange::Delete,
        3 => {
            let pause = json!({"every_seconds": 60, "overlap": "queue_all", "event": {"subject": "x"}});
            put_change(&pause)
        }
        4 => ScheduleChange::Pause(crewcall_backend::domain::Pause {
            by: "ada".to_owned(),
            reason: None,
            at: START,
        }),
        _ => ScheduleChange::Resume,
    };
    both.change(name, change).await;
}

/// The ticks of some minutes after the mark, as they are decided elsewhere; sometimes by a mark that is not so any more.
async fn step(both: &mut Both, name: &str, which: u8, how: u8) {
    let Some(schedule) = both.known(name) else {
        return both.change(name, put_change(&json!({"every_seconds": 60, "job": {"type": "j"}}))).await;
    };
    let from = schedule.considered_until;
    let mut minute = (from.as_millis() - START.as_millis()).div_euclid(60_000) + 1;
    let mut ticks = Vec::new();
    if let Some(key) = schedule.next_to_begin().or_else(|| schedule.queue.keys().next().copied()) {
        ticks.extend(
            (how.is_multiple_of(2)).then(|| StepTick::Begin { key, made: made(both, &schedule, key, how) }),
        );
    }
    for number in 0..which / 2 % 4 {
        let how = how.rotate_left(number.into());
        let clock = TickKey { at: at(minute), origin: TickOrigin::Clock };
        // What fired while the clock was ahead is passed one by one.
        let count = if schedule.fired_ahead.is_some() { 1 } else { i64::from(how % 3) + 1 };
        let passes = |why| StepTick::Passed {
            first: at(minute),
            last: at(minute + count - 1),
            count: count.unsigned_abs(),
            why,
            reason: None,
        };
        if schedule.pause.is_some() {
            ticks.push(passes(Passed::Paused));
            minute += count;
        } else if how.is_multiple_of(8) {
            ticks.push(passes(Passed::Missed));
            minute += count;
        } else {
            let made = (how % 8 != 1).then(|| made(both, &schedule, clock, how));
            ticks.push(StepTick::Due { key: clock, made });
            minute += 1;
        }
    }
    if how % 16 == 3 {
        both.hands += 1;
        let key = TickKey { at: START.plus_millis(both.hands), origin: TickOrigin::Hand };
        ticks.push(StepTick::Due { key, made: Some(made(both, &schedule, key, how / 16)) });
    }
    let step = ScheduleStep {
        schedule: schedule.name.clone(),
        id: schedule.id,
        revision: schedule.revision - u64::from(how == 77),
        from,
        to: from.max(at(minute - 1)),
        ticks,
    };
    both.tick(&step).await;
    if how % 32 == 9 {
        both.tick(&step).await;
    }
}

fn made(both: &Both, schedule: &Schedule, key: TickKey, how: u8) -> Box<TickMade> {
    Box::new(match how / 8 % 8 {
        0 => TickMade::Nothing("it is too large".to_owned()),
        1 => TickMade::Event(event("x", "1")),
        2 => {
            let started_by = StartedBy::Schedule(fired_by(schedule, key));
            let workflow = if how > 200 { "nobody" } else { "child" };
            TickMade::Run(NewRun { started_by, ..workflows::new_run(workflow) })
        }
        kind => {
            let mut job = both.store.job("j");
            if kind == 3 {
                job.status.fail_at_birth("unfilled", "no field".to_owned(), START);
            }
            TickMade::Job(Box::new(accepted(job, 99)), fired_by(schedule, key))
        }
    })
}

/// A job or a run of a tick comes to its end, or is tried again.
async fn end_one(both: &Both, which: u8, how: u8) {
    let mut works = Vec::new();
    for id in 1..=9 {
        works.extend(
            all_ticks(&both.reference, ScheduleId(id)).await.into_iter().filter_map(|record| record.work),
        );
    }
    match works.get(usize::from(which) % works.len().max(1)) {
        Some(TickWork::Job(id)) => {
            let job = both.reference.read(*id).await.0;
            let again = Some(Event::RetryRequested);
            let events = match how % 6 {
                0 if job.status.token.is_some() => [Some(failed(&job, false)), None],
                1 if job.status.token.is_some() => [Some(failed(&job, false)), again],
                2 => [Some(cancel()), None],
                3 => [again, Some(cancel())],
                _ if job.status.token.is_some() => [Some(completed(&job)), None],
                _ => [again, None],
            };
            both.apply(&job, events).await;
        }
        Some(TickWork::Run(id)) => {
            let by = || "ada".to_owned();
            let run = both.reference.store.run(*id).await.unwrap().unwrap().0;
            let happened = match how % 3 {
                _ if run.run.state.is_terminal() => Happened::RetryRequested { by: by(), from: None },
                0 => workflows::stop(),
                decided => {
                    let step = crewcall_backend::domain::workflow::definition::StepIndex(0);
                    Happened::Decided { step, approved: decided == 1, by: by(), comment: None }
                }
            };
            both!(both, |tested| {
                let written = tested.store.tell_run(*id, happened.clone()).await.unwrap();
                let runs: Vec<(RunState, Option<RunState>)> =
                    written.runs.iter().map(|changed| (changed.run.run.state, changed.was)).collect();
                (runs, written.schedules)
            });
        }
        Some(TickWork::Event(_)) | None => {}
    }
}

async fn make_up(both: &Both, name: &str, which: u8, how: u8) {
    let Some(schedule) = both.known(name) else { return };
    let last = (schedule.considered_until.as_millis() - START.as_millis()).div_euclid(60_000);
    let first = last - i64::from(which / 2 % 4);
    let ticks = (first..=last).map(at).collect();
    both.change(name, ScheduleChange::Backfill { ticks, at_once: how > 127, by: "ada".to_owned() }).await;
}

/// The machine's clock is set by some minutes; the schedule is told of it, as it would be.
async fn set_clock(both: &Both, name: &str, which: u8, how: u8) {
    both.set_machine_ahead((i64::from(how % 32) - 12) * 60_000);
    let Some(schedule) = both.known(name) else { return };
    let wall = crewcall_backend::clock::Clock::wall(both.store.clock.as_ref());
    let records = all_ticks(&both.reference, schedule.id).await;
    let is_cut = |record: &&TickRecord| {
        record.key.origin == TickOrigin::Clock && record.key.at <= wall && record.last > wall
    };
    let cut = records.iter().find(is_cut).map(|record| {
        let count = (wall.as_millis() - record.key.at.as_millis()) / 60_000 + 1;
        let last: Timestamp = record.key.at.plus_millis((count - 1) * 60_000);
        Cut { first: record.key.at, last, count: count.unsigned_abs() }
    });
    if which > 30 {
        both.change(name, ScheduleChange::ClockSetBack { cut }).await;
    }
}

async fn forget(both: &Both, how: u8) {
    let (kept_for, limit) = (Duration::from_secs(u64::from(how % 16)), usize::from(how / 16) + 1);
    both!(both, |tested| tested.store.delete_ticks(kept_for, limit).await.unwrap());
}

/// Somebody wants to hear of ticks that do not fire and of jobs that end, or nobody does any more.
async fn consume(both: &Both, how: u8) {
    let subject = ["schedule.#", "job.#", "schedule.skipped.s", "y"][usize::from(how) % 4];
    let change = if how > 200 { ConsumerChange::Delete } else { consumers::put_of(subject) };
    both!(both, |tested| {
        tested.store.change_consumer(&"c".parse().unwrap(), change.clone()).await.unwrap();
    });
}

/// To be called outside a runtime.
pub(crate) fn any_schedule_is_kept_as_the_reference_has_it(make: fn() -> StoreUnderTest) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ProptestConfig { cases: LIVES, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(choices in prop::collection::vec(any::<Choice>(), 1..50))| {
        let both = Both { store: make(), reference: StoreUnderTest::memory(), hands: 0 };
        runtime.block_on(live(both, choices));
    });
}
