//! What a program takes of the machine (invariant 10).

use std::{fmt, fs, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};

use crate::process::Process;

/// In which unit Linux tells programs how long a process has computed.
const TICK: Duration = Duration::from_millis(10);

/// What a program holds at one moment, and what it took until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Its memory in RAM, in bytes.
    pub resident_bytes: u64,
    /// Its open files and sockets.
    pub descriptors: usize,
    /// For how long it has computed so far.
    pub computed: Duration,
}

impl Footprint {
    /// What `process` holds now.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn of(process: &Process) -> anyhow::Result<Self> {
        let folder = PathBuf::from(format!("/proc/{}", process.pid()?));
        let status = fs::read_to_string(folder.join("status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = resident.and_then(|rest| rest.split_whitespace().next());
        let kibibytes: u64 = kibibytes.context("a running process has memory")?.parse()?;
        Ok(Self {
            resident_bytes: kibibytes * 1_024,
            descriptors: fs::read_dir(folder.join("fd"))?.count(),
            computed: computed(&fs::read_to_string(folder.join("stat"))?)?,
        })
    }

    /// Its memory in RAM, in MiB.
    #[must_use]
    pub fn resident_mib(&self) -> u64 {
        self.resident_bytes >> 20
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB, {} descriptors", self.resident_mib(), self.descriptors)
    }
}

fn computed(stat: &str) -> anyhow::Result<Duration> {
    // The name of the program, in parentheses, may contain spaces.
    let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
    // Of the fields after the name, its own time and that of the system for it, in ticks.
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    ensure!(ticks.len() == 2, "the times are missing in {stat:?}");
    Ok(TICK * u32::try_from(ticks.iter().sum::<u64>())?)
}
