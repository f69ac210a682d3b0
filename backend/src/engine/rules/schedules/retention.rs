//! What became of ticks is forgotten after a while.

use std::time::Duration;

use crate::engine::{
    ports::ScheduleWrite,
    rules::{Decide, Decision, Inconsistent, Loaded, Rules, Wanted, age::finished_until},
};

/// Deletes what became of ticks that were decided so long ago and are over.
pub struct DeleteTicks {
    pub kept_for: Duration,
    /// How many at most.
    pub limit: usize,
}

impl Decide for DeleteTicks {
    type Value = ();

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Nothing
    }

    fn decide(self, _: Loaded, rules: &mut Rules) -> Result<Decision<()>, Inconsistent> {
        let until = finished_until(rules.now(), self.kept_for);
        let mut decision = Decision::nothing(());
        decision.writes.schedules.push(ScheduleWrite::Forget { until, limit: self.limit });
        Ok(decision)
    }
}
