//! What commands decided about schedules and ticks, written row by row inside their transaction.

use std::collections::HashMap;

use crewcall_proto::Timestamp;
use rusqlite::params;

use super::{
    columns::{Value as _, sql, values},
    counters::SCHEDULES_DELETED,
    schedule_rows::{DocumentRow, ScheduleRow, TickRow},
    transaction_error::TransactionError,
    values::{to_integer, to_limit},
    write_context::WriteContext,
};
use crate::{
    domain::{
        ScheduleId, ScheduleName,
        schedules::{
            known::Wait,
            tick::{TickRecord, TickState},
        },
    },
    engine::ports::{Cut, ScheduleWrite},
};

/// Writes all of it, in the order in which it was decided. A schedule that moves more than once is written as it is in the end.
pub(super) fn write(context: &WriteContext, writes: &[ScheduleWrite]) -> Result<(), TransactionError> {
    let mut last = HashMap::new();
    for (index, write) in writes.iter().enumerate() {
        if let ScheduleWrite::Put(schedule) = write {
            last.insert(schedule.id, index);
        }
    }
    for (index, write) in writes.iter().enumerate() {
        match write {
            ScheduleWrite::Put(schedule) if last.get(&schedule.id) != Some(&index) => {}
            write => write_one(context, write)?,
        }
    }
    Ok(())
}

fn write_one(context: &WriteContext, write: &ScheduleWrite) -> Result<(), TransactionError> {
    match write {
        ScheduleWrite::Put(schedule) => {
            let sql = sql!(
                "INSERT INTO schedules {} ON CONFLICT (id) DO UPDATE SET {}",
                values::<ScheduleRow>(),
                ScheduleRow::names("")
                    .iter()
                    .map(|name| format!("{name} = excluded.{name}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            context.insert(sql, &ScheduleRow::of(schedule))
        }
        ScheduleWrite::Document(schedule) => {
            let row = DocumentRow { schedule_id: schedule.id, document: schedule.document.to_string() };
            context
                .insert(sql!("INSERT OR REPLACE INTO schedule_documents {}", values::<DocumentRow>()), &row)
        }
        ScheduleWrite::Deleted(name) => {
            // Nobody else is given its number, also if nothing is left of it.
            let sql = "INSERT INTO counters (name, value) SELECT ?, id FROM schedules WHERE name = ? \
                 ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)";
            context.execute(sql, [SCHEDULES_DELETED, name.as_str()])?;
            // What it says and what came out of it last refer to it and go with it.
            context.execute("DELETE FROM schedules WHERE name = ?", [name.as_str()])?;
            Ok(())
        }
        ScheduleWrite::Record(id, name, record) => {
            let sql = sql!("INSERT INTO ticks {}", values::<TickRow>());
            context.insert(sql, &row((*id, name), record, Wait::Alone))
        }
        ScheduleWrite::Changed(id, name, record) => {
            let sql = sql!("INSERT OR REPLACE INTO ticks {}", values::<TickRow>());
            context.insert(sql, &row((*id, name), record, Wait::Alone))
        }
        ScheduleWrite::Backfilled(id, name, record, wait) => {
            let sql = sql!("INSERT OR REPLACE INTO ticks {}", values::<TickRow>());
            context.insert(sql, &row((*id, name), record, *wait))
        }
        ScheduleWrite::Extended { schedule, first, last, count } => {
            let sql = "UPDATE ticks SET last_tick = ?, count = count + ? \
                 WHERE schedule_id = ? AND tick = ? AND origin = 'clock'";
            let parameters =
                params![last.as_millis(), to_integer(*count), to_integer(schedule.0), first.as_millis()];
            context.execute(sql, parameters)?;
            Ok(())
        }
        ScheduleWrite::Ended { schedule, key, outcome } => {
            let sql = "UPDATE ticks SET outcome = ?, ended_at = ? \
                 WHERE schedule_id = ? AND tick = ? AND origin = ?";
            let (word, at) = outcome.map(|(outcome, at)| (outcome.as_str(), at.as_millis())).unzip();
            let (tick, origin) = (key.at.as_millis(), key.origin.as_str());
            context.execute(sql, params![word, at, to_integer(schedule.0), tick, origin])?;
            Ok(())
        }
        ScheduleWrite::LastResult(id, result) => {
            let sql = "INSERT OR REPLACE INTO schedule_results (schedule_id, result) VALUES (?, ?)";
            context.execute(sql, params![to_integer(id.0), &**result])?;
            Ok(())
        }
        ScheduleWrite::StruckOut { schedule, after, cut } => strike_out(context, *schedule, *after, *cut),
        ScheduleWrite::Forget { until, limit } => forget(context, *until, *limit),
    }
}

/// The calendar's ticks after this moment have no record, but for those that fired.
fn strike_out(
    context: &WriteContext,
    schedule: ScheduleId,
    after: Timestamp,
    cut: Option<Cut>,
) -> Result<(), TransactionError> {
    let sql = "DELETE FROM ticks \
         WHERE schedule_id = ? AND tick > ? AND origin = 'clock' AND state <> 'fired'";
    context.execute(sql, params![to_integer(schedule.0), after.as_millis()])?;
    let Some(Cut { first, last, count }) = cut else { return Ok(()) };
    let sql = "UPDATE ticks SET last_tick = ?, count = ? \
         WHERE schedule_id = ? AND tick = ? AND origin = 'clock'";
    let parameters = params![last.as_millis(), to_integer(count), to_integer(schedule.0), first.as_millis()];
    context.execute(sql, parameters)?;
    Ok(())
}

/// What is not over stays, and the record to which further ticks are still added.
fn forget(context: &WriteContext, until: Timestamp, limit: usize) -> Result<(), TransactionError> {
    let sql = "DELETE FROM ticks WHERE (schedule_id, tick, origin) IN (\
           SELECT schedule_id, tick, origin FROM ticks INDEXED BY ticks_by_age \
           WHERE decided_at <= ? AND state <> 'queued' \
             AND NOT (state = 'fired' AND sequence IS NULL AND outcome IS NULL) \
             AND NOT EXISTS (SELECT 1 FROM schedules \
               WHERE id = schedule_id AND tail_tick = tick AND origin = 'clock') \
           ORDER BY decided_at LIMIT ?)";
    context.execute(sql, params![until.as_millis(), to_limit(limit)])?;
    Ok(())
}

/// The row of a record; how it waits matters only if it does.
fn row((schedule_id, schedule): (ScheduleId, &ScheduleName), record: &TickRecord, wait: Wait) -> TickRow {
    let waits_alone = (record.state == TickState::Queued).then_some(wait == Wait::Alone);
    TickRow { schedule_id, schedule: schedule.clone(), waits_alone, record: record.clone() }
}
