//! How many orders of a type the broker may leave with this worker. Pure: it is told the time.
//!
//! The rule is one sum: what the subscription may still bring and what earlier subscriptions brought make up
//! exactly the slots that are not taken for long. More, and orders would wait at a busy worker while another is
//! idle; fewer, and a slot would be idle beside a backlog.
//!
//! RabbitMQ sets a prefetch when a queue is consumed, not later, and does not count what an earlier consumer
//! brought. So to change it the worker stops consuming, waits a moment for what is under way and for short
//! attempts to end, and consumes again with what is left of the sum.

use tokio::time::Instant;

use crate::limits::PREFETCH_SETTLE;

/// What is here of one type, and what may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OrderCounts {
    /// The slots that no held attempt takes, and no handler that does not end.
    pub(crate) capacity: usize,
    /// Deliveries that are here and count as unacknowledged.
    pub(crate) here: usize,
    /// Those of them that an earlier subscription brought: the current one's prefetch does not count them.
    pub(crate) earlier: usize,
}

/// How far the broker may send orders of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PrefetchControl {
    /// Not to be consumed; waits until the broker was told.
    #[default]
    Closing,
    /// Not consumed; waits for what is under way, and for short attempts to end.
    Settling {
        /// When the sum is done.
        until: Instant,
    },
    /// Not consumed: there is no room. Looked at again when one of the numbers changes.
    Full {
        /// The numbers when it was looked at.
        at: OrderCounts,
    },
    /// Consumed with this prefetch.
    Open {
        /// At least 1.
        prefetch: usize,
    },
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrefetchStep {
    /// Nothing.
    Wait,
    /// Give back what waits here beyond the capacity, count anew, and [`PrefetchControl::settle`].
    Settle,
    /// Consume with the prefetch: everything that is here came by an earlier subscription.
    Open,
}

impl PrefetchControl {
    /// The prefetch to consume with; 0 for not at all.
    pub(crate) fn prefetch(self) -> usize {
        match self {
            Self::Open { prefetch } => prefetch,
            Self::Closing | Self::Settling { .. } | Self::Full { .. } => 0,
        }
    }

    /// When to look again although nothing happened.
    pub(crate) fn due_at(self) -> Option<Instant> {
        match self {
            Self::Settling { until } => Some(until),
            Self::Closing | Self::Full { .. } | Self::Open { .. } => None,
        }
    }

    /// Follows the numbers. `closed` says whether the broker knows that the type is not consumed.
    pub(crate) fn follow(&mut self, counts: OrderCounts, closed: bool, now: Instant) -> PrefetchStep {
        if let Self::Open { prefetch } = *self
            && prefetch + counts.earlier != counts.capacity
        {
            *self = Self::Closing;
        }
        match *self {
            Self::Open { .. } => return PrefetchStep::Wait,
            Self::Closing if !closed => return PrefetchStep::Wait,
            Self::Full { at } if at == counts => return PrefetchStep::Wait,
            Self::Closing | Self::Full { .. } => *self = Self::Settling { until: now + PREFETCH_SETTLE },
            Self::Settling { .. } => {}
        }
        // With nothing here there is nothing to wait for: the full prefetch is the right one.
        if counts.here == 0 && counts.capacity > 0 {
            return self.settle(counts);
        }
        if self.due_at().is_some_and(|until| until <= now) {
            PrefetchStep::Settle
        } else {
            PrefetchStep::Wait
        }
    }

    /// Consumes again with what is left of the sum, if anything is.
    pub(crate) fn settle(&mut self, counts: OrderCounts) -> PrefetchStep {
        let room = counts.capacity.saturating_sub(counts.here);
        if room == 0 {
            *self = Self::Full { at: counts };
            return PrefetchStep::Wait;
        }
        *self = Self::Open { prefetch: room };
        PrefetchStep::Open
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn counts(capacity: usize, here: usize, earlier: usize) -> OrderCounts {
        OrderCounts { capacity, here, earlier }
    }

    #[test]
    fn without_held_attempts_the_prefetch_is_the_slots_and_stays() {
        let (mut control, now) = (PrefetchControl::default(), Instant::now());
        assert_eq!(
            control.follow(counts(4, 0, 0), false, now),
            PrefetchStep::Wait,
            "an old consumer may be there"
        );
        assert_eq!(control.follow(counts(4, 0, 0), true, now), PrefetchStep::Open);
        for here in 0..=4 {
            assert_eq!(control.follow(counts(4, here, 0), false, now), PrefetchStep::Wait);
            assert_eq!(control.prefetch(), 4);
        }
    }

    #[test]
    fn a_worker_of_one_slot_consumes_nothing_while_it_holds_an_attempt() {
        let (mut control, now) = (PrefetchControl::Open { prefetch: 1 }, Instant::now());
        assert_eq!(control.follow(counts(0, 0, 0), false, now), PrefetchStep::Wait);
        assert_eq!(
            control.prefetch(),
            0,
            "before the order is acknowledged, so that no other comes in its place"
        );
        control.follow(counts(0, 0, 0), true, now);
        let later = now + PREFETCH_SETTLE;
        assert_eq!(control.follow(counts(0, 0, 0), true, later), PrefetchStep::Settle);
        assert_eq!(control.settle(counts(0, 0, 0)), PrefetchStep::Wait);
        assert_eq!(control.due_at(), None, "nothing to do until the held attempt ends");
        assert_eq!(control.follow(counts(1, 0, 0), true, later), PrefetchStep::Open, "then at once");
        assert_eq!(control.prefetch(), 1);
    }

    #[test]
    fn long_attempts_that_are_here_count_against_the_new_prefetch() {
        // Four slots, three busy with long attempts, one of which is held from now on.
        let (mut control, now) = (PrefetchControl::Open { prefetch: 4 }, Instant::now());
        control.follow(counts(3, 2, 0), false, now);
        assert_eq!(control.follow(counts(3, 2, 0), true, now), PrefetchStep::Wait);
        assert_eq!(control.follow(counts(3, 2, 0), true, now + PREFETCH_SETTLE), PrefetchStep::Settle);
        assert_eq!(control.settle(counts(3, 2, 0)), PrefetchStep::Open);
        assert_eq!(control.prefetch(), 1);
        // The two came earlier, a third one comes: the sum is right.
        assert_eq!(control.follow(counts(3, 3, 2), false, now), PrefetchStep::Wait);
        assert_eq!(control.prefetch(), 1);
        // One of the earlier ones is held as well: still right, nothing to change.
        assert_eq!(control.follow(counts(2, 2, 1), false, now), PrefetchStep::Wait);
        assert_eq!(control.prefetch(), 1);
        // The other one ends: a slot would be idle.
        control.follow(counts(2, 1, 0), false, now);
        assert_eq!(control.prefetch(), 0);
    }

    #[test]
    fn short_attempts_end_within_the_pause_and_the_prefetch_is_the_full_one() {
        let (mut control, now) = (PrefetchControl::Open { prefetch: 8 }, Instant::now());
        control.follow(counts(7, 7, 0), true, now);
        assert_eq!(control.prefetch(), 0);
        assert_eq!(control.follow(counts(7, 3, 0), true, now + Duration::from_millis(5)), PrefetchStep::Wait);
        assert_eq!(
            control.follow(counts(7, 0, 0), true, now + Duration::from_millis(10)),
            PrefetchStep::Open
        );
        assert_eq!(control.prefetch(), 7);
    }

    #[test]
    fn a_full_control_looks_again_only_when_something_changed() {
        let now = Instant::now();
        let mut control = PrefetchControl::Full { at: counts(1, 2, 2) };
        assert_eq!(control.follow(counts(1, 2, 2), true, now), PrefetchStep::Wait);
        assert_eq!(control.due_at(), None);
        assert_eq!(control.follow(counts(1, 1, 1), true, now), PrefetchStep::Wait);
        assert_eq!(control.due_at(), Some(now + PREFETCH_SETTLE));
    }

    /// Plays a long random life of a type with the broker's rules for prefetches, and compares the sum.
    #[test]
    fn no_order_more_than_there_is_room_ever_comes() {
        for seed in 1..200_u64 {
            let mut random = seed;
            let mut next = |below: u64| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % below
            };
            let (slots, mut now) = (1 + usize::try_from(next(5)).unwrap(), Instant::now());
            let (mut control, mut held, mut earlier, mut fresh) = (PrefetchControl::default(), 0, 0, 0);
            for _ in 0..400 {
                now += Duration::from_millis(next(150));
                match next(4) {
                    0 if earlier > 0 => earlier -= 1,
                    0 | 1 if fresh > 0 => fresh -= 1,
                    2 if fresh + earlier > 0 => {
                        if fresh > 0 {
                            fresh -= 1;
                        } else {
                            earlier -= 1;
                        }
                        held += 1;
                    }
                    3 if held > 0 => held -= 1,
                    _ => {}
                }
                let counts = OrderCounts { capacity: slots - held, here: earlier + fresh, earlier };
                let mut step = control.follow(counts, true, now);
                if step == PrefetchStep::Settle {
                    step = control.settle(counts);
                }
                if step == PrefetchStep::Open || control.prefetch() == 0 {
                    (earlier, fresh) = (earlier + fresh, 0);
                }
                // The broker fills the prefetch at once.
                fresh = fresh.max(control.prefetch());
                assert!(fresh + earlier + held <= slots, "seed {seed}: {control:?}");
            }
        }
    }
}
