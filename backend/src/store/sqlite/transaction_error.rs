//! What can go wrong inside a transaction, and how bad it is.

use rusqlite::{ErrorCode, ffi};

use crate::engine::{ports::StoreError, rules::Inconsistent};

/// Why a piece of work in the database failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransactionError {
    /// SQLite says so.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row holds a value that means nothing.
    #[error("the column {column} holds {value}, which cannot be read: the file is damaged or was edited")]
    Unreadable { column: String, value: String },
    /// A row is not what the same transaction read before.
    #[error("{0}")]
    Inconsistent(&'static str),
}

impl From<Inconsistent> for TransactionError {
    fn from(Inconsistent(what): Inconsistent) -> Self {
        Self::Inconsistent(what)
    }
}

/// How bad an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// Nothing happened; the same may succeed later.
    Passing,
    /// Nothing happened; the same would fail again.
    Lasting,
    /// Nobody knows what is on disk: after a failed fsync the system may have dropped the pages that it
    /// could not write, and a second fsync succeeds without them. Only reading the file anew tells. A file that is
    /// damaged is not written to either: each write may damage more.
    Fatal,
}

impl TransactionError {
    pub(super) fn severity(&self) -> Severity {
        let Self::Sqlite(error) = self else { return Severity::Lasting };
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::OutOfMemory
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::FileLockingProtocolFailed,
            ) => Severity::Passing,
            Some(ErrorCode::SystemIoFailure) if is_passing_io(error) => Severity::Passing,
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Severity::Fatal
            }
            _ => Severity::Lasting,
        }
    }
}

/// I/O errors about the index of the log (the `-shm` file), which is rebuilt from the log: growing it on a full disk
/// is the usual cause.
fn is_passing_io(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMOPEN | ffi::SQLITE_IOERR_NOMEM))
}

impl From<TransactionError> for StoreError {
    fn from(error: TransactionError) -> Self {
        match error.severity() {
            Severity::Passing => Self::Unavailable { reason: advice(&error) },
            Severity::Lasting => Self::Broken { reason: error.to_string() },
            Severity::Fatal => Self::Failed { reason: error.to_string() },
        }
    }
}

/// What the operator can do about a passing error.
fn advice(error: &TransactionError) -> String {
    let code = if let TransactionError::Sqlite(error) = error { error.sqlite_error_code() } else { None };
    match code {
        Some(ErrorCode::DiskFull) => "the disk of the database is full: free some space".to_owned(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has locked the database file: close it".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn severity(code: i32) -> Severity {
        TransactionError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)).severity()
    }

    #[test]
    fn a_failed_fsync_and_a_damaged_file_are_fatal_and_a_full_disk_is_not() {
        assert_eq!(severity(ffi::SQLITE_IOERR_FSYNC), Severity::Fatal);
        assert_eq!(severity(ffi::SQLITE_IOERR_WRITE), Severity::Fatal);
        assert_eq!(severity(ffi::SQLITE_IOERR_SHMSIZE), Severity::Passing);
        assert_eq!(severity(ffi::SQLITE_FULL), Severity::Passing);
        assert_eq!(severity(ffi::SQLITE_BUSY), Severity::Passing);
        assert_eq!(severity(ffi::SQLITE_CORRUPT), Severity::Fatal);
        assert_eq!(severity(ffi::SQLITE_NOTADB), Severity::Fatal);
        assert_eq!(severity(ffi::SQLITE_ERROR), Severity::Lasting);
        assert_eq!(severity(ffi::SQLITE_CONSTRAINT_UNIQUE), Severity::Lasting);
    }
}
