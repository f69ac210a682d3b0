//! What a tick of a schedule made is over: how, whoever has to follow it.

use std::sync::Arc;

use crate::domain::{FiredBy, JobStatus, State, run_names::RunState, schedules::tick::TickOutcome};

/// What a tick made is over.
#[derive(Debug)]
pub(super) struct FireEnded {
    pub(super) by: FiredBy,
    pub(super) outcome: TickOutcome,
    /// What came out of a job, as JSON text.
    pub(super) result: Option<Arc<str>>,
}

impl FireEnded {
    /// A job is over.
    pub(super) fn of_job(by: FiredBy, status: &JobStatus) -> Self {
        let outcome = match status.state {
            State::Completed => TickOutcome::Completed,
            State::Cancelled => TickOutcome::Cancelled,
            State::Failed
            | State::Blocked
            | State::Scheduled
            | State::Ready
            | State::Unroutable
            | State::Dispatched
            | State::Running => TickOutcome::Failed,
        };
        Self { by, outcome, result: status.result.as_deref().map(Into::into) }
    }

    /// A run is over.
    pub(super) fn of_run(by: FiredBy, state: RunState) -> Self {
        let outcome = match state {
            RunState::Completed => TickOutcome::Completed,
            RunState::Cancelled => TickOutcome::Cancelled,
            RunState::Failed
            | RunState::Queued
            | RunState::Running
            | RunState::Stopping
            | RunState::Compensating => TickOutcome::Failed,
        };
        Self { by, outcome, result: None }
    }
}
