//! Time, as a port: so that tests can move it.

use std::time::{Duration, UNIX_EPOCH};

use crewcall_proto::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now, for what is stored and shown: creation, due times, history.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that everybody else is given")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}
