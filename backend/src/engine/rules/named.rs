//! A table of things that have a name, kept in memory by whoever writes.
//!
//! It moves with the transaction: each step can be taken back until the transaction is committed.

use std::{collections::BTreeMap, sync::Arc};

use crate::domain::{Hook, HookName, Webhook, WebhookName};

/// Something that is known by a name.
pub trait HasName {
    type Name: Clone + Ord;

    fn name(&self) -> &Self::Name;
}

impl HasName for Hook {
    type Name = HookName;

    fn name(&self) -> &HookName {
        &self.name
    }
}

impl HasName for Webhook {
    type Name = WebhookName;

    fn name(&self) -> &WebhookName {
        &self.name
    }
}

/// What has this name from now on; nothing, when it went.
pub type NamedMoved<T> = (<T as HasName>::Name, Option<Arc<T>>);

/// What the table can be rolled back to.
#[derive(Debug, Clone, Copy)]
pub struct NamedSavepoint(usize);

/// The table, with what the open transaction changed.
#[derive(Debug)]
pub struct Named<T: HasName> {
    all: BTreeMap<T::Name, Arc<T>>,
    /// What the open transaction did, in order: each name with what had it before.
    steps: Vec<NamedMoved<T>>,
}

impl<T: HasName> Default for Named<T> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), steps: Vec::new() }
    }
}

impl<T: HasName> Named<T> {
    /// What the store held when it was opened.
    pub fn new(all: impl IntoIterator<Item = T>) -> Self {
        let named = |thing: T| (thing.name().clone(), Arc::new(thing));
        Self { all: all.into_iter().map(named).collect(), steps: Vec::new() }
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.all.values()
    }

    pub fn get(&self, name: &T::Name) -> Option<&Arc<T>> {
        self.all.get(name)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Keeps it as it is from now on.
    pub fn set(&mut self, thing: T) -> Arc<T> {
        let (name, thing) = (thing.name().clone(), Arc::new(thing));
        let before = self.all.insert(name.clone(), Arc::clone(&thing));
        self.steps.push((name, before));
        thing
    }

    pub fn remove(&mut self, name: &T::Name) {
        let before = self.all.remove(name);
        self.steps.push((name.clone(), before));
    }

    pub const fn savepoint(&self) -> NamedSavepoint {
        NamedSavepoint(self.steps.len())
    }

    /// Takes back every step since `savepoint`.
    pub fn roll_back_to(&mut self, NamedSavepoint(steps): NamedSavepoint) {
        while self.steps.len() > steps
            && let Some((name, before)) = self.steps.pop()
        {
            match before {
                Some(before) => drop(self.all.insert(name, before)),
                None => drop(self.all.remove(&name)),
            }
        }
    }

    /// The transaction was committed: its steps are final. Returns what came, changed and went.
    pub fn commit(&mut self) -> Vec<NamedMoved<T>> {
        let mut moved = BTreeMap::new();
        for (name, _) in self.steps.drain(..) {
            let now = self.all.get(&name).cloned();
            moved.insert(name, now);
        }
        moved.into_iter().collect()
    }
}
