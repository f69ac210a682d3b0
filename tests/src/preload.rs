//! A system that lies to a program: its wall clock jumps, its disk does not take what was written.
//!
//! The programs under test are the real ones: a small library of C, preloaded into them, answers in the place of the
//! C library.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use tokio::process::Command;

/// The numbers that `preload.c` reads, each of 8 bytes.
const SHARED_BYTES: u64 = 32;
const CLOCK_AHEAD_AT: u64 = 0;
const FSYNC_FAILS_AT: u64 = 8;
const DISK_FULL_AT: u64 = 16;
const WRITES_FAIL_AT: u64 = 24;

/// What the system gets wrong.
pub struct Preload {
    library: PathBuf,
    shared: PathBuf,
    file: File,
}

impl Preload {
    /// Builds the library in `folder`. Nothing is wrong yet.
    ///
    /// # Errors
    ///
    /// When there is no C compiler.
    pub async fn prepare(folder: &Path) -> anyhow::Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/preload.c");
        let library = folder.join("preload.so");
        let mut compiler = Command::new("cc");
        compiler
            .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl");
        let built = compiler.output().await.context("running cc")?;
        ensure!(built.status.success(), "cc: {}", String::from_utf8_lossy(&built.stderr));
        let shared = folder.join("preload");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&shared)?;
        file.set_len(SHARED_BYTES)?;
        Ok(Self { library, shared, file })
    }

    /// The variables with which a program has to be started, so that the library is preloaded into it.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("TEST_PRELOAD", self.shared.display().to_string()),
        ]
    }

    /// Sets the wall clock, from now on, for those who run and those who start.
    ///
    /// # Errors
    ///
    /// An error of the system.
    pub fn clock_ahead_seconds(&self, seconds: i64) -> anyhow::Result<()> {
        Ok(self.file.write_all_at(&seconds.to_ne_bytes(), CLOCK_AHEAD_AT)?)
    }

    /// Lets every `fsync` fail with `EIO`, or none.
    ///
    /// # Errors
    ///
    /// An error of the system.
    pub fn fsync_fails(&self, fails: bool) -> anyhow::Result<()> {
        Ok(self.file.write_all_at(&i64::from(fails).to_ne_bytes(), FSYNC_FAILS_AT)?)
    }

    /// Lets no file become longer (`ENOSPC`), or every one.
    ///
    /// # Errors
    ///
    /// An error of the system.
    pub fn disk_full(&self, full: bool) -> anyhow::Result<()> {
        Ok(self.file.write_all_at(&i64::from(full).to_ne_bytes(), DISK_FULL_AT)?)
    }

    /// Lets every write into a file fail with `EIO`, or none.
    ///
    /// # Errors
    ///
    /// An error of the system.
    pub fn writes_fail(&self, fails: bool) -> anyhow::Result<()> {
        Ok(self.file.write_all_at(&i64::from(fails).to_ne_bytes(), WRITES_FAIL_AT)?)
    }
}
