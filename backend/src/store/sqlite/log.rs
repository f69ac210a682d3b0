//! What is read of the log of published events.

use rusqlite::{Connection, params};

use super::{
    columns::{Columns, first, list, sql},
    counters::{self, EVENTS_SEQUENCED},
    transaction_error::TransactionError,
    values::{to_integer, to_limit},
};
use crate::{
    domain::{PublishedEvent, Sequence},
    engine::ports::LogBounds,
};

/// Events after a place, oldest first.
pub(super) fn after(
    connection: &Connection,
    after: Sequence,
    limit: usize,
    bytes_max: usize,
) -> Result<Vec<PublishedEvent>, TransactionError> {
    let sql =
        sql!("SELECT {} FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?", list::<PublishedEvent>());
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![to_integer(after.0), to_limit(limit)])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while bytes < bytes_max
        && let Some(row) = rows.next()?
    {
        let event: PublishedEvent = Columns::of(row).value()?;
        bytes += event.data.len();
        events.push(event);
    }
    Ok(events)
}

pub(super) fn one(
    connection: &Connection,
    sequence: Sequence,
) -> Result<Option<PublishedEvent>, TransactionError> {
    let sql = sql!("SELECT {} FROM events WHERE sequence = ?", list::<PublishedEvent>());
    first(connection, sql, [to_integer(sequence.0)])
}

pub(super) fn bounds(connection: &Connection) -> Result<LogBounds, TransactionError> {
    let oldest: Option<Option<Sequence>> = first(connection, "SELECT min(sequence) FROM events", ())?;
    let head = Sequence(counters::read(connection, EVENTS_SEQUENCED)?);
    Ok(LogBounds { oldest: oldest.flatten().unwrap_or_else(|| head.next()), head })
}
