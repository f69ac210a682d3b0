//! Times and rates that were measured, and what is told of them.

use std::time::Duration;

/// How many a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throughput {
    /// How many there were.
    pub(super) jobs: usize,
    /// How many a second.
    pub(super) per_second: f64,
}

impl Throughput {
    #[expect(clippy::cast_precision_loss, reason = "nobody runs so many jobs")]
    pub(super) fn of(jobs: usize, took: Duration) -> Self {
        Self { jobs, per_second: jobs as f64 / took.as_secs_f64() }
    }
}

/// Times of the same thing.
#[derive(Debug, Default)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that so many percent took at most.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }
}

/// Times in milliseconds.
#[derive(Debug, serde::Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Percentiles {
    pub(super) fn of(times: &Times) -> Self {
        let at = |percent| times.percentile(percent).as_secs_f64() * 1_000.0;
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// The one in the middle of several, and between which they were.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    /// All zeros, of nothing.
    pub(super) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self {
            median: at(sorted.len().saturating_sub(1) / 2),
            least: at(0),
            most: at(sorted.len().saturating_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_middle() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(spread, Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(Spread::of([]), Spread { median: 0.0, least: 0.0, most: 0.0 });
    }

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let mut times = Times::default();
        assert_eq!(times.percentile(50), Duration::ZERO);
        (1..=100).for_each(|ms| times.add(Duration::from_millis(ms)));
        assert_eq!([50, 99, 100].map(|percent| times.percentile(percent).as_millis()), [50, 99, 100]);
    }
}
