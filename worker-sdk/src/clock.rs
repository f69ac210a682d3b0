//! The wall clock, for the times that messages tell people. Nothing waits by it.

use std::time::UNIX_EPOCH;

use crewcall_proto::Timestamp;

/// Now, in whole milliseconds.
#[expect(clippy::disallowed_methods, reason = "this is the worker's one reading of the wall clock")]
pub(crate) fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
