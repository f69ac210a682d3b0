//! How much work a type has, in slots: what an autoscaler goes by.

use super::{State, TypeSettings};

/// The work of a type that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// How many jobs are due and have not started.
    pub waiting: u64,
    /// How many attempts run, those among them that their workers hold.
    pub running: u64,
    /// How many slots this fills, as far as what is set for the type lets it. What is with the broker goes on in a pause,
    /// and what runs goes on over a limit that was set later. A rate limit is left out: nobody knows how long attempts take.
    pub slots_wanted: u64,
}

impl Demand {
    /// The work of a type with so many jobs in each state.
    #[must_use]
    pub fn of(jobs: impl Fn(State) -> u64, settings: &TypeSettings) -> Self {
        let (dispatched, running) = (jobs(State::Dispatched), jobs(State::Running));
        let not_sent = jobs(State::Ready).saturating_add(jobs(State::Unroutable));
        let in_flight = dispatched.saturating_add(running);
        let may_follow = if settings.pause.is_some() { 0 } else { not_sent };
        let running_max = settings.running_max.map_or(u64::MAX, u64::from);
        let allowed = in_flight.saturating_add(may_follow).min(running_max);
        Self { waiting: not_sent.saturating_add(dispatched), running, slots_wanted: allowed.max(in_flight) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(ready: u64, dispatched: u64, running: u64, running_max: Option<u32>) -> u64 {
        let jobs = |state| match state {
            State::Ready => ready,
            State::Dispatched => dispatched,
            State::Running => running,
            State::Unroutable => 1,
            State::Blocked | State::Scheduled | State::Completed | State::Failed | State::Cancelled => 1_000,
        };
        Demand::of(jobs, &TypeSettings { running_max, ..TypeSettings::default() }).slots_wanted
    }

    #[test]
    fn what_is_due_and_what_runs_is_wanted_as_far_as_the_limit_allows() {
        assert_eq!(wanted(10, 5, 2, None), 18);
        assert_eq!(wanted(10, 5, 2, Some(9)), 9);
        assert_eq!(wanted(10, 5, 2, Some(4)), 7, "what was sent before the limit goes on");
        assert_eq!(wanted(0, 0, 0, None), 1, "an unroutable job needs its first worker");
    }
}
