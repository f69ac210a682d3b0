//! The consumers as committed last, for readers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    domain::{Consumer, ConsumerName, Pass},
    engine::rules::{ConsumerMoved, Consumers},
};

/// The consumers as committed last. The writer holds the lock for as long as it takes to replace a few pointers, and readers to
/// copy them.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedConsumers {
    all: Arc<RwLock<BTreeMap<ConsumerName, Arc<Consumer>>>>,
    /// Whether there ever was one.
    any: Arc<AtomicBool>,
}

impl SharedConsumers {
    /// What the database held when it was opened.
    pub(super) fn loaded(consumers: &Consumers) -> Self {
        let all = consumers.all().map(|consumer| (consumer.name.clone(), Arc::clone(consumer)));
        let any = Arc::new(AtomicBool::new(consumers.passes() > Pass(0)));
        Self { all: Arc::new(RwLock::new(all.collect())), any }
    }

    /// Consumers came, changed and went, and that is committed.
    pub(super) fn add(&self, moved: Vec<ConsumerMoved>) {
        if moved.is_empty() {
            return;
        }
        self.any.store(true, Ordering::Relaxed);
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        for (name, consumer) in moved {
            match consumer {
                Some(consumer) => drop(all.insert(name, consumer)),
                None => drop(all.remove(&name)),
            }
        }
    }

    /// Whether there ever was one: otherwise no job was made by any.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> Vec<Arc<Consumer>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// One of them.
    pub(super) fn get(&self, name: &ConsumerName) -> Option<Arc<Consumer>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}
