//! How orders come in to a worker of several types: pushed by the broker, or fetched one at a time. Pure: it is told the
//! time.
//!
//! The broker pushes as many orders of *each* type as there are slots. While attempts end all the time, what is too much
//! waits for a moment. But when every slot is taken for longer, it would wait beside other workers that are idle. Then
//! the worker consumes nothing and gives back what has not begun; and whenever a slot is free, it fetches one order for
//! it, of one type after the other. It consumes again when there is nothing to fetch, or when attempts are short again.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{DOOR_SHORT_ENDS_MIN, DOOR_STALLED_AFTER};

/// How orders come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Every type is consumed.
    Open {
        /// Since when every slot is taken, and no attempt has ended.
        full_since: Option<Instant>,
    },
    /// No type is consumed: orders are fetched.
    Shut {
        /// How many attempts have been short since the last one that was not.
        short_ends: usize,
    },
}

impl Default for Door {
    fn default() -> Self {
        Self::Open { full_since: None }
    }
}

impl Door {
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// When to look again although nothing happened.
    pub(crate) fn due_at(self) -> Option<Instant> {
        match self {
            Self::Open { full_since } => full_since.map(|since| since + DOOR_STALLED_AFTER),
            Self::Shut { .. } => None,
        }
    }

    /// Follows whether every slot is taken. A worker of one type is never shut: its prefetch is right by itself.
    pub(crate) fn follow(&mut self, is_full: bool, types: usize, now: Instant) {
        if let Self::Open { full_since } = self {
            let since = full_since.get_or_insert(now);
            if !is_full || types < 2 {
                *full_since = None;
            } else if *since + DOOR_STALLED_AFTER <= now {
                *self = Self::Shut { short_ends: 0 };
            }
        }
    }

    /// An attempt ended that took this long.
    pub(crate) fn count_end(&mut self, took: Duration, slots: usize) {
        match self {
            Self::Open { full_since } => *full_since = None,
            Self::Shut { .. } if took >= DOOR_STALLED_AFTER => *self = Self::Shut { short_ends: 0 },
            Self::Shut { short_ends } => {
                *short_ends += 1;
                if *short_ends >= slots.saturating_mul(2).max(DOOR_SHORT_ENDS_MIN) {
                    *self = Self::default();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn it_shuts_when_no_attempt_ends_for_long_and_no_slot_is_free() {
        let (mut door, began) = (Door::default(), Instant::now());
        door.follow(true, 2, began);
        assert_eq!(door.due_at(), Some(began + DOOR_STALLED_AFTER));
        door.count_end(SHORT, 1);
        door.follow(true, 2, began + SHORT);
        door.follow(true, 2, began + DOOR_STALLED_AFTER);
        assert!(door.is_open(), "an attempt ended meanwhile");
        door.follow(false, 2, began + DOOR_STALLED_AFTER);
        assert_eq!(door.due_at(), None, "a slot is free");
        door.follow(true, 2, began);
        door.follow(true, 2, began + DOOR_STALLED_AFTER);
        assert!(!door.is_open());
    }

    #[test]
    fn a_worker_of_one_type_is_never_shut() {
        let (mut door, began) = (Door::default(), Instant::now());
        door.follow(true, 1, began);
        door.follow(true, 1, began + 2 * DOOR_STALLED_AFTER);
        assert_eq!(door, Door::default());
    }

    #[test]
    fn it_opens_when_attempts_are_short_again() {
        let mut door = Door::Shut { short_ends: 0 };
        for _before in 1..DOOR_SHORT_ENDS_MIN {
            door.count_end(SHORT, 1);
        }
        door.count_end(DOOR_STALLED_AFTER, 1);
        for _short in 1..DOOR_SHORT_ENDS_MIN {
            door.count_end(SHORT, 1);
            assert!(!door.is_open());
        }
        door.count_end(SHORT, 1);
        assert!(door.is_open());
    }
}
