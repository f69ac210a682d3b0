//! Moves what was committed from the log into the database file.

use rusqlite::Connection;

use super::transaction_error::TransactionError;

/// How many pages wait in the log before they are moved: 16 MiB. With more, each move is cheaper (a page that
/// changed often is moved once) and the log longer.
const PAGES_WAITING_MAX: i64 = 4_096;

/// How long the log may get while readers keep it from starting over, in pages: 256 MiB. Beyond it the
/// writer waits for a moment without readers.
const LOG_PAGES_MAX: i64 = 65_536;

/// What SQLite says about the log.
struct Log {
    pages: i64,
    moved: i64,
}

/// To be called after each commit, when its callers have their answers. Returns whether anything was moved.
pub(super) fn after_commit(connection: &Connection) -> Result<bool, TransactionError> {
    // NOOP only looks.
    let log = checkpoint(connection, "PRAGMA wal_checkpoint(NOOP)")?;
    if log.pages - log.moved < PAGES_WAITING_MAX {
        return Ok(false);
    }
    let log = checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)")?;
    if log.pages > LOG_PAGES_MAX {
        checkpoint(connection, "PRAGMA wal_checkpoint(RESTART)")?;
    }
    Ok(true)
}

fn checkpoint(connection: &Connection, sql: &str) -> Result<Log, TransactionError> {
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row((), |row| Ok(Log { pages: row.get(1)?, moved: row.get(2)? }))?)
}
