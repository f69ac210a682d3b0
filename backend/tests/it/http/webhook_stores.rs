//! Webhooks of stores that fail, and of those that fill.

use std::sync::Arc;

use async_trait::async_trait;
use crewcall_backend::{
    domain::{Webhook, WebhookName},
    engine::ports::{StoreError, WebhookChange, WebhookChanged, Webhooks},
};

use super::{filling_store::FillingStore, stores::FailingStore};

#[async_trait]
impl Webhooks for FailingStore {
    fn webhooks(&self) -> Vec<Arc<Webhook>> {
        Vec::new()
    }

    fn webhook(&self, _: &WebhookName) -> Option<Arc<Webhook>> {
        None
    }

    async fn change_webhook(&self, _: &WebhookName, _: WebhookChange) -> Result<WebhookChanged, StoreError> {
        Err((self.0)())
    }
}

#[async_trait]
impl Webhooks for FillingStore {
    fn webhooks(&self) -> Vec<Arc<Webhook>> {
        self.store.webhooks()
    }

    fn webhook(&self, name: &WebhookName) -> Option<Arc<Webhook>> {
        self.store.webhook(name)
    }

    async fn change_webhook(
        &self,
        name: &WebhookName,
        change: WebhookChange,
    ) -> Result<WebhookChanged, StoreError> {
        self.store.change_webhook(name, change).await
    }
}
