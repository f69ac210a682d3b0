//! Orders that come several in one message.

use crewcall_amqp::Delivery;
use crewcall_proto::{DecodeError, JobType, Order, bundle, codec};
use tokio::time::Instant;

use super::{WorkerLoop, receive::content_type};
use crate::{
    limits::BUNDLE_PATIENCE,
    order_delivery::{OrderDelivery, Settlement},
    order_key::OrderKey,
    waiting_orders::{Deliveries, WaitingOrder},
};

impl WorkerLoop {
    /// Takes the orders of a bundle in, or none: of one that cannot be read as a whole, the backend sends each order anew, by
    /// itself, so that the one that is bad harms no other.
    pub(super) fn on_bundle(&mut self, delivery: Delivery) {
        let (job_type, orders) = match self.read_bundle(&delivery) {
            Ok(read) => read,
            Err(error) => {
                self.count_malformed(&delivery, &error);
                return self.settle(vec![OrderDelivery::Alone(delivery)], Settlement::Reject);
            }
        };
        let returns = delivery.properties.delivery_count();
        let redelivered = delivery.redelivered || returns > 0;
        let patient_until = Some(Instant::now() + BUNDLE_PATIENCE);
        let keys: Vec<OrderKey> = orders.iter().map(OrderKey::of).collect();
        let shares = OrderDelivery::shares(delivery, &job_type, keys.into_iter());
        for (order, share) in orders.into_iter().zip(shares) {
            self.take_in(WaitingOrder {
                order,
                redelivered,
                returns,
                traceparent: None,
                asks_until: None,
                patient_until,
                deliveries: Deliveries::one(share),
            });
        }
    }

    /// Reads all orders of a bundle. They are of one type, which was announced to come in bundles.
    fn read_bundle(&self, delivery: &Delivery) -> Result<(JobType, Vec<Order>), DecodeError> {
        let content_type = content_type(delivery)?;
        let bodies = bundle::split(content_type, &delivery.body)?;
        let orders = bodies.into_iter().map(|body| codec::decode::<Order>(content_type, body));
        let orders = orders.collect::<Result<Vec<_>, _>>()?;
        let malformed = |what: String| Err(DecodeError::Malformed(what));
        let Some(job_type) = orders.first().map(|order| order.job_type.clone()) else {
            return malformed("a bundle without an order".to_owned());
        };
        if let Some(other) = orders.iter().find(|order| order.job_type != job_type) {
            return malformed(format!("a bundle of orders of two types, {job_type} and {}", other.job_type));
        }
        if !self.worker.served(&job_type).is_some_and(|served| served.announced.bundles) {
            return malformed(format!("orders of type {job_type} were not announced to come in bundles"));
        }
        Ok((job_type, orders))
    }
}
