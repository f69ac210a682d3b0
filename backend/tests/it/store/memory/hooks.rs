//! Hooks, in memory.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use crewcall_backend::{
    domain::{Hook, HookName},
    engine::{
        ports::{HookChange, HookChanged, HookWrite, Hooks, StoreError},
        rules::ChangeHook,
    },
};

use super::MemoryStore;

pub(super) fn write(hooks: &mut BTreeMap<HookName, Hook>, write: HookWrite) {
    match write {
        HookWrite::Put(hook) => drop(hooks.insert(hook.name.clone(), hook.as_ref().clone())),
        HookWrite::Deleted(name) => drop(hooks.remove(&name)),
    }
}

#[async_trait]
impl Hooks for MemoryStore {
    fn hooks(&self) -> Vec<Arc<Hook>> {
        self.read(|_, rules| rules.hooks.all().cloned().collect()).unwrap_or_default()
    }

    fn hook(&self, name: &HookName) -> Option<Arc<Hook>> {
        self.read(|_, rules| rules.hooks.get(name).cloned()).ok().flatten()
    }

    async fn change_hook(&self, name: &HookName, change: HookChange) -> Result<HookChanged, StoreError> {
        self.run(ChangeHook { name: name.clone(), change }).await.map(|written| written.value)
    }
}
