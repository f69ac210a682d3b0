//! The workers of `crewcall dev`: the program `crewcall-workers`, as a child that cannot be orphaned.

use std::{env, ffi::OsString, io, process::Stdio, time::Duration};

use tokio::{
    process::{Child, ChildStdin, Command},
    time::timeout,
};

use super::DevDirectory;
use crate::exit::Failure;

/// The program, beside our own.
const PROGRAM: &str = "crewcall-workers";
/// How long running attempts may go on after they were told to stop: nobody wants to wait long after
/// Ctrl-C, and what is cut off is tried again at the next start.
const DRAIN_SECONDS: u64 = 5;
/// When workers that do not stop are killed. `WATCHDOG` waits as long.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A shell that becomes the workers' process. Before it does, it leaves a watchdog behind that waits for the
/// end of our pipe, which comes however we end, and then stops the workers: in order, or by force.
///
/// `$$` is the process id of the shell, and so of the workers. The watchdog is in the process group of that
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

/// The running workers.
pub(crate) struct Workers {
    process: Child,
    /// The pipe whose end is the signal to stop.
    pipe: Option<ChildStdin>,
}

/// What starts the workers: the program beside ours, or a command of the user's, for a shell.
///
/// # Errors
///
/// When there is no program beside ours: how to build it.
pub(crate) fn find(command: Option<&str>) -> Result<Vec<OsString>, Failure> {
    if let Some(command) = command {
        return Ok(["/bin/sh", "-c", command].map(OsString::from).into());
    }
    let own = env::current_exe().map_err(cannot("find our own program"))?;
    let program = own.with_file_name(PROGRAM);
    if program.is_file() {
        return Ok(vec![program.into()]);
    }
    let program = program.display();
    let missing =
        format!("the workers are not built: there is no {program}; run `cargo build -p crewcall-workers`");
    Err(Failure::Part(missing.into()))
}

fn cannot(what: &str) -> impl FnOnce(io::Error) -> Failure {
    move |source| Failure::System { what: what.to_owned(), source }
}

impl Workers {
    /// Starts the program; what it prints goes to `workers.log`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn start(
        words: &[OsString],
        amqp_url: &str,
        amqp_prefix: &str,
        directory: &DevDirectory,
    ) -> Result<Self, Failure> {
        let log = directory.create_log("workers.log")?;
        let errors = log.try_clone().map_err(cannot("open workers.log twice"))?;
        let mut process = Command::new("/bin/sh")
            .arg("-c")
            .arg(WATCHDOG)
            .args(words)
            .env("CREWCALL_AMQP_URL", amqp_url)
            .env("CREWCALL_AMQP_PREFIX", amqp_prefix)
            .env("CREWCALL_DRAIN_SECONDS", DRAIN_SECONDS.to_string())
            // Paths of jobs start in our working directory, as they do for whoever submits from here.
            .env_remove("CREWCALL_WORKERS_ROOT")
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            // A Ctrl-C in the terminal is for us; we stop the workers when it is their turn.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot("start the workers"))?;
        let pipe = process.stdin.take();
        Ok(Self { process, pipe })
    }

    /// Waits until they end, and returns how. The pipe stays open: it was taken out of the process.
    pub(crate) async fn wait(&mut self) -> String {
        match self.process.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Lets them finish what they run, for a few seconds, and ends them.
    pub(crate) async fn stop(mut self) {
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

    /// Workers that say in files what happens to them.
    async fn start(directory: &std::path::Path) -> Workers {
        let program = directory.join("workers");
        fs::write(&program, "#!/bin/sh\ncd \"${0%/*}\"\ntrap 'touch drained; exit 0' TERM\ntouch up\nwhile :; do sleep 0.05; done\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let claimed = DevDirectory::claim_at(&directory.join("claimed")).unwrap();
        let workers =
            Workers::start(&[program.into()], "amqp://127.0.0.1/%2f", "crewcall", &claimed).unwrap();
        appears(&directory.join("up")).await;
        workers
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
    async fn workers_are_stopped_in_order() {
        let directory = tempfile::tempdir().unwrap();
        start(directory.path()).await.stop().await;
        assert!(directory.path().join("drained").exists());
    }

    #[tokio::test]
    async fn workers_stop_when_nobody_holds_the_pipe() {
        let directory = tempfile::tempdir().unwrap();
        let mut workers = start(directory.path()).await;
        // What the kernel does when this process is killed.
        drop(workers.pipe.take());
        appears(&directory.path().join("drained")).await;
        assert_eq!(timeout(PATIENCE, workers.wait()).await.unwrap(), "exit status: 0");
    }
}
