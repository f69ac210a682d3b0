//! Which files jobs may name, and the errors that tell a user what is wrong with a path.
//!
//! A job's paths are opened on the worker's host, by the worker's user. [`FileAccess`] is the one place
//! where a path from a job becomes a path that this process opens.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crewcall_worker::prelude::JobError;

/// The directory that jobs are confined to, if there is one. Cheap to clone.
///
/// With a root, paths are canonicalised (symbolic links are followed) and refused when they lead out of
/// it; a relative path starts at the root. Without one, a relative path starts at the working directory.
///
/// This guards against what a *job* asks for. It does not guard against someone who can replace
/// directories inside the root by links while a job runs: only give such people a host of their own.
#[derive(Clone, Debug)]
pub struct FileAccess {
    root: Option<Arc<Path>>,
}

/// A source that was found, may be read, and is open.
#[derive(Debug)]
pub struct Source {
    /// The open file, at its first byte.
    pub file: File,
    /// Its size in bytes when it was opened.
    pub bytes: u64,
    /// Where it really is: absolute, with every symbolic link followed.
    pub path: PathBuf,
}

impl FileAccess {
    /// Every file that the worker's user may open.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self { root: None }
    }

    /// Only what lies in `root` or deeper.
    ///
    /// # Errors
    ///
    /// When `root` is not a directory that can be opened: a sentence for whoever started the worker.
    pub fn within(root: &Path) -> Result<Self, String> {
        let canonical = root
            .canonicalize()
            .map_err(|error| format!("cannot open the root directory '{}': {error}", root.display()))?;
        if !canonical.is_dir() {
            return Err(format!("the root '{}' is not a directory", root.display()));
        }
        Ok(Self { root: Some(canonical.into()) })
    }

    /// Opens a file that a job wants to read. Blocks on I/O.
    ///
    /// # Errors
    ///
    /// Permanent: `path_not_allowed`, `source_not_found`, `source_not_a_file` (a directory, a pipe, a
    /// device: opening one could block for ever), `source_not_readable`. Any other failure of the file
    /// system is retryable.
    pub fn open_source(&self, path: &Path) -> Result<Source, JobError> {
        let found = self.resolve(path).canonicalize().map_err(|error| self.source_error(path, &error))?;
        self.check_allowed(path, &found)?;
        let metadata = found.metadata().map_err(|error| self.source_error(path, &error))?;
        if !metadata.is_file() {
            return Err(JobError::permanent(format!(
                "'{}' is not a regular file; name one file as the source",
                path.display()
            ))
            .code("source_not_a_file"));
        }
        let file = File::open(&found).map_err(|error| self.source_error(path, &error))?;
        Ok(Source { file, bytes: metadata.len(), path: found })
    }

    /// Where a file that a job wants to write really goes: absolute, its directory canonical. Nothing
    /// is created. Blocks on I/O.
    ///
    /// # Errors
    ///
    /// Permanent: `path_not_allowed`, `destination_directory_not_found` (directories are never created),
    /// `destination_not_a_file` when the path names a directory or no file at all.
    pub fn destination(&self, path: &Path) -> Result<PathBuf, JobError> {
        let resolved = self.resolve(path);
        let (Some(directory), Some(name)) = (resolved.parent(), resolved.file_name()) else {
            return Err(not_a_file(path));
        };
        // "thumbnail.jpg" alone has an empty parent, which no system call takes for the working directory.
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let directory = directory.canonicalize().map_err(|error| {
            self.refuse_outside(path).err().unwrap_or_else(|| {
                JobError::permanent(format!(
                    "the directory of '{}' cannot be opened on this worker's host ({error}); create it first",
                    path.display()
                ))
                .code("destination_directory_not_found")
            })
        })?;
        let found = directory.join(name);
        self.check_allowed(path, &found)?;
        if found.is_dir() {
            return Err(not_a_file(path));
        }
        Ok(found)
    }

    fn resolve(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path),
            None => path.to_path_buf(),
        }
    }

    fn check_allowed(&self, named: &Path, found: &Path) -> Result<(), JobError> {
        match &self.root {
            Some(root) if !found.starts_with(root) => Err(not_allowed(named)),
            _ => Ok(()),
        }
    }

    /// For a path that cannot be followed to its end: judges the part that exists, so that an error does
    /// not tell a stranger which files there are outside the root.
    fn refuse_outside(&self, path: &Path) -> Result<(), JobError> {
        let resolved = self.resolve(path);
        match resolved.ancestors().find_map(|ancestor| ancestor.canonicalize().ok()) {
            Some(existing) => self.check_allowed(path, &existing),
            None => Ok(()),
        }
    }

    fn source_error(&self, path: &Path, error: &io::Error) -> JobError {
        if let Err(refusal) = self.refuse_outside(path) {
            return refusal;
        }
        let path = path.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => JobError::permanent(format!(
                "'{path}' does not exist on this worker's host; the worker must see the file under this path"
            ))
            .code("source_not_found"),
            io::ErrorKind::PermissionDenied => JobError::permanent(format!(
                "'{path}' may not be read by the worker's user; change its permissions or the worker's user"
            ))
            .code("source_not_readable"),
            _ => JobError::retryable(format!("'{path}' could not be opened: {error}")),
        }
    }
}

fn not_allowed(path: &Path) -> JobError {
    JobError::permanent(format!(
        "'{}' lies outside the directory that this worker's jobs may use (CREWCALL_WORKERS_ROOT)",
        path.display()
    ))
    .code("path_not_allowed")
}

fn not_a_file(path: &Path) -> JobError {
    JobError::permanent(format!(
        "'{}' is not the name of a file; name one as the destination",
        path.display()
    ))
    .code("destination_not_a_file")
}
