//! The committed counts, for readers.

use std::sync::Arc;

use crewcall_proto::JobType;
use dashmap::DashMap;

use crate::engine::rules::{CountedChange, JobCounts, StateCounts};

/// The committed counts of the types that have jobs, for readers. The writer waits for nobody who reads them: a reader
/// holds a few types at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedCounts(Arc<DashMap<JobType, StateCounts>>);

impl SharedCounts {
    /// What the database held when it was opened.
    pub(super) fn loaded(counts: &JobCounts) -> Self {
        let shared = Self::default();
        for (job_type, counts) in counts.all().filter(|(_, counts)| !counts.is_empty()) {
            shared.0.insert(job_type.clone(), counts);
        }
        shared
    }

    /// Jobs came, moved, or went, and that is committed.
    pub(super) fn add(&self, changes: impl Iterator<Item = CountedChange>) {
        for CountedChange { job_type, from, to } in changes {
            let mut committed = self.0.entry(job_type.clone()).or_default();
            committed.change(from, to);
            let gone = committed.is_empty();
            drop(committed);
            if gone {
                self.0.remove(&job_type);
            }
        }
    }

    /// Those of every type, by name.
    pub(super) fn all(&self) -> Vec<(JobType, StateCounts)> {
        self.some(|_, _| true)
    }

    /// Those of the types that pass, by name.
    pub(super) fn some(
        &self,
        passes: impl Fn(&JobType, &StateCounts) -> bool,
    ) -> Vec<(JobType, StateCounts)> {
        let types = self.0.iter().filter(|entry| passes(entry.key(), entry.value()));
        let mut types: Vec<_> = types.map(|entry| (entry.key().clone(), *entry.value())).collect();
        types.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        types
    }

    /// Those of one type.
    pub(super) fn of(&self, job_type: &JobType) -> StateCounts {
        self.0.get(job_type).map_or_else(StateCounts::default, |committed| *committed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Sequence, State},
        engine::{ports::DispatchNumber, rules::CountedAs},
    };

    #[test]
    fn readers_see_what_was_committed() {
        let job_type = JobType::new("a.b").unwrap();
        let ready = CountedAs { state: State::Ready, occupies_window: false };
        let mut counts = JobCounts::new(DispatchNumber(0), Sequence(0));
        let shared = SharedCounts::loaded(&counts);
        counts.step(&job_type, None, Some(ready));
        assert!(shared.all().is_empty(), "it is not committed");
        shared.add(counts.commit());
        assert_eq!(shared.all()[0].1.get(State::Ready), 1);
        counts.step(&job_type, Some(ready), None);
        shared.add(counts.commit());
        assert!(shared.all().is_empty(), "a type without jobs costs nothing");
    }
}
