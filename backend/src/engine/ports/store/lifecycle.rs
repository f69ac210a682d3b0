//! How a store is, and how it ends.

use std::time::Duration;

use async_trait::async_trait;

/// What a process asks of its store beside its work.
#[async_trait]
pub trait Lifecycle: Send + Sync {
    /// What tells this store apart from every other, for as long as it exists.
    async fn installation(&self) -> Result<String, StoreError>;

    /// Whether it can do its work now: reads a little, and takes a job through its life, of which nothing is kept.
    async fn check(&self) -> Result<(), StoreError>;

    /// How much room it takes, and has.
    async fn usage(&self) -> Result<StoreUsage, StoreError>;

    /// Resolves with the reason when the store has failed for good: an I/O error, after which nobody knows what is
    /// on disk, a damaged file, or a panic. Every call returns [`StoreError::Failed`] from then on. The process should
    /// exit loudly, and read the store anew. Never resolves otherwise.
    async fn failed(&self) -> String;

    /// Finishes what was asked for before, and gives the store back. Later calls return [`StoreError::Closed`].
    ///
    /// A store that is dropped instead does the same, but nobody knows when it is done.
    async fn close(&self);
}

/// How much room a store takes, and has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreUsage {
    /// Its data, in bytes.
    pub file_bytes: u64,
    /// What was committed and is not among these yet, in bytes.
    pub log_bytes: u64,
    /// What is free on its disk, in bytes.
    pub disk_free_bytes: u64,
    /// How many messages are in quarantine.
    pub quarantined: u64,
}

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot work now: locked, full, or an I/O error. May work later.
    #[error("the store is unavailable: {reason}")]
    Unavailable { reason: String },
    /// What it was to read takes too long, and was given up.
    #[error("the read took longer than {} s", .after.as_secs_f64())]
    TooSlow { after: Duration },
    /// It cannot do this one thing: a row cannot be read, or a statement is refused, by an error in the program or a
    /// file that was edited. Whether it can do others, [`Lifecycle::check`] tells.
    #[error("the store refused: {reason}")]
    Broken { reason: String },
    /// It will never work again in this process, and nobody knows what of the last things it was asked is on disk.
    #[error("the store failed: {reason}")]
    Failed { reason: String },
    /// It has been closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TooSlow { .. })
    }
}
