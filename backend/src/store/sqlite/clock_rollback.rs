//! What becomes of waits when a restart finds that the machine's clock was set back.
//!
//! A wait that means a duration (a delay, a back-off) is stored as the time at which it ends. A process measures it by
//! its own clock, which never goes back; but the next process takes the machine's clock over, and by that the end may
//! be an hour farther away than it was. Such waits therefore move back with the clock. A time that somebody named
//! (`run_at`, `expires_at`, and what a step of a run waits for `until`) stays what it is.

use std::time::Duration;

use crewcall_proto::Timestamp;
use rusqlite::{Connection, Transaction, params};

use super::{counters, runs::OPEN, transaction_error::TransactionError};
use crate::metrics::Metrics;

/// The time by the clock of the process that had the database last, as it last kept it.
const TIME: &str = "time";

/// By how much the clock has to be behind. Less is the drift of a process's clock from the machine's.
const ROLLBACK_MIN_MS: i64 = 1_000;

/// To be called once, before anything else is done with the database. Returns the time that is kept in it.
///
/// If the clock was set back, whoever waits for a while keeps waiting for as long as was left; nobody knows for how
/// long there was no process, so that this does not count. Jobs that are ready keep their order, also with those that
/// come now.
pub(super) fn shift_waits(
    connection: &Connection,
    now: Timestamp,
    metrics: &Metrics,
) -> Result<Timestamp, TransactionError> {
    let kept = Timestamp::from_millis(counters::read(connection, TIME)?.cast_signed());
    let behind_ms = kept.as_millis() - now.as_millis();
    if behind_ms < ROLLBACK_MIN_MS {
        return Ok(kept);
    }
    let transaction = connection.unchecked_transaction()?;
    let waits = transaction.execute(
        "UPDATE jobs SET due_at = due_at - ? WHERE state IN ('blocked', 'scheduled') AND (run_at IS NULL OR attempt > 1)",
        [behind_ms],
    )?;
    transaction.execute("UPDATE jobs SET due_at = due_at - ? WHERE state = 'ready'", [behind_ms])?;
    shift_runs(&transaction, behind_ms)?;
    // What a rate limit lets through next is a wait as well.
    transaction.execute("UPDATE type_settings SET rate_slot_ns = rate_slot_ns - ? * 1000000", [behind_ms])?;
    keep(&transaction, now)?;
    transaction.commit()?;
    metrics.clock_found_set_back(Duration::from_millis(behind_ms.unsigned_abs()));
    tracing::warn!(
        seconds = behind_ms / 1_000,
        jobs = waits,
        "The machine's clock was set back. Jobs that wait for a while keep waiting for as long as they had left."
    );
    Ok(now)
}

/// The limits of runs and of their steps mean durations, but for moments that somebody named.
fn shift_runs(transaction: &Transaction<'_>, behind_ms: i64) -> Result<(), TransactionError> {
    let open = format!("SELECT seq FROM runs INDEXED BY runs_by_state WHERE state IN {OPEN}");
    transaction.execute(
        &format!("UPDATE runs SET deadline_at = deadline_at - ? WHERE seq IN ({open})"),
        [behind_ms],
    )?;
    let steps = format!(
        "UPDATE run_steps SET deadline_at = deadline_at - ? \
         WHERE run_seq IN ({open}) AND state = 'waiting' AND is_moment = 0"
    );
    transaction.execute(&steps, [behind_ms])?;
    Ok(())
}

/// Keeps the time.
pub(super) fn keep(connection: &Connection, now: Timestamp) -> Result<(), TransactionError> {
    let mut statement = connection.prepare_cached("UPDATE counters SET value = ? WHERE name = ?")?;
    statement.execute(params![now.as_millis(), TIME])?;
    Ok(())
}
