//! Hooks of stores that fail, and of those that fill.

use std::sync::Arc;

use async_trait::async_trait;
use crewcall_backend::{
    domain::{Hook, HookName},
    engine::ports::{HookChange, HookChanged, Hooks, StoreError},
};

use super::{filling_store::FillingStore, stores::FailingStore};

#[async_trait]
impl Hooks for FailingStore {
    fn hooks(&self) -> Vec<Arc<Hook>> {
        Vec::new()
    }

    fn hook(&self, _: &HookName) -> Option<Arc<Hook>> {
        None
    }

    async fn change_hook(&self, _: &HookName, _: HookChange) -> Result<HookChanged, StoreError> {
        Err((self.0)())
    }
}

#[async_trait]
impl Hooks for FillingStore {
    fn hooks(&self) -> Vec<Arc<Hook>> {
        self.store.hooks()
    }

    fn hook(&self, name: &HookName) -> Option<Arc<Hook>> {
        self.store.hook(name)
    }

    async fn change_hook(&self, name: &HookName, change: HookChange) -> Result<HookChanged, StoreError> {
        self.store.change_hook(name, change).await
    }
}
