//! What the clock does: scheduled jobs become ready, and jobs that were not started in time expire.

use std::time::Duration;

use super::Task;
use crate::engine::{Engine, ports::StoreError};

/// How often the clock is looked at: the precision of a back-off.
const TICK: Duration = Duration::from_millis(100);

/// How many jobs are moved in one step, so that a crowd does not hold up the store.
const BATCH_MAX: usize = 500;

/// Looks at the clock.
pub(super) struct Timers;

impl Task for Timers {
    const PART: &'static str = "timers";
    const EVERY: Duration = TICK;

    async fn step(&mut self, engine: &Engine) -> Result<(), StoreError> {
        let (now, changes) = (engine.clock.now(), &engine.changes);
        engine.due_times.release.when_due(now, || changes.release_due(BATCH_MAX)).await?;
        engine.due_times.expiry.when_due(now, || changes.expire_due(BATCH_MAX)).await
    }
}
