//! Hooks: how they verify, and their secrets.

use serde_json::Value;

use super::{Client, ClientError, operations::Actor};
use crate::api::{Document, Hook, HookList};

impl Client {
    /// All hooks.
    pub(crate) async fn hooks(&self) -> Result<Vec<Document<Hook>>, ClientError> {
        let list: HookList = self.get(self.endpoint(&["v1", "hooks"])).await?;
        Ok(list.hooks)
    }

    /// One hook.
    pub(crate) async fn hook(&self, name: &str) -> Result<Document<Hook>, ClientError> {
        self.get(self.endpoint(&["v1", "hooks", name])).await
    }

    /// Makes a hook, or changes how it verifies.
    pub(crate) async fn put_hook(&self, name: &str, settings: &Value) -> Result<Document<Hook>, ClientError> {
        let url = self.endpoint(&["v1", "hooks", name]);
        self.json(self.http.put(url.clone()).json(settings), &url).await
    }

    /// Gives it a new secret.
    pub(crate) async fn rotate_hook(
        &self,
        name: &str,
        actor: Actor<'_>,
    ) -> Result<Document<Hook>, ClientError> {
        let url = self.endpoint(&["v1", "hooks", name, "rotate"]);
        self.json(self.http.post(url.clone()).json(&actor.body()), &url).await
    }

    /// Deletes a hook.
    pub(crate) async fn delete_hook(&self, name: &str) -> Result<(), ClientError> {
        self.done(self.http.delete(self.endpoint(&["v1", "hooks", name]))).await
    }
}
