//! Which orders may travel together, and how many: only short ones, so that none waits long behind its neighbours.

use std::{sync::Arc, time::Duration};

use crewcall_proto::{JobType, bundle};
use dashmap::DashMap;

use crate::{
    domain::AttemptRecord,
    engine::{
        fleet::registry::Registry,
        ports::{Dispatch, JobChanged},
    },
};

/// How long a bundle should keep one slot busy at most. A worker has as many bundles as it has slots, so this is also how long an
/// order waits there at most, while it could have gone to another worker.
const BUSY_MAX: Duration = Duration::from_millis(50);

/// How many attempts of a type must have been seen before anything is said about the next ones.
const ATTEMPTS_MIN: u32 = 16;

/// What a new attempt weighs in the mean: one of 10 s among short ones ends the bundles of its type for the next 60 or so.
const WEIGHT: f64 = 1.0 / 32.0;

/// Which orders may travel together.
#[derive(Debug)]
pub(super) struct Bundles {
    registry: Arc<Registry>,
    /// How long attempts of each type have taken of late.
    durations: DashMap<JobType, Durations>,
}

impl Bundles {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, durations: DashMap::new() }
    }

    /// Learns from what happened.
    pub(super) fn observe(&self, changes: &[JobChanged]) {
        for change in changes {
            if let Some(milliseconds) = change.ended.as_ref().and_then(milliseconds) {
                match self.durations.get_mut(&change.job_type) {
                    Some(mut durations) => durations.count(milliseconds),
                    None => {
                        self.durations.entry(change.job_type.clone()).or_default().count(milliseconds);
                    }
                }
            }
        }
    }

    /// How many orders of a type may share a message, and among how many workers they are divided; 1: each goes alone.
    pub(super) fn limits(&self, job_type: &JobType) -> (usize, usize) {
        let Some(capacity) = self.registry.bundling(job_type) else { return (1, 1) };
        let mean = self.durations.get(job_type).and_then(|durations| durations.mean());
        (mean.map_or(1, size), capacity.workers.max(1))
    }

    /// Whether an order may share a message at all: not one that may have been sent before, so that whatever brought it back is
    /// charged to it alone, and not one with which a trace goes, for that travels as a header.
    pub(super) fn may_share(dispatch: &Dispatch) -> bool {
        !dispatch.sent_before && dispatch.job.traceparent.is_none()
    }

    /// Forgets the types of which no worker is there.
    pub(super) fn forget_unserved(&self) {
        self.durations.retain(|job_type, _| self.registry.capacity(job_type).workers > 0);
    }
}

/// How many orders a bundle has whose attempts take so many milliseconds.
fn size(mean: f64) -> usize {
    // What is too large for a number is cut next.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as above")]
    let in_time = (BUSY_MAX.as_secs_f64() * 1_000.0 / mean.max(f64::MIN_POSITIVE)) as usize;
    in_time.clamp(1, bundle::MESSAGES_MAX)
}

/// How long an attempt took by its worker's clock, in milliseconds; nothing if it never began, or nobody knows.
fn milliseconds(ended: &AttemptRecord) -> Option<f64> {
    ended.worker_id.as_ref()?;
    let took = ended.finished_at.as_millis().saturating_sub(ended.started_at?.as_millis());
    // A clock that is set back makes no attempt shorter than nothing, and a day is as long as a year here.
    u32::try_from(took.max(0)).ok().map_or(Some(f64::from(u32::MAX)), |took| Some(f64::from(took)))
}

/// How long the attempts of a type have taken of late.
#[derive(Debug, Default)]
struct Durations {
    seen: u32,
    mean: f64,
}

impl Durations {
    fn count(&mut self, milliseconds: f64) {
        self.seen = self.seen.saturating_add(1);
        // The first ones count alike.
        let weight = WEIGHT.max(1.0 / f64::from(self.seen));
        self.mean += (milliseconds - self.mean) * weight;
    }

    fn mean(&self) -> Option<f64> {
        (self.seen >= ATTEMPTS_MIN).then_some(self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durations(milliseconds: impl IntoIterator<Item = f64>) -> Durations {
        let mut durations = Durations::default();
        milliseconds.into_iter().for_each(|took| durations.count(took));
        durations
    }

    #[test]
    fn a_bundle_keeps_a_slot_busy_for_a_moment_only() {
        // Nothing takes no time.
        for (mean, expected) in [(0.0, 64), (0.1, 64), (5.0, 10), (25.0, 2), (51.0, 1)] {
            assert_eq!(size(mean), expected, "{mean} ms");
        }
    }

    #[test]
    fn one_long_attempt_ends_the_bundles_for_a_while() {
        assert_eq!(durations([0.0; 15]).mean(), None, "too few to say anything");
        assert_eq!(durations([2.0; 16]).mean(), Some(2.0));
        let long = || std::iter::repeat_n(1.0, 100).chain([10_000.0]);
        let size = |durations: &Durations| size(durations.mean().unwrap());
        assert_eq!(size(&durations(long())), 1);
        assert_eq!(size(&durations(long().chain([1.0; 30]))), 1);
        assert!(size(&durations(long().chain([1.0; 120]))) > 1);
    }
}
