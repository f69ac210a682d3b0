//! When the clock has something to do next: what the timers look at, and what everybody else tells them.

use std::sync::atomic::{AtomicI64, Ordering};

use crewcall_proto::Timestamp;

/// The earliest time at which something is due, or earlier: so that an idle backend does not ask its store.
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
    pub fn take(&self, now: Timestamp) -> bool {
        let due = self.0.load(Ordering::SeqCst) <= now.as_millis();
        if due {
            self.0.store(i64::MAX, Ordering::SeqCst);
        }
        due
    }
}

/// When the clock has something to do next.
#[derive(Debug, Default)]
pub struct DueTimes {
    /// The next scheduled job becomes ready.
    pub release: DueTime,
    /// The next job expires.
    pub expiry: DueTime,
}
