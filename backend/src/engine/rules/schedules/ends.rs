//! What ticks made comes to its end: what waits may begin, and who fails too often is paused.

use std::sync::Arc;

use crewcall_proto::Timestamp;

use crate::{
    domain::{
        FiredBy, Pause, TickKey,
        schedules::{known::Schedule, tick::TickOutcome},
    },
    engine::{
        ports::ScheduleWrite,
        rules::{Decision, Rules, fires::FireEnded},
    },
    mutant::mutant,
};

/// Who pauses a schedule whose fires fail.
const ITSELF: &str = "the schedule itself";

/// What follows from the ends of what ticks made.
pub(in crate::engine::rules) fn follow<T>(rules: &mut Rules, decision: &mut Decision<T>) {
    for ended in std::mem::take(&mut decision.ended_fires) {
        end(ended, rules, decision);
    }
}

fn end<T>(
    FireEnded { by: FiredBy { schedule: name, id, tick }, outcome, result }: FireEnded,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) {
    if mutant("fire_end_unheard") {
        return;
    }
    let now = rules.now();
    decision.writes.schedules.push(ScheduleWrite::Ended {
        schedule: id,
        key: tick,
        outcome: Some((outcome, now)),
    });
    // One of this name that was made since is another.
    let Some(mut schedule) = rules.schedules.find(&name, id) else { return };
    schedule.open.remove(&tick);
    count(&mut schedule, tick, outcome, now);
    if outcome == TickOutcome::Completed && schedule.last_completed == Some(tick.at) {
        let result = result.filter(|_| schedule.settings.reads_last_result);
        decision.writes.schedules.extend(result.map(|result| ScheduleWrite::LastResult(id, result)));
    }
    keep(schedule, rules, decision);
}

/// A poller goes on where the last fire got to; what is made up for does not set it back.
fn count(schedule: &mut Schedule, tick: TickKey, outcome: TickOutcome, now: Timestamp) {
    match outcome {
        TickOutcome::Completed => {
            schedule.failures = 0;
            if schedule.last_completed.is_none_or(|last| last <= tick.at) {
                schedule.last_completed = Some(tick.at);
            }
        }
        TickOutcome::Cancelled => {}
        TickOutcome::Failed => {
            schedule.failures = schedule.failures.saturating_add(1);
            let most = schedule.settings.pause_after_failures;
            if most.is_some_and(|most| schedule.failures >= most) && schedule.pause.is_none() {
                let reason = Some(format!("{} fires in a row failed", schedule.failures));
                schedule.pause = Some(Pause { by: ITSELF.to_owned(), reason, at: now });
            }
        }
    }
}

/// A fire that was over is tried again: it is open once more.
pub(in crate::engine::rules) fn reopened<T>(
    FiredBy { schedule: name, id, tick }: &FiredBy,
    work: crate::domain::schedules::tick::TickWork,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) {
    // It may have ended in this very decision.
    follow(rules, decision);
    decision.writes.schedules.push(ScheduleWrite::Ended { schedule: *id, key: *tick, outcome: None });
    let Some(mut schedule) = rules.schedules.find(name, *id) else { return };
    schedule.open.insert(*tick, work);
    keep(schedule, rules, decision);
}

/// A schedule is like this from now on.
pub(super) fn keep<T>(schedule: Schedule, rules: &mut Rules, decision: &mut Decision<T>) -> Arc<Schedule> {
    let schedule = rules.schedules.set(schedule);
    decision.schedules.push(Arc::clone(&schedule));
    decision.writes.schedules.push(ScheduleWrite::Put(Arc::clone(&schedule)));
    schedule
}
