//! A store under test, and short words for what the tests tell it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crewcall_backend::{
    clock::Clock,
    domain::{AttemptRecord, Cancellation, Event, Job, JobError, JobStatus, Priority, State, Submission},
    engine::ports::{
        Accepted, Applied, Dispatch, DispatchNumber, Inserted, JobChanged, JobEvent, Store, StoreError,
        Written,
    },
    metrics::Metrics,
    store::{OpenError, SqliteStore},
};
use crewcall_proto::{
    ExecutionId, JobId, JobType, Timestamp, WorkerId,
    response::{ErrorKind, Origin},
};
use tempfile::TempDir;

use super::memory::{Disk, MemoryStore};

/// The trace that every job here belongs to.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Where the clock of every test begins.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A clock that stands still until it is moved. The machine's clock goes with it, unless it is set apart.
pub(crate) struct HandClock {
    now: AtomicI64,
    machine_ahead_ms: AtomicI64,
}

impl HandClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { now: AtomicI64::new(START.as_millis()), machine_ahead_ms: AtomicI64::new(0) })
    }

    pub(crate) fn advance(&self, milliseconds: i64) -> Timestamp {
        self.now.fetch_add(milliseconds, Ordering::SeqCst);
        self.now()
    }
}

impl HandClock {
    /// Moves on to this time, if it is still to come.
    pub(crate) fn advance_to(&self, time: Timestamp) {
        self.now.fetch_max(time.as_millis(), Ordering::SeqCst);
    }

    /// Somebody sets the machine's clock: so many milliseconds ahead of this one, or behind it.
    pub(crate) fn set_machine_ahead(&self, milliseconds: i64) {
        self.machine_ahead_ms.store(milliseconds, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }

    fn machine_ahead_ms(&self) -> i64 {
        self.machine_ahead_ms.load(Ordering::SeqCst)
    }
}

/// A job that was stored.
pub(crate) struct Stored {
    pub(crate) job: Arc<Job>,
    pub(crate) dispatched: Option<DispatchNumber>,
}

/// A change of a job that was stored before, and is still.
#[derive(Debug)]
pub(crate) struct JobChange {
    pub(crate) job_id: JobId,
    pub(crate) job_type: JobType,
    pub(crate) created_at: Timestamp,
    pub(crate) timeout: Option<Duration>,
    pub(crate) from: State,
    pub(crate) status: JobStatus,
    pub(crate) ended: Option<AttemptRecord>,
    pub(crate) freed_window: bool,
}

impl From<JobChanged> for JobChange {
    fn from(change: JobChanged) -> Self {
        assert!(change.dispatch.is_none(), "{change:?}");
        Self {
            job_id: change.job_id,
            job_type: change.job_type,
            created_at: change.created_at,
            timeout: change.policy.timeout,
            from: change.was.expect("it is not new"),
            status: change.is.expect("it is not deleted").as_ref().clone(),
            ended: change.ended,
            freed_window: change.freed_window,
        }
    }
}

/// Jobs that became ready.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Released {
    /// Which, with their types and new versions.
    pub(crate) jobs: Vec<(JobId, JobType, u64)>,
    pub(crate) next_due_at: Option<Timestamp>,
}

impl Released {
    fn of(changes: Vec<JobChanged>, next_due_at: Option<Timestamp>) -> Self {
        let job = |change: JobChange| {
            assert_eq!((change.status.state, change.freed_window), (State::Ready, false), "{change:?}");
            (change.job_id, change.job_type, change.status.version)
        };
        Self { jobs: changes.into_iter().map(|change| job(change.into())).collect(), next_due_at }
    }
}

/// Jobs that expired.
pub(crate) struct Expired {
    pub(crate) changes: Vec<JobChange>,
    pub(crate) next_expiry_at: Option<Timestamp>,
}

/// What was dispatched of a type.
pub(crate) struct Due {
    pub(crate) dispatches: Vec<Dispatch>,
    /// What became unroutable instead.
    pub(crate) parked: Vec<JobId>,
    pub(crate) rate_wait: Option<Duration>,
}

/// A job without an idempotency key.
pub(crate) fn accepted(job: Job, window: usize) -> Accepted {
    Accepted { job, window, idempotency: None, after: None }
}

/// A store in a directory of its own. The suite uses `store` and `clock` only.
pub(crate) struct StoreUnderTest {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<HandClock>,
    kept_in: KeptIn,
}

/// Where the jobs are that outlive a store.
enum KeptIn {
    File(TempDir),
    Memory(Arc<Mutex<Disk>>),
}

impl StoreUnderTest {
    pub(crate) fn sqlite() -> Self {
        Self::of_file(tempfile::tempdir().unwrap())
    }

    /// On the file that there may be in this directory.
    pub(crate) fn of_file(directory: TempDir) -> Self {
        let clock = HandClock::new();
        let store = Arc::new(open(&file(directory.path()), &clock).unwrap());
        Self { store, clock, kept_in: KeptIn::File(directory) }
    }

    pub(crate) fn memory() -> Self {
        let (disk, clock) = (Arc::default(), HandClock::new());
        let store = Arc::new(MemoryStore::open(&disk, Arc::clone(&clock) as Arc<dyn Clock>));
        Self { store, clock, kept_in: KeptIn::Memory(disk) }
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.kept_in {
            KeptIn::File(directory) => file(directory.path()),
            KeptIn::Memory(_) => panic!("there is no file"),
        }
    }

    /// Closes the store and opens it again, as a restart of the process does.
    pub(crate) async fn reopen(&mut self) {
        self.store.close().await;
        self.store = match &self.kept_in {
            KeptIn::File(_) => Arc::new(open(&self.path(), &self.clock).unwrap()),
            KeptIn::Memory(disk) => {
                Arc::new(MemoryStore::open(disk, Arc::clone(&self.clock) as Arc<dyn Clock>))
            }
        };
    }

    /// Closes the store and looks at its file, if it has one.
    pub(crate) async fn finish(self) {
        self.store.close().await;
        if matches!(self.kept_in, KeptIn::Memory(_)) {
            return;
        }
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        let check: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        let orphans: i64 = connection
            .query_row("SELECT count(*) FROM pragma_foreign_key_check", (), |row| row.get(0))
            .unwrap();
        assert_eq!(orphans, 0);
    }

    /// Closes the store and looks whether anything is left of any job or run.
    pub(crate) async fn finish_empty(self) {
        self.store.close().await;
        match &self.kept_in {
            KeptIn::Memory(disk) => assert!(disk.lock().unwrap().is_empty()),
            KeptIn::File(_) => {
                let connection = rusqlite::Connection::open(self.path()).unwrap();
                let of_jobs =
                    ["jobs", "job_payloads", "job_labels", "attempts", "idempotency_keys", "job_links"];
                let of_runs =
                    ["runs", "run_data", "run_labels", "run_steps", "run_items", "run_journal", "waits"];
                for table in of_jobs.into_iter().chain(of_runs) {
                    let sql = format!("SELECT count(*) FROM {table}");
                    let rows: i64 = connection.query_row(&sql, (), |row| row.get(0)).unwrap();
                    assert_eq!(rows, 0, "{table}");
                }
            }
        }
        self.finish().await;
    }

    /// What is due at this time.
    pub(crate) async fn release_due(&self, at: Timestamp, limit: usize) -> Result<Released, StoreError> {
        self.clock.advance_to(at);
        let Written { value: next_due_at, changes, .. } = self.store.release_due(limit).await?;
        Ok(Released::of(changes, next_due_at))
    }

    /// The unroutable jobs of the type that become ready.
    pub(crate) async fn release_unroutable(&self, job_type: &JobType, limit: usize) -> Released {
        Released::of(self.store.release_unroutable(job_type, limit).await.unwrap().changes, None)
    }

    /// What is dispatched of the type.
    pub(crate) async fn dispatch_due(&self, job_type: &JobType, window: usize, limit: usize) -> Due {
        let Written { value: rate_wait, changes, .. } =
            self.store.dispatch_due(job_type, window, limit).await.unwrap();
        let (mut dispatches, mut parked) = (Vec::new(), Vec::new());
        for change in changes {
            assert_eq!(change.was, Some(State::Ready));
            if let Some(dispatch) = change.dispatch {
                assert_eq!(change.is.as_deref(), Some(&dispatch.job.status));
                dispatches.push(dispatch);
            } else {
                assert_eq!(change.entered(), Some(State::Unroutable));
                parked.push(change.job_id);
            }
        }
        Due { dispatches, parked, rate_wait }
    }

    /// What expires at this time.
    pub(crate) async fn expire_due(&self, at: Timestamp, limit: usize) -> Result<Expired, StoreError> {
        self.clock.advance_to(at);
        let Written { value: next_expiry_at, changes, .. } = self.store.expire_due(limit).await?;
        Ok(Expired { changes: changes.into_iter().map(JobChange::from).collect(), next_expiry_at })
    }

    /// Deletes what finished before this time. Returns how many.
    pub(crate) async fn delete_finished(
        &self,
        state: State,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.clock.advance_to(before);
        let kept_for = self.clock.now().as_millis() - before.as_millis();
        let kept_for = Duration::from_millis(kept_for.unsigned_abs());
        let deleted = self.store.delete_finished(state, kept_for, limit).await?;
        for change in &deleted.changes {
            assert_eq!((change.was, &change.is), (Some(state), &None));
        }
        Ok(deleted.changes.len())
    }

    /// Stores one job.
    pub(crate) async fn insert(&self, job: Job, window: usize) -> Stored {
        let mut written = self.store.insert(vec![accepted(job, window)]).await.unwrap();
        let change = written.changes.remove(0);
        assert_eq!((change.was, written.changes.len()), (None, 0));
        match written.value.remove(0) {
            Inserted::Stored { job } => {
                assert_eq!((change.job_id, change.is.as_deref()), (job.id, Some(&job.status)));
                Stored { job, dispatched: change.dispatch.map(|dispatch| dispatch.number) }
            }
            other => panic!("the job should be stored, not {other:?}"),
        }
    }

    /// Stores one job of the type that there is room for.
    pub(crate) async fn dispatched(&self, job_type: &str) -> Arc<Job> {
        self.insert(self.job(job_type), usize::MAX).await.job
    }

    /// A new job of the type.
    pub(crate) fn job(&self, job_type: &str) -> Job {
        let submission = Submission { job_type: job_type.to_owned(), ..Submission::default() };
        let new = submission.validate(self.clock.now()).unwrap();
        let traceparent = TRACE.parse().ok();
        Job { traceparent, ..new.accept(JobId::generate(), self.clock.now()) }
    }

    pub(crate) fn job_of_priority(&self, job_type: &str, priority: u8) -> Job {
        Job { priority: Priority::new(priority).unwrap(), ..self.job(job_type) }
    }

    /// A new job of the type that expires at this time.
    pub(crate) fn job_until(&self, job_type: &str, expires_at: Timestamp) -> Job {
        let mut job = self.job(job_type);
        job.policy.expires_at = Some(expires_at);
        job
    }

    /// A new job of the type that is due at this time.
    pub(crate) fn job_at(&self, job_type: &str, due_at: Timestamp) -> Job {
        Job { status: JobStatus::new(3, self.clock.now(), due_at), ..self.job(job_type) }
    }

    pub(crate) async fn apply(&self, job: &Job, event: Event) -> Applied {
        self.store.apply(vec![JobEvent { job_id: job.id, event }]).await.unwrap().value.remove(0)
    }

    /// Applies an event that has to change the job.
    pub(crate) async fn change(&self, job: &Job, event: Event) -> JobChange {
        let text = format!("{event:?}");
        let applied = self.store.apply(vec![JobEvent { job_id: job.id, event }]).await.unwrap();
        match (applied.value.as_slice(), applied.changes.into_iter().next()) {
            ([Applied::Changed], Some(change)) => change.into(),
            other => panic!("{text} should change the job, not {other:?}"),
        }
    }

    /// The job as it is now.
    pub(crate) async fn read(&self, id: JobId) -> (Job, Vec<AttemptRecord>) {
        self.store.get(id).await.unwrap().expect("the job is there")
    }
}

pub(crate) fn file(directory: &Path) -> PathBuf {
    directory.join("crewcall.db")
}

pub(crate) fn open(path: &Path, clock: &Arc<HandClock>) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(path, Arc::clone(clock) as Arc<dyn Clock>, Arc::new(Metrics::default()))
}

pub(crate) fn job_type(text: &str) -> JobType {
    JobType::new(text).unwrap()
}

/// The execution of this number, for the current attempt of the job.
pub(crate) fn origin(job: &Job, execution: u128) -> Origin {
    Origin {
        job_id: job.id,
        attempt: job.status.attempt,
        attempt_token: job.status.token.expect("the job is dispatched"),
        execution_id: ExecutionId::from_uuid(uuid::Uuid::from_u128(execution)),
        worker_id: "worker-1".parse::<WorkerId>().unwrap(),
    }
}

pub(crate) fn started(job: &Job) -> Event {
    Event::Started { origin: origin(job, 1), seq: 1, at: START }
}

pub(crate) fn held(job: &Job) -> Event {
    Event::Held { origin: origin(job, 1), seq: 2 }
}

pub(crate) fn completed(job: &Job) -> Event {
    let result = r#"{"bytes":1}"#.to_owned();
    Event::Completed {
        origin: origin(job, 1),
        result,
        emitted: Vec::new(),
        started_at: START,
        finished_at: START.plus_millis(5),
    }
}

pub(crate) fn failed(job: &Job, retryable: bool) -> Event {
    Event::Failed {
        origin: origin(job, 1),
        error: job_error(ErrorKind::Handler),
        redelivered: false,
        retryable,
        retry_after: None,
        started_at: Some(START),
        finished_at: START.plus_millis(5),
    }
}

pub(crate) fn job_error(kind: ErrorKind) -> JobError {
    JobError {
        kind,
        code: Some("E1".into()),
        message: "it broke".into(),
        detail: Some("caused by: a test".into()),
    }
}

pub(crate) fn cancel() -> Event {
    Event::CancelRequested(Cancellation {
        by: "ops@example".to_owned(),
        reason: Some("a typing error ☃".to_owned()),
        at: START,
    })
}
