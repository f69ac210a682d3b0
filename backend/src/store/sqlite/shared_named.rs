//! Things that have a name, as committed last, for readers.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::engine::rules::{HasName, Named, NamedMoved};

/// They as committed last. The writer holds the lock for as long as it takes to replace a few pointers, and readers to
/// copy one: whoever floods a hook with requests costs the database nothing.
pub(super) struct SharedNamed<T: HasName>(Arc<RwLock<BTreeMap<T::Name, Arc<T>>>>);

impl<T: HasName> Clone for SharedNamed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: HasName> SharedNamed<T> {
    /// What the database held when it was opened.
    pub(super) fn loaded(table: &Named<T>) -> Self {
        let all = table.all().map(|thing| (thing.name().clone(), Arc::clone(thing)));
        Self(Arc::new(RwLock::new(all.collect())))
    }

    /// Some came, changed and went, and that is committed.
    pub(super) fn add(&self, moved: Vec<NamedMoved<T>>) {
        if moved.is_empty() {
            return;
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (name, thing) in moved {
            match thing {
                Some(thing) => drop(all.insert(name, thing)),
                None => drop(all.remove(&name)),
            }
        }
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// One of them.
    pub(super) fn get(&self, name: &T::Name) -> Option<Arc<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}
