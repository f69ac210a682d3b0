//! The shell that kills the node when this process is no more.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, Stdio},
};

use crate::DevBrokerError;

/// Keeps a list of process ids, told line by line, and kills them when its input ends, which it does however the
/// holder of the other end dies.
const SCRIPT: &str = r#"
pids=
while read -r verb pid; do
    rest=
    for known in $pids; do [ "$known" = "$pid" ] || rest="$rest $known"; done
    pids=$rest
    [ "$verb" = watch ] && pids="$pids $pid"
done
[ -z "$pids" ] || kill -KILL $pids
"#;

/// A running watchdog. Dropping it kills what it watches.
pub(crate) struct Watchdog {
    shell: Child,
    input: Option<ChildStdin>,
}

impl Watchdog {
    pub(crate) fn start() -> Result<Self, DevBrokerError> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // a Ctrl-C in the terminal is for the owner
            .spawn()
            .map_err(DevBrokerError::io("start the watchdog"))?;
        let input = shell.stdin.take();
        Ok(Self { shell, input })
    }

    /// From now on the process dies with this one.
    pub(crate) fn watch(&mut self, pid: u32) -> Result<(), DevBrokerError> {
        self.tell("watch", pid)
    }

    /// The process is gone; its number may soon belong to somebody else.
    pub(crate) fn forget(&mut self, pid: u32) -> Result<(), DevBrokerError> {
        self.tell("forget", pid)
    }

    fn tell(&mut self, verb: &str, pid: u32) -> Result<(), DevBrokerError> {
        let Some(input) = &mut self.input else { return Ok(()) };
        writeln!(input, "{verb} {pid}").map_err(DevBrokerError::io("talk to the watchdog"))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.input.take());
        // It has nothing left to do but one kill, so this does not block; what it kills is reaped by its parent.
        let _ = self.shell.wait();
    }
}
