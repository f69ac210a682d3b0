//! The `crewcall dev` of the working directory: it has `.crewcall/dev.lock` for as long as it runs, and `.crewcall/env` says
//! where its broker is. That file stays when it ends.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

/// Its directory, in the working directory.
pub(super) const DIRECTORY: &str = ".crewcall";
/// The file in it that is locked while it runs.
const LOCK: &str = "dev.lock";
/// The file in it that says where everything is, in lines for a shell.
const ENVIRONMENT: &str = "env";
/// The line of the broker begins with this, and ends with an apostrophe.
const BROKER: &str = "export CREWCALL_AMQP_URL='";

/// What there is of a `crewcall dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DevStack {
    /// It runs, and its broker is here.
    Runs { amqp_url: String },
    /// It ended. Its broker is gone with it, and somebody else may have its port.
    Ended,
}

/// Looks into the directory of a `crewcall dev`; `None` if there is nothing of it, or it is not up yet.
pub(super) fn look(directory: &Path) -> Option<DevStack> {
    let text = fs::read_to_string(directory.join(ENVIRONMENT)).ok()?;
    let amqp_url = text.lines().find_map(|line| line.strip_prefix(BROKER)?.strip_suffix('\''))?.to_owned();
    match File::open(directory.join(LOCK)).map(|lock| lock.try_lock_shared()) {
        Ok(Err(TryLockError::WouldBlock)) => Some(DevStack::Runs { amqp_url }),
        Ok(Ok(()) | Err(TryLockError::Error(_))) | Err(_) => Some(DevStack::Ended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crewcall_dev_is_followed_while_it_runs() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        assert_eq!(look(root), None);
        let lock = File::create(root.join(LOCK)).unwrap();
        lock.try_lock().unwrap();
        assert_eq!(look(root), None, "it is not up yet");
        let amqp_url = "amqp://guest:guest@127.0.0.1:41234/%2f".to_owned();
        let lines =
            format!("export CREWCALL_URL='http://127.0.0.1:8081'\nexport CREWCALL_AMQP_URL='{amqp_url}'\n");
        fs::write(root.join(ENVIRONMENT), lines).unwrap();
        assert_eq!(look(root), Some(DevStack::Runs { amqp_url }));
        drop(lock);
        assert_eq!(look(root), Some(DevStack::Ended));
        fs::write(root.join(ENVIRONMENT), "CREWCALL_AMQP_URL=").unwrap();
        assert_eq!(look(root), None, "it is not a file of ours");
    }
}
