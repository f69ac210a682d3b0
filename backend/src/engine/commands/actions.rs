//! What people do to jobs that are under way: cancel them, and try them again.

use std::{sync::Arc, time::Duration};

use crewcall_proto::{Attempt, JobId, JobType, RunId, WorkerId, control::Control};
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use crate::{
    domain::{Cancellation, Event, State},
    engine::{
        Caller, Engine,
        discovery::Discovery,
        ports::{Applied, JobChanged, JobEvent, JobQuery, StoreError, Written},
    },
    failpoints::Failpoint,
    mutant::die_at,
};

/// How many jobs one bulk request changes at most; it says when there are more.
pub const BULK_JOBS_MAX: usize = 10_000;

/// How many jobs of a bulk request are changed in one transaction.
const BULK_BATCH_MAX: usize = 500;

/// How many workers are told something at once: the confirms of the broker come together, and other instructions still
/// find room on the link.
const SENT_AT_ONCE: usize = 64;

/// For how long workers are told what one transaction changed. Longer is in vain: the broker does not take it, and
/// heartbeats bring it up again.
const SENDING_TIME_MAX: Duration = Duration::from_secs(10);

/// What became of a job that somebody acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionOutcome {
    /// It changed the job.
    Changed,
    /// The job was like that already.
    Already,
    /// The job cannot be changed like that in its state.
    Impossible(State),
    /// There is no such job.
    UnknownJob,
    /// It belongs to this run, which tries it again if anybody does.
    OfRun(RunId),
}

/// What an action on many jobs did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BulkOutcome {
    /// How many jobs matched.
    pub matched: usize,
    /// How many were changed; 0 for a rehearsal.
    pub changed: usize,
    /// Whether there are more than [`BULK_JOBS_MAX`]: ask again.
    pub more: bool,
}

/// What is done to jobs.
#[derive(Debug, Clone)]
pub enum JobAction {
    Cancel {
        reason: Option<String>,
    },
    Retry {
        /// Why, for the log.
        reason: Option<String>,
    },
}

impl JobAction {
    /// The states of the jobs that it can change.
    #[must_use]
    pub const fn states(&self) -> &'static [State] {
        match self {
            Self::Cancel { .. } => &[
                State::Blocked,
                State::Scheduled,
                State::Ready,
                State::Unroutable,
                State::Dispatched,
                State::Running,
            ],
            Self::Retry { .. } => &[State::Failed, State::Cancelled],
        }
    }
}

impl Engine {
    /// Does something to one job: when this returns `Ok`, it is on disk. Workers are told after that, and nobody waits
    /// for it. Repeating it is harmless.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was recorded.
    pub async fn act(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
        action: JobAction,
    ) -> Result<ActionOutcome, StoreError> {
        tracing::info!(job.id = %id, by = caller.by(), ?action, "Somebody acts on a job.");
        let (engine, by) = (Arc::clone(self), caller.by().to_owned());
        self.to_its_end(async move { engine.act_on(id, &by, &action).await }).await
    }

    async fn act_on(&self, id: JobId, by: &str, action: &JobAction) -> Result<ActionOutcome, StoreError> {
        let applied = self.record_action(vec![id], by, action).await?;
        match applied.value.first() {
            Some(Applied::Changed) => Ok(ActionOutcome::Changed),
            Some(Applied::UnknownJob) | None => Ok(ActionOutcome::UnknownJob),
            Some(Applied::OfRun(run)) => Ok(ActionOutcome::OfRun(*run)),
            Some(Applied::Stale(_)) => {
                let Some((job, _)) = self.store.get(id).await? else { return Ok(ActionOutcome::UnknownJob) };
                let status = job.status;
                Ok(match (action, status.state) {
                    (JobAction::Cancel { .. }, State::Cancelled) => ActionOutcome::Already,
                    (JobAction::Cancel { .. }, _) if status.cancellation.is_some() => ActionOutcome::Already,
                    (_, state) => ActionOutcome::Impossible(state),
                })
            }
        }
    }

    /// Does something to every job that `query` selects and that can be changed so; or only counts them.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when not everything was recorded; what was, stays.
    pub async fn act_on_all(
        self: &Arc<Self>,
        caller: &Caller,
        query: JobQuery,
        action: JobAction,
        dry_run: bool,
    ) -> Result<BulkOutcome, StoreError> {
        tracing::info!(by = caller.by(), dry_run, ?query, ?action, "Somebody acts on many jobs.");
        let (engine, by) = (Arc::clone(self), caller.by().to_owned());
        self.to_its_end(async move { engine.act_on_selected(query, &by, &action, dry_run).await }).await
    }

    async fn act_on_selected(
        &self,
        mut query: JobQuery,
        by: &str,
        action: &JobAction,
        dry_run: bool,
    ) -> Result<BulkOutcome, StoreError> {
        let possible = action.states();
        query.states = match query.states.as_slice() {
            [] => possible.to_vec(),
            asked => asked.iter().copied().filter(|state| possible.contains(state)).collect(),
        };
        let mut outcome = BulkOutcome::default();
        if query.states.is_empty() {
            return Ok(outcome);
        }
        while outcome.matched < BULK_JOBS_MAX {
            query.limit = BULK_BATCH_MAX;
            let ids = self.store.list_ids(&query).await?;
            let Some(last) = ids.last().copied() else { return Ok(outcome) };
            outcome.matched += ids.len();
            let ended = ids.len() < BULK_BATCH_MAX;
            if !dry_run {
                let applied = self.record_action(ids, by, action).await?;
                die_at(Failpoint::JobsActedOn);
                outcome.changed += applied.changes.len();
            }
            if ended {
                return Ok(outcome);
            }
            query.before = Some(last);
        }
        outcome.more = true;
        Ok(outcome)
    }

    /// Cancels jobs, as somebody would who acts on them. Those that are over stay as they are.
    pub(in crate::engine) async fn cancel_jobs(
        &self,
        ids: Vec<JobId>,
        by: &str,
        reason: &str,
    ) -> Result<(), StoreError> {
        let action = JobAction::Cancel { reason: Some(reason.to_owned()) };
        self.record_action(ids, by, &action).await.map(drop)
    }

    async fn record_action(
        &self,
        ids: Vec<JobId>,
        by: &str,
        action: &JobAction,
    ) -> Result<Written<Vec<Applied>>, StoreError> {
        let event = match action {
            JobAction::Cancel { reason } => Event::CancelRequested(Cancellation {
                by: by.to_owned(),
                reason: reason.clone(),
                at: self.clock.now(),
            }),
            JobAction::Retry { .. } => Event::RetryRequested,
        };
        let events = ids.into_iter().map(|job_id| JobEvent { job_id, event: event.clone() }).collect();
        let applied = self.changes.record(events).await?;
        let unwanted: Vec<Unwanted> = applied.changes.iter().filter_map(Unwanted::of).collect();
        if !unwanted.is_empty() {
            self.tasks
                .errand("the telling of workers", send_to_workers(Arc::clone(&self.discovery), unwanted));
        }
        Ok(applied)
    }
}

/// An attempt that is not wanted any more, and who should hear of it.
enum Unwanted {
    /// The worker that runs it.
    Running { worker_id: WorkerId, job_id: JobId, attempt: Attempt },
    /// Whichever worker has its order.
    Ordered { job_type: JobType, job_id: JobId, attempt: Attempt },
}

impl Unwanted {
    fn of(change: &JobChanged) -> Option<Self> {
        let status = change.is.as_ref().filter(|status| status.cancellation.is_some())?;
        let (job_id, attempt) = (change.job_id, status.attempt);
        match (change.was?, &status.claim) {
            (State::Running, Some(claim)) => {
                Some(Self::Running { worker_id: claim.worker_id.clone(), job_id, attempt })
            }
            (State::Dispatched, _) => {
                Some(Self::Ordered { job_type: change.job_type.clone(), job_id, attempt })
            }
            _ => None,
        }
    }
}

/// Tells the workers concerned. Whoever cannot be told in time is told again after its next heartbeat, or has its
/// result refused.
async fn send_to_workers(discovery: Arc<Discovery>, unwanted: Vec<Unwanted>) {
    let all = stream::iter(&unwanted)
        .for_each_concurrent(SENT_AT_ONCE, |unwanted| send_to_worker(&discovery, unwanted));
    if timeout(SENDING_TIME_MAX, all).await.is_err() {
        tracing::warn!(
            attempts = unwanted.len(),
            "Not all workers could be told in time that attempts are not wanted any more."
        );
    }
}

async fn send_to_worker(discovery: &Discovery, unwanted: &Unwanted) {
    match unwanted {
        Unwanted::Running { worker_id, job_id, attempt } => {
            discovery.send_cancel(worker_id, *job_id, *attempt).await;
        }
        Unwanted::Ordered { job_type, job_id, attempt } => {
            let revoke = Control::Revoke { job_id: *job_id, attempt: *attempt };
            if let Err(error) = discovery.broker.send_to_type(job_type, &revoke).await {
                tracing::warn!(job.id = %job_id, %error, "An order could not be revoked; if it is run, its result is refused.");
            }
        }
    }
}
