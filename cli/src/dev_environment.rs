//! How programs reach a `crewcall dev`: `.crewcall/env`, lines for a shell. The file stays when it ends, so that the next one has the
//! same ports.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::SocketAddr,
    path::Path,
};

use url::Url;

use crate::exit::Failure;

/// The directory of `crewcall dev`, in the working directory.
pub(crate) const DIRECTORY: &str = ".crewcall";
/// The file in it that is locked while it is somebody's.
pub(crate) const LOCK: &str = "dev.lock";
/// The file, in the directory.
const FILE: &str = "env";
/// The backend, for the command line.
const URL: &str = "CREWCALL_URL";
/// The broker, for workers.
const AMQP_URL: &str = "CREWCALL_AMQP_URL";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DevEnvironment {
    /// Where the backend is.
    pub(crate) url: String,
    /// Where the broker is.
    pub(crate) amqp_url: String,
}

impl DevEnvironment {
    /// What the last `crewcall dev` of this directory wrote, if it can be read.
    pub(crate) fn read(root: &Path) -> Option<Self> {
        let text = fs::read_to_string(root.join(FILE)).ok()?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("export {name}='")))?;
            Some(line.strip_suffix('\'')?.to_owned())
        };
        Some(Self { url: value(URL)?, amqp_url: value(AMQP_URL)? })
    }

    /// Lines for a shell. A URL has no apostrophe: it would be written as %27.
    pub(crate) fn lines(&self) -> String {
        let Self { url, amqp_url } = self;
        format!("export {URL}='{url}'\nexport {AMQP_URL}='{}'", amqp_url.replace('\'', "%27"))
    }

    /// Writes the file for others to find, and for the next time.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn write(&self, root: &Path) -> Result<(), Failure> {
        let path = root.join(FILE);
        fs::write(&path, self.lines() + "\n")
            .map_err(|source| Failure::System { what: format!("write {}", path.display()), source })
    }

    /// Where the HTTP API was.
    pub(crate) fn http(&self) -> Option<SocketAddr> {
        self.url.strip_prefix("http://")?.parse().ok()
    }

    /// The port of the broker, if it was on this machine.
    pub(crate) fn amqp_port(&self) -> Option<u16> {
        let url: Url = self.amqp_url.parse().ok()?;
        url.port().filter(|_| url.host_str() == Some("127.0.0.1"))
    }
}

/// The `crewcall dev` that runs in the working directory, if one does.
pub(crate) fn running() -> Option<DevEnvironment> {
    running_in(Path::new(DIRECTORY))
}

fn running_in(root: &Path) -> Option<DevEnvironment> {
    match is_locked(&root.join(LOCK)) {
        Ok(true) => DevEnvironment::read(root),
        // Nobody runs there, or it is none of our business.
        Ok(false) | Err(_) => None,
    }
}

fn is_locked(path: &Path) -> io::Result<bool> {
    match File::open(path)?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crewcall_dev_is_found_while_it_runs_and_leaves_its_ports() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        assert_eq!(running_in(root), None);
        let lock = File::create(root.join(LOCK)).unwrap();
        lock.try_lock().unwrap();
        assert_eq!(running_in(root), None, "it is not up yet");
        let (url, amqp_url) = ("http://127.0.0.1:8081", "amqp://guest:it's@127.0.0.1:41234/%2f");
        let written = DevEnvironment { url: url.to_owned(), amqp_url: amqp_url.to_owned() };
        written.write(root).ok().unwrap();
        let found = running_in(root).unwrap();
        assert_eq!((found.http(), found.amqp_port()), ("127.0.0.1:8081".parse().ok(), Some(41234)));
        assert_eq!(
            found.lines(),
            "export CREWCALL_URL='http://127.0.0.1:8081'\nexport CREWCALL_AMQP_URL='amqp://guest:it%27s@127.0.0.1:41234/%2f'"
        );
        drop(lock);
        assert_eq!(running_in(root), None);
        assert_eq!(DevEnvironment::read(root), Some(found));
    }
}
