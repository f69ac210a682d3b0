//! The schedules as committed last, for readers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    domain::{ScheduleId, ScheduleName, schedules::known::Schedule},
    engine::rules::{ScheduleMoved, Schedules},
};

/// The schedules as committed last. The writer holds the lock for as long as it takes to replace a few pointers, and readers to
/// copy them.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedSchedules {
    all: Arc<RwLock<BTreeMap<ScheduleName, Arc<Schedule>>>>,
    /// Whether there ever was one.
    any: Arc<AtomicBool>,
}

impl SharedSchedules {
    /// What the database held when it was opened.
    pub(super) fn loaded(schedules: &Schedules) -> Self {
        let all = schedules.all().map(|schedule| (schedule.name.clone(), Arc::clone(schedule)));
        let any = Arc::new(AtomicBool::new(schedules.last_id() > ScheduleId(0)));
        Self { all: Arc::new(RwLock::new(all.collect())), any }
    }

    /// Schedules came, changed and went, and that is committed.
    pub(super) fn add(&self, moved: Vec<ScheduleMoved>) {
        if moved.is_empty() {
            return;
        }
        self.any.store(true, Ordering::Relaxed);
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        for (name, schedule) in moved {
            match schedule {
                Some(schedule) => drop(all.insert(name, schedule)),
                None => drop(all.remove(&name)),
            }
        }
    }

    /// Whether there ever was one: otherwise no job was made by any.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> Vec<Arc<Schedule>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// One of them.
    pub(super) fn get(&self, name: &ScheduleName) -> Option<Arc<Schedule>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}
