//! A backend without HTTP: the real store, the relay, and a broker that confirms every order.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crewcall_backend::{
    clock::{Clock, SystemClock},
    domain::{Event, Submission},
    engine::{
        FlowControl, Hearing, Leases, Ledger, Registry, Relay, WatchHub,
        ports::{Accepted, Broker, BrokerStatus, Dispatch, DispatchedOrder, Inserted, JobEvent, JobStore},
        relay::RelayParts,
    },
    metrics::Metrics,
    store::SqliteStore,
    tasks::Tasks,
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
    pub(super) relay: Relay,
    pub(super) flow: Arc<FlowControl>,
    pub(super) ledger: Ledger,
    pub(super) tasks: TaskTracker,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    directory: TempDir,
}

impl Stage {
    /// Everything, with a relay that runs.
    pub(super) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(directory: TempDir) -> Self {
        let metrics = Arc::new(Metrics::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let path = directory.path().join("crewcall.db");
        let sqlite = Arc::new(SqliteStore::open(&path, Arc::clone(&clock), Arc::clone(&metrics)).unwrap());
        let store = Arc::clone(&sqlite) as Arc<dyn JobStore>;
        let flow = Arc::new(FlowControl::load(Arc::clone(&store)).await.unwrap());
        let (hearing, broker) = (Arc::<Hearing>::default(), Arc::new(PlayedBroker::default()));
        broker.set(BrokerStatus::Up);
        let (tasks, stop, watch) = (TaskTracker::new(), CancellationToken::new(), WatchHub::default());
        let leases = Arc::new(Leases::new(Arc::clone(&hearing)));
        let relay = Relay::new(RelayParts {
            store: Arc::clone(&store),
            broker: Arc::clone(&broker) as Arc<dyn Broker>,
            registry: Arc::new(Registry::new(hearing)),
            watch: watch.clone(),
            metrics: Arc::clone(&metrics),
            tasks: Tasks::new(tasks.clone(), stop.clone()).0,
            stop: stop.clone(),
        });
        relay.recover().await.unwrap();
        let ledger = Ledger {
            store,
            relay: relay.clone(),
            leases,
            revocations: Arc::default(),
            due_times: Arc::default(),
            watch,
            metrics,
        };
        let running = relay.clone();
        tasks.spawn(async move { running.run().await.unwrap() });
        Self { store: sqlite, broker, relay, flow, ledger, tasks, clock, stop, directory }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("crewcall.db")
    }

    /// Submits a job, as the HTTP API does.
    pub(super) async fn submit(&self, job_type: &JobType) -> JobId {
        self.insert(job_type, self.relay.window(job_type)).await
    }

    async fn insert(&self, job_type: &JobType, window: usize) -> JobId {
        let submission = Submission { job_type: job_type.to_string(), ..Submission::default() };
        let now = self.clock.now();
        let job = submission.validate(now).unwrap().accept(JobId::generate(), now);
        let accepted = Accepted { job, window, idempotency: None };
        match self.store.insert(vec![accepted]).await.unwrap().remove(0) {
            Inserted::Stored { job, dispatched: Some(number) } => {
                let id = job.id;
                self.relay.publish(Dispatch { number, job });
                id
            }
            Inserted::Stored { job, dispatched: None } => {
                self.relay.wake(job_type);
                job.id
            }
            other => panic!("the job should be stored, not {other:?}"),
        }
    }

    /// Submits a job that only the relay can dispatch.
    pub(super) async fn submit_for_relay(&self, job_type: &JobType) {
        self.insert(job_type, 0).await;
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
        self.ledger.record(vec![event]).await.unwrap();
    }

    /// Ends the process, in effect, and starts it again.
    pub(super) async fn restart(self) -> Self {
        Self::start_in(self.end().await).await
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
