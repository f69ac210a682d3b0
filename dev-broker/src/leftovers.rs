//! Processes of an earlier start in the same folder whose owner died without its watchdog.

use std::{fs, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::{
    DevBrokerError,
    layout::{Layout, OWNER_VARIABLE},
};

/// How long a killed process may take to vanish.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How often is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Kills the processes noted in the folder, if they are still the ones that were noted.
pub(crate) async fn end(layout: &Layout) -> Result<(), DevBrokerError> {
    for process in ["node", "epmd"] {
        let file = layout.pid_file(process);
        let noted = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<i32>().ok());
        let Some(pid) = noted.filter(|pid| belongs_to(*pid, layout)) else { continue };
        tracing::warn!(pid, process, folder = %layout.dir.display(), "Ending what an earlier run left behind.");
        signal(pid, Signal::KILL)?;
        gone(pid, layout).await?;
        // It is gone; that the note cannot be removed changes nothing.
        let _ = fs::remove_file(file);
    }
    Ok(())
}

/// Whether the process was started for this very folder. A number alone proves nothing: the system gives it to
/// somebody else.
fn belongs_to(pid: i32, layout: &Layout) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let ours = format!("{OWNER_VARIABLE}={}", layout.dir.display());
    environment.split(|byte| *byte == 0).any(|entry| entry == ours.as_bytes())
}

/// Waits until no process of this folder is left: what a node starts beside itself ends a moment after it.
pub(crate) async fn none_left(layout: &Layout) -> Result<(), DevBrokerError> {
    let processes = fs::read_dir("/proc").map_err(DevBrokerError::io("list the processes"))?;
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids {
        gone(pid, layout).await?;
    }
    Ok(())
}

async fn gone(pid: i32, layout: &Layout) -> Result<(), DevBrokerError> {
    let deadline = Instant::now() + GONE_WITHIN;
    while belongs_to(pid, layout) {
        if Instant::now() > deadline {
            let source = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Err(DevBrokerError::Io { what: format!("end the left-over process {pid}"), source });
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Sends a signal; a process that is gone already is not an error.
pub(crate) fn signal(pid: i32, signal: Signal) -> Result<(), DevBrokerError> {
    let Some(target) = Pid::from_raw(pid) else { return Ok(()) };
    match kill_process(target, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(DevBrokerError::Io { what: format!("signal process {pid}"), source: error.into() }),
    }
}
