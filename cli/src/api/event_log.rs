//! What the API answers about published events.

use serde::Deserialize;
use serde_json::Value;

use super::Document;

/// An event of the log.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PublishedEvent {
    /// Its place in the log, from 1.
    pub(crate) sequence: u64,
    /// What it is about.
    pub(crate) subject: String,
    /// Its publisher's own name for it.
    #[serde(default)]
    pub(crate) id: Option<String>,
    /// When it happened, if its publisher said so.
    #[serde(default)]
    pub(crate) occurred_at: Option<String>,
    /// When it was recorded.
    #[serde(default)]
    pub(crate) recorded_at: Option<String>,
    /// What its publisher said of it.
    #[serde(default)]
    pub(crate) data: Value,
}

/// A part of the log.
#[derive(Debug, Deserialize)]
pub(crate) struct EventPage {
    /// Oldest first.
    pub(crate) events: Vec<Document<PublishedEvent>>,
    /// How far was looked: the next part begins after it.
    pub(crate) after: u64,
    /// The newest event of the log; 0 before the first.
    pub(crate) head: u64,
}
