//! Submitting and reading jobs: the use-cases behind the HTTP routes.

use std::sync::Arc;

use crewcall_proto::{JobId, codec::PAYLOAD_BYTES_MAX};
use tokio_util::task::TaskTracker;

use super::{
    Relay,
    catalogue::Catalogue,
    ports::{Accepted, Broker, Dispatch, Inserted, JobQuery, JobStore, StoreError},
    registry::Registry,
    watch::WatchHub,
};
use crate::{
    clock::Clock,
    domain::{AttemptRecord, Job, Problem, Submission, Waiting, waiting::Surroundings},
    metrics::Metrics,
};

/// Submits and reads jobs.
pub struct Jobs {
    /// Where jobs are kept.
    pub store: Arc<dyn JobStore>,
    /// What publishes them.
    pub relay: Relay,
    /// What parameters are held against.
    pub catalogue: Arc<Catalogue>,
    /// Who is there.
    pub registry: Arc<Registry>,
    /// How the broker is.
    pub broker: Arc<dyn Broker>,
    /// Who watches.
    pub watch: WatchHub,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where an intake runs to its end.
    pub tracker: TaskTracker,
}

/// Why a submission is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It is no job.
    #[error("the submission has {} problems", .0.len())]
    Invalid(Vec<Problem>),
    /// Its parameters do not fit the type's schema.
    #[error("the parameters have {} problems", .0.len())]
    InvalidParameters(Vec<Problem>),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A job, its history, and what it waits for.
#[derive(Debug, Clone)]
pub struct JobView {
    /// The job.
    pub job: Job,
    /// Its ended attempts, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// What it waits for; `None` when it is over.
    pub waiting: Option<Waiting>,
}

impl Jobs {
    /// Accepts a job: when this returns `Ok`, the job is on disk.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] when it is not accepted; nothing is stored then.
    pub async fn submit(&self, submission: Submission) -> Result<Arc<Job>, SubmitError> {
        let new = submission.validate().map_err(SubmitError::Invalid)?;
        let parameters_bytes = serde_json::to_vec(&new.parameters).map_or(usize::MAX, |text| text.len());
        if parameters_bytes > PAYLOAD_BYTES_MAX {
            return Err(SubmitError::Invalid(vec![Problem {
                pointer: "/parameters".to_owned(),
                message: format!(
                    "the parameters are {parameters_bytes} bytes of JSON; at most {PAYLOAD_BYTES_MAX} travel with a job: pass larger data by reference"
                ),
            }]));
        }
        let problems = self.catalogue.parameter_problems(&new.job_type, &new.parameters);
        if !problems.is_empty() {
            return Err(SubmitError::InvalidParameters(problems));
        }
        let job = new.accept(JobId::generate(), self.clock.now());
        // A client that hangs up drops this future: what was begun is finished all the same, or a stored
        // job would miss its publication.
        let stored = self.tracker.spawn(self.intake().store(job));
        stored.await.unwrap_or(Err(StoreError::Closed)).map_err(SubmitError::Store)
    }

    fn intake(&self) -> Intake {
        Intake {
            store: Arc::clone(&self.store),
            relay: self.relay.clone(),
            watch: self.watch.clone(),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// One job.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        let Some((job, attempts)) = self.store.get(id).await? else { return Ok(None) };
        let waiting = self.waiting(&job);
        Ok(Some(JobView { job, attempts, waiting }))
    }

    /// One job, as soon as it is over or `wait` is done.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn wait(&self, id: JobId, wait: std::time::Duration) -> Result<Option<JobView>, StoreError> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut watch = self.watch.watch_job(id);
        loop {
            let view = self.get(id).await?;
            if view.as_ref().is_none_or(|view| view.job.life.state.is_terminal())
                || tokio::time::timeout_at(deadline, watch.changed()).await.is_err()
            {
                return Ok(view);
            }
        }
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn list(&self, query: &JobQuery) -> Result<Vec<Job>, StoreError> {
        self.store.list(query).await
    }

    /// What a job waits for; `None` when it is over.
    #[must_use]
    pub fn waiting(&self, job: &Job) -> Option<Waiting> {
        let around = Surroundings {
            broker_trouble: self.broker.status().borrow().trouble(),
            workers: self.registry.capacity(&job.job_type).workers,
            type_known: self.catalogue.knows(&job.job_type),
        };
        Waiting::of(&job.job_type, &job.life, around)
    }
}

/// Stores a job and sends it on its way.
struct Intake {
    store: Arc<dyn JobStore>,
    relay: Relay,
    watch: WatchHub,
    metrics: Arc<Metrics>,
}

impl Intake {
    async fn store(self, job: Job) -> Result<Arc<Job>, StoreError> {
        let window = self.relay.window(&job.job_type);
        let inserted = self.store.insert(vec![Accepted { job, window }]).await?;
        let Some(Inserted { job, dispatched }) = inserted.into_iter().next() else {
            return Err(StoreError::Broken { reason: "it answered an insert with nothing".to_owned() });
        };
        self.metrics.job_submitted(&job.job_type);
        self.watch.changed(job.id, &job.job_type, job.life.state, job.life.version);
        match dispatched {
            Some(number) => self.relay.publish(Dispatch { number, job: Arc::clone(&job) }),
            None => self.relay.wake(&job.job_type),
        }
        Ok(job)
    }
}
