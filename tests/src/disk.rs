//! A disk that a test fills: where the system allows it, a small file system that only the backend sees; elsewhere
//! a library that lets no file grow (see [`crate::preload`]).

use std::{
    fmt,
    fs::File,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::{
    preload::Preload,
    process::Process,
    stack::{ProcessEnvironment, Stack},
};

/// The size of the file system: small, so that it is full at once.
const SIZE: &str = "4m";

/// Mounts the file system over the working directory, and goes into it.
const MOUNT: &str =
    "mount -t tmpfs -o size=$0,mode=0700 crewcall-test \"$PWD\" && cd \"$PWD\" && exec \"$@\"";

/// What takes up the space.
const BALLAST: &str = "ballast";

/// What a database consists of while a backend has it open; the index of the log is made again.
const DATABASE: [&str; 2] = ["crewcall.db", "crewcall.db-wal"];

/// A disk with little room.
pub enum SmallDisk {
    /// A file system of its own.
    Mounted,
    /// None: a library answers what a full disk would.
    Pretended(Preload),
}

impl fmt::Display for SmallDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted => write!(f, "a file system of {SIZE}"),
            Self::Pretended(_) => {
                f.write_str("a library that lets no file grow (no file system can be mounted here)")
            }
        }
    }
}

impl SmallDisk {
    /// A disk for a backend that will run in `folder`, and what to start it in.
    ///
    /// # Errors
    ///
    /// When neither kind of disk can be had.
    pub async fn prepare(folder: &Path) -> anyhow::Result<(Self, ProcessEnvironment)> {
        let wrapper = ["unshare", "-rm", "sh", "-c", MOUNT, SIZE].map(str::to_owned).to_vec();
        let mut attempt = Command::new("unshare");
        attempt.args(&wrapper[1..]).arg("true").current_dir(folder);
        if attempt.output().await.is_ok_and(|attempt| attempt.status.success()) {
            return Ok((Self::Mounted, ProcessEnvironment { variables: Vec::new(), wrapper }));
        }
        let preload = Preload::prepare(folder).await?;
        let variables = preload.variables().map(|(name, value)| (name.to_owned(), value)).to_vec();
        Ok((Self::Pretended(preload), ProcessEnvironment { variables, wrapper: Vec::new() }))
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    ///
    /// An error of the system other than that the disk is full.
    pub fn fill(&self, stack: &Stack) -> anyhow::Result<()> {
        match self {
            Self::Pretended(preload) => preload.disk_full(true),
            Self::Mounted => {
                let mut ballast = File::create(inside(&stack.backend, stack.folder())?.join(BALLAST))?;
                loop {
                    match ballast.write(&[0; 4_096]) {
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                        Err(error) => bail!("filling the disk: {error}"),
                    }
                }
            }
        }
    }

    /// Makes room again.
    ///
    /// # Errors
    ///
    /// An error of the system.
    pub fn free(&self, stack: &Stack) -> anyhow::Result<()> {
        match self {
            Self::Pretended(preload) => preload.disk_full(false),
            Self::Mounted => Ok(std::fs::remove_file(inside(&stack.backend, stack.folder())?.join(BALLAST))?),
        }
    }

    /// Copies the database to where [`Stack::database`] looks for it. To be called while nothing is written.
    ///
    /// # Errors
    ///
    /// An error of the system.
    pub fn copy_out(&self, stack: &Stack) -> anyhow::Result<()> {
        if let Self::Mounted = self {
            let from = inside(&stack.backend, stack.folder())?;
            for name in DATABASE {
                std::fs::copy(from.join(name), stack.folder().join(name)).with_context(|| name.to_owned())?;
            }
        }
        Ok(())
    }
}

/// A folder as the process sees it.
fn inside(process: &Process, folder: &Path) -> anyhow::Result<PathBuf> {
    let root = PathBuf::from(format!("/proc/{}/root", process.pid()?));
    Ok(root.join(folder.strip_prefix("/")?))
}
