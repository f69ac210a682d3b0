//! How many attempts of a type may go to the broker.

use crewcall_proto::Timestamp;

use crate::domain::{Pace, Slot};

/// How many attempts of a type may go to the broker.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// By the window and by what is set.
    pub jobs: usize,
    /// The rate limit, if there is one: it may allow fewer.
    pub pace: Option<Pace>,
}

impl Room {
    /// How many may go now.
    pub fn open(&self, now: Timestamp) -> usize {
        self.pace.map_or(self.jobs, |pace| self.jobs.min(pace.open(now)))
    }

    /// The last slot of the rate limit that is taken after `dispatched` jobs went; `None` if none was taken.
    pub fn slot_after(&self, now: Timestamp, dispatched: usize) -> Option<Slot> {
        self.pace.filter(|_| dispatched > 0).and_then(|pace| pace.taken(now, dispatched))
    }
}
