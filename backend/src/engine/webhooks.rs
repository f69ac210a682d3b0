//! Webhooks as people see them: each with its consumer.

use std::sync::Arc;

use crewcall_webhooks::SigningSecret;

use super::{ConsumerView, Engine, ports::StoreError};
use crate::domain::{ConsumerName, RetiringSecret, Webhook, WebhookName};

/// A webhook as it is now.
#[derive(Debug, Clone)]
pub struct WebhookView {
    pub webhook: Arc<Webhook>,
    /// What it wants, and how far it got.
    pub consumer: ConsumerView,
    /// The secret before this one, while it still signs.
    pub retiring: Option<RetiringSecret>,
}

impl WebhookView {
    /// By which people tell its secret from another one.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        SigningSecret::fingerprint(&self.webhook.secret)
    }
}

impl Engine {
    /// All webhooks, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the log cannot be read.
    pub async fn webhook_views(&self) -> Result<Vec<WebhookView>, StoreError> {
        let mut views = Vec::new();
        for webhook in self.store.webhooks() {
            views.extend(self.seen_webhook(webhook).await?);
        }
        Ok(views)
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the log cannot be read.
    pub async fn webhook_view(&self, name: &WebhookName) -> Result<Option<WebhookView>, StoreError> {
        match self.store.webhook(name) {
            Some(webhook) => self.seen_webhook(webhook).await,
            None => Ok(None),
        }
    }

    /// `None` when it was deleted a moment ago.
    async fn seen_webhook(&self, webhook: Arc<Webhook>) -> Result<Option<WebhookView>, StoreError> {
        let consumer = self.consumer(&ConsumerName::of_webhook(&webhook.name)).await?;
        let retiring = webhook.retiring_at(self.clock.now()).cloned();
        Ok(consumer.map(|consumer| WebhookView { webhook, consumer, retiring }))
    }
}
