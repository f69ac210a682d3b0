//! The hooks there are, kept in memory by whoever writes.
//!
//! It moves with the transaction: each step can be taken back until the transaction is committed.

use std::{collections::BTreeMap, sync::Arc};

use crate::domain::{Hook, HookName};

/// What the open transaction did to one hook, with what takes it back.
#[derive(Debug)]
struct Step {
    name: HookName,
    before: Option<Arc<Hook>>,
}

/// What the table can be rolled back to.
#[derive(Debug, Clone, Copy)]
pub struct HooksSavepoint(usize);

/// A hook that came or changed; `None` for one that went.
pub type HookMoved = (HookName, Option<Arc<Hook>>);

/// The hooks, with what the open transaction changed.
#[derive(Debug, Default)]
pub struct Hooks {
    all: BTreeMap<HookName, Arc<Hook>>,
    /// What the open transaction did, in order.
    steps: Vec<Step>,
}

impl Hooks {
    /// What the store held when it was opened.
    pub fn new(hooks: impl IntoIterator<Item = Hook>) -> Self {
        let named = |hook: Hook| (hook.name.clone(), Arc::new(hook));
        Self { all: hooks.into_iter().map(named).collect(), steps: Vec::new() }
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Hook>> {
        self.all.values()
    }

    pub fn get(&self, name: &HookName) -> Option<&Arc<Hook>> {
        self.all.get(name)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Keeps a hook as it is from now on.
    pub fn set(&mut self, hook: Hook) -> Arc<Hook> {
        let hook = Arc::new(hook);
        let before = self.all.insert(hook.name.clone(), Arc::clone(&hook));
        self.steps.push(Step { name: hook.name.clone(), before });
        hook
    }

    pub fn remove(&mut self, name: &HookName) {
        let before = self.all.remove(name);
        self.steps.push(Step { name: name.clone(), before });
    }

    pub const fn savepoint(&self) -> HooksSavepoint {
        HooksSavepoint(self.steps.len())
    }

    /// Takes back every step since `savepoint`.
    pub fn roll_back_to(&mut self, HooksSavepoint(steps): HooksSavepoint) {
        while self.steps.len() > steps
            && let Some(Step { name, before }) = self.steps.pop()
        {
            match before {
                Some(before) => drop(self.all.insert(name, before)),
                None => drop(self.all.remove(&name)),
            }
        }
    }

    /// The transaction was committed: its steps are final. Returns the hooks that came, changed and went.
    pub fn commit(&mut self) -> Vec<HookMoved> {
        let mut moved = BTreeMap::new();
        for Step { name, .. } in self.steps.drain(..) {
            let now = self.all.get(&name).cloned();
            moved.insert(name, now);
        }
        moved.into_iter().collect()
    }
}
