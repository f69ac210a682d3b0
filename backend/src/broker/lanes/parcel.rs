//! What leaves in one message: an order, or several short ones of one type.

use crewcall_proto::{JsonObject, codec::BODY_BYTES_MAX};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::engine::ports::{BrokerError, OutgoingOrder};

/// How much the parameters of a bundle's orders may weigh together ([`weight`]): six times as much, as which text is written
/// at worst, is still a message, with all that stands around them.
const WEIGHT_MAX: usize = 128 * 1024;

const _: () = assert!(6 * WEIGHT_MAX <= BODY_BYTES_MAX * 3 / 4, "a bundle fits into a message");

/// Tells whoever enqueued orders of one of them, by its place.
type Confirmer = mpsc::UnboundedSender<(usize, Result<(), BrokerError>)>;

/// An order that waits for its turn, and who wants to know when the broker has it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) order: OutgoingOrder,
    /// Its place among those that were enqueued together.
    pub(super) place: usize,
    pub(super) confirmations: Confirmer,
}

/// Orders that leave in one message, and who wants to know when the broker has it.
#[derive(Debug)]
pub(super) struct Parcel {
    /// At least one.
    orders: Vec<OutgoingOrder>,
    waiting: Vec<(usize, Confirmer)>,
    weight: usize,
    /// How many it may have of those that wait, so that each worker gets its share.
    share: usize,
}

impl Parcel {
    /// One that leaves alone, unless others join it: of so many that wait with it.
    pub(super) fn of(first: Waiting, waiting: usize) -> Self {
        let share = waiting.div_ceil(first.order.workers.max(1));
        let mut parcel = Self { orders: Vec::new(), waiting: Vec::new(), weight: 0, share };
        parcel.add(first);
        parcel
    }

    /// Its orders.
    pub(super) fn orders(&self) -> &[OutgoingOrder] {
        &self.orders
    }

    /// Whether another order may share the message.
    pub(super) fn has_room_for(&self, next: &Waiting) -> bool {
        let next = &next.order;
        self.orders.first().is_some_and(|first| {
            self.orders.len() < self.share.min(first.bundle_max).min(next.bundle_max)
                && first.content_type == next.content_type
                // In the lane of the types without a queue there are several.
                && first.dispatch.job.job_type == next.dispatch.job.job_type
                && self.weight + weight(&next.dispatch.job.parameters) <= WEIGHT_MAX
        })
    }

    pub(super) fn add(&mut self, Waiting { order, place, confirmations }: Waiting) {
        if order.bundle_max > 1 {
            self.weight += weight(&order.dispatch.job.parameters);
        }
        self.orders.push(order);
        self.waiting.push((place, confirmations));
    }

    /// Tells whoever enqueued them.
    pub(super) fn answer(self, confirmed: &Result<(), BrokerError>) {
        for (place, confirmations) in self.waiting {
            // Nobody listens any more when the process ends.
            let _ = confirmations.send((place, confirmed.clone()));
        }
    }
}

/// About how many characters parameters take, without what text may have to be escaped with. They nest no deeper than a
/// message may.
fn weight(parameters: &JsonObject) -> usize {
    parameters.iter().map(|(name, value)| name.len() + 4 + weight_of(value)).sum()
}

fn weight_of(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(values) => 2 + values.iter().map(|value| 1 + weight_of(value)).sum::<usize>(),
        Value::Object(fields) => 2 + weight(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) => 24,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crewcall_proto::{ContentType, JobId, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::{
        domain::{Job, JobStatus, Policy, Priority},
        engine::ports::{Dispatch, DispatchNumber},
    };

    fn waiting(job_type: &str, content_type: ContentType, bundle_max: usize, text: &str) -> Waiting {
        let now = Timestamp::from_millis(0);
        let job = Job {
            id: JobId::generate(),
            job_type: job_type.parse().unwrap(),
            parameters: json!({"text": text}).as_object().unwrap().clone(),
            labels: Default::default(),
            priority: Priority::default(),
            policy: Policy::default(),
            created_at: now,
            traceparent: None,
            status: JobStatus::new(1, now, now),
        };
        let dispatch = Dispatch { number: DispatchNumber(1), job: Arc::new(job), sent_before: false };
        let order = OutgoingOrder { dispatch, content_type, bundle_max, workers: 2 };
        Waiting { order, place: 0, confirmations: mpsc::unbounded_channel().0 }
    }

    #[test]
    fn only_what_is_alike_and_may_shares_a_message() {
        let packed = ContentType::MessagePack;
        let parcel = Parcel::of(waiting("a", packed, 3, ""), 100);
        assert!(parcel.has_room_for(&waiting("a", packed, 3, "")));
        assert!(!parcel.has_room_for(&waiting("b", packed, 3, "")), "another type");
        assert!(!parcel.has_room_for(&waiting("a", ContentType::Json, 3, "")), "another encoding");
        assert!(!parcel.has_room_for(&waiting("a", packed, 1, "")), "it goes alone");
        assert!(!parcel.has_room_for(&waiting("a", packed, 3, &"x".repeat(WEIGHT_MAX))), "too large");
        assert!(!Parcel::of(waiting("a", packed, 1, ""), 100).has_room_for(&waiting("a", packed, 3, "")));
    }

    #[test]
    fn a_parcel_is_full_at_the_smallest_of_what_its_orders_allow() {
        let packed = ContentType::MessagePack;
        let mut parcel = Parcel::of(waiting("a", packed, 3, ""), 100);
        parcel.add(waiting("a", packed, 3, ""));
        assert!(!parcel.has_room_for(&waiting("a", packed, 2, "")));
        parcel.add(waiting("a", packed, 3, ""));
        assert!(!parcel.has_room_for(&waiting("a", packed, 3, "")));
        assert_eq!(parcel.orders().len(), 3);
    }

    #[test]
    fn each_worker_gets_its_share_of_what_waits() {
        let packed = ContentType::MessagePack;
        let mut parcel = Parcel::of(waiting("a", packed, 64, ""), 3);
        parcel.add(waiting("a", packed, 64, ""));
        assert!(
            !parcel.has_room_for(&waiting("a", packed, 64, "")),
            "two of three, and one for the other worker"
        );
        assert!(!Parcel::of(waiting("a", packed, 64, ""), 2).has_room_for(&waiting("a", packed, 64, "")));
    }
}
