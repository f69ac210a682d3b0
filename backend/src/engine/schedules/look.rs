//! One look at one schedule: what has come is made ready and stored.

use std::{collections::BTreeSet, sync::Arc};

use crewcall_calendar::Calendar;
use crewcall_proto::Timestamp;

use super::making::make;
use crate::{
    domain::{
        ScheduleName, TickKey, TickOrigin,
        schedules::{
            consider::{Fate, Passed, Ticks},
            known::{Schedule, Wait},
            limits::STEP_FIRES_MAX,
            overlap::{Admission, admit},
            settings::{CatchUp, Overlap},
            tick::{TickRecord, TickState, TickWork},
        },
        workflow::facts::Happened,
    },
    engine::{
        Engine,
        ports::{
            Cut, RUNS_OPEN_MAX, ScheduleChange, ScheduleStep, StepTick, StoreError, TickMade, TickQuery,
            TickStop, Ticked,
        },
    },
};

/// Who has what runs cancelled, so that what waits can begin.
const THE_SCHEDULE: &str = "its schedule";

/// What came of a look.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// When it is to be looked at again; nothing, if nothing is to come.
    pub(super) next: Option<Timestamp>,
    /// Whether there is more to do at once.
    pub(super) more: bool,
}

/// Does what there is to do for a schedule.
pub(super) async fn look(engine: &Engine, name: &ScheduleName) -> Result<Looked, StoreError> {
    let work = &engine.schedules;
    let Some(schedule) = engine.store.schedule(name) else {
        work.set_trouble(name, None);
        work.calendars.retain(|id| engine.store.schedules().iter().any(|schedule| schedule.id == id));
        return Ok(Looked::default());
    };
    let now = engine.clock.wall();
    let calendar = match work.calendars.of(&schedule) {
        Ok(calendar) => calendar,
        Err(reason) => {
            work.set_trouble(name, Some(reason));
            return Ok(Looked { next: Some(now.plus_millis(super::RETRY_MS)), more: false });
        }
    };
    if schedule.considered_until > now {
        come_back(engine, &schedule, &calendar, now).await?;
        return Ok(Looked { next: None, more: true });
    }
    let ticks = Ticks { calendar: &calendar, times: &schedule.settings.times, name };
    let considered = ticks.consider(schedule.considered_until, now, schedule.pause.is_some());
    let to = considered.fates.last().map_or(schedule.considered_until, Fate::last);
    let fates = match schedule.fired_ahead {
        Some(ahead) if ahead > schedule.considered_until && !considered.fates.is_empty() => {
            let fired = fired_after(engine, &schedule).await?;
            considered.fates.into_iter().flat_map(|fate| ticks.apart(fate, &fired)).collect()
        }
        _ => considered.fates,
    };
    let ready = made_ready(engine, &schedule, &calendar, fates).await?;
    make_room(engine, &schedule).await?;
    let next = |mark: Timestamp| ticks.next_after(mark).map(|tick| ticks.due(tick));
    let Some(ready) = ready else {
        work.set_trouble(name, Some("what it makes cannot be made ready now".to_owned()));
        return Ok(Looked { next: Some(now.plus_millis(super::RETRY_MS)), more: false });
    };
    if ready.is_empty() {
        work.set_trouble(name, None);
        return Ok(Looked { next: next(to), more: false });
    }
    let step = ScheduleStep {
        schedule: name.clone(),
        id: schedule.id,
        revision: schedule.revision,
        from: schedule.considered_until,
        to,
        ticks: ready,
    };
    match engine.changes.tick(step).await? {
        Ticked::Stale => Ok(Looked { next: next(to), more: true }),
        Ticked::Done { told, stop } => {
            count(engine, &ticks, &told, now);
            let trouble = stop.and_then(sentence);
            let is_held = trouble.is_some();
            work.set_trouble(name, trouble);
            let retry = is_held.then(|| now.plus_millis(super::RETRY_MS));
            let more = considered.more || stop == Some(TickStop::NotReady);
            Ok(Looked { next: retry.or_else(|| next(to)), more: more && !is_held })
        }
    }
}

/// What becomes of each tick, with what is made ready for those that are expected to fire. `None` when that cannot be said now.
async fn made_ready(
    engine: &Engine,
    schedule: &Arc<Schedule>,
    calendar: &Calendar,
    fates: Vec<Fate>,
) -> Result<Option<Vec<StepTick>>, StoreError> {
    // As it will be, as far as is known here.
    let mut local = schedule.as_ref().clone();
    let mut ready = Vec::with_capacity(fates.len());
    while let Some(key) = local.next_to_begin().filter(|_| ready.len() < STEP_FIRES_MAX) {
        let Some(made) = make(engine, schedule, calendar, key).await? else { return Ok(None) };
        let alone = local.queue.remove(&key) == Some(Wait::Alone);
        local.open.extend(work_of(&made).map(|work| (key, work)));
        ready.push(StepTick::Begin { key, made: Box::new(made) });
        if alone {
            break;
        }
    }
    for fate in fates {
        ready.push(match fate {
            Fate::Passed { first, last, count, why } => {
                StepTick::Passed { first, last, count, why, reason: reason(schedule, why) }
            }
            Fate::Due(at) => {
                let key = TickKey { at, origin: TickOrigin::Clock };
                let made = match admit(&local) {
                    Admission::Fire => {
                        let Some(made) = make(engine, schedule, calendar, key).await? else {
                            return Ok(None);
                        };
                        local.open.extend(work_of(&made).map(|work| (key, work)));
                        Some(Box::new(made))
                    }
                    Admission::Queue { instead_of } => {
                        instead_of.map(|instead_of| local.queue.remove(&instead_of));
                        local.queue.insert(key, Wait::Alone);
                        None
                    }
                    Admission::Skip(_) => None,
                };
                StepTick::Due { key, made }
            }
        });
    }
    Ok(Some(ready))
}

/// What will be open of this, if anything.
fn work_of(made: &TickMade) -> Option<TickWork> {
    match made {
        TickMade::Job(accepted, _) if accepted.job.status.state.is_terminal() => None,
        TickMade::Job(accepted, _) => Some(TickWork::Job(accepted.job.id)),
        TickMade::Run(run) => Some(TickWork::Run(run.id)),
        TickMade::Event(_) | TickMade::Nothing(_) => None,
    }
}

/// Why ticks pass, in a sentence.
fn reason(schedule: &Schedule, why: Passed) -> Option<String> {
    Some(match (why, schedule.settings.times.catch_up) {
        (Passed::Paused, _) => {
            let by = schedule.pause.as_ref().map_or("somebody", |pause| &pause.by);
            format!("the schedule was paused by {by}")
        }
        (Passed::Missed, CatchUp::None) => {
            "no backend was there when it came, and catch_up is none".to_owned()
        }
        (Passed::Missed, CatchUp::Last) => {
            "no backend was there when it came, and catch_up makes up for the last one only".to_owned()
        }
        (Passed::Missed, CatchUp::All) => {
            "no backend was there when it came, and it was too long ago, or too many came after it".to_owned()
        }
    })
}

/// The clock was set back: what was recorded of ticks to come is struck out, and those that fired do not fire again.
async fn come_back(
    engine: &Engine,
    schedule: &Schedule,
    calendar: &Calendar,
    now: Timestamp,
) -> Result<(), StoreError> {
    let query = TickQuery {
        schedule: schedule.id,
        before: None,
        from: Some(now.plus_millis(1)),
        states: vec![TickState::Missed, TickState::Paused],
        limit: usize::MAX,
    };
    let is_cut = |record: &&TickRecord| record.key.origin == TickOrigin::Clock && record.key.at <= now;
    let records = engine.store.ticks(query).await?;
    let cut = records.iter().find(is_cut).and_then(|record| {
        let (first, last) = (record.key.at, calendar.last_until(now.as_millis())?);
        let more = calendar.count(first.as_millis(), last, u64::MAX);
        Some(Cut { first, last: Timestamp::from_millis(last), count: more + 1 })
    });
    let ahead = schedule.considered_until.since(now);
    tracing::warn!(schedule = %schedule.name, ?ahead, "The machine's clock was set back: the schedule goes on from now.");
    engine.changes.change_schedule(&schedule.name, ScheduleChange::ClockSetBack { cut }).await.map(drop)
}

/// The ticks after the mark that fired: the clock was ahead once.
async fn fired_after(engine: &Engine, schedule: &Schedule) -> Result<BTreeSet<Timestamp>, StoreError> {
    let query = TickQuery {
        schedule: schedule.id,
        before: None,
        from: Some(schedule.considered_until.plus_millis(1)),
        states: vec![TickState::Fired, TickState::Queued],
        limit: usize::MAX,
    };
    let fired = engine.store.ticks(query).await?.into_iter();
    let of_calendar = fired.filter(|record| record.key.origin != TickOrigin::Hand);
    Ok(of_calendar.map(|record| record.key.at).collect())
}

/// What is open is told to stop, if what waits takes its place.
async fn make_room(engine: &Engine, schedule: &Schedule) -> Result<(), StoreError> {
    if schedule.settings.times.overlap != Overlap::CancelRunning || schedule.waiting() == 0 {
        return Ok(());
    }
    let (mut jobs, mut runs) = (Vec::new(), Vec::new());
    for work in schedule.open.values() {
        match *work {
            TickWork::Job(job_id) => jobs.push(job_id),
            TickWork::Run(id) => runs.push(id),
            TickWork::Event(_) => {}
        }
    }
    engine.cancel_jobs(jobs, THE_SCHEDULE, "its next tick takes its place").await?;
    for id in runs {
        let happened = Happened::CancelRequested { by: THE_SCHEDULE.to_owned(), force: false };
        engine.changes.tell_run(id, happened).await?;
    }
    Ok(())
}

/// What became of ticks is counted.
pub(super) fn count(engine: &Engine, ticks: &Ticks<'_>, told: &[TickRecord], now: Timestamp) {
    for record in told {
        engine.metrics.ticked(ticks.name, record.state, record.count);
        if record.key.origin == TickOrigin::Clock && record.state == TickState::Fired {
            engine.metrics.tick_was_late(now.since(ticks.due(record.key.at)));
        }
    }
}

/// Why it does not go on, for people; nothing, if it does in a moment.
pub(in crate::engine) fn sentence(stop: TickStop) -> Option<String> {
    match stop {
        TickStop::NotReady => None,
        TickStop::TooManyTypes => Some("nobody announced the type of its jobs, and too many others like it have jobs: cancel or forget those, or start a worker".to_owned()),
        TickStop::TooManyRuns => Some(format!("{RUNS_OPEN_MAX} runs are open already: what waits has to end, or to be cancelled")),
    }
}
