//! Messages that could not be read.

use async_trait::async_trait;
use crewcall_proto::Timestamp;

use super::StoreError;

/// Keeps messages that could not be read, for people to look at.
#[async_trait]
pub trait Quarantine: Send + Sync {
    /// The messages in quarantine, newest first; only those older than `before`, if given.
    async fn quarantined(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<QuarantineEntry>, StoreError>;

    /// Deletes one message in quarantine; or all, for `None`. Returns how many.
    async fn delete_quarantined(&self, number: Option<u64>) -> Result<usize, StoreError>;

    /// Quarantines messages that could not be read, keeping the newest [`QUARANTINE_MESSAGES_MAX`].
    async fn quarantine(&self, messages: Vec<QuarantinedMessage>) -> Result<(), StoreError>;
}

/// How many unreadable messages are kept; older ones make room.
pub const QUARANTINE_MESSAGES_MAX: u32 = 10_000;

/// How much of an unreadable message is kept, in bytes.
pub const QUARANTINE_BODY_BYTES_MAX: usize = 4 * 1024;

/// A message in quarantine, with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// Counts the messages, upwards.
    pub number: u64,
    pub message: QuarantinedMessage,
}

/// A message that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedMessage {
    /// The queue that it came from.
    pub queue: String,
    pub routing_key: String,
    /// A stable word: why.
    pub reason: String,
    pub detail: String,
    /// Its first [`QUARANTINE_BODY_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
    /// How long it was, in bytes.
    pub body_bytes: usize,
    /// When it was quarantined.
    pub at: Timestamp,
}
