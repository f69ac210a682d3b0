//! Whether there is a place for a run among those of its workflow.

use super::definition::{Concurrency, WhenFull};

/// What becomes of a new run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It starts.
    Start,
    /// It waits for the end of another.
    Queue,
    /// It is not made.
    Skip,
    /// It waits, and the oldest of those that are under way is cancelled to make room.
    CancelOldest,
}

impl Concurrency {
    /// What becomes of a new run while so many of its key are under way, and whether some wait already: nobody passes those.
    #[must_use]
    pub fn admit(&self, under_way: u32, some_wait: bool) -> Admission {
        match self.when_full {
            _ if under_way < self.max && !some_wait => Admission::Start,
            WhenFull::Queue => Admission::Queue,
            WhenFull::Skip => Admission::Skip,
            WhenFull::CancelRunning => Admission::CancelOldest,
        }
    }

    /// How many of those that wait may start while so many are under way.
    #[must_use]
    pub fn room(&self, under_way: u32) -> u32 {
        self.max.saturating_sub(under_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_starts_where_there_is_room_and_nobody_waits() {
        let concurrency = |when_full| Concurrency { max: 2, key: None, when_full };
        for (when_full, full) in [
            (WhenFull::Queue, Admission::Queue),
            (WhenFull::Skip, Admission::Skip),
            (WhenFull::CancelRunning, Admission::CancelOldest),
        ] {
            assert_eq!(concurrency(when_full).admit(1, false), Admission::Start);
            assert_eq!(concurrency(when_full).admit(2, false), full);
            assert_eq!(concurrency(when_full).admit(1, true), full);
        }
        assert_eq!((concurrency(WhenFull::Queue).room(1), concurrency(WhenFull::Queue).room(3)), (1, 0));
    }
}
