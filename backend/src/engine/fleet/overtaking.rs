//! Which orders were overtaken: what shows that an order is lost while others of its type wait.
//!
//! The queue of a type is first in, first out, and what comes back to it returns to its head. So when many orders that were
//! published later have been delivered, one that was with the broker before them is not in the queue any more.
//!
//! It is counted in rounds, only for types that the reconciler asks about. A round begins at a moment, and is over when
//! [`OVERTAKEN_BY`] orders were delivered that were dispatched after it: all that was in the queue at that moment, and then as
//! many again as the smallest dispatch window holds.

use std::time::Duration;

use crewcall_proto::JobType;
use dashmap::DashMap;

use crate::engine::ports::DispatchNumber;

/// How many later orders must have been delivered. One would do, if every message were delivered once; but an order that
/// was doubled can be taken for a later one. As many as the smallest dispatch window holds, which is compared there.
pub const OVERTAKEN_BY: usize = 64;

/// How long after a round a worker has to list what was delivered to it at its end: two heartbeats.
const LISTED_WITHIN: Duration = Duration::from_secs(10);

/// The rounds of all types.
#[derive(Debug, Default)]
pub struct Overtaking {
    rounds: DashMap<JobType, Round>,
}

#[derive(Debug)]
struct Round {
    began: Duration,
    /// The newest dispatch when it began.
    newest: DispatchNumber,
    /// How many later ones were delivered since.
    delivered: usize,
    /// When they were first seen to be enough.
    over: Option<Duration>,
}

impl Overtaking {
    /// An order was delivered: its worker spoke of it.
    pub fn delivered(&self, job_type: &JobType, number: DispatchNumber) {
        if let Some(mut round) = self.rounds.get_mut(job_type)
            && number > round.newest
        {
            round.delivered += 1;
        }
    }

    /// Looks at the round of a type at `now`, and begins one if there is none; `newest` is the newest dispatch of any type.
    /// Returns when a round began that is over: what was with the broker then, and no worker lists now, is lost.
    pub fn look(&self, job_type: &JobType, newest: DispatchNumber, now: Duration) -> Option<Duration> {
        let fresh = || Round { began: now, newest, delivered: 0, over: None };
        let mut round = self.rounds.entry(job_type.clone()).or_insert_with(fresh);
        if round.delivered < OVERTAKEN_BY {
            return None;
        }
        let over = *round.over.get_or_insert(now);
        if now.saturating_sub(over) < LISTED_WITHIN {
            return None;
        }
        Some(std::mem::replace(&mut *round, fresh()).began)
    }

    /// Forgets the rounds of the types that nobody asks about any more.
    pub fn keep(&self, is_asked: impl Fn(&JobType) -> bool) {
        self.rounds.retain(|job_type, _| is_asked(job_type));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_over_when_enough_later_orders_were_delivered_and_had_time_to_be_listed() {
        let (overtaking, job_type) = (Overtaking::default(), JobType::new("a").unwrap());
        let at = Duration::from_secs;
        overtaking.delivered(&job_type, DispatchNumber(99)); // nobody asks yet
        assert_eq!(overtaking.look(&job_type, DispatchNumber(100), at(1)), None);
        for number in 0..u64::try_from(OVERTAKEN_BY).unwrap() - 1 {
            overtaking.delivered(&job_type, DispatchNumber(number)); // earlier ones
            overtaking.delivered(&job_type, DispatchNumber(101 + number));
        }
        assert_eq!(overtaking.look(&job_type, DispatchNumber(200), at(100)), None, "one is missing");
        overtaking.delivered(&job_type, DispatchNumber(300));
        assert_eq!(
            overtaking.look(&job_type, DispatchNumber(300), at(101)),
            None,
            "it may not be listed yet"
        );
        assert_eq!(overtaking.look(&job_type, DispatchNumber(300), at(111)), Some(at(1)));
        assert_eq!(overtaking.look(&job_type, DispatchNumber(300), at(200)), None, "the next has begun");
        overtaking.keep(|_| false);
        assert!(overtaking.rounds.is_empty());
    }
}
