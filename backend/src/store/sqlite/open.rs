//! Opening the file: who may, and what it must be.

use std::{
    fs::{File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    migrations,
    open_error::{BUSY_WAIT, OpenError, Refusal},
    private,
};

/// How much of the file the writer keeps in memory, in KiB: the inner pages of every index of some million
/// jobs, and the pages that are written now.
const WRITER_CACHE_KIB: i64 = 64 * 1024;

/// How much of the file each reader keeps in memory, in KiB.
const READER_CACHE_KIB: i64 = 8 * 1024;

/// How large the log file stays after a peak, in bytes.
const LOG_BYTES_KEPT: i64 = 64 * 1024 * 1024;

/// How many prepared statements a connection keeps: more than it has.
const STATEMENTS_KEPT: usize = 128;

/// The right to use a database: at most one process has it, and a process that dies gives it back.
///
/// SQLite itself would let two backends share the file, and each would believe that it alone fills the
/// dispatch windows.
#[derive(Debug)]
pub(super) struct Ownership {
    /// Locked for as long as it is open.
    _lock: File,
}

impl Ownership {
    /// Takes the right, and answers it with the path of the database without symbolic links: two names of one
    /// file are one database.
    pub(super) fn take(path: &Path) -> Result<(Self, PathBuf), OpenError> {
        let path = resolve(path)?;
        let not_writable =
            |error: io::Error| OpenError::NotWritable { path: path.clone(), source: error.into() };
        let mut lock = private::open(&private::beside(&path, private::LOCK)).map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(OpenError::InUse { path, pid });
            }
            Err(TryLockError::Error(error)) => {
                return Err(OpenError::Other {
                    path,
                    source: format!("its lock file cannot be locked: {error}").into(),
                });
            }
        }
        if let Err(error) = sign(&mut lock) {
            tracing::debug!(reason = %error, "The lock file does not say who holds it.");
        }
        private::prepare(&path).map_err(not_writable)?;
        Ok((Self { _lock: lock }, path))
    }
}

/// Writes who holds the lock, for the message of the next one who wants it.
fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    if path.is_dir() {
        return Err(OpenError::IsDirectory { path: path.to_owned() });
    }
    if let Ok(resolved) = path.canonicalize() {
        return Ok(resolved);
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| OpenError::IsDirectory { path: path.to_owned() })?;
    match directory.canonicalize() {
        Ok(resolved) if resolved.is_dir() => Ok(resolved.join(name)),
        _ => Err(OpenError::NoDirectory { directory: directory.to_owned() }),
    }
}

/// The connection that writes, on a file that is ours and of this version.
pub(super) fn writer(path: &Path) -> Result<Connection, Refusal> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        // A connection belongs to one thread at a time.
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    migrations::check(&connection)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Refusal::NoLog);
    }
    // FULL: the log is on disk before a commit returns. NORMAL would lose the last commits with the power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What a savepoint would take back is kept in memory, not in a file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    // The writer does it itself, after it has answered: SQLite would let the callers wait for it, and would
    // not tell when it fails.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    keep_statements(&connection)?;
    migrations::migrate(&mut connection)?;
    Ok(connection)
}

/// A connection that reads. The writer has to be open.
pub(super) fn reader(path: &Path) -> Result<Connection, Refusal> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    keep_statements(&connection)?;
    Ok(connection)
}

/// A statement is prepared once. Left to itself, SQLite prepares one again whenever a limit is bound, since it may plan by
/// its value: a twentieth of the backend's processor time under load, for plans that are settled by the indexes named.
fn keep_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}
