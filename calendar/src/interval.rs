use std::time::Duration;

use crate::{InvalidPattern, limits::INTERVAL_SECONDS_MAX};

/// Every so many seconds, without end in both directions. All in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval {
    seconds: i64,
    /// The first tick at or after 1970, less than `seconds`: where the ticks stand does not depend on more of the anchor.
    phase: i64,
}

impl Interval {
    pub(crate) fn new(seconds: u32, anchor: i64) -> Result<Self, InvalidPattern> {
        if !(1..=INTERVAL_SECONDS_MAX).contains(&seconds) {
            return Err(InvalidPattern::new(format!(
                "an interval of {seconds} seconds is not possible: give 1 to {INTERVAL_SECONDS_MAX} (365 days)"
            )));
        }
        let seconds = i64::from(seconds);
        Ok(Self { seconds, phase: anchor.rem_euclid(seconds) })
    }

    pub(crate) fn next_after(&self, second: i64) -> Option<i64> {
        self.last_until(second)?.checked_add(self.seconds)
    }

    pub(crate) fn last_until(&self, second: i64) -> Option<i64> {
        second.checked_sub(self.since_last(second))
    }

    /// How many ticks are after the first moment, up to and with the second.
    pub(crate) fn count(&self, after: i64, until: i64) -> u64 {
        let (Some(first), Some(last)) = (self.last_until(after), self.last_until(until)) else { return 0 };
        u64::try_from((last - first) / self.seconds).unwrap_or(0)
    }

    pub(crate) fn gap(&self) -> Duration {
        Duration::from_secs(self.seconds.unsigned_abs())
    }

    pub(crate) fn words(&self) -> String {
        match self.seconds {
            1 => "every second".to_owned(),
            seconds => format!("every {seconds} seconds"),
        }
    }

    fn since_last(&self, second: i64) -> i64 {
        // Neither can overflow: what is a time in milliseconds is far from the ends of a time in seconds.
        second.saturating_sub(self.phase).rem_euclid(self.seconds)
    }
}
