//! The quarantine as the API shows it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use utoipa::ToSchema;

use super::rfc3339;
use crate::engine::ports::QuarantineEntry;

/// Messages in quarantine, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuarantineList {
    /// The messages of this page.
    pub messages: Vec<QuarantinedMessage>,
    /// Pass it as `cursor` for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// A message that could not be read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuarantinedMessage {
    /// Counts the messages, upwards.
    pub number: u64,
    /// The queue that it came from.
    #[schema(example = "crewcall.completed")]
    pub queue: String,
    /// Its routing key.
    pub routing_key: String,
    /// A stable word: why.
    pub reason: String,
    /// A sentence: why.
    pub detail: String,
    /// Its first 4 KiB, in Base64.
    pub body_base64: String,
    /// How long it was.
    pub body_bytes: usize,
    /// When it was quarantined.
    #[schema(format = DateTime)]
    pub at: String,
}

impl From<&QuarantineEntry> for QuarantinedMessage {
    fn from(entry: &QuarantineEntry) -> Self {
        let message = &entry.message;
        Self {
            number: entry.number,
            queue: message.queue.clone(),
            routing_key: message.routing_key.clone(),
            reason: message.reason.clone(),
            detail: message.detail.clone(),
            body_base64: STANDARD.encode(&message.body),
            body_bytes: message.body_bytes,
            at: rfc3339(message.at),
        }
    }
}

/// What was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deleted {
    /// How many messages.
    pub deleted: usize,
}
