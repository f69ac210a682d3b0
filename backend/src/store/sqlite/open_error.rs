//! Why a database cannot be used, and what to do about it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::ErrorCode;

/// How long a lock of another program on the file (a backup, a shell) only delays us; longer ones make the store
/// unavailable.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(15);

/// What SQLite or the system says.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a database cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory is missing, or is none.
    #[error("the directory {} of the database does not exist: create it, or choose another path", .directory.display())]
    NoDirectory { directory: PathBuf },
    /// The path is a directory.
    #[error("{} is a directory: give the path of a file for the database", .path.display())]
    IsDirectory { path: PathBuf },
    /// The file or its directory cannot be written.
    #[error("the database {} cannot be written ({source}): make it and its directory writable for this user", .path.display())]
    NotWritable {
        path: PathBuf,
        /// What the system says.
        source: Cause,
    },
    /// Another backend uses it.
    #[error("the database {} is in use by another backend{}: stop it, or choose another path", .path.display(), process(.pid))]
    InUse {
        path: PathBuf,
        /// The other process, if it said so.
        pid: Option<u32>,
    },
    /// Another program keeps a lock on it.
    #[error("the database {} has been locked by another program for {} s: close that program", .path.display(), BUSY_WAIT.as_secs())]
    Locked { path: PathBuf },
    /// It is no SQLite database.
    #[error("{} is not a SQLite database: choose another path, or move the file away", .path.display())]
    NotADatabase { path: PathBuf },
    /// It is the database of another program.
    #[error("{} is a SQLite database of another program: choose another path", .path.display())]
    Foreign { path: PathBuf },
    /// A later version wrote it.
    #[error(
        "the database {} was written by a newer version (its format is {found}, this program knows up to {known}): run that version or a later one",
        .path.display()
    )]
    Newer {
        path: PathBuf,
        found: i64,
        /// The newest format that this program knows.
        known: i64,
    },
    /// The file system cannot do what the log needs.
    #[error("the database {} cannot keep a write-ahead log: put it on a local disk", .path.display())]
    NoLog { path: PathBuf },
    /// Its content is damaged.
    #[error("the database {} is damaged ({source}): restore a backup, or move the file away to start anew", .path.display())]
    Damaged { path: PathBuf, source: Cause },
    /// Anything else.
    #[error("the database {} cannot be opened: {source}", .path.display())]
    Other { path: PathBuf, source: Cause },
}

fn process(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// Why a file is refused, before its path is known.
#[derive(Debug)]
pub(super) enum Refusal {
    Foreign,
    Newer { found: i64, known: i64 },
    NoLog,
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Refusal {
    pub(super) fn at(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        let error = match self {
            Self::Foreign => return OpenError::Foreign { path },
            Self::Newer { found, known } => return OpenError::Newer { path, found, known },
            Self::NoLog => return OpenError::NoLog { path },
            Self::Sqlite(error) => error,
        };
        let code = error.sqlite_error_code();
        let source = Cause::from(error);
        match code {
            Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                OpenError::NotWritable { path, source }
            }
            Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, source },
            _ => OpenError::Other { path, source },
        }
    }
}
