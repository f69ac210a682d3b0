//! When the clock has something to do next: what the timers look at, and what everybody else tells them.

use std::sync::atomic::{AtomicI64, Ordering};

use crewcall_proto::Timestamp;

use crate::{
    domain::State,
    engine::{
        changes::Observer,
        ports::{JobChanged, StoreError},
    },
};

/// The earliest time at which something is due, or earlier: so that an idle backend does not ask its store.
#[derive(Debug)]
pub(crate) struct DueTime(AtomicI64);

impl Default for DueTime {
    /// Unknown yet: to be asked for.
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl DueTime {
    /// A job became due at this time.
    pub(crate) fn note(&self, at: Timestamp) {
        self.0.fetch_min(at.as_millis(), Ordering::SeqCst);
    }

    /// Does something if its time has come. It returns when there is more to do, if ever.
    pub(super) async fn when_due<F, Fut>(&self, now: Timestamp, act: F) -> Result<(), StoreError>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<Timestamp>, StoreError>>,
    {
        if self.0.load(Ordering::SeqCst) > now.as_millis() {
            return Ok(());
        }
        // What is noted meanwhile is kept beside what the store says.
        self.0.store(i64::MAX, Ordering::SeqCst);
        let next = act().await.inspect_err(|_| self.note(now))?;
        if let Some(next) = next {
            self.note(next);
        }
        Ok(())
    }
}

/// When the clock has something to do next.
#[derive(Debug, Default)]
pub(crate) struct DueTimes {
    /// The next scheduled job becomes ready.
    pub release: DueTime,
    /// The next job expires.
    pub expiry: DueTime,
}

impl Observer for DueTimes {
    fn after_commit(&self, changes: &[JobChanged]) {
        for change in changes {
            let Some(status) = &change.is else { continue };
            if status.state == State::Scheduled {
                self.release.note(status.due_at);
            }
            // A job that is tried again was forgotten when it was over.
            if let Some(expires_at) = change.policy.expires_at
                && (change.was.is_none() || change.was_over())
            {
                self.expiry.note(expires_at);
            }
        }
    }
}
