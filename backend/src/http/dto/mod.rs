//! The shapes of the API: what the routes return. They are made from the domain's values and never the
//! other way round, so that the two can change apart.
//!
//! Additive: a field may appear, none changes its meaning or goes away.

mod batch;
mod cause;
mod consumer;
mod event;
mod health;
mod job;
mod job_type;
mod published_event;
mod quarantine;
mod worker;

use std::time::Duration;

use serde_json::Number;

use crate::engine::rfc3339::rfc3339;

pub(crate) use batch::{Actor, BatchItem, BatchProblem, BatchResult, BulkRequest, BulkResult, JobFilter};
pub(crate) use cause::Cause;
pub(crate) use consumer::{
    Consumer, ConsumerList, ConsumerResume, ConsumerSeek, ConsumerSettings, Moved, NewReplay, Replay,
};
pub(crate) use event::JobEvent;
pub(crate) use health::{Alive, Check, Checks, Readiness};
pub(crate) use job::{Job, JobError, JobList, JobState, NewJob, Progress};
pub(crate) use job_type::{EventSubject, Limits, Scale, SubjectList, Type, TypeList};
pub(crate) use published_event::{EventBatchItem, EventBatchResult, EventList, NewEvent, PublishedEvent};
pub(crate) use quarantine::{Deleted, QuarantineList, QuarantinedMessage};
pub(crate) use worker::{Worker, WorkerList};

/// A time span as the API writes it: seconds, whole where they are.
pub(super) fn seconds(duration: Duration) -> Number {
    let fraction = || Number::from_f64(duration.as_secs_f64()).filter(|_| duration.subsec_nanos() != 0);
    fraction().unwrap_or_else(|| duration.as_secs().into())
}

#[cfg(test)]
mod tests {
    use crewcall_proto::Timestamp;

    use super::*;

    #[test]
    fn times_always_have_three_digits_of_milliseconds() {
        assert_eq!(rfc3339(Timestamp::from_millis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Timestamp::from_millis(1_795_190_820_120)), "2026-11-20T16:07:00.120Z");
        assert!(rfc3339(Timestamp::from_millis(i64::MAX)).starts_with("9999-"));
        assert!(rfc3339(Timestamp::from_millis(i64::MIN)).starts_with("-009999-"));
    }
}
