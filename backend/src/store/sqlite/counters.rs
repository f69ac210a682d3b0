//! Numbers that are kept beside the jobs, and only grow.

use rusqlite::{Connection, params};

use super::{columns::Columns, transaction_error::TransactionError, values::to_integer};

/// The last dispatch number that was given out.
pub(super) const DISPATCHES_NUMBERED: &str = "dispatches_numbered";

/// Every dispatch up to this one is confirmed or over.
pub(super) const DISPATCHES_CONFIRMED: &str = "dispatches_confirmed";

/// The last sequence that was given to an event.
pub(super) const EVENTS_SEQUENCED: &str = "events_sequenced";

/// The last pass through the log that was begun.
pub(super) const PASSES_BEGUN: &str = "passes_begun";

/// Up to where the log was looked at for all waits that had caught up.
pub(super) const WAITS_LOOKED_TO: &str = "waits_looked_to";

/// The number of the last schedule that was made among those that were deleted.
pub(super) const SCHEDULES_DELETED: &str = "schedules_deleted";

pub(super) fn read(connection: &Connection, name: &'static str) -> Result<u64, TransactionError> {
    let mut statement = connection.prepare_cached("SELECT value FROM counters WHERE name = ?")?;
    statement.query_row([name], |row| Ok(Columns::of(row).value()))?
}

/// Raises a counter to this number, unless it is higher.
pub(super) fn raise(connection: &Connection, name: &'static str, to: u64) -> Result<(), TransactionError> {
    let mut statement =
        connection.prepare_cached("UPDATE counters SET value = max(value, ?) WHERE name = ?")?;
    statement.execute(params![to_integer(to), name])?;
    Ok(())
}
