//! Runs that have been over for long enough go, each with its jobs.

use std::time::Duration;

use crate::engine::{
    ports::WorkflowWrite,
    rules::{Decide, Decision, Inconsistent, Loaded, Rules, Wanted, retention},
};

/// Deletes runs that have been over for so long.
pub struct DeleteFinishedRuns {
    pub kept_for: Duration,
    /// How many jobs at most.
    pub limit: usize,
}

impl Decide for DeleteFinishedRuns {
    type Value = usize;

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::FinishedRuns { kept_for: self.kept_for, limit: self.limit }
    }

    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<usize>, Inconsistent> {
        let mut decision = Decision::nothing(loaded.old.len() + loaded.old_runs.len());
        decision.writes.workflows.extend(loaded.old_runs.into_iter().map(WorkflowWrite::RunDeleted));
        retention::delete(loaded.old, rules, &mut decision);
        Ok(decision)
    }
}
