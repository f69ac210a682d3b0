//! Submitting and reading jobs: the use-cases behind the HTTP routes.

use std::{sync::Arc, time::Duration};

use crewcall_proto::{JobId, JobType, WorkerId, codec::PAYLOAD_BYTES_MAX};

use crate::{
    clock::Clock,
    domain::{
        AttemptRecord, Job, Problem, State, Submission, Waiting,
        waiting::{Claimant, WaitingContext},
    },
    engine::{
        Relay,
        fleet::registry::{Presence, Registry, Worker},
        ports::{
            Accepted, Broker, Dispatch, DispatchNumber, IdempotencyKey, InFlight, Inserted, JobQuery,
            JobStore, StoreError, UNANNOUNCED_TYPES_MAX,
        },
        settings::{
            catalogue::Catalogue,
            limits::FlowControl,
            schema::{CHECK_TIME_MAX, CheckError},
        },
        upkeep::due_times::DueTimes,
        watch::WatchHub,
    },
    failpoints::Failpoint,
    metrics::Metrics,
    mutant::{die_at, mutant},
    tasks::Tasks,
};

/// Submits and reads jobs.
pub struct Jobs {
    /// Where jobs are kept.
    pub store: Arc<dyn JobStore>,
    /// What publishes them.
    pub relay: Relay,
    /// What is set for types.
    pub flow: Arc<FlowControl>,
    /// When the clock has something to do next.
    pub due_times: Arc<DueTimes>,
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
    pub tasks: Tasks,
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
    /// Its parameters could not be held against the type's schema yet: too many others are.
    #[error("too many parameters are being checked")]
    CheckBusy,
    /// Its idempotency key belongs to another submission.
    #[error("the idempotency key was used for another body")]
    KeyReused,
    /// Nobody announced its type, and there are too many like it.
    #[error("{UNANNOUNCED_TYPES_MAX} types that nobody announced have jobs or settings already")]
    TooManyTypes,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a submission that is a job.
#[derive(Debug, Clone)]
pub enum Submitted {
    /// It was accepted.
    Accepted(Arc<Job>),
    /// It was accepted before, under the same idempotency key: the job as it is now.
    Replayed(Arc<Job>),
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
    pub async fn submit(
        &self,
        submission: Submission,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Submitted, SubmitError> {
        let job = self.check(submission).await?;
        if mutant("wrong_id") {
            let newest = JobQuery { limit: 1, ..JobQuery::default() };
            if let Some(another) = self.store.list(&newest).await?.pop() {
                return Ok(Submitted::Accepted(Arc::new(another)));
            }
        }
        let stored = self.store_all(vec![(job, idempotency)]).await?;
        match stored.into_iter().next() {
            Some(inserted) => submitted(inserted),
            None => {
                Err(StoreError::Broken { reason: "it answered an insert with nothing".to_owned() }.into())
            }
        }
    }

    /// What became of an earlier submission with this key, if there was one. Asked of a submission that would be refused:
    /// what was a job once stays accepted, though its times have passed or its type's schema has changed since.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] when the key belongs to another body, or the store cannot tell.
    pub async fn submitted_before(&self, key: &IdempotencyKey) -> Result<Option<Submitted>, SubmitError> {
        self.store.submitted_before(key).await?.map(submitted).transpose()
    }

    /// Accepts many jobs, each for itself: one that is no job does not spoil the others. Answers in their order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when not all could be stored; those of earlier calls are.
    pub async fn submit_batch(
        &self,
        submissions: Vec<Submission>,
    ) -> Result<Vec<Result<Arc<Job>, SubmitError>>, StoreError> {
        let mut checked: Vec<Result<Job, SubmitError>> = Vec::with_capacity(submissions.len());
        for submission in submissions {
            checked.push(self.check(submission).await);
            // Each takes little, all of them may take long.
            tokio::task::consume_budget().await;
        }
        let jobs =
            checked.iter().filter_map(|job| job.as_ref().ok().cloned()).map(|job| (job, None)).collect();
        let mut stored = self.store_all(jobs).await?.into_iter();
        let answers = checked.into_iter().map(|checked| {
            checked?;
            match stored.next() {
                Some(Inserted::Stored { job, .. } | Inserted::Replayed { job }) => Ok(job),
                Some(Inserted::TooManyTypes) => Err(SubmitError::TooManyTypes),
                Some(Inserted::KeyReused) | None => Err(StoreError::Broken {
                    reason: "it answered for fewer jobs than it was given".to_owned(),
                }
                .into()),
            }
        });
        Ok(answers.collect())
    }

    /// Reads a submission as a job.
    async fn check(&self, submission: Submission) -> Result<Job, SubmitError> {
        let now = self.clock.now();
        let new = submission.validate(now).map_err(SubmitError::Invalid)?;
        let parameters_bytes = serde_json::to_vec(&new.parameters).map_or(usize::MAX, |text| text.len());
        if parameters_bytes > PAYLOAD_BYTES_MAX {
            return Err(SubmitError::Invalid(vec![Problem {
                pointer: "/parameters".to_owned(),
                message: format!(
                    "the parameters are {parameters_bytes} bytes of JSON; at most {PAYLOAD_BYTES_MAX} travel with a job: pass larger data by reference"
                ),
            }]));
        }
        match self.catalogue.parameter_problems(&new.job_type, &new.parameters).await {
            Ok(problems) if problems.is_empty() => Ok(new.accept(JobId::generate(), now)),
            Ok(problems) => Err(SubmitError::InvalidParameters(problems)),
            Err(CheckError::TooCostly) => Err(SubmitError::InvalidParameters(vec![Problem {
                pointer: "/parameters".to_owned(),
                message: format!(
                    "they cannot be held against the type's schema within {} s: pass less, or ask whoever wrote the schema for a simpler one",
                    CHECK_TIME_MAX.as_secs()
                ),
            }])),
            Err(CheckError::Busy) => Err(SubmitError::CheckBusy),
        }
    }

    async fn store_all(&self, jobs: Vec<(Job, Option<IdempotencyKey>)>) -> Result<Vec<Inserted>, StoreError> {
        // A client that hangs up drops this future: what was begun is finished all the same, or a stored
        // job would miss its publication.
        let stored = self.tasks.errand("the intake of jobs", self.intake().store(jobs));
        stored.await.unwrap_or(Err(StoreError::Closed))
    }

    fn intake(&self) -> Intake {
        Intake {
            store: Arc::clone(&self.store),
            relay: self.relay.clone(),
            due_times: Arc::clone(&self.due_times),
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
    pub async fn wait(&self, id: JobId, wait: Duration) -> Result<Option<JobView>, StoreError> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut watch = self.watch.watch_job(id);
        loop {
            let view = self.get(id).await?;
            if view.as_ref().is_none_or(|view| view.job.status.state.is_terminal())
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

    /// Why the type's queue takes no orders: it cannot be declared, or does not confirm.
    #[must_use]
    pub fn queue_error(&self, job_type: &JobType) -> Option<String> {
        self.catalogue.queue_error(job_type).or_else(|| self.broker.queue_error(job_type))
    }

    /// What a job waits for; `None` when it is over.
    #[must_use]
    pub fn waiting(&self, job: &Job) -> Option<Waiting> {
        let context = self.waiting_context(&job.job_type);
        Waiting::of(&job.job_type, &job.status, &context, |worker_id| self.claimant(worker_id))
    }

    /// What every job of a type may wait for.
    #[must_use]
    pub fn waiting_context(&self, job_type: &JobType) -> WaitingContext {
        let InFlight { with_broker, all: in_flight } = self.store.in_flight(job_type);
        // A statement of its own: the status is borrowed until its end, and what follows borrows it again.
        let broker_trouble = self.broker.status().borrow().trouble();
        WaitingContext {
            broker_trouble,
            queue_error: self.queue_error(job_type),
            refusal: self.catalogue.refusal(job_type),
            staff: self.registry.staff(job_type),
            type_known: self.catalogue.knows(job_type),
            settings: self.flow.get(job_type),
            rate_wait: self.relay.waits_for_rate(job_type),
            window: self.relay.window(job_type),
            with_broker,
            in_flight,
        }
    }

    /// How the worker is that runs an attempt.
    #[must_use]
    pub fn claimant(&self, worker_id: &WorkerId) -> Claimant {
        match self.registry.worker(worker_id) {
            Some(Worker { presence: Presence::Lost, last_seen_at, .. }) => {
                let silent_ms = self.clock.now().as_millis().saturating_sub(last_seen_at.as_millis());
                Claimant::Silent(Duration::from_millis(u64::try_from(silent_ms).unwrap_or(0)))
            }
            Some(_) => Claimant::There,
            None => Claimant::Unknown,
        }
    }
}

fn submitted(inserted: Inserted) -> Result<Submitted, SubmitError> {
    match inserted {
        Inserted::Stored { job, .. } => Ok(Submitted::Accepted(job)),
        Inserted::Replayed { job } => Ok(Submitted::Replayed(job)),
        Inserted::KeyReused => Err(SubmitError::KeyReused),
        Inserted::TooManyTypes => Err(SubmitError::TooManyTypes),
    }
}

/// Stores jobs and sends them on their way.
struct Intake {
    store: Arc<dyn JobStore>,
    relay: Relay,
    due_times: Arc<DueTimes>,
    watch: WatchHub,
    metrics: Arc<Metrics>,
}

impl Intake {
    async fn store(self, jobs: Vec<(Job, Option<IdempotencyKey>)>) -> Result<Vec<Inserted>, StoreError> {
        let accepted = jobs.into_iter().map(|(job, idempotency)| {
            let window = self.relay.window(&job.job_type);
            Accepted { job, window, idempotency }
        });
        let stored = self.store.insert(accepted.collect()).await?;
        die_at(Failpoint::JobStored);
        for inserted in &stored {
            if let Inserted::Stored { job, dispatched } = inserted {
                self.send_on(job, *dispatched);
            }
        }
        Ok(stored)
    }

    fn send_on(&self, job: &Arc<Job>, dispatched: Option<DispatchNumber>) {
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
}
