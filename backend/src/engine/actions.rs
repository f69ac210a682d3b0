//! What people do to jobs that are under way: cancel them, and try them again.

use std::{sync::Arc, time::Duration};

use crewcall_proto::{Attempt, JobId, JobType, WorkerId, control::Control};
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use crate::{
    clock::Clock,
    domain::{Cancellation, Event, Problem, State},
    engine::{
        fleet::discovery::Discovery,
        ports::{Applied, JobChange, JobEvent, JobQuery, JobStore, StoreError},
    },
    failpoints::Failpoint,
    mutant::die_at,
    tasks::Tasks,
};

/// How many jobs one bulk request changes at most; it says when there are more.
pub const BULK_JOBS_MAX: usize = 10_000;

/// How many jobs of a bulk request are changed in one transaction.
const BULK_BATCH_MAX: usize = 500;

/// How many workers are told something at once: the confirms of the broker come together, and other instructions still
/// find room on the link.
const TELLINGS_AT_ONCE: usize = 64;

/// For how long workers are told what one transaction changed. Longer is in vain: the broker does not take it, and
/// heartbeats bring it up again.
const TELLING_TIME_MAX: Duration = Duration::from_secs(10);

/// The longest name of who cancels, in characters.
pub const ACTOR_LENGTH_MAX: usize = 200;

/// The longest reason, in characters.
pub const REASON_LENGTH_MAX: usize = 1_000;

/// Who cancels or pauses when he does not say who he is.
pub const ACTOR_DEFAULT: &str = "anonymous";

/// Somebody does something to a job or a type, and may say who he is and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actor {
    /// As they call themselves.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl Actor {
    /// Who it is, and why.
    ///
    /// # Errors
    ///
    /// Every text that is too long, with a pointer.
    pub fn validate(self) -> Result<(String, Option<String>), Vec<Problem>> {
        let mut problems = Vec::new();
        for (pointer, text, characters_max) in
            [("/by", &self.by, ACTOR_LENGTH_MAX), ("/reason", &self.reason, REASON_LENGTH_MAX)]
        {
            if text.as_ref().is_some_and(|text| text.chars().count() > characters_max) {
                let message = format!("the text has at most {characters_max} characters");
                problems.push(Problem { pointer: pointer.to_owned(), message });
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let by = self.by.filter(|by| !by.trim().is_empty()).unwrap_or_else(|| ACTOR_DEFAULT.to_owned());
        Ok((by, self.reason))
    }
}

/// What became of an intervention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intervened {
    /// It changed the job.
    Changed,
    /// The job was like that already.
    Already,
    /// The job cannot be changed like that in its state.
    Impossible(State),
    /// There is no such job.
    UnknownJob,
}

/// What a bulk intervention did, or would do.
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
pub enum Intervention {
    /// Cancel them.
    Cancel {
        /// Who does it.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// Try them again.
    Retry,
}

impl Intervention {
    /// The states of the jobs that it can change.
    #[must_use]
    pub const fn states(&self) -> &'static [State] {
        match self {
            Self::Cancel { .. } => {
                &[State::Scheduled, State::Ready, State::Unroutable, State::Dispatched, State::Running]
            }
            Self::Retry => &[State::Failed, State::Cancelled],
        }
    }
}

/// Does things to jobs.
pub struct Interventions {
    /// The way to the store and to the workers.
    pub discovery: Arc<Discovery>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where workers are told.
    pub tasks: Tasks,
}

impl Interventions {
    /// Does something to one job: when this returns `Ok`, it is on disk. Workers are told after that, and nobody waits
    /// for it. Repeating it is harmless.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was recorded.
    pub async fn intervene(&self, id: JobId, intervention: &Intervention) -> Result<Intervened, StoreError> {
        let applied = self.record(vec![id], intervention).await?;
        match applied.into_iter().next() {
            Some(Applied::Changed(_)) => Ok(Intervened::Changed),
            Some(Applied::UnknownJob) | None => Ok(Intervened::UnknownJob),
            Some(Applied::Stale(_)) => {
                let Some((job, _)) = self.store().get(id).await? else { return Ok(Intervened::UnknownJob) };
                let status = job.status;
                Ok(match (intervention, status.state) {
                    (Intervention::Cancel { .. }, State::Cancelled) => Intervened::Already,
                    (Intervention::Cancel { .. }, _) if status.cancellation.is_some() => Intervened::Already,
                    (_, state) => Intervened::Impossible(state),
                })
            }
        }
    }

    /// Does something to every job that `query` selects and that can be changed so; or only counts them.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when not everything was recorded; what was, stays.
    pub async fn intervene_all(
        &self,
        mut query: JobQuery,
        intervention: &Intervention,
        dry_run: bool,
    ) -> Result<BulkOutcome, StoreError> {
        let possible = intervention.states();
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
            let ids = self.store().list_ids(&query).await?;
            let Some(last) = ids.last().copied() else { return Ok(outcome) };
            outcome.matched += ids.len();
            let ended = ids.len() < BULK_BATCH_MAX;
            if !dry_run {
                let applied = self.record(ids, intervention).await?;
                die_at(Failpoint::JobsIntervened);
                outcome.changed +=
                    applied.iter().filter(|answer| matches!(answer, Applied::Changed(_))).count();
            }
            if ended {
                return Ok(outcome);
            }
            query.before = Some(last);
        }
        outcome.more = true;
        Ok(outcome)
    }

    async fn record(&self, ids: Vec<JobId>, intervention: &Intervention) -> Result<Vec<Applied>, StoreError> {
        let event = match intervention {
            Intervention::Cancel { by, reason } => Event::CancelRequested(Cancellation {
                by: by.clone(),
                reason: reason.clone(),
                at: self.clock.now(),
            }),
            Intervention::Retry => Event::RetryRequested,
        };
        let events = ids.into_iter().map(|job_id| JobEvent { job_id, event: event.clone() }).collect();
        let applied = self.discovery.ledger.record(events).await?;
        let unwanted: Vec<Unwanted> = applied.iter().filter_map(Unwanted::of).collect();
        if !unwanted.is_empty() {
            self.tasks.errand("the telling of workers", tell(Arc::clone(&self.discovery), unwanted));
        }
        Ok(applied)
    }

    fn store(&self) -> &dyn JobStore {
        self.discovery.ledger.store.as_ref()
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
    fn of(applied: &Applied) -> Option<Self> {
        let Applied::Changed(change) = applied else { return None };
        let JobChange { job_id, job_type, from, status, .. } = change.as_ref();
        status.cancellation.as_ref()?;
        let (job_id, attempt) = (*job_id, status.attempt);
        match (from, &status.claim) {
            (State::Running, Some(claim)) => {
                Some(Self::Running { worker_id: claim.worker_id.clone(), job_id, attempt })
            }
            (State::Dispatched, _) => Some(Self::Ordered { job_type: job_type.clone(), job_id, attempt }),
            _ => None,
        }
    }
}

/// Tells the workers concerned. Whoever cannot be told in time is told again after its next heartbeat, or has its
/// result refused.
async fn tell(discovery: Arc<Discovery>, unwanted: Vec<Unwanted>) {
    let all = stream::iter(&unwanted)
        .for_each_concurrent(TELLINGS_AT_ONCE, |unwanted| tell_one(&discovery, unwanted));
    if timeout(TELLING_TIME_MAX, all).await.is_err() {
        tracing::warn!(
            attempts = unwanted.len(),
            "Not all workers could be told in time that attempts are not wanted any more."
        );
    }
}

async fn tell_one(discovery: &Discovery, unwanted: &Unwanted) {
    match unwanted {
        Unwanted::Running { worker_id, job_id, attempt } => {
            discovery.tell_to_cancel(worker_id, *job_id, *attempt).await;
        }
        Unwanted::Ordered { job_type, job_id, attempt } => {
            let revoke = Control::Revoke { job_id: *job_id, attempt: *attempt };
            if let Err(error) = discovery.broker.tell_type(job_type, &revoke).await {
                tracing::warn!(job.id = %job_id, %error, "An order could not be revoked; if it is run, its result is refused.");
            }
        }
    }
}
