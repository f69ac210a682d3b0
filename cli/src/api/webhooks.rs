//! What the API answers about webhooks: where events are delivered to.

use serde::Deserialize;

use super::{ActorNote, Document, Moved, Retiring};

/// A webhook.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Webhook {
    /// Its name.
    pub(crate) name: String,
    /// Where events are delivered to.
    pub(crate) url: String,
    /// The patterns of the subjects that it wants.
    pub(crate) subjects: Vec<String>,
    /// The condition, if it has one.
    #[serde(rename = "if")]
    pub(crate) condition: Option<String>,
    /// The consumer that makes its deliveries.
    pub(crate) consumer: String,
    /// How it is, in one of the words of the API.
    pub(crate) state: String,
    /// Why, in a sentence.
    pub(crate) reason: Option<String>,
    /// The last event that it has seen.
    pub(crate) cursor: u64,
    /// How many events it has yet to see.
    pub(crate) lag_events: u64,
    /// For how long the oldest of them has been there.
    pub(crate) lag_seconds: Option<f64>,
    /// How many deliveries are not done.
    pub(crate) in_flight: u64,
    /// Who paused it, and why; `crewcall` when its receiver wanted no more.
    pub(crate) pause: Option<ActorNote>,
    /// By which its secret is told from another one.
    pub(crate) fingerprint: String,
    /// The secret before a rotation.
    pub(crate) retiring: Option<Retiring>,
    /// Its secret; only in the answer to what made it.
    pub(crate) secret: Option<String>,
    /// When it was made.
    pub(crate) created_at: Option<String>,
    /// Who made it.
    pub(crate) created_by: Option<String>,
    /// When it was changed.
    pub(crate) changed_at: Option<String>,
    /// Who changed it.
    pub(crate) changed_by: Option<String>,
    /// Counts its changes; a pause is none.
    pub(crate) revision: u64,
    /// How its place was changed; only in the answer to that.
    pub(crate) moved: Option<Moved>,
}

/// All webhooks.
#[derive(Debug, Deserialize)]
pub(crate) struct WebhookList {
    /// By name.
    pub(crate) webhooks: Vec<Document<Webhook>>,
}
