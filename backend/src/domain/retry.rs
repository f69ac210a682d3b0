//! When a failed attempt is followed by another.

use std::time::Duration;

/// Exponential back-off: `initial × factor^(attempt−1)`, at most `max_delay`, and spread around that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The wait after the first attempt.
    pub initial: Duration,
    /// How much longer each further wait is.
    pub factor: f64,
    pub max_delay: Duration,
    /// How far a wait is spread around its value, 0 to 1, so that jobs that failed together do not come back
    /// together.
    pub jitter: f64,
}

/// How many attempts a job has when its submitter names no number.
pub const ATTEMPTS_DEFAULT: u32 = 5;

/// How often the order of one attempt is sent, the first time counted. What happens to be lost is lost once; an order
/// that is gone each time is acknowledged by somebody who does not answer it, or not so that it can be read, and each
/// sending runs it once more.
pub const SENDINGS_MAX: u32 = 5;

/// How many executions of an attempt began, at the least, when an order that the broker gave up means that the job ends its
/// worker's process. The broker gives an order up after six deliveries, and workers report the start of each but the first
/// before they run it, so such a job has five. With fewer than half, the order mostly came back for other reasons: lost
/// lines, and workers that were restarted while it waited for a slot.
pub const CRASHES_MIN: u32 = 3;

/// The most attempts a submitter may ask for.
pub const ATTEMPTS_MAX: u32 = 100;

/// The longest wait that a worker may ask for with `retry_after_ms`: one day. A typing error in a worker
/// must not delay a job for a year.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(2),
            factor: 2.0,
            max_delay: Duration::from_secs(600),
            jitter: 0.1,
        }
    }
}

impl Backoff {
    /// How long to wait after attempt number `attempt` failed. `jitter_sample` is a random number from 0 to 1.
    #[must_use]
    pub fn delay_after(&self, attempt: u32, jitter_sample: f64) -> Duration {
        // 1 000 doublings are far beyond any longest wait; the clamp keeps the exponent in range.
        let exponent = f64::from(attempt.saturating_sub(1).min(1_000));
        let seconds =
            (self.initial.as_secs_f64() * self.factor.powf(exponent)).min(self.max_delay.as_secs_f64());
        let jitter = self.jitter.mul_add(jitter_sample.clamp(0.0, 1.0) * 2.0, 1.0 - self.jitter);
        Duration::try_from_secs_f64(seconds * jitter).unwrap_or(self.max_delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest_wait() {
        let backoff = Backoff::default();
        let seconds: Vec<f64> = [1, 2, 3, 9, 10, 50, u32::MAX]
            .into_iter()
            .map(|attempt| backoff.delay_after(attempt, 0.5).as_secs_f64().round())
            .collect();
        assert_eq!(seconds, [2.0, 4.0, 8.0, 512.0, 600.0, 600.0, 600.0]);
    }

    #[test]
    fn spreads_by_a_tenth() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay_after(1, 0.0), Duration::from_millis(1_800));
        assert_eq!(backoff.delay_after(1, 1.0), Duration::from_millis(2_200));
    }
}
