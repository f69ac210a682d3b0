//! Webhooks, as a store keeps them.

use std::sync::Arc;

use async_trait::async_trait;
use crewcall_proto::Timestamp;
use crewcall_webhooks::{SigningSecret, WebhookUrl};

use super::StoreError;
use crate::domain::{ConsumerSettings, Pause, Webhook, WebhookName};

/// Keeps webhooks, each with its consumer: both come, change and go in one transaction. A secret leaves the store to sign, and to
/// be shown to whoever made it.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// All of them as committed last, by name. Costs no query.
    fn webhooks(&self) -> Vec<Arc<Webhook>>;

    /// One of them as committed last. Costs no query.
    fn webhook(&self, name: &WebhookName) -> Option<Arc<Webhook>>;

    /// Does something to one webhook, or makes it.
    async fn change_webhook(
        &self,
        name: &WebhookName,
        change: WebhookChange,
    ) -> Result<WebhookChanged, StoreError>;
}

/// What somebody does to a webhook.
#[derive(Debug, Clone)]
pub enum WebhookChange {
    /// Make it, or change where it leads to and what it wants. It begins with the next event.
    Put {
        url: WebhookUrl,
        /// What it wants: those of its consumer.
        settings: Arc<ConsumerSettings>,
        /// Its secret, if it is made by this.
        secret: SigningSecret,
        by: String,
    },
    /// Sign with this secret, and for a while with the one before as well.
    Rotate {
        secret: SigningSecret,
        by: String,
    },
    /// Pause its consumer, because its receiver said that it wants no more; only if the webhook is as it was then.
    Disable {
        pause: Pause,
        revision: u64,
    },
    Delete,
}

/// What became of a change.
#[derive(Debug, Clone)]
pub enum WebhookChanged {
    Created(Arc<Webhook>),
    Changed(Arc<Webhook>),
    /// It was like that already, or is another by now.
    Unchanged(Arc<Webhook>),
    /// The secret before this one signs until then: a third would leave one of its receivers behind.
    Rotating {
        until: Timestamp,
    },
    Deleted,
    /// There is none of that name.
    Unknown,
    /// There are as many as may be already.
    TooMany,
}

/// What is to be written of a webhook.
#[derive(Debug)]
pub enum WebhookWrite {
    Put(Arc<Webhook>),
    Deleted(WebhookName),
}
