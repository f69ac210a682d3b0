//! Jobs that have been over for long enough go.

use std::time::Duration;

use super::{CountedAs, Decide, Decision, Inconsistent, Loaded, OldJob, Rules, Wanted};
use crate::{domain::State, engine::ports::JobChanged};

/// Deletes jobs in this terminal state that have been over for longer than this.
pub struct DeleteFinished {
    pub state: State,
    /// For how long they are kept.
    pub kept_for: Duration,
    /// How many go at most.
    pub limit: usize,
}

impl Decide for DeleteFinished {
    type Value = ();

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Finished { state: self.state, kept_for: self.kept_for, limit: self.limit }
    }

    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<()>, Inconsistent> {
        let mut decision = Decision::nothing(());
        delete(loaded.old, rules, &mut decision);
        Ok(decision)
    }
}

/// Deletes these jobs, which are over.
pub(super) fn delete<T>(old: Vec<OldJob>, rules: &mut Rules, decision: &mut Decision<T>) {
    for old in &old {
        // Nothing that is over occupies the dispatch window.
        let counted = CountedAs { state: old.state, occupies_window: false };
        rules.counts.step(&old.job_type, Some(counted), None);
        let change = JobChanged::deleted(old.id, old.job_type.clone(), old.created_at, old.state);
        decision.changes.push(change);
    }
    decision.writes.deletes = old;
}
