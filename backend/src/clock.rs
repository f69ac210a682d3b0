//! Time, as a port: so that tests can move it.

use std::time::{Duration, UNIX_EPOCH};

use crewcall_proto::Timestamp;
use tokio::time::Instant;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now, for what is stored and shown: creation, due times, history.
    fn now(&self) -> Timestamp;

    /// How far the machine's clock is ahead of this one, in milliseconds; below 0 when somebody set it back. Told to
    /// people, and to schedules by [`Clock::wall`].
    fn machine_ahead_ms(&self) -> i64;

    /// The time by the machine's clock, which somebody may set: only schedules are told by it, because people mean it when they say
    /// "at half past two".
    fn wall(&self) -> Timestamp {
        self.now().plus_millis(self.machine_ahead_ms())
    }
}

/// The machine's clock as it was when the process started, moved on by the monotonic clock: when somebody sets
/// the machine's clock, nothing becomes due or expires for it. A restart takes the new time over.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started_at: Timestamp,
    started: Instant,
}

impl SystemClock {
    /// Takes the machine's clock over.
    #[must_use]
    pub fn start() -> Self {
        Self { started_at: machine_time(), started: Instant::now() }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the Clock that everybody else is given")]
fn machine_time() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.started_at.plus_millis(i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    fn machine_ahead_ms(&self) -> i64 {
        machine_time().as_millis() - self.now().as_millis()
    }
}
