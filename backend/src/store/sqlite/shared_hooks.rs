//! The hooks as committed last, for readers.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    domain::{Hook, HookName},
    engine::rules::{HookMoved, Hooks},
};

/// The hooks as committed last. The writer holds the lock for as long as it takes to replace a few pointers, and readers to
/// copy one: whoever floods a hook with requests costs the database nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedHooks(Arc<RwLock<BTreeMap<HookName, Arc<Hook>>>>);

impl SharedHooks {
    /// What the database held when it was opened.
    pub(super) fn loaded(hooks: &Hooks) -> Self {
        let all = hooks.all().map(|hook| (hook.name.clone(), Arc::clone(hook)));
        Self(Arc::new(RwLock::new(all.collect())))
    }

    /// Hooks came, changed and went, and that is committed.
    pub(super) fn add(&self, moved: Vec<HookMoved>) {
        if moved.is_empty() {
            return;
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (name, hook) in moved {
            match hook {
                Some(hook) => drop(all.insert(name, hook)),
                None => drop(all.remove(&name)),
            }
        }
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> Vec<Arc<Hook>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// One of them.
    pub(super) fn get(&self, name: &HookName) -> Option<Arc<Hook>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}
