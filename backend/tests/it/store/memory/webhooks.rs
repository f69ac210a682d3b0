//! Webhooks, in memory.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use crewcall_backend::{
    domain::{Webhook, WebhookName},
    engine::{
        ports::{StoreError, WebhookChange, WebhookChanged, WebhookWrite, Webhooks},
        rules::ChangeWebhook,
    },
};

use super::MemoryStore;

pub(super) fn write(webhooks: &mut BTreeMap<WebhookName, Webhook>, write: &WebhookWrite) {
    match write {
        WebhookWrite::Put(webhook) => drop(webhooks.insert(webhook.name.clone(), webhook.as_ref().clone())),
        WebhookWrite::Deleted(name) => drop(webhooks.remove(name)),
    }
}

#[async_trait]
impl Webhooks for MemoryStore {
    fn webhooks(&self) -> Vec<Arc<Webhook>> {
        self.read(|_, rules| rules.webhooks.all().cloned().collect()).unwrap_or_default()
    }

    fn webhook(&self, name: &WebhookName) -> Option<Arc<Webhook>> {
        self.read(|_, rules| rules.webhooks.get(name).cloned()).ok().flatten()
    }

    async fn change_webhook(
        &self,
        name: &WebhookName,
        change: WebhookChange,
    ) -> Result<WebhookChanged, StoreError> {
        self.run(ChangeWebhook { name: name.clone(), change }).await.map(|written| written.value)
    }
}
