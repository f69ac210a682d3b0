//! The files of the database belong to the user of the backend alone: they hold parameters, results, and the tokens
//! by which attempts are concluded.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// What the owner may do with a file, and nobody else.
const OWNER_ONLY: u32 = 0o600;

/// What everybody else may do with a file.
const OTHERS: u32 = 0o077;

/// What is added to the name of the database for the files beside it: what SQLite makes, and our lock.
const BESIDE: [&str; 4] = ["-wal", "-shm", "-journal", LOCK];

/// What is added to it for the lock.
pub(super) const LOCK: &str = ".lock";

/// The file beside the database whose name ends with this.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Opens a file to read and write it; one that is missing is made for us alone.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(OWNER_ONLY).open(path)
}

/// Makes the database if it is missing, so that SQLite, which would make it for everybody, finds it; and takes what
/// others may do with files that were made before. The files that SQLite makes beside it may be used by whom it may be.
pub(super) fn prepare(database: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(database) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    tighten(database);
    for ending in BESIDE {
        tighten(&beside(database, ending));
    }
    Ok(())
}

/// A file of somebody else that we may only use stays as it is: whose it is decides.
fn tighten(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.permissions().mode();
    if mode & OTHERS == 0 {
        return;
    }
    if let Err(reason) = fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS)) {
        tracing::warn!(path = %path.display(), %reason, "Other users of this machine may open a file of the database, and this cannot be changed.");
    }
}
