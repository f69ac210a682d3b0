//! What we do with jobs: one door in, one stream out.
//!
//! ```text
//!   HTTP ──────► commands ──┐                          ┌──► relay ────► broker: orders
//!   (queries ◄── store)     │                          ├──► leases, revocations
//!   broker:                 ├──► store ──► changes ────┼──► due times
//!    responses ► responses ─┤   (one transaction,      ├──► watchers
//!    discovery ► discovery ─┤    the state machine)    └──► metrics
//!   clock ─────► upkeep ────┘
//! ```
//!
//! [`Engine`] is all that the rest of the program sees: [`commands`] change something, [`queries`] only
//! look, [`responses`] and [`discovery`] take what workers say, and [`upkeep`] does what has to be done without being asked.
//! Everything that happens to a job goes through the store and then through [`changes`], and from there to whoever is
//! concerned. The world is reached through two ports, [`ports::Store`] and [`ports::Broker`].

pub mod ports;

pub mod caller;

pub mod commands;

pub(crate) mod queries;

mod blocking;

mod checked;

mod emissions;

mod made_jobs;

pub mod responses;

pub mod changes;

pub mod event_log;

pub mod consumers;

pub mod runs;

pub mod schedules;

pub mod hooks;

pub mod webhooks;

mod measuring;

mod gauges;

pub(crate) mod relay;

pub(crate) mod watch;

pub mod fleet;

pub mod discovery;

pub mod settings;

pub mod upkeep;

pub mod rules;

pub mod rfc3339;

pub mod tasks;

use std::sync::Arc;

use crewcall_proto::{ContentType, WorkerId};
use crewcall_webhooks::AllowedNetworks;
use tokio::sync::Mutex;

pub use caller::Caller;
pub use changes::{Changes, Observer};
pub use checked::Checked;
pub use commands::{
    consumers::{ConsumerError, Moved, Put},
    deliver::{DELIVERY_BYTES_MAX, DeliveryError},
    hooks::{HookError, HookPut},
    publish::{PublishError, Published, event_id},
    runs::RunError,
    schedules::{Backfill, BackfillRequest, ScheduleError},
    submit::{SubmitError, Submitted},
    webhooks::{WebhookError, WebhookPut},
    workflows::{TriggerRequest, Triggered, WorkflowError},
};
pub use consumers::{ConsumerNotes, ConsumerState, ConsumerView, Note, Notes};
pub use event_log::{LogError, LogPage, LogQuery};
pub use fleet::{leases::Leases, liveness::LivenessClock, registry::Registry, revocations::Revocations};
pub use hooks::HookView;
pub use queries::JobView;
pub use runs::{ItemView, RunView, RunWatch, StepView, WorkflowView};
pub use schedules::{NextTick, Preview, ScheduleState, ScheduleView};
pub use settings::{catalogue::Catalogue, limits::TypeLimits};
pub use watch::WatchHub;
pub use webhooks::WebhookView;

use self::{
    consumers::Consumption,
    discovery::{Discovered, Discovery},
    ports::{Broker, Store, StoreError},
    relay::{Relay, publisher::OrderPublisher},
    responses::{Response, ResponseHandler},
    runs::RunWork,
    schedules::ScheduleWork,
    tasks::{Fallen, Tasks, watched},
    upkeep::{due_times::DueTimes, retention::Retention},
};
use crate::{clock::Clock, metrics::Metrics};

/// How many claims are read in one step when leases are rebuilt.
const CLAIMS_PAGE: usize = 1_000;

/// What an engine works with: the world, as the engine sees it.
pub struct Ports {
    /// Where jobs are kept.
    pub store: Arc<dyn Store>,
    /// What carries orders to workers.
    pub broker: Arc<dyn Broker>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Where its tasks run, and when they end.
    pub tasks: Tasks,
    /// Who else has to know what happens to jobs.
    pub observers: Vec<Arc<dyn Observer>>,
    /// How many jobs may make each other: [`DEPTH_MAX_DEFAULT`](crate::domain::cause::DEPTH_MAX_DEFAULT), unless an operator says otherwise.
    pub depth_max: u32,
    /// The worker of this very process, whose id is random: it alone serves the types that are the backend's own.
    pub own_worker: WorkerId,
    /// Which networks besides the public internet webhooks may lead into.
    pub webhook_allow: AllowedNetworks,
}

/// Takes jobs in, has them done, and records what became of them.
///
/// What it keeps in memory is a cache of the store, or what workers say every few seconds: [`Engine::assemble`] rebuilds it.
pub struct Engine {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    tasks: Tasks,
    catalogue: Arc<Catalogue>,
    limits: TypeLimits,
    registry: Arc<Registry>,
    relay: Arc<Relay>,
    publisher: OrderPublisher,
    leases: Arc<Leases>,
    due_times: Arc<DueTimes>,
    changes: Changes,
    discovery: Arc<Discovery>,
    responses: ResponseHandler,
    watch: WatchHub,
    consumption: Arc<Consumption>,
    runs: Arc<RunWork>,
    schedules: Arc<ScheduleWork>,
    /// How many jobs may make each other.
    depth_max: u32,
    /// Where webhooks may lead besides the public internet.
    webhook_allow: AllowedNetworks,
    retention: Retention,
    /// Held while gauges are counted anew, so that two scrapes do not add up.
    scrape: Mutex<()>,
}

impl Engine {
    /// The only place where its parts meet. Reads from the store what an earlier process left: the types, what is set for
    /// them, who runs what. Nothing is sent yet: see [`Engine::run`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub async fn assemble(ports: Ports, retention: Retention) -> Result<Arc<Self>, StoreError> {
        let catalogue = known_types(&ports).await?;
        let limits = TypeLimits::load(Arc::clone(&ports.store)).await?;
        let (liveness, watch) = <(Arc<LivenessClock>, WatchHub)>::default();
        let registry = Arc::new(Registry::new(Arc::clone(&liveness)));
        let relay = Arc::new(Relay::new(&ports, Arc::clone(&registry)));
        let publisher = OrderPublisher::new(&ports, Arc::clone(&registry));
        let Ports { store, broker, clock, metrics, tasks, observers, depth_max, own_worker, webhook_allow } =
            ports;
        let leases = restored_leases(store.as_ref(), &liveness).await?;
        let revocations = restored_revocations(store.as_ref()).await?;
        let (due_times, consumption) = <(Arc<DueTimes>, Arc<Consumption>)>::default();
        let (runs, schedules) = <(Arc<RunWork>, Arc<ScheduleWork>)>::default();
        // What follows from a change, in this order: what is known of an attempt is known before its order is sent,
        // whoever watches finds it counted, and is told before a worker can be done.
        let mut reactions: Vec<Arc<dyn Observer>> = vec![
            Arc::clone(&leases) as _,
            Arc::clone(&revocations) as _,
            Arc::clone(&relay) as _,
            Arc::clone(&due_times) as _,
            Arc::clone(&consumption) as _,
            Arc::clone(&runs) as _,
            Arc::clone(&schedules) as _,
            Arc::clone(&metrics) as _,
            Arc::new(watch.clone()),
            Arc::new(publisher.clone()),
        ];
        reactions.extend(observers);
        let changes = Changes::open(Arc::clone(&store), reactions, Arc::clone(&metrics)).await?;
        let discovery = Arc::new(Discovery {
            store: Arc::clone(&store),
            changes: changes.clone(),
            relay: Arc::clone(&relay),
            publisher: publisher.clone(),
            leases: Arc::clone(&leases),
            revocations,
            metrics: Arc::clone(&metrics),
            liveness,
            registry: Arc::clone(&registry),
            catalogue: Arc::clone(&catalogue),
            broker: Arc::clone(&broker),
            clock: Arc::clone(&clock),
            unreadable: Default::default(),
            own_worker,
        });
        let engine = Self {
            store,
            broker,
            clock,
            metrics,
            tasks,
            catalogue,
            limits,
            registry,
            relay,
            publisher,
            leases,
            due_times,
            changes,
            responses: ResponseHandler { discovery: Arc::clone(&discovery) },
            discovery,
            watch,
            consumption,
            runs,
            schedules,
            depth_max,
            webhook_allow,
            retention,
            scrape: Mutex::default(),
        };
        Ok(Arc::new(engine))
    }

    /// Sends again what an earlier process may have left unsent. To be called once, before any job is accepted.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub async fn recover(&self) -> Result<(), StoreError> {
        self.publisher.recover().await?;
        self.relay.wake_ready().await
    }

    /// Does what goes on without being asked, until the tasks are told to stop.
    ///
    /// # Errors
    ///
    /// [`Fallen`] with the first part that cannot go on.
    pub async fn run(&self) -> Result<(), Fallen> {
        let stop = self.tasks.stop();
        tracing::info!(backend.id = %self.discovery.liveness.backend(), "The backend works.");
        tokio::select! {
            other = self.discovery.liveness.displaced() => Err(Fallen::Displaced { other: other.to_string() }),
            ended = watched("the relay", stop, self.relay.run(&self.changes, stop)) => ended,
            ended = watched("the publisher", stop, self.publisher.run()) => ended,
            ended = watched("the consumers", stop, consumers::run(self)) => ended,
            // Boxed, because it is large: whoever has this future moves it.
            ended = watched("the runs", stop, Box::pin(runs::run(self))) => ended,
            ended = watched("the schedules", stop, schedules::run(self)) => ended,
            ended = upkeep::run(self) => ended,
        }
    }

    /// The last step of an orderly end, when nothing is published any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the dispatch mark was not kept: the next start sends some orders again.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.publisher.keep_mark().await
    }

    /// Everything that happens to jobs, and what follows from it.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Takes what came back for attempts. When this returns `Ok`, it is on disk and may be acknowledged.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was recorded; call again with the same responses.
    pub async fn respond(&self, responses: Vec<Response>) -> Result<(), StoreError> {
        self.responses.record(responses).await
    }

    /// Takes what workers said about themselves, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it could not be kept; call again with the same messages.
    pub async fn discover(&self, messages: Vec<Discovered>) -> Result<(), StoreError> {
        self.discovery.handle(messages).await
    }

    /// An announcement could not be read, but for its sender, who is told with what is heard next.
    pub fn announcement_unreadable(&self, worker_id: WorkerId, content_type: ContentType, reason: String) {
        self.discovery.unreadable(worker_id, content_type, reason);
    }

    /// The link to discovery is up again, and what was said meanwhile may be lost.
    pub async fn discovery_restored(&self) {
        self.discovery.link_restored().await;
    }

    /// Quarantines messages that could not be read.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they could not be kept.
    pub async fn quarantine(&self, messages: Vec<ports::QuarantinedMessage>) -> Result<(), StoreError> {
        self.store.quarantine(messages).await
    }
}

/// The metrics begin, with what workers announced before.
async fn known_types(ports: &Ports) -> Result<Arc<Catalogue>, StoreError> {
    ports.metrics.started(ports.clock.now());
    let catalogue = Catalogue::load(Arc::clone(&ports.store), Arc::clone(&ports.clock)).await?;
    catalogue.names().iter().for_each(|job_type| ports.metrics.type_announced(job_type));
    Ok(Arc::new(catalogue))
}

/// Which attempts are to be stopped.
async fn restored_revocations(store: &dyn Store) -> Result<Arc<Revocations>, StoreError> {
    let revocations = Arc::<Revocations>::default();
    revocations.restore(store).await?;
    Ok(revocations)
}

/// Running attempts keep their leases over a restart of the backend.
async fn restored_leases(
    store: &dyn Store,
    liveness: &Arc<LivenessClock>,
) -> Result<Arc<Leases>, StoreError> {
    let leases = Arc::new(Leases::new(Arc::clone(liveness)));
    let mut after = None;
    loop {
        let page = store.claims(after, CLAIMS_PAGE).await?;
        let Some(last) = page.last() else { return Ok(leases) };
        after = Some(last.job_id);
        for claim in page {
            leases.restore(claim);
        }
    }
}
