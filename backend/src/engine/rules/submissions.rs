//! What becomes of submissions.

use crewcall_proto::Timestamp;

use crate::engine::ports::IDEMPOTENCY_KEPT_FOR;

/// Idempotency keys of this time and earlier are forgotten.
pub(crate) fn forgotten_until(now: Timestamp) -> Timestamp {
    let kept_for = i64::try_from(IDEMPOTENCY_KEPT_FOR.as_millis()).unwrap_or(i64::MAX);
    now.plus_millis(-kept_for)
}
