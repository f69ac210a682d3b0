//! A schedule as it is kept.

use std::{collections::BTreeMap, sync::Arc};

use crewcall_proto::Timestamp;

use super::{
    settings::ScheduleSettings,
    tick::{TickState, TickWork},
};
use crate::domain::{Pause, ScheduleId, ScheduleName, TickKey, TickOrigin};

/// A schedule, and how far it got.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub id: ScheduleId,
    pub name: ScheduleName,
    pub settings: Arc<ScheduleSettings>,
    /// Its document as JSON text: what it was read of.
    pub document: Arc<str>,
    /// Every tick up to here, by the wall clock, has a record.
    pub considered_until: Timestamp,
    /// The last tick that fired although it is after that: the clock was ahead once. Those up to it may have fired.
    pub fired_ahead: Option<Timestamp>,
    /// Whether its ticks fire, and since when not.
    pub pause: Option<Pause>,
    /// How many of its fires failed in a row.
    pub failures: u32,
    /// The tick of the last fire that completed.
    pub last_completed: Option<Timestamp>,
    /// The fires that are not over.
    pub open: BTreeMap<TickKey, TickWork>,
    /// The ticks that wait, in their order.
    pub queue: BTreeMap<TickKey, Wait>,
    /// The record that further ticks are added to, if they have the same fate.
    pub tail: Option<Tail>,
    pub created_at: Timestamp,
    /// When its document changed last.
    pub changed_at: Timestamp,
    /// Who changed it last, as they call themselves.
    pub changed_by: String,
    /// Counts the changes of its document: what was decided by others is not stored.
    pub revision: u64,
}

/// What a tick waits for that is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nothing else of its schedule is open.
    Alone,
    /// Nothing: only that it is made ready.
    None,
}

/// A record of ticks in a row of which none fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The first of the ticks.
    pub first: Timestamp,
    pub state: TickState,
}

impl Schedule {
    /// The queued tick that may begin now, if any: those of the calendar and of people before those of a backfill.
    #[must_use]
    pub fn next_to_begin(&self) -> Option<TickKey> {
        if self.pause.is_some() {
            return None;
        }
        let free = self.queue.iter().find(|(_, wait)| **wait == Wait::None).map(|(key, _)| *key);
        free.or_else(|| {
            let of_now = |key: &&TickKey| key.origin != TickOrigin::Backfill;
            let first = self.queue.keys().find(of_now).or_else(|| self.queue.keys().next());
            first.copied().filter(|_| self.open.is_empty())
        })
    }

    /// How many ticks of the calendar and of people wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.keys().filter(|key| key.origin != TickOrigin::Backfill).count()
    }

    /// Whether what is open is only made up for: it does not stand in the way of what is due now.
    #[must_use]
    pub fn only_makes_up(&self) -> bool {
        self.open.keys().all(|key| key.origin == TickOrigin::Backfill)
    }
}
