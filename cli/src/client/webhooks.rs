//! Webhooks: where they lead to, a pause, and their secrets.

use serde_json::{Value, json};

use super::{Client, ClientError, operations::Actor};
use crate::api::{Document, Webhook, WebhookList};

impl Client {
    /// All webhooks.
    pub(crate) async fn webhooks(&self) -> Result<Vec<Document<Webhook>>, ClientError> {
        let list: WebhookList = self.get(self.endpoint(&["v1", "webhooks"])).await?;
        Ok(list.webhooks)
    }

    /// One webhook.
    pub(crate) async fn webhook(&self, name: &str) -> Result<Document<Webhook>, ClientError> {
        self.get(self.endpoint(&["v1", "webhooks", name])).await
    }

    /// Makes a webhook, or changes where it leads to and what it wants.
    pub(crate) async fn put_webhook(
        &self,
        name: &str,
        settings: &Value,
    ) -> Result<Document<Webhook>, ClientError> {
        let url = self.endpoint(&["v1", "webhooks", name]);
        self.json(self.http.put(url.clone()).json(settings), &url).await
    }

    /// Gives it a new secret.
    pub(crate) async fn rotate_webhook(
        &self,
        name: &str,
        actor: Actor<'_>,
    ) -> Result<Document<Webhook>, ClientError> {
        self.act_on_webhook(name, "rotate", actor.body()).await
    }

    /// Lets events wait for it.
    pub(crate) async fn pause_webhook(
        &self,
        name: &str,
        actor: Actor<'_>,
    ) -> Result<Document<Webhook>, ClientError> {
        self.act_on_webhook(name, "pause", actor.body()).await
    }

    /// Lets it go on: where it was, or with the next event that is recorded.
    pub(crate) async fn resume_webhook(
        &self,
        name: &str,
        is_from_now: bool,
        actor: Actor<'_>,
    ) -> Result<Document<Webhook>, ClientError> {
        let mut body = actor.body();
        if is_from_now {
            body["from"] = json!("now");
        }
        self.act_on_webhook(name, "resume", body).await
    }

    /// Deletes a webhook.
    pub(crate) async fn delete_webhook(&self, name: &str) -> Result<(), ClientError> {
        self.done(self.http.delete(self.endpoint(&["v1", "webhooks", name]))).await
    }

    async fn act_on_webhook(
        &self,
        name: &str,
        action: &str,
        body: Value,
    ) -> Result<Document<Webhook>, ClientError> {
        let url = self.endpoint(&["v1", "webhooks", name, action]);
        self.json(self.http.post(url.clone()).json(&body), &url).await
    }
}
