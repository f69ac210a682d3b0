//! The schedules there are, kept in memory by whoever writes: what is open of each, and what waits.
//!
//! It moves with the transaction: each step can be taken back until the transaction is committed.

use std::{collections::BTreeMap, sync::Arc};

use crate::domain::{ScheduleId, ScheduleName, schedules::known::Schedule};

/// What the open transaction did to one schedule, with what takes it back.
#[derive(Debug)]
struct Step {
    name: ScheduleName,
    before: Option<Arc<Schedule>>,
}

/// What the table can be rolled back to.
#[derive(Debug, Clone, Copy)]
pub struct SchedulesSavepoint {
    steps: usize,
    last_id: ScheduleId,
}

/// A schedule that came or changed; `None` for one that went.
pub type ScheduleMoved = (ScheduleName, Option<Arc<Schedule>>);

/// The schedules, with what the open transaction changed.
#[derive(Debug, Default)]
pub struct Schedules {
    all: BTreeMap<ScheduleName, Arc<Schedule>>,
    /// The last that was made.
    last_id: ScheduleId,
    /// What the open transaction did, in order.
    steps: Vec<Step>,
}

impl Schedules {
    /// What the store held when it was opened, and the last id that it gave.
    pub fn new(schedules: impl IntoIterator<Item = Schedule>, last_id: ScheduleId) -> Self {
        let named = |schedule: Schedule| (schedule.name.clone(), Arc::new(schedule));
        Self { all: schedules.into_iter().map(named).collect(), last_id, steps: Vec::new() }
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Schedule>> {
        self.all.values()
    }

    pub fn get(&self, name: &ScheduleName) -> Option<&Arc<Schedule>> {
        self.all.get(name)
    }

    /// The schedule of this name, if it is this one and not another that was made since.
    pub fn find(&self, name: &ScheduleName, id: ScheduleId) -> Option<Schedule> {
        self.all.get(name).filter(|known| known.id == id).map(|known| known.as_ref().clone())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The last id that was given.
    pub const fn last_id(&self) -> ScheduleId {
        self.last_id
    }

    pub fn next_id(&mut self) -> ScheduleId {
        self.last_id.0 += 1;
        self.last_id
    }

    /// Keeps a schedule as it is from now on.
    pub fn set(&mut self, schedule: Schedule) -> Arc<Schedule> {
        let schedule = Arc::new(schedule);
        let before = self.all.insert(schedule.name.clone(), Arc::clone(&schedule));
        self.steps.push(Step { name: schedule.name.clone(), before });
        schedule
    }

    pub fn remove(&mut self, name: &ScheduleName) {
        let before = self.all.remove(name);
        self.steps.push(Step { name: name.clone(), before });
    }

    pub const fn savepoint(&self) -> SchedulesSavepoint {
        SchedulesSavepoint { steps: self.steps.len(), last_id: self.last_id }
    }

    /// Takes back every step since `savepoint`.
    pub fn roll_back_to(&mut self, savepoint: SchedulesSavepoint) {
        while self.steps.len() > savepoint.steps
            && let Some(Step { name, before }) = self.steps.pop()
        {
            match before {
                Some(before) => drop(self.all.insert(name, before)),
                None => drop(self.all.remove(&name)),
            }
        }
        self.last_id = savepoint.last_id;
    }

    /// The transaction was committed: its steps are final. Returns the schedules that came, changed and went.
    pub fn commit(&mut self) -> Vec<ScheduleMoved> {
        let mut moved = BTreeMap::new();
        for Step { name, .. } in self.steps.drain(..) {
            let now = self.all.get(&name).cloned();
            moved.insert(name, now);
        }
        moved.into_iter().collect()
    }
}
