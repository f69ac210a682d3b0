//! The directory of `crewcall dev`: `./.crewcall`, for one process at a time.

use std::{
    fs::{self, DirBuilder, File, Permissions, TryLockError},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    dev_environment::{DIRECTORY, LOCK},
    exit::Failure,
};

/// How long somebody may have the lock who only looks whether the directory is taken, and how many of them are waited for.
const LOOK_MAX: Duration = Duration::from_millis(30);
const LOOKS_MAX: usize = 2;
/// What the owner may do with it, and nobody else.
const OWNER_ONLY: u32 = 0o700;
/// How many lines of a log are shown when there is trouble.
const TAIL_LINES_MAX: usize = 20;
/// How much of a log is read for them, in bytes.
const TAIL_BYTES_MAX: u64 = 16 * 1024;

/// The picture that the first job works on; see `workers/samples/README.md`. It travels in the program,
/// so that `crewcall dev` works in any directory.
const SAMPLE: &[u8] = include_bytes!("../../../workers/samples/mountains.jpg");
/// Where it is put.
const SAMPLE_PATH: &str = "samples/mountains.jpg";

/// The directory, ours for as long as this value lives.
pub(crate) struct DevDirectory {
    root: PathBuf,
    /// The lock ends with the process, however that ends.
    _lock: File,
}

impl DevDirectory {
    /// Makes the directory when it is missing, and claims it.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or another `crewcall dev` has it.
    pub(crate) async fn claim() -> Result<Self, Failure> {
        for _ in 0..LOOKS_MAX {
            if let Ok(claimed) = Self::claim_at(Path::new(DIRECTORY)) {
                return Ok(claimed);
            }
            sleep(LOOK_MAX).await;
        }
        Self::claim_at(Path::new(DIRECTORY))
    }

    pub(super) fn claim_at(root: &Path) -> Result<Self, Failure> {
        make_private(root).map_err(|error| cannot("make the directory", root, error))?;
        let root = root.canonicalize().map_err(|error| cannot("find the directory", root, error))?;
        let lock_path = root.join(LOCK);
        let lock = File::create(&lock_path).map_err(|error| cannot("write", &lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let root = root.display();
                Err(Failure::Part(format!("another `crewcall dev` runs in this directory (it has {root}); use that one, stop it, or start in another directory").into()))
            }
            Err(TryLockError::Error(error)) => Err(cannot("lock", &lock_path, error)),
        }
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path in it, absolute.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A path in it as the user would type it here.
    pub(crate) fn shown(&self, name: &str) -> String {
        format!("./{DIRECTORY}/{name}")
    }

    /// Starts a log anew.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn create_log(&self, name: &str) -> Result<File, Failure> {
        let path = self.path(name);
        File::create(&path).map_err(|error| cannot("write", &path, error))
    }

    /// Puts the sample picture into the directory and returns its path as the workers see it: they run in our
    /// working directory.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn write_sample(&self) -> Result<String, Failure> {
        let path = self.path(SAMPLE_PATH);
        let directory = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&path, SAMPLE))
            .map_err(|error| cannot("write", &path, error))?;
        Ok(format!("{DIRECTORY}/{SAMPLE_PATH}"))
    }

    /// Says what went wrong, with the end of the log of the part that it went wrong in.
    pub(crate) fn failure(&self, what: &str, log: &str) -> Failure {
        let shown = self.shown(log);
        match tail(&self.path(log)) {
            Some(lines) => Failure::Part(format!("{what}; {shown} ends with:\n{lines}").into()),
            None => Failure::Part(format!("{what}; see {shown}").into()),
        }
    }
}

/// Makes the directory when it is missing. No other user has any business in it: it holds the database.
fn make_private(root: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(root)?;
    fs::set_permissions(root, Permissions::from_mode(OWNER_ONLY))
}

fn cannot(what: &str, path: &Path, source: io::Error) -> Failure {
    Failure::System { what: format!("{what} {}", path.display()), source }
}

/// The last lines of a file, or of the newest file in a directory, if there are any.
fn tail(path: &Path) -> Option<String> {
    if path.is_dir() {
        let files = fs::read_dir(path).ok()?.flatten().filter(|entry| entry.path().is_file());
        let newest =
            files.max_by_key(|entry| entry.metadata().and_then(|metadata| metadata.modified()).ok())?;
        return tail(&newest.path());
    }
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(TAIL_LINES_MAX)..];
    (!tail.is_empty()).then(|| tail.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_user_may_look_into_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join(DIRECTORY);
        for made_before in [false, true] {
            if made_before {
                fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
            }
            let _directory = DevDirectory::claim_at(&root).ok().unwrap();
            assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700, "{made_before}");
        }
    }

    #[test]
    fn the_tail_of_a_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        assert_eq!(tail(&path), None);
        let text: String = (1..=5_000).map(|line| format!("line {line}\n")).collect();
        fs::write(&path, text).unwrap();
        for path in [path.as_path(), directory.path()] {
            let tail = tail(path).unwrap();
            assert!(tail.starts_with("line 4981\n") && tail.ends_with("\nline 5000"), "{tail}");
        }
    }
}
