//! The shapes of the API: what the routes return. They are made from the domain's values and never the
//! other way round, so that the two can change apart.
//!
//! Additive: a field may appear, none changes its meaning or goes away.

mod batch;
mod cause;
mod consumer;
mod event;
mod graph;
mod health;
mod hook;
mod job;
mod job_type;
mod journal;
mod published_event;
mod quarantine;
mod run;
mod run_request;
mod run_step;
mod schedule;
mod schedule_request;
mod webhook;
mod worker;
mod workflow;

use std::time::Duration;

use serde_json::{Number, value::RawValue};

use crate::engine::rfc3339::rfc3339;

pub(crate) use batch::{Actor, BatchItem, BatchProblem, BatchResult, BulkRequest, BulkResult, JobFilter};
pub(crate) use cause::Cause;
pub(crate) use consumer::{
    Consumer, ConsumerList, ConsumerNotes, ConsumerResume, ConsumerSeek, ConsumerSettings, Moved, NewReplay,
    Replay,
};
pub(crate) use event::JobEvent;
pub(crate) use graph::{Graph, GraphEdge, GraphNode};
pub(crate) use health::{Alive, Check, Checks, Readiness};
pub(crate) use hook::{Hook, HookDelivery, HookList, NewHook};
pub(crate) use job::{Job, JobError, JobList, JobState, NewJob, Progress};
pub(crate) use job_type::{EventSubject, Limits, Scale, SubjectList, Type, TypeList};
pub(crate) use journal::{Journal, JournalLine};
pub(crate) use published_event::{EventBatchItem, EventBatchResult, EventList, NewEvent, PublishedEvent};
pub(crate) use quarantine::{Deleted, QuarantineList, QuarantinedMessage};
pub(crate) use run::{Run, RunList, RunState};
pub(crate) use run_request::{BulkRunCancel, RunCancel, RunDecision, RunFilter, RunRetry};
pub(crate) use run_step::{Item, ItemList, StepState};
pub(crate) use schedule::{BackfillResult, Schedule, ScheduleList, SchedulePreview, Tick, TickList};
pub(crate) use schedule_request::{NewBackfill, NewSchedule};
pub(crate) use webhook::{NewWebhook, Webhook, WebhookList};
pub(crate) use worker::{Worker, WorkerList};
pub(crate) use workflow::{
    NewRun, Workflow, WorkflowCheck, WorkflowList, WorkflowPause, WorkflowVersionEntry, WorkflowVersionList,
};

/// A time span as the API writes it: seconds, whole where they are.
pub(super) fn seconds(duration: Duration) -> Number {
    let fraction = || Number::from_f64(duration.as_secs_f64()).filter(|_| duration.subsec_nanos() != 0);
    fraction().unwrap_or_else(|| duration.as_secs().into())
}

/// JSON text as it is stored. Nothing but JSON is; a damaged text is shown as it is rather than hidden.
pub(super) fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned())
        .or_else(|_| serde_json::value::to_raw_value(text))
        .unwrap_or_else(|_| RawValue::NULL.to_owned())
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
