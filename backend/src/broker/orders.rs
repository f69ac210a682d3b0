//! The link that the orders of all types share, and what exists on the broker for them.

use std::{sync::Arc, time::Duration};

use crewcall_amqp::{LinkError, MessageProperties, OutboundMessage, PublishError, Published, Publisher};
use crewcall_proto::{JobType, MessageKind, Order, TRACEPARENT, Topology, bundle, encode};
use dashmap::DashMap;
use tokio::time::Instant;

use super::{
    error::{link_error, publish_error},
    topology::{self, APP_ID},
};
use crate::{
    clock::Clock,
    engine::ports::{BrokerError, OutgoingOrder},
    mutant::mutant,
};

/// The link for orders.
pub(super) struct OrderLink {
    pub(super) link: Publisher,
    pub(super) topology: Topology,
    pub(super) installation: String,
    pub(super) clock: Arc<dyn Clock>,
    /// When it was last seen to that a type has its queue.
    declared: DashMap<JobType, Instant>,
}

impl OrderLink {
    pub(super) fn new(
        link: Publisher,
        topology: Topology,
        installation: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { link, topology, installation, clock, declared: DashMap::new() }
    }

    /// The message of an order; of several of one type and encoding, their bundle.
    pub(super) fn message(&self, orders: &[OutgoingOrder]) -> Result<OutboundMessage, PublishError> {
        let [first, others @ ..] = orders else { return Err(invalid("there is none")) };
        let (order, mut body) = written(first)?;
        let mut properties = self.properties(&order, first);
        if !others.is_empty() {
            let mut bodies = vec![body];
            for outgoing in others {
                bodies.push(written(outgoing)?.1);
            }
            body = bundle::join(first.content_type, &bodies).map_err(|error| invalid(&error.to_string()))?;
            properties.message_id =
                properties.message_id.map(|of_first| format!("{of_first}+{}", others.len()));
            properties.correlation_id = None;
            properties.message_type = bundle::word(MessageKind::Order).map(str::to_owned);
        }
        Ok(OutboundMessage {
            exchange: self.topology.submit_exchange(),
            routing_key: order.job_type.as_str().to_owned(),
            body: body.into(),
            properties,
            mandatory: true, // an order that reaches no queue, not even that of the unroutable, must not be confirmed away
        })
    }

    fn properties(&self, order: &Order, outgoing: &OutgoingOrder) -> MessageProperties {
        let traceparent = outgoing.dispatch.job.traceparent.as_ref();
        MessageProperties {
            message_id: Some(format!("{}.{}", order.job_id, order.attempt)),
            correlation_id: Some(order.job_id.to_string()),
            message_type: Some(MessageKind::Order.as_str().to_owned()),
            content_type: Some(outgoing.content_type.as_str().to_owned()),
            timestamp_ms: u64::try_from(self.clock.now().as_millis()).ok(),
            persistent: true, // an order survives the broker's restart
            app_id: Some(APP_ID.to_owned()),
            headers: traceparent.map(|it| (TRACEPARENT.to_owned(), it.as_str().into())).into_iter().collect(),
            ..MessageProperties::default()
        }
    }

    /// What the broker's answer means. Where an order came back, what it should have reached is declared again.
    pub(super) async fn confirmed(
        &self,
        orders: &[OutgoingOrder],
        answer: Result<Published, PublishError>,
    ) -> Result<(), BrokerError> {
        match answer {
            Ok(Published::Confirmed) => Ok(()),
            Ok(Published::Returned { .. }) if mutant("returned_is_sent") => Ok(()),
            Ok(Published::Returned { text, .. }) => {
                let [first, ..] = orders else { return Ok(()) };
                let job = &first.dispatch.job;
                tracing::error!(
                    job.id = %job.id, job.r#type = %job.job_type, orders = orders.len(), reason = text,
                    "An order reached no queue: somebody removed a binding or a queue. The topology is declared again."
                );
                self.declare_again(&job.job_type).await?;
                Err(BrokerError::Unavailable { reason: format!("the order came back: {text}") })
            }
            Err(error) => Err(publish_error(&error)),
        }
    }

    /// Declares what a type needs.
    pub(super) async fn declare_type(&self, job_type: &JobType) -> Result<(), LinkError> {
        self.link.declare(topology::type_declarations(&self.topology, job_type)).await?;
        self.declared.insert(job_type.clone(), Instant::now());
        Ok(())
    }

    /// Makes the route to a type's queue again: somebody may have removed it, and nobody is told.
    pub(super) async fn declare_route(&self, job_type: &JobType) -> Result<(), LinkError> {
        self.link.declare(vec![topology::route(&self.topology, job_type)]).await?;
        self.declared.insert(job_type.clone(), Instant::now());
        Ok(())
    }

    /// Whether the type's queue was declared before, and whether that was within this time.
    pub(super) fn was_declared(&self, job_type: &JobType, within: Duration) -> (bool, bool) {
        let at = self.declared.get(job_type);
        (at.is_some(), at.is_some_and(|at| at.elapsed() < within))
    }

    pub(super) fn was_declared_since(&self, job_type: &JobType, moment: Instant) -> bool {
        self.declared.get(job_type).is_some_and(|at| *at > moment)
    }

    /// The type's queue is to be declared no more.
    pub(super) fn forget(&self, job_type: &JobType) {
        self.declared.remove(job_type);
    }

    /// A type that nobody announced gets no queue by this: its orders are unroutable.
    async fn declare_again(&self, job_type: &JobType) -> Result<(), BrokerError> {
        let mut declarations = topology::declarations(&self.topology, &self.installation);
        if self.declared.contains_key(job_type) {
            declarations.extend(topology::type_declarations(&self.topology, job_type));
        }
        self.link.declare(declarations).await.map_err(|error| link_error(&error))
    }
}

/// An order, and its bytes.
fn written(outgoing: &OutgoingOrder) -> Result<(Order, Vec<u8>), PublishError> {
    let order = outgoing.dispatch.order().ok_or_else(|| invalid("its job has no attempt token"))?;
    let body = encode(outgoing.content_type, &order).map_err(|error| invalid(&error.to_string()))?;
    Ok((order, body))
}

fn invalid(reason: &str) -> PublishError {
    PublishError::Invalid { field: "the order", reason: reason.to_owned() }
}
