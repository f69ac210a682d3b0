//! Orders and instructions on their way out.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use crewcall_amqp::{
    LinkConfig, LinkError, LinkState, MessageProperties, OutboundMessage, PublishError, Published, Publisher,
    PublisherOptions,
};
use crewcall_proto::{
    ContentType, JobType, MessageKind, Order, Topology, WorkerId, control::Control,
    discovery::WORKER_LOST_AFTER, encode,
};
use dashmap::DashMap;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{inbound, topology};
use crate::{
    clock::Clock,
    dispatch::{
        hearing::Pulse,
        ports::{Broker, BrokerError, BrokerStatus, OrdersWaiting, StoreError},
    },
    metrics::Metrics,
    tasks::Tasks,
};

/// What the property `app_id` of our messages says.
const APP_ID: &str = "crewcall-backend";

/// For how long a declared type is believed to exist: many workers announce the same types at once, and
/// each declaration costs a round trip.
const DECLARED_FOR: Duration = Duration::from_secs(5);

/// How long an instruction to a worker, or a pulse, may take.
const LOSSY_MAX: Duration = Duration::from_secs(2);

/// The publishing side of the link.
pub struct Outbound {
    publisher: Publisher,
    topology: Topology,
    clock: Arc<dyn Clock>,
    status: watch::Receiver<BrokerStatus>,
    declared: DashMap<JobType, Instant>,
    /// The message id of an attempt is fixed; instructions are counted.
    control_count: Mutex<u64>,
}

/// What an [`Outbound`] works with.
pub struct OutboundParts {
    /// The broker's address.
    pub amqp_url: String,
    /// What things are called there.
    pub topology: Topology,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where the link runs.
    pub tasks: Tasks,
}

impl Outbound {
    /// Starts the link; whether it is up shows in [`Broker::status`].
    #[must_use]
    pub fn start(parts: OutboundParts) -> Self {
        let OutboundParts { amqp_url, topology, clock, metrics, tasks } = parts;
        let publisher = Publisher::start(
            LinkConfig::new(amqp_url, "crewcall-backend orders"),
            topology::declarations(&topology),
            PublisherOptions::default(),
            tasks.stop(),
            tasks.tracker(),
        );
        let connecting = BrokerStatus::Down { reason: "connecting".to_owned() };
        let (sender, status) = watch::channel(connecting);
        tasks.part("the link for orders", follow(publisher.clone(), sender, metrics));
        Self { publisher, topology, clock, status, declared: DashMap::new(), control_count: Mutex::new(0) }
    }

    /// Waits for the confirms that are under way and closes the link.
    pub async fn close(&self) {
        self.publisher.close().await;
    }

    async fn tell(
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
        if let Some(reason) = self.status.borrow().trouble() {
            return Err(BrokerError::Unavailable { reason });
        }
        match timeout(LOSSY_MAX, self.publisher.publish(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(publish_error(&error)),
            Err(_) => {
                Err(BrokerError::Unavailable { reason: format!("it did not confirm within {LOSSY_MAX:?}") })
            }
        }
    }

    async fn depth(&self, queue: &str) -> Result<Option<u32>, BrokerError> {
        let depth = self.publisher.queue_depth(queue).await.map_err(|error| link_error(&error))?;
        Ok(depth.map(|depth| depth.messages))
    }

    /// A type that nobody announced gets no queue by this: its orders are parked.
    async fn declare_again(&self, job_type: &JobType) -> Result<(), BrokerError> {
        let mut declarations = topology::declarations(&self.topology);
        if self.declared.contains_key(job_type) {
            declarations.extend(topology::type_declarations(&self.topology, job_type));
        }
        self.publisher.declare(declarations).await.map_err(|error| link_error(&error))
    }
}

#[async_trait]
impl Broker for Outbound {
    async fn publish_order(&self, order: &Order, content_type: ContentType) -> Result<(), BrokerError> {
        let body = encode(content_type, order)
            .map_err(|error| BrokerError::Refused { reason: error.to_string() })?;
        let message = OutboundMessage {
            exchange: self.topology.submit_exchange(),
            routing_key: order.job_type.as_str().to_owned(),
            body: body.into(),
            properties: MessageProperties {
                message_id: Some(format!("{}.{}", order.job_id, order.attempt)),
                correlation_id: Some(order.job_id.to_string()),
                message_type: Some(MessageKind::Order.as_str().to_owned()),
                content_type: Some(content_type.as_str().to_owned()),
                timestamp_ms: u64::try_from(self.clock.now().as_millis()).ok(),
                persistent: true, // an order survives the broker's restart
                app_id: Some(APP_ID.to_owned()),
                ..MessageProperties::default()
            },
            mandatory: true, // an order that reaches no queue, not even that of the unroutable, must not be confirmed away
        };
        match self.publisher.publish(message).await {
            Ok(Published::Confirmed) => Ok(()),
            Ok(Published::Returned { text, .. }) => {
                tracing::error!(
                    job.id = %order.job_id, job.r#type = %order.job_type, reason = text,
                    "An order reached no queue: somebody removed a binding or a queue. The topology is declared again."
                );
                self.declare_again(&order.job_type).await?;
                Err(BrokerError::Unavailable { reason: format!("the order came back: {text}") })
            }
            Err(error) => Err(publish_error(&error)),
        }
    }

    async fn declare_type(&self, job_type: &JobType) -> Result<(), BrokerError> {
        if self.declared.get(job_type).is_some_and(|at| at.elapsed() < DECLARED_FOR) {
            return Ok(());
        }
        let declarations = topology::type_declarations(&self.topology, job_type);
        self.publisher.declare(declarations).await.map_err(|error| link_error(&error))?;
        self.declared.insert(job_type.clone(), Instant::now());
        Ok(())
    }

    async fn delete_type(&self, job_type: &JobType) -> Result<bool, BrokerError> {
        let declarations = topology::type_declarations(&self.topology, job_type);
        self.declared.remove(job_type);
        let queue = self.topology.jobs_queue(job_type);
        self.publisher.delete_idle_queue(&queue, &declarations).await.map_err(|error| link_error(&error))
    }

    async fn tell_worker(
        &self,
        worker_id: &WorkerId,
        content_type: ContentType,
        control: &Control,
    ) -> Result<(), BrokerError> {
        self.tell(self.topology.control_key_worker(worker_id), content_type, control).await
    }

    async fn tell_type(&self, job_type: &JobType, control: &Control) -> Result<(), BrokerError> {
        self.tell(self.topology.control_key_type(job_type), ContentType::Json, control).await
    }

    async fn tell_all(&self, control: &Control) -> Result<(), BrokerError> {
        let key = self.topology.control_key_all().to_owned();
        // JSON: everybody who reads it has to find it readable.
        self.tell(key, ContentType::Json, control).await
    }

    async fn pulse(&self, pulse: Pulse) -> Result<(), BrokerError> {
        let message = OutboundMessage {
            exchange: self.topology.discovery_exchange(),
            routing_key: topology::PULSE_KEY.to_owned(),
            body: Bytes::new(),
            properties: MessageProperties {
                message_id: Some(inbound::pulse_id(pulse)),
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
        let unroutable = self.depth(&self.topology.unroutable()).await?.unwrap_or(0);
        let dead = self.depth(&self.topology.dead()).await?.unwrap_or(0);
        Ok(OrdersWaiting { jobs, astray: unroutable.saturating_add(dead) })
    }

    fn status(&self) -> watch::Receiver<BrokerStatus> {
        self.status.clone()
    }
}

/// Translates the link's state until it stops.
async fn follow(
    publisher: Publisher,
    status: watch::Sender<BrokerStatus>,
    metrics: Arc<Metrics>,
) -> Result<(), StoreError> {
    const LINK: &str = "orders";
    let mut state = publisher.state();
    let mut sessions = 0_u64;
    loop {
        let now = state.borrow_and_update().clone();
        metrics.amqp_link(LINK, now.is_connected());
        metrics.amqp_blocked(matches!(now, LinkState::Blocked { .. }));
        let reconnects = publisher.reconnects();
        for _ in sessions..reconnects {
            metrics.amqp_reconnected(LINK);
        }
        sessions = reconnects;
        let stopped = now == LinkState::Stopped;
        status.send_replace(match now {
            LinkState::Connecting { last_error, .. } => {
                BrokerStatus::Down { reason: last_error.unwrap_or_else(|| "connecting".to_owned()) }
            }
            LinkState::Connected { .. } => BrokerStatus::Up,
            LinkState::Blocked { reason, .. } => BrokerStatus::Blocked { reason },
            LinkState::Stopped => BrokerStatus::Down { reason: "stopped".to_owned() },
        });
        if stopped || state.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn publish_error(error: &PublishError) -> BrokerError {
    match error {
        PublishError::Stopped => BrokerError::Closed,
        PublishError::Nacked | PublishError::Unknown { .. } | PublishError::Refused { .. } => {
            BrokerError::Unavailable { reason: error.to_string() }
        }
        PublishError::TooLarge { .. } | PublishError::Invalid { .. } => {
            BrokerError::Refused { reason: error.to_string() }
        }
    }
}

fn link_error(error: &LinkError) -> BrokerError {
    match error {
        LinkError::Stopped => BrokerError::Closed,
        error if error.is_retryable() => BrokerError::Unavailable { reason: error.to_string() },
        error => BrokerError::Refused { reason: error.to_string() },
    }
}
