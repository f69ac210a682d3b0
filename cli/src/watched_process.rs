//! A child process that cannot be orphaned, and is stopped in order.

use std::{ffi::OsString, fs::File, io, process::Stdio, time::Duration};

use tokio::{
    process::{Child, ChildStdin, Command},
    time::timeout,
};

use crate::exit::Failure;

/// When a process that does not stop is killed. `WATCHDOG` waits as long.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A shell that becomes the process. Before it does, it leaves a watchdog behind that waits for the
/// end of our pipe, which comes however we end, and then stops the process: in order, or by force.
///
/// `$$` is the process id of the shell, and so of what it becomes. The watchdog is in the process group of that
/// number, so that the number cannot go to another process while it may still be used here. A zombie
/// (state Z) is gone; when nobody is left to collect it, it only looks alive to `kill -0`.
const WATCHDOG: &str = r#"
exec 3<&0
(
    trap '' INT TERM HUP
    while read -r _; do :; done <&3
    kill -TERM $$ || exit
    tenths=0
    while kill -0 $$ && ! grep -qs '^State:.Z' /proc/$$/status && [ $tenths -lt 100 ]; do
        sleep 0.1
        tenths=$((tenths + 1))
    done
    kill -KILL $$
) >/dev/null 2>&1 &
exec "$0" "$@" </dev/null 3<&-
"#;

/// A running child.
pub(crate) struct WatchedProcess {
    process: Child,
    /// The pipe whose end is the signal to stop.
    pipe: Option<ChildStdin>,
}

impl WatchedProcess {
    /// Starts a program, given as words, with our environment but for these variables, of which `None` means to go
    /// without; what it prints goes to `log`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn start(
        words: &[OsString],
        variables: &[(&str, Option<&str>)],
        log: File,
    ) -> Result<Self, Failure> {
        let cannot = |source: io::Error| {
            let program = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
            Failure::System { what: format!("start {program}"), source }
        };
        let errors = log.try_clone().map_err(cannot)?;
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(WATCHDOG).args(words);
        for (name, value) in variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            // A Ctrl-C in the terminal is for us; we stop it when it is its turn.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot)?;
        let pipe = process.stdin.take();
        Ok(Self { process, pipe })
    }

    /// Its process id; `None` when it has ended.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits until it ends, and returns how. The pipe stays open: it was taken out of the process.
    pub(crate) async fn wait(&mut self) -> String {
        match self.process.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Tells it to stop, gives it a few seconds, and ends it.
    pub(crate) async fn stop(&mut self) {
        drop(self.pipe.take());
        if timeout(STOP_MAX, self.process.wait()).await.is_err() {
            // It may have ended in this very moment.
            let _ = self.process.kill().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use tokio::time::sleep;

    use super::*;

    /// How long a process may take to do what is expected of it.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A program that says in files what happens to it.
    async fn start(directory: &std::path::Path) -> WatchedProcess {
        let program = directory.join("program");
        fs::write(&program, "#!/bin/sh\ncd \"${0%/*}\"\ntrap 'touch stopped; exit 0' TERM\ntouch \"$UP\"\nwhile :; do sleep 0.05; done\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let log = File::create(directory.join("log")).unwrap();
        let process = WatchedProcess::start(&[program.into()], &[("UP", Some("up"))], log).unwrap();
        appears(&directory.join("up")).await;
        process
    }

    async fn appears(path: &std::path::Path) {
        let wait = async {
            while !path.exists() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{} does not appear", path.display()));
    }

    #[tokio::test]
    async fn it_is_stopped_in_order() {
        let directory = tempfile::tempdir().unwrap();
        start(directory.path()).await.stop().await;
        assert!(directory.path().join("stopped").exists());
    }

    #[tokio::test]
    async fn it_stops_when_nobody_holds_the_pipe() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = start(directory.path()).await;
        // What the kernel does when this process is killed.
        drop(process.pipe.take());
        appears(&directory.path().join("stopped")).await;
        assert_eq!(timeout(PATIENCE, process.wait()).await.unwrap(), "exit status: 0");
    }
}
