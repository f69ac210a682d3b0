//! Orders and instructions on their way out.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use crewcall_amqp::{
    LinkConfig, LinkError, LinkState, MessageProperties, OutboundMessage, Publisher, PublisherOptions,
};
use crewcall_proto::{
    ContentType, JobType, MessageKind, Topology, WorkerId, control::Control, discovery::WORKER_LOST_AFTER,
    encode,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    claim,
    error::{link_error, publish_error},
    inbound,
    lanes::{Lanes, LanesParts},
    orders::OrderLink,
    topology::{self, APP_ID},
};
use crate::{
    clock::Clock,
    engine::{
        ports::{
            Broker, BrokerError, BrokerStatus, Confirmations, LoopbackProbe, OrdersWaiting, OutgoingOrder,
            QueueFound, StoreError,
        },
        tasks::Tasks,
    },
    metrics::Metrics,
};

/// For how long a queue that was there is believed to be there still: many workers announce the same types at once, and
/// each look costs some round trips. Shorter than it takes a worker to notice that its queue was deleted, and to be back.
const DECLARED_FOR: Duration = Duration::from_millis(200);

/// How long the place of a queue that is gone stays empty before there is a new one of its name: RabbitMQ would take the
/// old subscriptions over to it, and deliver nothing through them.
const REST: Duration = Duration::from_millis(500);

/// How often it is tried to declare a queue in the place of one that was deleted: right afterwards RabbitMQ may answer with
/// an internal error.
const DECLARED_TRIES_MAX: u32 = 4;

/// How long an instruction to a worker, or a probe, may take.
const LOSSY_MAX: Duration = Duration::from_secs(2);

/// The publishing side of the link: orders, and apart from them what must get through whatever becomes of these.
pub struct Outbound {
    orders: Arc<OrderLink>,
    lanes: Arc<Lanes>,
    /// Instructions to workers, and probes.
    control: Publisher,
    topology: Topology,
    clock: Arc<dyn Clock>,
    status: watch::Receiver<BrokerStatus>,
    /// The message id of an attempt is fixed; instructions are counted.
    control_count: Mutex<u64>,
}

/// What an [`Outbound`] works with.
pub struct OutboundParts {
    pub amqp_url: String,
    /// What things are called there.
    pub topology: Topology,
    /// Whose they are.
    pub installation: String,
    /// The types that were ever announced.
    pub known: Vec<JobType>,
    /// Whether several orders may share a message.
    pub with_bundles: bool,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Where the links run.
    pub tasks: Tasks,
}

impl Outbound {
    /// Starts the links; whether they are up shows in [`Broker::status`].
    #[must_use]
    pub fn start(parts: OutboundParts) -> Self {
        let OutboundParts { amqp_url, topology, installation, known, with_bundles, clock, metrics, tasks } =
            parts;
        let start = |link: &str, declarations| {
            let config = LinkConfig::new(amqp_url.clone(), format!("crewcall-backend {link}"));
            Publisher::start(config, declarations, PublisherOptions::default(), tasks.stop(), tasks.tracker())
        };
        let orders = start("orders", topology::declarations(&topology, &installation));
        let control = start("control", topology::spoken_through(&topology));
        let trials = start("trials", Vec::new());
        let (sender, status) = watch::channel(BrokerStatus::Down { reason: "connecting".to_owned() });
        let forwarded = forward_status(orders.state(), control.state(), sender, Arc::clone(&metrics));
        tasks.part("the links' status", forwarded);
        tasks.part("the link for orders", follow("orders", orders.clone(), Arc::clone(&metrics)));
        tasks.part("the link for control", follow("control", control.clone(), Arc::clone(&metrics)));
        tasks.part("the link for trials", follow("trials", trials.clone(), Arc::clone(&metrics)));
        let orders = OrderLink::new(orders, topology.clone(), installation, Arc::clone(&clock));
        let orders = Arc::new(orders);
        let lanes = Arc::new(Lanes::new(LanesParts {
            shared: Arc::clone(&orders),
            trials,
            unroutable: topology.unroutable(),
            with_bundles,
            metrics,
            tasks,
        }));
        for job_type in &known {
            lanes.has_queue(job_type, &topology.jobs_queue(job_type));
        }
        Self { orders, lanes, control, topology, clock, status, control_count: Mutex::new(0) }
    }

    /// Waits for the confirms that are under way and closes the links.
    pub async fn close(&self) {
        tokio::join!(self.lanes.close(), self.control.close());
    }

    /// Resolves when the names on the broker turn out to be another installation's: it was away when we began.
    pub async fn taken(&self) {
        claim::taken(self.orders.link.state(), &self.topology, &self.orders.installation).await;
    }

    async fn send(
        &self,
        routing_key: String,
        content_type: ContentType,
        control: &Control,
    ) -> Result<(), BrokerError> {
        let body = encode(content_type, control)
            .map_err(|error| BrokerError::Refused { reason: error.to_string() })?;
        let number = {
            let mut count = self.control_count.lock().unwrap_or_else(PoisonError::into_inner);
            *count += 1;
            *count
        };
        let now = self.clock.now();
        let message = OutboundMessage {
            exchange: self.topology.control_exchange(),
            routing_key,
            body: body.into(),
            properties: MessageProperties {
                message_id: Some(format!("control-{}-{number}", now.as_millis())),
                message_type: Some(MessageKind::Control.as_str().to_owned()),
                content_type: Some(content_type.as_str().to_owned()),
                timestamp_ms: u64::try_from(now.as_millis()).ok(),
                persistent: false, // it is for a queue that dies with its worker
                app_id: Some(APP_ID.to_owned()),
                ..MessageProperties::default()
            },
            mandatory: false, // a worker that is gone hears nothing, and needs nothing
        };
        self.publish_lossy(message).await
    }

    /// Publishes what may get lost: while the broker takes nothing, it is dropped, for whoever sends it has other
    /// work.
    async fn publish_lossy(&self, message: OutboundMessage) -> Result<(), BrokerError> {
        if let Some(reason) = self.status.borrow().unavailable_reason() {
            return Err(BrokerError::Unavailable { reason });
        }
        match timeout(LOSSY_MAX, self.control.publish(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(publish_error(&error)),
            Err(_) => {
                Err(BrokerError::Unavailable { reason: format!("it did not confirm within {LOSSY_MAX:?}") })
            }
        }
    }

    async fn depth(&self, queue: &str) -> Result<Option<u32>, BrokerError> {
        let depth = self.control.queue_depth(queue).await.map_err(|error| link_error(&error))?;
        Ok(depth.map(|depth| depth.messages))
    }

    /// Deletes the type's queue and declares it anew, unless it shows messages, or that it has none: then it has a leader.
    async fn replace(&self, job_type: &JobType) -> Result<bool, LinkError> {
        let queue = self.topology.jobs_queue(job_type);
        if self.control.queue_depth(&queue).await?.is_some_and(|depth| depth.messages > 0)
            || self.lanes.answers(&queue).await?
        {
            return Ok(false);
        }
        self.control.delete_queue(&queue).await?;
        let mut tries = 1;
        loop {
            sleep(REST).await;
            match self.orders.declare_type(job_type).await {
                Ok(()) => return Ok(true),
                Err(_) if tries < DECLARED_TRIES_MAX => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

#[async_trait]
impl Broker for Outbound {
    fn publish_orders(&self, orders: Vec<OutgoingOrder>) -> Confirmations {
        self.lanes.enqueue(orders)
    }

    async fn declare_type(&self, job_type: &JobType) -> Result<QueueFound, BrokerError> {
        let (declared_before, declared_now) = self.orders.was_declared(job_type, DECLARED_FOR);
        if declared_now {
            return Ok(QueueFound::Known);
        }
        let queue = self.topology.jobs_queue(job_type);
        let looked_at = Instant::now();
        let before = self.depth(&queue).await?;
        if before.is_some() && declared_before {
            self.orders.declare_route(job_type).await.map_err(|error| link_error(&error))?;
            return Ok(QueueFound::Known);
        }
        if declared_before {
            sleep(REST).await;
            // Somebody else found it gone too. If that one is gone by now, its place has not been empty for as long.
            if self.orders.was_declared_since(job_type, looked_at) {
                return Ok(QueueFound::Known);
            }
        }
        self.orders.declare_type(job_type).await.map_err(|error| link_error(&error))?;
        self.lanes.has_queue(job_type, &queue);
        Ok(if before.is_some() { QueueFound::Known } else { QueueFound::New })
    }

    async fn delete_type(&self, job_type: &JobType) -> Result<bool, BrokerError> {
        let declarations = topology::type_declarations(&self.topology, job_type);
        self.orders.forget(job_type);
        let queue = self.topology.jobs_queue(job_type);
        self.orders.link.delete_idle_queue(&queue, &declarations).await.map_err(|error| link_error(&error))
    }

    async fn send_to_worker(
        &self,
        worker_id: &WorkerId,
        content_type: ContentType,
        control: &Control,
    ) -> Result<(), BrokerError> {
        self.send(self.topology.control_key_worker(worker_id), content_type, control).await
    }

    async fn send_to_type(&self, job_type: &JobType, control: &Control) -> Result<(), BrokerError> {
        self.send(self.topology.control_key_type(job_type), ContentType::Json, control).await
    }

    async fn send_to_all(&self, control: &Control) -> Result<(), BrokerError> {
        let key = self.topology.control_key_all().to_owned();
        // JSON: everybody who reads it has to find it readable.
        self.send(key, ContentType::Json, control).await
    }

    async fn probe(&self, probe: LoopbackProbe) -> Result<(), BrokerError> {
        let message = OutboundMessage {
            exchange: self.topology.discovery_exchange(),
            routing_key: topology::PROBE_KEY.to_owned(),
            body: Bytes::new(),
            properties: MessageProperties {
                message_id: Some(inbound::probe_id(probe)),
                // None is left over for the next process to read.
                expiration: Some(WORKER_LOST_AFTER.as_millis().to_string()),
                persistent: false,
                app_id: Some(APP_ID.to_owned()),
                ..MessageProperties::default()
            },
            mandatory: false,
        };
        self.publish_lossy(message).await
    }

    async fn orders_waiting(&self, job_type: &JobType) -> Result<OrdersWaiting, BrokerError> {
        let jobs = self.depth(&self.topology.jobs_queue(job_type)).await?;
        // The broker takes a queue whose leader does not answer for an empty one.
        if let (Some(_), Some(reason)) = (jobs, self.lanes.queue_error(job_type)) {
            return Err(BrokerError::Unavailable { reason });
        }
        let unroutable = self.depth(&self.topology.unroutable()).await?.unwrap_or(0);
        let dead = self.depth(&self.topology.dead()).await?.unwrap_or(0);
        Ok(OrdersWaiting { jobs, unroutable_or_dead: unroutable.saturating_add(dead) })
    }

    fn queue_error(&self, job_type: &JobType) -> Option<String> {
        self.lanes.queue_error(job_type)
    }

    fn queues_to_replace(&self) -> Vec<JobType> {
        self.lanes.to_replace()
    }

    async fn replace_queue(&self, job_type: &JobType) -> bool {
        match self.replace(job_type).await {
            Ok(true) => {
                self.lanes.replaced(job_type);
                return true;
            }
            Ok(false) => self.lanes.is_well(job_type),
            Err(error) => self.lanes.not_replaced(job_type, error.to_string()),
        }
        false
    }

    fn queues_recovered(&self) -> watch::Receiver<u64> {
        self.lanes.recovered()
    }

    fn status(&self) -> watch::Receiver<BrokerStatus> {
        self.status.clone()
    }
}

/// Forwards how the broker is until the links stop: it is there when both links are.
async fn forward_status(
    mut orders: watch::Receiver<LinkState>,
    mut control: watch::Receiver<LinkState>,
    status: watch::Sender<BrokerStatus>,
    metrics: Arc<Metrics>,
) -> Result<(), StoreError> {
    loop {
        let now = match broker_status(&orders.borrow_and_update()) {
            BrokerStatus::Up => broker_status(&control.borrow_and_update()),
            trouble => trouble,
        };
        metrics.amqp_blocked(matches!(now, BrokerStatus::Blocked { .. }));
        status.send_replace(now);
        let changed = tokio::select! {
            changed = orders.changed() => changed,
            changed = control.changed() => changed,
        };
        if changed.is_err() {
            return Ok(());
        }
    }
}

fn broker_status(link: &LinkState) -> BrokerStatus {
    match link {
        LinkState::Connecting { last_error, .. } => {
            let reason = last_error.as_ref().map_or_else(|| "connecting".to_owned(), ToString::to_string);
            BrokerStatus::Down { reason }
        }
        LinkState::Connected { .. } => BrokerStatus::Up,
        LinkState::Blocked { reason, .. } => BrokerStatus::Blocked { reason: reason.clone() },
        LinkState::Stopped => BrokerStatus::Down { reason: "stopped".to_owned() },
    }
}

/// Measures a link until it stops.
pub(super) async fn follow(
    link: &'static str,
    publisher: Publisher,
    metrics: Arc<Metrics>,
) -> Result<(), StoreError> {
    let mut state = publisher.state();
    let mut sessions = 0_u64;
    loop {
        let now = state.borrow_and_update().clone();
        metrics.amqp_link(link, now.is_connected());
        let reconnects = publisher.reconnects();
        for _ in sessions..reconnects {
            metrics.amqp_reconnected(link);
        }
        sessions = reconnects;
        if now == LinkState::Stopped || state.changed().await.is_err() {
            return Ok(());
        }
    }
}
