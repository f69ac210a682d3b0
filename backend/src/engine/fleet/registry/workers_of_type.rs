//! Sums over the workers of a type: they are asked for with every job.

use crewcall_proto::ContentType;

use super::{Worker, WorkerStatus};
use crate::domain::waiting::Staff;

/// The workers of a type.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WorkersOfType {
    /// Those that are there.
    pub(super) capacity: Capacity,
    /// Those that are known, lost ones among them.
    pub(super) known: usize,
    /// How many of the known read nothing but JSON.
    pub(super) json_only: usize,
    /// How many of the known take orders of the type one by one only.
    pub(super) singly: usize,
    /// How many of those that are there take no more orders.
    draining: usize,
    /// How many slots those have.
    slots_draining: usize,
    /// How many slots of the others are taken, as they said last.
    slots_busy: usize,
}

impl WorkersOfType {
    /// What a job of the type may wait for.
    pub(super) fn staff(&self) -> Staff {
        Staff {
            workers: self.capacity.workers,
            draining: self.draining,
            slots: self.capacity.slots - self.slots_draining,
            slots_busy: self.slots_busy,
        }
    }

    /// A worker joins, which takes bundles of the type or not.
    pub(super) fn join(&mut self, worker: &Worker, bundles: bool) {
        self.known += 1;
        self.singly += usize::from(!bundles);
        self.json_only += usize::from(worker.announcement.content_type == ContentType::Json);
        let there = worker.status != WorkerStatus::Lost;
        let drains = worker.status == WorkerStatus::Draining;
        self.capacity.workers += usize::from(there);
        self.capacity.slots += if there { worker.slots() } else { 0 };
        self.draining += usize::from(drains);
        self.slots_draining += if drains { worker.slots() } else { 0 };
        self.slots_busy += if there && !drains { worker.slots_taken() } else { 0 };
    }

    /// One that joined with the same words leaves.
    pub(super) fn leave(&mut self, worker: &Worker, bundles: bool) {
        self.known -= 1;
        self.singly -= usize::from(!bundles);
        self.json_only -= usize::from(worker.announcement.content_type == ContentType::Json);
        let there = worker.status != WorkerStatus::Lost;
        let drains = worker.status == WorkerStatus::Draining;
        self.capacity.workers -= usize::from(there);
        self.capacity.slots -= if there { worker.slots() } else { 0 };
        self.draining -= usize::from(drains);
        self.slots_draining -= if drains { worker.slots() } else { 0 };
        self.slots_busy -= if there && !drains { worker.slots_taken() } else { 0 };
    }
}

/// What a type's workers can do at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    pub workers: usize,
    /// How many slots in all.
    pub slots: usize,
}
