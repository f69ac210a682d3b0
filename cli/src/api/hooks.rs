//! What the API answers about hooks: where other services tell what happened.

use serde::Deserialize;

use super::Document;

/// A hook.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Hook {
    /// Its name.
    pub(crate) name: String,
    /// The subject of its events.
    pub(crate) subject: String,
    /// How it verifies.
    pub(crate) verify: HookVerify,
    /// By which its secret is told from another one.
    pub(crate) fingerprint: Option<String>,
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
    /// Counts its changes.
    pub(crate) revision: u64,
}

/// How a hook verifies; a way that we do not know is none of these.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HookVerify {
    /// By Standard Webhooks.
    pub(crate) standard: Option<serde_json::Value>,
    /// By an HMAC-SHA256 of the body.
    pub(crate) hmac_sha256: Option<BodyCheck>,
}

/// Where the signature of a body stands.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BodyCheck {
    /// The header.
    pub(crate) header: String,
    /// What stands before it.
    pub(crate) prefix: String,
    /// How it is written.
    pub(crate) encoding: String,
    /// The header with the id of the delivery.
    pub(crate) delivery_id_header: Option<String>,
}

/// A secret that is still accepted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Retiring {
    /// By which it is told from another one.
    pub(crate) fingerprint: String,
    /// Until when.
    pub(crate) until: Option<String>,
}

/// All hooks.
#[derive(Debug, Deserialize)]
pub(crate) struct HookList {
    /// By name.
    pub(crate) hooks: Vec<Document<Hook>>,
}
