//! How a process fares: its memory, files and time, as the system counts them.

use std::{fs, time::Duration};

use anyhow::{Context, ensure};

/// In which unit Linux tells programs how long a process has computed.
const TICK: Duration = Duration::from_millis(10);

/// The memory that a process has in use, in bytes.
///
/// # Errors
///
/// When it is gone.
pub fn memory_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has memory")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

/// How many files, sockets among them, a process has open.
///
/// # Errors
///
/// When it is gone.
pub fn open_files(pid: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// How long a process has computed so far.
///
/// # Errors
///
/// When it is gone.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in parentheses, may contain spaces.
    let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
    // Of the fields after the name, its own time and that of the system for it, in ticks.
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    ensure!(ticks.len() == 2, "the times of process {pid} are missing");
    Ok(TICK * u32::try_from(ticks.iter().sum::<u64>())?)
}
