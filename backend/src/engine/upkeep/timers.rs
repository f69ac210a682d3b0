//! What the clock does: scheduled jobs become ready, and jobs that were not started in time expire.

use std::time::Duration;

use crewcall_proto::Timestamp;

use super::Task;
use crate::{
    engine::{Engine, changes::Changes, ports::StoreError},
    failpoints::Failpoint,
    mutant::die_at,
};

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
        let now = engine.clock.now();
        release(&engine.changes, now).await?;
        expire(&engine.changes, now).await
    }
}

async fn release(changes: &Changes, now: Timestamp) -> Result<(), StoreError> {
    if !changes.due_times.release.take(now) {
        return Ok(());
    }
    let released =
        changes.store.release_due(BATCH_MAX).await.inspect_err(|_| changes.due_times.release.note(now))?;
    if !released.jobs.is_empty() {
        die_at(Failpoint::JobsReleased);
    }
    if let Some(next) = released.next_due_at {
        changes.due_times.release.note(next);
    }
    changes.released(&released);
    Ok(())
}

async fn expire(changes: &Changes, now: Timestamp) -> Result<(), StoreError> {
    if !changes.due_times.expiry.take(now) {
        return Ok(());
    }
    let expired =
        changes.store.expire_due(BATCH_MAX).await.inspect_err(|_| changes.due_times.expiry.note(now))?;
    if let Some(next) = expired.next_expiry_at {
        changes.due_times.expiry.note(next);
    }
    for change in &expired.changes {
        changes.follow(change);
    }
    Ok(())
}
