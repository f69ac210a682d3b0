//! How many attempts of a type may be with the broker at once: as many as its workers have slots for, or finish in a second.

use std::{sync::Arc, time::Duration};

use crewcall_proto::JobType;
use dashmap::DashMap;
use tokio::time::Instant;

use crate::engine::{
    fleet::{overtaking::OVERTAKEN_BY, registry::Registry},
    ports::{Broker, BrokerStatus},
};

/// The dispatch window of a type that is slow or has few slots: enough to keep a worker busy while the
/// backend restarts.
pub(crate) const WINDOW_MIN: usize = 64;

const _: () = assert!(OVERTAKEN_BY >= WINDOW_MIN, "what waits in the smallest window may come in any order");

/// The largest dispatch window: what a type may have with the broker at once, however fast it is.
pub(crate) const WINDOW_MAX: usize = 2_000;

/// Orders per slot in the window: one runs, one is at the worker's door, the rest are on their way.
const WINDOW_PER_SLOT: usize = 4;

/// The dispatch windows of all types.
pub(super) struct Windows {
    broker: Arc<dyn Broker>,
    registry: Arc<Registry>,
    rates: DashMap<JobType, Rate>,
}

impl Windows {
    pub(super) fn new(broker: Arc<dyn Broker>, registry: Arc<Registry>) -> Self {
        Self { broker, registry, rates: DashMap::new() }
    }

    /// How many attempts of the type may be with the broker now; none while the broker, or the type's queue, takes nothing.
    pub(super) fn of(&self, job_type: &JobType) -> usize {
        if *self.broker.status().borrow() != BrokerStatus::Up || self.broker.queue_error(job_type).is_some() {
            return 0;
        }
        let slots = self.registry.capacity(job_type).slots;
        let per_second = self.rates.get(job_type).map_or(0, |rate| rate.per_second());
        (slots.saturating_mul(WINDOW_PER_SLOT)).max(per_second).clamp(WINDOW_MIN, WINDOW_MAX)
    }

    /// An attempt of the type left its window.
    pub(super) fn left(&self, job_type: &JobType) {
        match self.rates.get_mut(job_type) {
            Some(mut rate) => rate.count(),
            None => self.rates.entry(job_type.clone()).or_default().count(),
        }
    }

    /// Forgets the types that have been quiet.
    pub(super) fn forget_quiet(&self) {
        self.rates.retain(|_, rate| rate.per_second() > 0);
    }
}

/// How many attempts of a type left the window in the last whole second.
#[derive(Debug)]
struct Rate {
    since: Instant,
    current: usize,
    previous: usize,
}

impl Default for Rate {
    fn default() -> Self {
        Self { since: Instant::now(), current: 0, previous: 0 }
    }
}

impl Rate {
    fn count(&mut self) {
        let elapsed = self.since.elapsed();
        if elapsed >= Duration::from_secs(1) {
            self.previous = if elapsed < Duration::from_secs(2) { self.current } else { 0 };
            self.current = 0;
            self.since = Instant::now();
        }
        self.current += 1;
    }

    fn per_second(&self) -> usize {
        if self.since.elapsed() < Duration::from_secs(2) { self.previous.max(self.current) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_that_of_the_last_second() {
        let mut rate = Rate::default();
        for _ in 0..300 {
            rate.count();
        }
        assert_eq!(rate.per_second(), 300);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        rate.count();
        assert_eq!(rate.per_second(), 300);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(rate.per_second(), 0);
    }
}
