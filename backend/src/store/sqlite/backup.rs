//! Copies of the database: made while a backend writes, put back while none does.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crewcall_proto::Timestamp;
use rusqlite::{Connection, OpenFlags};

use super::{
    migrations,
    open::Ownership,
    open_error::{BUSY_WAIT, OpenError, Refusal},
    private,
};

/// What a file is called until it is whole.
const UNFINISHED: &str = ".unfinished";

/// What SQLite keeps beside a database that has not been closed.
const LOGS: [&str; 2] = ["-wal", "-shm"];

/// A copy that was made, or put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// How many jobs it holds, in whatever state.
    pub jobs: u64,
    /// Its size.
    pub bytes: u64,
}

/// Why a copy was not made, or not put back. Each says what to do; nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The database or the copy cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no database of ours.
    #[error("there is no database at {}: name the one of the backend", .path.display())]
    Missing { path: PathBuf },
    /// Something is in the way.
    #[error("{} exists already: {hint}", .path.display())]
    Exists { path: PathBuf, hint: &'static str },
    /// A copy that is not what was written.
    #[error("{} is damaged ({found}): use another copy", .path.display())]
    Damaged { path: PathBuf, found: String },
    /// The system refuses.
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Copies the database into a new file of its own, as it is at one moment. A backend may write meanwhile, and is not held up.
/// The copy is on disk, and has been read once, when this returns. Blocks the thread.
///
/// # Errors
///
/// [`CopyError`] when the database cannot be read, the file exists, or it cannot be written.
pub fn back_up(database: &Path, copy: &Path) -> Result<Copied, CopyError> {
    let connection = existing(database)?;
    if copy.exists() {
        return Err(CopyError::Exists { path: copy.to_owned(), hint: "choose another name" });
    }
    let copied = write_copy(&connection, copy)?;
    rename(&private::beside(copy, UNFINISHED), copy)?;
    Ok(copied)
}

/// Puts a copy in the place of the database. One that is there is refused, or moved aside when it is to be replaced: then its
/// new path is returned too. Blocks the thread.
///
/// # Errors
///
/// [`CopyError`] when a backend uses the database, when one is there that is not to be replaced, or when the copy is not one.
pub fn restore(
    copy: &Path,
    database: &Path,
    replace: bool,
    now: Timestamp,
) -> Result<(Copied, Option<PathBuf>), CopyError> {
    let connection = existing(copy)?;
    check(&connection, copy)?;
    let was_there = fs::metadata(database).is_ok_and(|file| file.len() > 0);
    if was_there && !replace {
        let hint = "stop its backend, and say --replace to move it aside, or name another database";
        return Err(CopyError::Exists { path: database.to_owned(), hint });
    }
    let (_ownership, database) = Ownership::take(database)?;
    let copied = write_copy(&connection, &database)?;
    let aside = private::beside(&database, &format!(".replaced-{}", now.as_millis()));
    if was_there {
        merge_log(&database);
    }
    for ending in [""].into_iter().chain(LOGS) {
        move_if_there(&private::beside(&database, ending), &private::beside(&aside, ending))?;
    }
    rename(&private::beside(&database, UNFINISHED), &database)?;
    Ok((copied, was_there.then_some(aside)))
}

/// A connection that reads a database of ours, and changes nothing.
fn existing(path: &Path) -> Result<Connection, CopyError> {
    if !fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0) {
        return Err(CopyError::Missing { path: path.to_owned() });
    }
    let open = || -> Result<Connection, Refusal> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_WAIT)?;
        migrations::check(&connection)?;
        Ok(connection)
    };
    Ok(open().map_err(|refusal| refusal.at(path))?)
}

/// Writes what the connection sees beside `path`, and reads it again.
fn write_copy(connection: &Connection, path: &Path) -> Result<Copied, CopyError> {
    let unfinished = private::beside(path, UNFINISHED);
    let cannot_write = |source| CopyError::Write { path: unfinished.clone(), source };
    // Made here, for us alone: SQLite takes an empty file, and would make one for everybody.
    let file = private::open(&unfinished).map_err(cannot_write)?;
    file.set_len(0).map_err(cannot_write)?;
    let refused = |error: rusqlite::Error| CopyError::from(Refusal::from(error).at(&unfinished));
    let name = unfinished.to_str().ok_or_else(|| cannot_write(io::ErrorKind::InvalidFilename.into()))?;
    let written = connection.execute("VACUUM INTO ?1", [name]);
    if let Err(error) = written {
        // What is half a copy is none.
        let _ = fs::remove_file(&unfinished);
        return Err(refused(error));
    }
    file.sync_all().map_err(cannot_write)?;
    let copy = existing(&unfinished)?;
    check(&copy, &unfinished)?;
    let jobs: i64 = copy.query_row("SELECT count(*) FROM jobs", (), |row| row.get(0)).map_err(refused)?;
    let bytes = file.metadata().map_err(cannot_write)?.len();
    Ok(Copied { jobs: jobs.unsigned_abs(), bytes })
}

/// Reads every page.
fn check(connection: &Connection, path: &Path) -> Result<(), CopyError> {
    let found = connection.pragma_query_value(None, "integrity_check", |row| row.get::<_, String>(0));
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(CopyError::Damaged { path: path.to_owned(), found }),
        Err(error) => Err(CopyError::Damaged { path: path.to_owned(), found: error.to_string() }),
    }
}

/// Closing a database moves its log into it, so that it is one file that is moved aside. One that is too damaged for that is
/// moved aside with its log.
fn merge_log(database: &Path) {
    let merged = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .and_then(|connection| connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(())));
    if let Err(reason) = merged {
        tracing::warn!(path = %database.display(), %reason, "The database that is replaced cannot be read.");
    }
}

fn move_if_there(from: &Path, to: &Path) -> Result<(), CopyError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved.map_err(|source| CopyError::Write { path: to.to_owned(), source }),
    }
}

/// Gives a whole file its name, for good.
fn rename(from: &Path, to: &Path) -> Result<(), CopyError> {
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::rename(from, to)
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(|source| CopyError::Write { path: to.to_owned(), source })
}
