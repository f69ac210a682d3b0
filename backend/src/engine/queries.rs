//! What somebody may look at. Nothing here changes anything.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    time::Duration,
};

use crewcall_proto::{JobId, JobType, Timestamp, WorkerId, discovery::EmittedSubject};

use super::{
    Engine,
    fleet::registry::{Capacity, Worker, WorkerStatus},
    ports::{Count, InFlight, JobQuery, QuarantineEntry, StoreError, StoredType},
    watch::{AllWatch, JobWatch, TooOld},
};
use crate::domain::{
    AttemptRecord, Blocked, Cause, Demand, Job, State, Subject, TypeSettings, Waiting,
    waiting::{Claimant, WaitingContext},
};

/// The states of jobs that are due and have not started: what "oldest waiting" is about.
pub(super) const WAITING: &[State] = &[State::Ready, State::Unroutable, State::Dispatched];

/// How long the store may take to answer before it counts as not there.
const STORE_TIME_MAX: Duration = Duration::from_secs(2);

/// A job, its history, and what it waits for.
#[derive(Debug, Clone)]
pub struct JobView {
    pub job: Job,
    /// Its ended attempts, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// What it waits for; `None` when it is over.
    pub waiting: Option<Waiting>,
    /// Why it was made, if a consumer made it.
    pub cause: Option<Cause>,
    /// What it comes after, if it comes after anything.
    pub after: Option<Blocked>,
}

impl JobView {
    /// As these were read. What blocks the job is told with what it waits for.
    fn new(
        job: Job,
        attempts: Vec<AttemptRecord>,
        waiting: Option<Waiting>,
        cause: Option<Cause>,
        after: Option<Blocked>,
    ) -> Self {
        let open = || {
            let open: Vec<JobId> = after.as_ref()?.open().collect();
            open.first().map(|first| (open.len(), *first))
        };
        let waiting = match waiting {
            Some(Waiting::Others { .. }) => Some(Waiting::Others { open: open() }),
            waiting => waiting,
        };
        Self { job, attempts, waiting, cause, after }
    }
}

/// A type as it is now.
#[derive(Debug, Clone)]
pub struct TypeView {
    pub job_type: JobType,
    /// As it was last announced, if it ever was.
    pub stored: Option<StoredType>,
    pub capacity: Capacity,
    /// How many jobs it has, by state.
    pub counts: Vec<Count>,
    /// What is set for it.
    pub settings: TypeSettings,
    /// When the oldest job was accepted that is due and has not started.
    pub oldest_waiting: Option<Timestamp>,
    /// Why its queue takes no orders, if it does not.
    pub queue_error: Option<String>,
    /// Why its schema is not used, if it is not.
    pub schema_error: Option<String>,
    /// Why it was refused when a worker announced it, if it was.
    pub refusal: Option<String>,
}

/// An event that jobs publish, as it was announced.
#[derive(Debug, Clone)]
pub struct SubjectView {
    pub subject: Subject,
    /// What was announced of it, by type.
    pub publishers: Vec<(JobType, EmittedSubject)>,
}

/// What keeps the backend from doing its work; nothing, if it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Why the store cannot be read and written.
    pub store: Option<String>,
    /// Why the broker is not there.
    pub broker: Option<String>,
}

/// Tells what jobs wait for, looking at each type's workers only once: a page has up to 500 jobs, and there may
/// be thousands of workers.
pub struct WaitingReader<'a> {
    engine: &'a Engine,
    by_type: HashMap<JobType, WaitingContext>,
}

impl WaitingReader<'_> {
    /// What a job waits for; `None` when it is over.
    pub fn of(&mut self, job: &Job) -> Option<Waiting> {
        if job.status.state.is_terminal() {
            return None;
        }
        let engine = self.engine;
        let around =
            self.by_type.entry(job.job_type.clone()).or_insert_with(|| engine.waiting_context(&job.job_type));
        Waiting::of(&job.job_type, &job.status, around, |worker_id| engine.claimant(worker_id))
    }
}

impl Engine {
    /// One job.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn job(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        let Some((job, attempts)) = self.store.get(id).await? else { return Ok(None) };
        let (waiting, cause) = (self.waiting(&job), self.store.cause(id).await?);
        let after = self.store.comes_after(id).await?;
        Ok(Some(JobView::new(job, attempts, waiting, cause, after)))
    }

    /// A job that was just accepted. Only of one that comes after others it is read what it comes after.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn accepted(&self, job: &Job) -> Result<JobView, StoreError> {
        let is_new = job.status.state != State::Blocked && !job.status.state.is_terminal();
        let after = if is_new { None } else { self.store.comes_after(job.id).await? };
        Ok(JobView::new(job.clone(), Vec::new(), self.waiting(job), None, after))
    }

    /// One job, as soon as it is over or `wait` is done.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn wait_for(&self, id: JobId, wait: Duration) -> Result<Option<JobView>, StoreError> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut watch = self.watch.watch_job(id);
        loop {
            let view = self.job(id).await?;
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
    pub async fn jobs(&self, query: &JobQuery) -> Result<Vec<Job>, StoreError> {
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
        self.waiting_reader().of(job)
    }

    /// What every job of a type may wait for.
    pub(super) fn waiting_context(&self, job_type: &JobType) -> WaitingContext {
        let InFlight { with_broker, all: in_flight } = self.store.in_flight(job_type);
        // A statement of its own: the status is borrowed until its end, and what follows borrows it again.
        let broker_unavailable = self.broker.status().borrow().unavailable_reason();
        WaitingContext {
            broker_unavailable,
            queue_error: self.queue_error(job_type),
            refusal: self.catalogue.refusal(job_type),
            staff: self.registry.staff(job_type),
            type_known: self.catalogue.knows(job_type),
            settings: self.limits.get(job_type),
            rate_wait: self.relay.waits_for_rate(job_type),
            window: self.relay.window(job_type),
            with_broker,
            in_flight,
        }
    }

    /// How the worker is that runs an attempt.
    fn claimant(&self, worker_id: &WorkerId) -> Claimant {
        match self.registry.worker(worker_id) {
            Some(Worker { status: WorkerStatus::Lost, last_seen_at, .. }) => {
                Claimant::Silent(self.clock.now().since(last_seen_at))
            }
            Some(_) => Claimant::There,
            None => Claimant::Unknown,
        }
    }

    /// What jobs wait for, as it is the case now.
    #[must_use]
    pub fn waiting_reader(&self) -> WaitingReader<'_> {
        WaitingReader { engine: self, by_type: HashMap::new() }
    }

    /// The time by which jobs are accepted.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Watches one job. What is watched before it is read misses no change.
    #[must_use]
    pub fn watch_job(&self, id: JobId) -> JobWatch {
        self.watch.watch_job(id)
    }

    /// Watches all jobs, from now on or after a change that is still remembered.
    ///
    /// # Errors
    ///
    /// [`TooOld`] when it is not.
    pub fn watch_all(&self, after: Option<u64>) -> Result<AllWatch, TooOld> {
        self.watch.watch_all(after)
    }

    /// What tells the changes that this process remembers apart from those of an earlier one.
    #[must_use]
    pub fn watch_epoch(&self) -> u64 {
        self.watch.epoch()
    }

    /// The workers that are there, and those that were lost lately, by name and id.
    #[must_use]
    pub fn workers(&self) -> Vec<Worker> {
        self.registry.workers()
    }

    /// One worker.
    #[must_use]
    pub fn worker(&self, worker_id: &WorkerId) -> Option<Worker> {
        self.registry.worker(worker_id)
    }

    /// How many attempts run whose orders are with their workers.
    #[must_use]
    pub fn delivered(&self) -> usize {
        self.leases.delivered().len()
    }

    /// Messages in quarantine, newest first; only those older than `before`, if given.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn quarantined(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<QuarantineEntry>, StoreError> {
        self.store.quarantined(before, limit).await
    }

    /// Types that were ever announced, have jobs, or had something set for them, by name, above `after`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn job_types(&self, after: Option<JobType>, limit: usize) -> Result<Vec<TypeView>, StoreError> {
        let mut by_type: BTreeMap<JobType, Vec<Count>> = BTreeMap::new();
        let set = self.limits.names().into_iter().chain(self.catalogue.refused());
        for job_type in self.catalogue.names().into_iter().chain(set) {
            by_type.entry(job_type).or_default();
        }
        for count in self.store.counts().await? {
            by_type.entry(count.job_type.clone()).or_default().push(count);
        }
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page: Vec<_> = by_type.range((from, Bound::Unbounded)).take(limit).collect();
        let names = page.iter().map(|(job_type, _)| (*job_type).clone()).collect();
        let oldest: HashMap<_, _> = self.store.oldest(names, WAITING).await?.into_iter().collect();
        let views = page.into_iter().map(|(job_type, counts)| {
            self.type_view(job_type, counts.clone(), oldest.get(job_type).copied())
        });
        Ok(views.collect())
    }

    /// The events that jobs publish, as it was announced last for each type: by subject, above `after`.
    #[must_use]
    pub fn subjects(&self, after: Option<Subject>, limit: usize) -> Vec<SubjectView> {
        let mut by_subject: BTreeMap<Subject, Vec<(JobType, EmittedSubject)>> = BTreeMap::new();
        for (job_type, emits) in self.catalogue.emits() {
            for emitted in emits {
                // Another one was not taken when it was announced.
                let Ok(subject) = Subject::published(&emitted.subject) else { continue };
                by_subject.entry(subject).or_default().push((job_type.clone(), emitted));
            }
        }
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = by_subject.range((from, Bound::Unbounded)).take(limit);
        page.map(|(subject, publishers)| SubjectView {
            subject: subject.clone(),
            publishers: publishers.clone(),
        })
        .collect()
    }

    /// A type as it is now; `None` when nobody knows it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn job_type(&self, job_type: &JobType) -> Result<Option<TypeView>, StoreError> {
        let view = self.any_job_type(job_type).await?;
        let is_known = view.stored.is_some() || view.refusal.is_some();
        let is_used = !view.counts.is_empty() || view.settings != TypeSettings::default();
        Ok((is_known || is_used).then_some(view))
    }

    /// A type as it is now, also one that nobody knows any more: what was just removed from it may have been all.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn any_job_type(&self, job_type: &JobType) -> Result<TypeView, StoreError> {
        let counts = self.store.counts_of(job_type).await?;
        let oldest = self.store.oldest(vec![job_type.clone()], WAITING).await?.pop();
        Ok(self.type_view(job_type, counts, oldest.map(|(_, oldest)| oldest)))
    }

    fn type_view(
        &self,
        job_type: &JobType,
        counts: Vec<Count>,
        oldest_waiting: Option<Timestamp>,
    ) -> TypeView {
        TypeView {
            job_type: job_type.clone(),
            stored: self.catalogue.get(job_type),
            capacity: self.registry.capacity(job_type),
            counts,
            settings: self.limits.get(job_type),
            oldest_waiting,
            queue_error: self.queue_error(job_type),
            schema_error: self.catalogue.schema_error(job_type),
            refusal: self.catalogue.refusal(job_type),
        }
    }

    /// How much work a type has; none, when nobody knows it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn demand(&self, job_type: &JobType) -> Result<Demand, StoreError> {
        let counts = self.store.counts_of(job_type).await?;
        let jobs = |state| counts.iter().find(|count| count.state == state).map_or(0, |count| count.jobs);
        Ok(Demand::of(jobs, &self.limits.get(job_type)))
    }

    /// Whether the store can do its work now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot.
    pub async fn check_store(&self) -> Result<(), StoreError> {
        self.store.check().await
    }

    /// What keeps the backend from doing its work.
    pub async fn readiness(&self) -> Readiness {
        let store = match tokio::time::timeout(STORE_TIME_MAX, self.check_store()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("the store did not answer within {} s", STORE_TIME_MAX.as_secs())),
        };
        let broker = self.broker.status().borrow().unavailable_reason();
        Readiness { store, broker }
    }
}
