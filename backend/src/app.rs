//! The one place where the parts meet.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use crewcall_proto::{Topology, WorkerId};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    broker::{Inbound, Outbound, claim::claim, outbound::OutboundParts},
    clock::{Clock, SystemClock},
    config::{Config, DatabaseUrl},
    deliveries::Deliveries,
    engine::{
        Engine, Ports,
        ports::{Broker, Store, StoreError},
        tasks::{Fallen, Tasks, watched},
    },
    http::{self, HttpState},
    metrics::Metrics,
    service_manager,
    store::{OpenError, SqliteStore},
    traces::{self, QueueTimes},
};

/// How long the parts may take to end after they were told to.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// The backend, ready to run: its store is open and its port is bound.
pub struct App {
    http_address: SocketAddr,
    listener: StdListener,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    /// What tells our database apart from all others.
    installation: String,
    /// The worker of this very process.
    own_worker: WorkerId,
    config: Config,
}

/// Why the backend cannot start. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The address is open to others, and there is no authentication yet.
    #[error(
        "refusing to listen on {address}: there is no authentication, so everybody who reaches it could run jobs. Listen on 127.0.0.1, or say --insecure if the network is yours"
    )]
    Exposed { address: SocketAddr },
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}. Choose another with --http-listen, or end the program that has it"
    )]
    Listen {
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The broker's address is not valid.
    #[error(transparent)]
    Amqp(crewcall_amqp::LinkError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// The names on the broker are another installation's.
    #[error(transparent)]
    Taken(#[from] PrefixTaken),
}

/// The names on the broker are those of an installation with another database.
#[derive(Debug, thiserror::Error)]
#[error(
    "the prefix {prefix} on this broker belongs to an installation with another database: give this one a prefix of its own with --amqp-prefix, and its workers the same. If the other one is gone for good, delete its queue {queue} on the broker (rabbitmqctl delete_queue {queue})"
)]
pub struct PrefixTaken {
    prefix: String,
    queue: String,
}

impl PrefixTaken {
    fn of(names: &Topology) -> Self {
        Self { prefix: names.prefix().to_owned(), queue: names.backend() }
    }
}

/// Why the backend stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A part cannot go on.
    #[error(transparent)]
    Fallen(Fallen),
    /// The store does not know what is on disk.
    #[error(
        "the store failed, and the process ends rather than guess what is on disk; start it again: {reason}"
    )]
    StoreFailed { reason: String },
    /// The names on the broker are another installation's.
    #[error(transparent)]
    Taken(#[from] PrefixTaken),
    /// HTTP cannot be served.
    #[error("HTTP cannot be served: {0}")]
    Http(#[from] std::io::Error),
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Failed { reason } => Self::StoreFailed { reason },
            error => Self::Fallen(error.into()),
        }
    }
}

impl From<Fallen> for RunError {
    fn from(fallen: Fallen) -> Self {
        match fallen {
            Fallen::Store(error) => error.into(),
            fallen => Self::Fallen(fallen),
        }
    }
}

impl App {
    /// Opens the store and binds the port.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when the backend cannot start.
    pub async fn build(config: Config) -> Result<Self, BuildError> {
        crewcall_amqp::LinkConfig::new(config.amqp_url.as_str(), "").validate().map_err(BuildError::Amqp)?;
        let address = config.http_listen;
        if !address.ip().is_loopback() && !config.insecure {
            return Err(BuildError::Exposed { address });
        }
        let listen = |address| -> std::io::Result<(StdListener, SocketAddr)> {
            let listener = StdListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        };
        let (listener, http_address) =
            listen(address).map_err(|source| BuildError::Listen { address, source })?;
        let DatabaseUrl::Sqlite(path) = &config.database;
        let metrics = Arc::new(Metrics::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(path, Arc::clone(&clock), Arc::clone(&metrics))?);
        let installation = store.installation().await?;
        if !claim(&config.amqp_url, &config.amqp_prefix, &installation).await {
            return Err(PrefixTaken::of(&config.amqp_prefix).into());
        }
        let own_worker = WorkerId::generate();
        Ok(Self { http_address, listener, store, metrics, clock, installation, own_worker, config })
    }

    /// Where HTTP is served.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// What a worker in this process needs to deliver to webhooks. Without one, deliveries wait as jobs do that nobody serves.
    #[must_use]
    pub fn deliveries(&self) -> Deliveries {
        Deliveries {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
            worker_id: self.own_worker.clone(),
            allowed: self.config.webhook_allow.clone(),
        }
    }
}

/// What every part is given, and the first that falls.
struct Lifetime {
    tasks: Tasks,
    fallen: mpsc::Receiver<Fallen>,
}

impl App {
    /// Runs until `stop`, then lets what runs finish, for at most [`SHUTDOWN_GRACE`].
    ///
    /// # Errors
    ///
    /// [`RunError`] when a part failed for good.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        let traces = traces::open();
        let (tasks, fallen) = Tasks::new(TaskTracker::new(), CancellationToken::new());
        let mut lifetime = Lifetime { tasks, fallen };
        let tasks = lifetime.tasks.clone();
        let broker = Arc::new(self.outbound(&tasks).await?);
        let ports = Ports {
            store: Arc::clone(&self.store),
            broker: Arc::clone(&broker) as Arc<dyn Broker>,
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
            tasks: tasks.clone(),
            depth_max: self.config.chain_jobs_max,
            own_worker: self.own_worker.clone(),
            webhook_allow: self.config.webhook_allow.clone(),
            observers: QueueTimes::observer(&traces, &self.config.amqp_prefix).into_iter().collect(),
        };
        let engine = Engine::assemble(ports, self.config.retention).await?;
        let listener = TcpListener::from_std(self.listener)?;
        engine.recover().await?;
        let inbound = Inbound {
            amqp_url: self.config.amqp_url.clone(),
            topology: self.config.amqp_prefix.clone(),
            installation: self.installation.clone(),
            engine: Arc::clone(&engine),
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
            traces: traces.clone(),
            tasks: tasks.clone(),
        };
        tasks.errand("the start of the readers", inbound.run(broker.status()));
        let state = HttpState::new(Arc::clone(&engine), Arc::clone(&self.metrics), stop.clone())
            .hosts(self.config.http_hosts.clone())
            .traces(traces.clone());
        let router = http::router(state);
        let served = async {
            http::serve(listener, router, stop.clone()).await;
            Ok(())
        };
        service_manager::ready();
        let outcome = tokio::select! {
            // Submissions end first: what they accepted is still published below.
            ended = watched("HTTP", &stop, served) => ended.map_err(RunError::from),
            ended = engine.run() => ended.map_err(RunError::from),
            Some(fallen) = lifetime.fallen.recv() => Err(fallen.into()),
            () = broker.taken() => Err(PrefixTaken::of(&self.config.amqp_prefix).into()),
            reason = self.store.failed() => Err(RunError::StoreFailed { reason }),
            never = service_manager::stay_alive(&engine) => match never {},
        };
        service_manager::stopping();
        if outcome.is_err() {
            // At once, before anything is waited for: nothing is read, acknowledged or sent any more.
            tasks.stop().cancel();
        }
        end(&tasks, &broker, &engine).await;
        self.store.close().await;
        traces.close().await;
        outcome
    }

    /// The way to the broker, for the types that are known already.
    async fn outbound(&self, tasks: &Tasks) -> Result<Outbound, StoreError> {
        let known = self.store.types().await?.into_iter().map(|stored| stored.job_type).collect();
        Ok(Outbound::start(OutboundParts {
            amqp_url: self.config.amqp_url.clone(),
            topology: self.config.amqp_prefix.clone(),
            installation: self.installation.clone(),
            known,
            with_bundles: self.config.bundles,
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
            tasks: tasks.clone(),
        }))
    }
}

/// Lets what runs finish, within [`SHUTDOWN_GRACE`].
async fn end(tasks: &Tasks, broker: &Outbound, engine: &Engine) {
    let ended = async {
        broker.close().await; // first: it waits for the confirms that are under way
        tasks.stop().cancel();
        tasks.tracker().close();
        tasks.tracker().wait().await;
        engine.close().await
    };
    match tokio::time::timeout(SHUTDOWN_GRACE, ended).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "The dispatch mark was not kept; the next start sends some orders again.");
        }
        Err(_) => tracing::error!(
            tasks = tasks.tracker().len(),
            "Some tasks did not end in time; what they had not recorded is delivered again."
        ),
    }
}
