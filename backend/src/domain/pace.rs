//! How a rate limit is kept: attempts begin in slots that lie one period apart, and the last slot that was taken is all
//! that has to be remembered.

use std::time::Duration;

use crewcall_proto::Timestamp;

/// For how long a slot can be made up for that nobody took in time. It covers what a step takes (a timer, a commit), so
/// that a rate is reached as well as kept; up to 50 attempts a second begin one at a time all the same.
pub(crate) const CATCH_UP: Duration = Duration::from_millis(20);

const NANOSECONDS_PER_SECOND: f64 = 1e9;
const NANOSECONDS_PER_MILLISECOND: i64 = 1_000_000;

/// The slot of an attempt that was let through: a point in time, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub i64);

/// A rate limit, and the last slot of it that was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    per_second: f64,
    last: Option<Slot>,
}

impl Pace {
    /// Attempts at this rate, after the last one that began.
    #[must_use]
    pub const fn new(per_second: f64, last: Option<Slot>) -> Self {
        Self { per_second, last }
    }

    /// How many attempts may begin now.
    #[must_use]
    pub fn open(&self, now: Timestamp) -> usize {
        let late = nanoseconds(now).saturating_sub(self.next(now));
        if late < 0 { 0 } else { usize::try_from(late / self.period() + 1).unwrap_or(usize::MAX) }
    }

    /// The slot that is the last one after so many attempts began now.
    #[must_use]
    pub fn taken(&self, now: Timestamp, attempts: usize) -> Option<Slot> {
        let periods = i64::try_from(attempts).unwrap_or(i64::MAX).checked_sub(1).filter(|n| *n >= 0);
        match periods {
            Some(periods) => Some(Slot(self.next(now).saturating_add(self.period().saturating_mul(periods)))),
            None => self.last,
        }
    }

    /// How long it takes until an attempt may begin.
    #[must_use]
    pub fn wait(&self, now: Timestamp) -> Duration {
        let wait = self.next(now).saturating_sub(nanoseconds(now));
        Duration::from_nanos(u64::try_from(wait).unwrap_or(0))
    }

    /// The first slot that is not taken and not too long ago.
    fn next(&self, now: Timestamp) -> i64 {
        let now = nanoseconds(now);
        match self.last {
            Some(Slot(last)) => {
                let catch_up = i64::try_from(CATCH_UP.as_nanos()).unwrap_or(i64::MAX);
                last.saturating_add(self.period()).max(now.saturating_sub(catch_up))
            }
            None => now,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a period is at most a day, and a cast of a float saturates"
    )]
    fn period(&self) -> i64 {
        ((NANOSECONDS_PER_SECOND / self.per_second) as i64).max(1)
    }
}

const fn nanoseconds(time: Timestamp) -> i64 {
    time.as_millis().saturating_mul(NANOSECONDS_PER_MILLISECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// How many attempts begin when somebody looks every `step_ms`, for a second.
    fn in_a_second(per_second: f64, step_ms: usize) -> usize {
        let mut pace = Pace::new(per_second, None);
        let mut attempts = 0;
        for millisecond in (0..1_000).step_by(step_ms) {
            let now = START.plus_millis(millisecond);
            let open = pace.open(now);
            pace.last = pace.taken(now, open);
            attempts += open;
        }
        attempts
    }

    #[test]
    fn a_rate_is_kept_and_reached() {
        for (per_second, expected) in [(0.5, 1), (1.0, 1), (4.0, 4), (50.0, 50), (300.0, 300)] {
            assert_eq!(in_a_second(per_second, 1), expected, "{per_second}");
            let looked_at_seldom = in_a_second(per_second, 5);
            assert!(
                (expected - 1..=expected).contains(&looked_at_seldom),
                "{looked_at_seldom} of {per_second}"
            );
        }
        let fast = in_a_second(100_000.0, 10);
        assert!((99_000..=100_001).contains(&fast), "{fast}");
    }

    #[test]
    fn idleness_saves_nothing_up() {
        let mut pace = Pace::new(10.0, None);
        pace.last = pace.taken(START, 1);
        let later = START.plus_millis(60_000);
        assert_eq!(pace.open(later), 1);
        pace.last = pace.taken(later, 1);
        assert_eq!(pace.open(later), 0);
        assert!(
            pace.wait(later) >= Duration::from_millis(80) && pace.wait(later) <= Duration::from_millis(100)
        );
    }

    #[test]
    fn nothing_taken_changes_nothing() {
        assert_eq!(Pace::new(1.0, Some(Slot(7))).taken(START, 0), Some(Slot(7)));
        assert_eq!(Pace::new(1.0, None).taken(START, 0), None);
    }
}
