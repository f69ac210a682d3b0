//! What a program takes of the machine (invariant 10).

use std::{fmt, fs, path::PathBuf};

use anyhow::Context;

use crate::process::Process;

/// What a program holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Its memory in RAM, in KiB.
    pub resident_kib: u64,
    /// Its open files and sockets.
    pub descriptors: usize,
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
        let resident = resident.and_then(|rest| rest.split_whitespace().next());
        Ok(Self {
            resident_kib: resident.context("a running process has memory")?.parse()?,
            descriptors: fs::read_dir(folder.join("fd"))?.count(),
        })
    }

    /// Its memory in RAM, in MiB.
    #[must_use]
    pub fn resident_mib(&self) -> u64 {
        self.resident_kib / 1024
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB, {} descriptors", self.resident_mib(), self.descriptors)
    }
}
