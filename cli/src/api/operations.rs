//! What the API answers to those who look after things: bulk changes, batches, the quarantine.

use serde::Deserialize;

use super::{Document, Problem};

/// What a change of many jobs did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct BulkOutcome {
    /// How many jobs matched.
    pub(crate) matched: u64,
    /// How many were changed.
    pub(crate) changed: u64,
    /// Whether there are more: ask again.
    #[serde(default)]
    pub(crate) more: bool,
}

/// What became of a batch of submissions.
#[derive(Debug, Deserialize)]
pub(crate) struct BatchOutcome {
    /// One answer for each.
    pub(crate) results: Vec<Document<BatchAnswer>>,
}

/// What became of one submission of a batch.
#[derive(Debug, Deserialize)]
pub(crate) struct BatchAnswer {
    /// Which, from 0.
    pub(crate) index: usize,
    /// The id of the job, if it was accepted.
    #[serde(default)]
    pub(crate) id: Option<String>,
    /// Why it was not.
    #[serde(default)]
    pub(crate) problem: Option<Problem>,
}

/// One page of messages that could not be read.
#[derive(Debug, Deserialize)]
pub(crate) struct QuarantinePage {
    /// The messages, newest first.
    pub(crate) messages: Vec<Document<QuarantinedMessage>>,
    /// Where the next page starts.
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

/// A message that could not be read. Its body is only in the JSON.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct QuarantinedMessage {
    /// Its number.
    pub(crate) number: u64,
    /// The queue that it came from.
    #[serde(default)]
    pub(crate) queue: String,
    /// Its routing key.
    #[serde(default)]
    pub(crate) routing_key: String,
    /// A stable word: why.
    #[serde(default)]
    pub(crate) reason: String,
    /// A sentence: why.
    #[serde(default)]
    pub(crate) detail: String,
    /// How long it was.
    #[serde(default)]
    pub(crate) body_bytes: u64,
    /// When it was quarantined.
    #[serde(default)]
    pub(crate) at: Option<String>,
}

/// How many messages were deleted.
#[derive(Debug, Deserialize)]
pub(crate) struct Deleted {
    /// How many.
    pub(crate) deleted: u64,
}
