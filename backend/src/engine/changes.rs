//! The one way in which anything that happened to a job reaches the store, and what follows from it.

use std::{sync::Arc, time::Duration};

use crewcall_proto::Timestamp;

use crate::{
    domain::{AttemptOutcome, AttemptRecord, Job, State},
    engine::{
        fleet::{leases::Leases, revocations::Revocations},
        ports::{
            Accepted, Applied, Dispatch, DispatchNumber, Inserted, JobChange, JobEvent, Released, Store,
            StoreError,
        },
        relay::Relay,
        upkeep::due_times::DueTimes,
        watch::WatchHub,
    },
    failpoints::Failpoint,
    metrics::Metrics,
    mutant::die_at,
};

/// Records what happened, then tells everybody concerned. Cheap to clone.
#[derive(Clone)]
pub struct Changes {
    /// Where jobs are kept.
    pub(in crate::engine) store: Arc<dyn Store>,
    /// Who fills the room that an ended attempt leaves.
    pub(in crate::engine) relay: Relay,
    /// Who runs what.
    pub(in crate::engine) leases: Arc<Leases>,
    /// Which orders are not wanted any more.
    pub(in crate::engine) revocations: Arc<Revocations>,
    /// When the clock has something to do next.
    pub(in crate::engine) due_times: Arc<DueTimes>,
    /// Who watches.
    pub(in crate::engine) watch: WatchHub,
    /// What is counted.
    pub(in crate::engine) metrics: Arc<Metrics>,
}

impl Changes {
    /// Records events, in order, in one transaction. Answers in their order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was recorded.
    pub async fn record(&self, events: Vec<JobEvent>) -> Result<Vec<Applied>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let applied = self.store.apply(events).await?;
        for answer in &applied {
            match answer {
                Applied::Changed(change) => self.follow(change),
                Applied::Stale(stale) => self.metrics.response_stale(stale.as_str()),
                Applied::UnknownJob => self.metrics.response_stale("unknown_job"),
            }
        }
        Ok(applied)
    }

    /// Stores accepted jobs and sends them on their way. Returns what became of them, in their order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was stored.
    pub async fn insert(&self, accepted: Vec<Accepted>) -> Result<Vec<Inserted>, StoreError> {
        let stored = self.store.insert(accepted).await?;
        die_at(Failpoint::JobStored);
        for inserted in &stored {
            if let Inserted::Stored { job, dispatched } = inserted {
                self.inserted(job, *dispatched);
            }
        }
        Ok(stored)
    }

    fn inserted(&self, job: &Arc<Job>, dispatched: Option<DispatchNumber>) {
        self.metrics.job_submitted(&job.job_type);
        self.watch.changed(job.id, &job.job_type, job.status.state, job.status.version);
        if let Some(expires_at) = job.policy.expires_at {
            self.due_times.expiry.note(expires_at);
        }
        match dispatched {
            Some(number) => self.relay.publish(Dispatch { number, job: Arc::clone(job) }),
            None if job.status.state == State::Scheduled => self.due_times.release.note(job.status.due_at),
            None => self.relay.wake(&job.job_type),
        }
    }

    /// Tells everybody concerned that jobs became ready.
    pub fn released(&self, released: &Released) {
        for (job_id, job_type, version) in &released.jobs {
            self.watch.changed(*job_id, job_type, State::Ready, *version);
        }
        for job_type in &released.job_types {
            self.relay.wake(job_type);
        }
    }

    /// Does what follows from a change that is on disk.
    pub fn follow(&self, change: &JobChange) {
        let JobChange { job_id, job_type, status, .. } = change;
        self.leases.follow(change);
        self.revocations.follow(change);
        self.watch.changed(*job_id, job_type, status.state, status.version);
        if change.freed_window {
            self.relay.finished(job_type);
        } else if change.ended.is_some() {
            self.relay.wake(job_type); // a limit on attempts running at once counts held ones, too
        }
        match status.state {
            State::Scheduled => self.due_times.release.note(status.due_at),
            State::Ready => {
                self.relay.wake(job_type);
                // A job that was over and is tried again may have an expiry before it: to be asked for.
                self.due_times.expiry.note(Timestamp::from_millis(i64::MIN));
            }
            State::Unroutable
            | State::Dispatched
            | State::Running
            | State::Completed
            | State::Failed
            | State::Cancelled => {}
        }
        self.count(change);
    }

    fn count(&self, change: &JobChange) {
        let JobChange { job_type, status, from, ended, .. } = change;
        let first_started_at = match ended {
            Some(ended) => ended.started_at,
            None => status.started_at,
        };
        // A short attempt reports its start together with its end.
        let started = *from != State::Running && (ended.is_some() || status.state == State::Running);
        let attempt = ended.as_ref().map_or(status.attempt, |ended| ended.attempt);
        if let (true, 1, Some(at)) = (started, attempt.get(), first_started_at) {
            self.metrics.job_started(job_type, between(change.created_at, at));
        }
        if let Some(AttemptRecord { outcome, started_at, finished_at, .. }) = ended {
            let ran = started_at.map(|started_at| between(started_at, *finished_at));
            self.metrics.attempt_ended(job_type, outcome.as_str(), ran);
        }
        if status.state.is_terminal() && !from.is_terminal() {
            let outcome = match (ended, &status.error) {
                (Some(ended), _) => ended.outcome.as_str(),
                (None, Some(error)) if status.state == State::Failed => error.kind.as_str(),
                (None, _) => AttemptOutcome::Cancelled.as_str(),
            };
            self.metrics.job_finished(job_type, outcome);
        }
    }
}

fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    let milliseconds = later.as_millis().saturating_sub(earlier.as_millis());
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}
