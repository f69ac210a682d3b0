//! How much room the database takes, and has.

use std::{fs, path::Path};

use rusqlite::Connection;

use super::transaction_error::TransactionError;
use crate::engine::ports::StoreUsage;

/// Looks at the file, its log and its disk.
pub(super) fn usage(connection: &Connection) -> Result<StoreUsage, TransactionError> {
    let path = connection.path().unwrap_or_default();
    let quarantined: i64 = connection
        .prepare_cached("SELECT count(*) FROM quarantine INDEXED BY quarantine_numbers")?
        .query_row((), |row| row.get(0))?;
    Ok(StoreUsage {
        file_bytes: length(path),
        log_bytes: length(&format!("{path}-wal")),
        disk_free_bytes: rustix::fs::statvfs(Path::new(path)).map_or(0, |disk| disk.f_bavail * disk.f_frsize),
        quarantined: u64::try_from(quarantined).unwrap_or(0),
    })
}

fn length(path: &str) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}
