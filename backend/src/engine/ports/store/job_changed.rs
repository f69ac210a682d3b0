//! What a write did to jobs, in the one shape in which everybody learns of it.

use std::sync::Arc;

use crewcall_proto::{JobId, JobType, Timestamp};

use super::records::{Dispatch, DispatchNumber};
use crate::domain::{
    AttemptRecord, Job, JobStatus, Policy, Priority, Sequence, State, run_names::RunState,
    schedules::known::Schedule, workflow::known::StoredRun,
};

/// What a write of the store did: what it returns, and what happened to jobs.
#[derive(Debug, Clone, Default)]
pub struct Written<T> {
    /// What was asked for.
    pub value: T,
    /// What happened to jobs, in its order: to be told to everybody concerned.
    pub changes: Vec<JobChanged>,
    /// What happened to runs, in its order.
    pub runs: Vec<RunChanged>,
    /// The schedules that came, changed or went, in that order.
    pub schedules: Vec<Arc<Schedule>>,
    /// How many events were recorded.
    pub recorded: usize,
    /// The last of them.
    pub newest: Option<Sequence>,
}

/// A run changed, and that is committed.
#[derive(Debug, Clone)]
pub struct RunChanged {
    /// As it is now.
    pub run: Arc<StoredRun>,
    /// `None`, if it is new.
    pub was: Option<RunState>,
}

/// What happened to one job, and is committed.
#[derive(Debug, Clone)]
pub struct JobChanged {
    pub job_id: JobId,
    pub job_type: JobType,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// What its submitter asked for; nothing, if it is deleted.
    pub policy: Policy,
    /// Where it stood; `None` if it is new.
    pub was: Option<State>,
    /// How it stands now; `None` if it is deleted.
    pub is: Option<Arc<JobStatus>>,
    /// The attempt that ended, if one did.
    pub ended: Option<AttemptRecord>,
    /// Whether room came free in the dispatch window of its type.
    pub freed_window: bool,
    /// The dispatch that a worker was seen to have by this, if it was the first word of it. Left out when the attempt was
    /// sent again, because nobody knows which of its orders the worker has.
    pub delivered: Option<DispatchNumber>,
    /// What is to be published.
    pub dispatch: Option<Dispatch>,
}

impl JobChanged {
    /// A job was stored, and dispatched at once if it has a number.
    #[must_use]
    pub fn stored(job: &Arc<Job>, number: Option<DispatchNumber>) -> Self {
        let dispatch = number.map(|number| Dispatch { number, job: Arc::clone(job), sent_before: false });
        Self { dispatch, ..Self::of(job, None) }
    }

    /// A waiting job was dispatched.
    #[must_use]
    pub fn dispatched(was: State, dispatch: Dispatch) -> Self {
        let job = Arc::clone(&dispatch.job);
        Self { dispatch: Some(dispatch), ..Self::of(&job, Some(was)) }
    }

    /// Something happened to a job that is stored: it stood like `before`, and stands like `status` now.
    #[must_use]
    pub fn happened(
        job: &StoredJob,
        before: &JobStatus,
        status: Arc<JobStatus>,
        ended: Option<AttemptRecord>,
    ) -> Self {
        let is_first_word = before.state == State::Dispatched
            && (status.state == State::Running
                || ended.as_ref().is_some_and(|ended| ended.worker_id.is_some()));
        Self {
            job_id: job.id,
            job_type: job.job_type.clone(),
            created_at: job.created_at,
            policy: job.policy,
            was: Some(before.state),
            freed_window: before.occupies_window() && !status.occupies_window(),
            delivered: job.number.filter(|_| is_first_word && before.resends == 0),
            is: Some(status),
            ended,
            dispatch: None,
        }
    }

    /// A job that was over is deleted.
    #[must_use]
    pub fn deleted(job_id: JobId, job_type: JobType, created_at: Timestamp, was: State) -> Self {
        Self {
            job_id,
            job_type,
            created_at,
            policy: Policy::default(),
            was: Some(was),
            is: None,
            ended: None,
            freed_window: false,
            delivered: None,
            dispatch: None,
        }
    }

    /// The state that the job came to by this; `None` if it was in it before, or is deleted.
    #[must_use]
    pub fn entered(&self) -> Option<State> {
        let state = self.is.as_ref()?.state;
        (self.was != Some(state)).then_some(state)
    }

    /// Whether the job was over before.
    #[must_use]
    pub fn was_over(&self) -> bool {
        self.was.is_some_and(State::is_terminal)
    }

    fn of(job: &Job, was: Option<State>) -> Self {
        Self {
            job_id: job.id,
            job_type: job.job_type.clone(),
            created_at: job.created_at,
            policy: job.policy,
            was,
            is: Some(Arc::new(job.status.clone())),
            ended: None,
            freed_window: false,
            delivered: None,
            dispatch: None,
        }
    }
}

/// A job as a store keeps it, without what never changes and may be large: what decisions need of it.
#[derive(Debug, Clone)]
pub struct StoredJob {
    pub id: JobId,
    pub job_type: JobType,
    /// How urgent it is.
    pub priority: Priority,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Which dispatch the current attempt was last sent with.
    pub number: Option<DispatchNumber>,
    /// What its submitter asked for.
    pub policy: Policy,
    pub status: JobStatus,
}

impl StoredJob {
    /// What is kept of this job; its status is told apart, because it may have changed meanwhile.
    #[must_use]
    pub fn of(job: &Job, number: Option<DispatchNumber>, status: JobStatus) -> Self {
        Self {
            id: job.id,
            job_type: job.job_type.clone(),
            priority: job.priority,
            created_at: job.created_at,
            number,
            policy: job.policy,
            status,
        }
    }
}
