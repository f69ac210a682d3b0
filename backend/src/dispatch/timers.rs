//! Makes scheduled jobs ready when their time comes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crewcall_proto::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{ledger::Ledger, ports::StoreError};
use crate::clock::Clock;

/// How often the clock is looked at: the precision of a back-off.
const TICK: Duration = Duration::from_millis(100);

/// How many jobs are made ready in one step, so that a crowd does not hold up the store.
const BATCH_MAX: usize = 500;

/// The earliest due time of a scheduled job, or earlier: so that an idle backend does not ask its store.
#[derive(Debug)]
pub struct DueTime(AtomicI64);

impl Default for DueTime {
    /// Unknown yet: to be asked for.
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl DueTime {
    /// A job became due at this time.
    pub fn note(&self, at: Timestamp) {
        self.0.fetch_min(at.as_millis(), Ordering::SeqCst);
    }

    /// Whether the time has come; if so, it has to be noted again from the store.
    fn take(&self, now: Timestamp) -> bool {
        let due = self.0.load(Ordering::SeqCst) <= now.as_millis();
        if due {
            self.0.store(i64::MAX, Ordering::SeqCst);
        }
        due
    }
}

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
        if !ledger.due_time.take(now) {
            continue;
        }
        match ledger.store.release_due(now, BATCH_MAX).await {
            Ok(released) => {
                if let Some(next) = released.next_due_at {
                    ledger.due_time.note(next);
                }
                ledger.released(&released);
            }
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "Due jobs wait for the store.");
                ledger.due_time.note(now);
            }
            Err(StoreError::Closed) if stop.is_cancelled() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
