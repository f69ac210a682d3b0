//! The shapes of the API: what the routes answer. They are made from the domain's values and never the
//! other way round, so that the two can change apart.
//!
//! Additive: a field may appear, none changes its meaning or goes away.

mod event;
mod health;
mod job;
mod job_type;
mod worker;

use crewcall_proto::Timestamp;

pub use event::JobEvent;
pub use health::{Alive, Check, Checks, Readiness};
pub use job::{AttemptEntry, Job, JobError, JobList, JobState, NewJob, Progress, WaitingFor};
pub use job_type::{JobCounts, Type, TypeList};
pub use worker::{RunningOrder, Sdk, Worker, WorkerList};

/// A time as the API writes it: RFC 3339, UTC, three digits of milliseconds.
pub(super) fn rfc3339(time: Timestamp) -> String {
    let nearest = if time.as_millis() < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    format!("{:.3}", jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or(nearest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_always_have_three_digits_of_milliseconds() {
        assert_eq!(rfc3339(Timestamp::from_millis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Timestamp::from_millis(1_795_190_820_120)), "2026-11-20T16:07:00.120Z");
        assert!(rfc3339(Timestamp::from_millis(i64::MAX)).starts_with("9999-"));
        assert!(rfc3339(Timestamp::from_millis(i64::MIN)).starts_with("-009999-"));
    }
}
