//! Names of webhooks.

use std::{fmt, str::FromStr, sync::Arc};

use crewcall_proto::JobType;

/// The name of a webhook. It has the shape of a job type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WebhookName(Arc<str>);

impl WebhookName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WebhookName {
    type Err = InvalidWebhookName;

    fn from_str(text: &str) -> Result<Self, InvalidWebhookName> {
        match JobType::new(text) {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(InvalidWebhookName { text: text.chars().take(JobType::LENGTH_MAX).collect() }),
        }
    }
}

impl fmt::Display for WebhookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the name of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not the name of a webhook: it is 1 to 128 characters of a-z 0-9 . _ - in dot-separated words, such as \"billing\""
)]
pub struct InvalidWebhookName {
    text: String,
}
