//! A backend without HTTP: the real store, the relay, and a broker that confirms every order.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crewcall_backend::{
    clock::{Clock, SystemClock},
    domain::{Event, Submission, TypeSettingsChange, cause::DEPTH_MAX_DEFAULT},
    engine::{
        Caller, Engine, Observer, Ports, Submitted,
        ports::{
            Accepted, Broker, BrokerStatus, DispatchedOrder, JobEvent, Jobs as _, Lifecycle as _, Store,
        },
        tasks::Tasks,
        upkeep::retention::Retention,
    },
    metrics::Metrics,
    store::SqliteStore,
};
use crewcall_proto::{ExecutionId, JobId, JobType, WorkerId, response::Origin};
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::http::server::PlayedBroker;

/// No test waits longer than this for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Stage {
    pub(super) store: Arc<SqliteStore>,
    pub(super) broker: Arc<PlayedBroker>,
    pub(super) engine: Arc<Engine>,
    pub(super) tasks: TaskTracker,
    stop: CancellationToken,
    directory: TempDir,
}

impl Stage {
    /// Everything, with an engine that runs.
    pub(super) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), Retention::default(), Vec::new()).await
    }

    /// Everything, with somebody who wants to know what happens, and with other times to keep jobs for.
    pub(super) async fn observed(retention: Retention, observer: Arc<dyn Observer>) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), retention, vec![observer]).await
    }

    async fn start_in(directory: TempDir, retention: Retention, observers: Vec<Arc<dyn Observer>>) -> Self {
        let metrics = Arc::new(Metrics::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let path = directory.path().join("crewcall.db");
        let store = Arc::new(SqliteStore::open(&path, Arc::clone(&clock), Arc::clone(&metrics)).unwrap());
        let broker = Arc::new(PlayedBroker::default());
        broker.set(BrokerStatus::Up);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let ports = Ports {
            depth_max: DEPTH_MAX_DEFAULT,
            webhook_allow: Default::default(),
            own_worker: WorkerId::generate(),
            store: Arc::clone(&store) as Arc<dyn Store>,
            broker: Arc::clone(&broker) as Arc<dyn Broker>,
            clock,
            metrics,
            tasks: Tasks::new(tasks.clone(), stop.clone()).0,
            observers,
        };
        let engine = Engine::assemble(ports, retention).await.unwrap();
        engine.recover().await.unwrap();
        let running = Arc::clone(&engine);
        tasks.spawn(async move { running.run().await.unwrap() });
        Self { store, broker, engine, tasks, stop, directory }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("crewcall.db")
    }

    pub(super) async fn submit(&self, job_type: &JobType) -> JobId {
        let submission = Submission { job_type: job_type.to_string(), ..Submission::default() };
        match self.engine.submit(&Caller::loopback(), submission, None).await.unwrap() {
            Submitted::Accepted(job) | Submitted::Replayed(job) => job.id,
        }
    }

    /// Sets something for a type.
    pub(super) async fn limit(&self, job_type: &JobType, limits: TypeSettingsChange) {
        self.engine.limit_type(&Caller::loopback(), job_type, limits).await.unwrap();
    }

    /// Submits a job that only the relay can dispatch.
    pub(super) async fn submit_for_relay(&self, job_type: &JobType) {
        let submission = Submission { job_type: job_type.to_string(), ..Submission::default() };
        let now = self.engine.now();
        let job = submission.validate(now).unwrap().accept(JobId::generate(), now);
        self.store.insert(vec![Accepted { job, window: 0, idempotency: None, after: None }]).await.unwrap();
        self.engine.wake(job_type);
    }

    /// How many jobs of the type were dispatched and are not over.
    pub(super) async fn dispatches(&self, job_type: &str) -> usize {
        self.store.dispatched(&JobType::new(job_type).unwrap(), 10_000).await.unwrap().len()
    }

    /// Says something about an attempt, as its worker does.
    pub(super) async fn say(&self, order: &DispatchedOrder, what: fn(Origin) -> Event) {
        let origin = Origin {
            job_id: order.job_id,
            attempt: order.attempt,
            attempt_token: order.token,
            // One execution for each attempt.
            execution_id: ExecutionId::from_uuid(*order.job_id.as_uuid()),
            worker_id: "worker-1".parse::<WorkerId>().unwrap(),
        };
        let event = JobEvent { job_id: order.job_id, event: what(origin) };
        self.engine.changes().record(vec![event]).await.unwrap();
    }

    /// Ends the process, in effect, and starts it again.
    pub(super) async fn restart(self) -> Self {
        Self::start_in(self.end().await, Retention::default(), Vec::new()).await
    }

    pub(super) async fn stop(self) {
        self.end().await;
    }

    async fn end(self) -> TempDir {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("the relay did not end");
        self.store.close().await;
        self.directory
    }
}
