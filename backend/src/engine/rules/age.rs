//! What is old enough to go.

use std::time::Duration;

use crewcall_proto::Timestamp;

use crate::engine::ports::IDEMPOTENCY_KEPT_FOR;

/// Idempotency keys of this time and earlier are forgotten.
pub fn forgotten_until(now: Timestamp) -> Timestamp {
    before(now, IDEMPOTENCY_KEPT_FOR)
}

/// Jobs that finished before this time have been kept for long enough.
pub fn finished_until(now: Timestamp, kept_for: Duration) -> Timestamp {
    before(now, kept_for)
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    now.plus_millis(-i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}
