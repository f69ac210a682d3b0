//! How fast attempts end here. Pure: it is told the time.

use tokio::time::Instant;

use crate::limits::BUNDLE_PATIENCE;

/// How many attempts have ended of late.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the present span began.
    since: Option<Instant>,
    /// How many ended in the present span.
    now: usize,
    /// How many ended in the span before it.
    before: usize,
}

impl Pace {
    /// An attempt ended.
    pub(crate) fn count(&mut self, now: Instant) {
        self.follow(now);
        self.since.get_or_insert(now);
        self.now += 1;
    }

    /// How many ended within [`BUNDLE_PATIENCE`], of late: so many may end within as long from now on.
    pub(crate) fn recent(&mut self, now: Instant) -> usize {
        self.follow(now);
        self.now.max(self.before)
    }

    /// When that number gets smaller if no attempt ends.
    pub(crate) fn falls_at(&self) -> Option<Instant> {
        self.since.map(|since| since + BUNDLE_PATIENCE)
    }

    fn follow(&mut self, now: Instant) {
        // Two spans without an end, and nothing is known any more.
        while let Some(since) = self.since
            && since + BUNDLE_PATIENCE <= now
        {
            self.before = std::mem::take(&mut self.now);
            self.since = if self.before == 0 { None } else { Some(since + BUNDLE_PATIENCE) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_the_better_of_the_last_two_spans_and_forgets_what_is_older() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        assert_eq!((pace.recent(began), pace.falls_at()), (0, None));
        (0..10).for_each(|_| pace.count(began));
        assert_eq!((pace.recent(began), pace.falls_at()), (10, Some(began + BUNDLE_PATIENCE)));
        let second = began + BUNDLE_PATIENCE;
        (0..3).for_each(|_| pace.count(second));
        assert_eq!((pace.recent(second), pace.falls_at()), (10, Some(second + BUNDLE_PATIENCE)));
        assert_eq!(pace.recent(second + BUNDLE_PATIENCE), 3);
        assert_eq!(pace.recent(second + 2 * BUNDLE_PATIENCE), 0);
        assert_eq!(pace.falls_at(), None);
        let later = second + 100 * BUNDLE_PATIENCE;
        pace.count(later);
        assert_eq!((pace.recent(later), pace.falls_at()), (1, Some(later + BUNDLE_PATIENCE)));
    }
}
