//! What the clock does: scheduled jobs become ready, and jobs that were not started in time expire.

use std::{sync::Arc, time::Duration};

use crewcall_proto::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    engine::{changes::Ledger, ports::StoreError},
    failpoints::Failpoint,
    mutant::die_at,
};

/// How often the clock is looked at: the precision of a back-off.
const TICK: Duration = Duration::from_millis(100);

/// How many jobs are moved in one step, so that a crowd does not hold up the store.
const BATCH_MAX: usize = 500;

/// Runs until `stop`.
///
/// # Errors
///
/// [`StoreError`] when the store fails for good.
pub async fn run(ledger: Ledger, clock: Arc<dyn Clock>, stop: CancellationToken) -> Result<(), StoreError> {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let now = clock.now();
        let step = async {
            release(&ledger, now).await?;
            expire(&ledger, now).await
        };
        match step.await {
            Err(error) if error.is_retryable() => tracing::warn!(%error, "Due jobs wait for the store."),
            Err(StoreError::Closed) if stop.is_cancelled() => return Ok(()),
            other => other?,
        }
    }
}

async fn release(ledger: &Ledger, now: Timestamp) -> Result<(), StoreError> {
    if !ledger.due_times.release.take(now) {
        return Ok(());
    }
    let released =
        ledger.store.release_due(now, BATCH_MAX).await.inspect_err(|_| ledger.due_times.release.note(now))?;
    if !released.jobs.is_empty() {
        die_at(Failpoint::JobsReleased);
    }
    if let Some(next) = released.next_due_at {
        ledger.due_times.release.note(next);
    }
    ledger.released(&released);
    Ok(())
}

async fn expire(ledger: &Ledger, now: Timestamp) -> Result<(), StoreError> {
    if !ledger.due_times.expiry.take(now) {
        return Ok(());
    }
    let expired =
        ledger.store.expire_due(now, BATCH_MAX).await.inspect_err(|_| ledger.due_times.expiry.note(now))?;
    if let Some(next) = expired.next_expiry_at {
        ledger.due_times.expiry.note(next);
    }
    for change in &expired.changes {
        ledger.follow(change);
    }
    Ok(())
}
