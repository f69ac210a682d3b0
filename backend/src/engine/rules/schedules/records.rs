//! What is recorded of ticks, for people and in the log.

use std::sync::Arc;

use crewcall_proto::Timestamp;
use serde_json::json;

use crate::{
    domain::{
        NewEvent, PublishedEvent, ScheduleName, Subject, TickKey,
        schedules::{
            known::{Schedule, Tail},
            tick::{TickRecord, TickState, TickWork},
        },
    },
    engine::{
        ports::ScheduleWrite,
        rfc3339::rfc3339,
        rules::{Decision, Rules},
    },
};

/// One tick has this fate.
pub(in crate::engine::rules) fn single(
    key: TickKey,
    state: TickState,
    (reason, work): (Option<String>, Option<TickWork>),
    decided_at: Timestamp,
) -> TickRecord {
    TickRecord { key, last: key.at, count: 1, state, reason, decided_at, work, outcome: None, ended_at: None }
}

/// Ticks in a row of which none fires have one record, as long as nothing comes between.
pub(in crate::engine::rules) fn passed<T>(
    schedule: &mut Schedule,
    record: TickRecord,
    decision: &mut Decision<T>,
) {
    let TickRecord { key, last, count, state, .. } = record;
    match schedule.tail.filter(|tail| tail.state == state) {
        Some(Tail { first, .. }) => {
            let extended = ScheduleWrite::Extended { schedule: schedule.id, first, last, count };
            decision.writes.schedules.push(extended);
        }
        None => {
            schedule.tail = Some(Tail { first: key.at, state });
            decision.writes.schedules.push(ScheduleWrite::Record(schedule.id, schedule.name.clone(), record));
        }
    }
}

/// The event that is recorded of ticks that were missed or skipped, for whoever may want it; in its place of the log.
pub(in crate::engine::rules) fn tell(
    schedule: &ScheduleName,
    record: &TickRecord,
    rules: &mut Rules,
) -> Option<Arc<PublishedEvent>> {
    if !matches!(record.state, TickState::Missed | TickState::Skipped) {
        return None;
    }
    let subject = rules.hear(|| Subject::of_schedule(record.state, schedule))?;
    let data = json!({
        "schedule": schedule.as_str(),
        "tick": rfc3339(record.key.at),
        "last_tick": rfc3339(record.last),
        "count": record.count,
        "state": record.state.as_str(),
        "reason": record.reason,
    });
    let event = NewEvent { subject, data: data.to_string(), id: None, occurred_at: None, origin: None };
    Some(Arc::new(event.record(rules.counts.next_sequence(), rules.now())))
}
