//! How long a scrape takes: `cargo run --release --example scrape_bench -- [TYPES] [WORKERS] [SCRAPES]`.
//!
//! Every worker serves some of the types, and every type has jobs. Nothing is scraped over HTTP: what is measured is what the
//! backend does for a scrape, whose text is printed as its size.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_backend::{
    clock::{Clock, SystemClock},
    domain::Submission,
    engine::{
        Caller, Engine, Ports,
        discovery::Discovered,
        ports::{
            Broker, BrokerError, BrokerStatus, Confirmations, LoopbackProbe, OrdersWaiting, OutgoingOrder,
            QueueFound, Store,
        },
        tasks::Tasks,
        upkeep::retention::Retention,
    },
    metrics::Metrics,
    store::SqliteStore,
};
use crewcall_proto::{
    ContentType, JobType, JsonObject, WorkerId,
    control::Control,
    discovery::{AnnouncedType, Announcement, Sdk},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many types each worker serves.
const TYPES_PER_WORKER: usize = 5;

/// How many jobs each type has.
const JOBS_PER_TYPE: usize = 3;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "what was measured is what the program is for")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let types: usize = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let workers: usize = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let scrapes: usize = arguments.next().map_or(Ok(50), |text| text.parse())?;
    let directory = tempfile::tempdir()?;
    let engine = engine(&directory.path().join("bench.db")).await?;
    let named = |number: usize| JobType::new(&format!("bench.type.{:04}", number % types));
    let clock = SystemClock::start();
    for worker in 0..workers {
        let served = (0..TYPES_PER_WORKER).map(|place| named(worker * TYPES_PER_WORKER + place));
        let announcement = announcement(worker, served.collect::<Result<_, _>>()?, &clock)?;
        engine.discover(vec![Discovered::Announced(announcement)]).await?;
    }
    for number in 0..types * JOBS_PER_TYPE {
        let job_type = named(number)?.to_string();
        let submission = Submission { job_type, ..Submission::default() };
        engine.submit(&Caller::loopback(), submission, None).await?;
    }
    let mut times = Vec::with_capacity(scrapes);
    let mut text = String::new();
    for _ in 0..scrapes {
        let begun = Instant::now();
        text = engine.render_metrics().await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!(
        "{types} types, {workers} workers: {} bytes in {} lines; median {:.1} ms, longest of {scrapes} {:.1} ms",
        text.len(),
        text.lines().count(),
        milliseconds(times.get(scrapes / 2)),
        milliseconds(times.last()),
    );
    Ok(())
}

fn milliseconds(time: Option<&Duration>) -> f64 {
    time.map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
}

async fn engine(path: &std::path::Path) -> Result<Arc<Engine>, Failure> {
    let metrics = Arc::new(Metrics::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(path, Arc::clone(&clock), Arc::clone(&metrics))?);
    let (tasks, _fallen) = Tasks::new(TaskTracker::new(), CancellationToken::new());
    let broker = Arc::new(DeafBroker(watch::Sender::new(BrokerStatus::Up)));
    let ports = Ports {
        store,
        broker,
        clock,
        metrics,
        tasks,
        observers: Vec::new(),
        depth_max: 16,
        webhook_allow: Default::default(),
        own_worker: WorkerId::generate(),
    };
    Ok(Engine::assemble(ports, Retention::default()).await?)
}

fn announcement(worker: usize, types: Vec<JobType>, clock: &SystemClock) -> Result<Announcement, Failure> {
    let announced = |job_type| AnnouncedType {
        job_type,
        description: String::new(),
        version: "1".to_owned(),
        parameters_schema: JsonObject::new(),
        result_schema: JsonObject::new(),
        bundles: false,
        emits: Vec::new(),
    };
    Ok(Announcement {
        worker_id: format!("worker-{worker}").parse()?,
        name: "bench".to_owned(),
        version: format!("1.{}", worker % 7),
        sdk: Sdk { language: "rust".to_owned(), version: "1".to_owned() },
        host: "here".to_owned(),
        pid: 1,
        slots: 4,
        content_type: ContentType::default(),
        types: types.into_iter().map(announced).collect(),
        started_at: clock.now(),
    })
}

/// A broker that is there, and does nothing.
struct DeafBroker(watch::Sender<BrokerStatus>);

#[async_trait]
impl Broker for DeafBroker {
    fn publish_orders(&self, orders: Vec<OutgoingOrder>) -> Confirmations {
        let (confirm, confirmations) = mpsc::unbounded_channel();
        for place in 0..orders.len() {
            drop(confirm.send((place, Ok(()))));
        }
        confirmations
    }

    async fn declare_type(&self, _: &JobType) -> Result<QueueFound, BrokerError> {
        Ok(QueueFound::Known)
    }

    async fn delete_type(&self, _: &JobType) -> Result<bool, BrokerError> {
        Ok(true)
    }

    async fn send_to_worker(&self, _: &WorkerId, _: ContentType, _: &Control) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn send_to_type(&self, _: &JobType, _: &Control) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn send_to_all(&self, _: &Control) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn probe(&self, _: LoopbackProbe) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn orders_waiting(&self, _: &JobType) -> Result<OrdersWaiting, BrokerError> {
        Ok(OrdersWaiting::default())
    }

    fn queue_error(&self, _: &JobType) -> Option<String> {
        None
    }

    fn queues_to_replace(&self) -> Vec<JobType> {
        Vec::new()
    }

    async fn replace_queue(&self, _: &JobType) -> bool {
        false
    }

    fn queues_recovered(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    fn status(&self) -> watch::Receiver<BrokerStatus> {
        self.0.subscribe()
    }
}
