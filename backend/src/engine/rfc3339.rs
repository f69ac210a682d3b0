//! How times are written for people and programs outside: RFC 3339, in UTC, to the millisecond.

use crewcall_proto::Timestamp;

/// The text of a time. One outside of the calendar is written as its first or last moment.
pub fn rfc3339(time: Timestamp) -> String {
    let nearest = if time.as_millis() < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    format!("{:.3}", jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or(nearest))
}
