//! What goes back: orders that did not begin, orders whose handlers gave them up, and what runs when the worker cannot wait.

use std::sync::Arc;

use crewcall_amqp::Delivery;
use crewcall_proto::AttemptId;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::{WorkerLoop, receive::settle};
use crate::{
    execution::Execution,
    in_flight_orders::GivenUp,
    limits::{RETURNS_MAX, SHUTDOWN_TIMEOUT},
    mutant::mutant,
    order_delivery::{OrderDelivery, Settlement},
    order_key::OrderKey,
    response_publisher::JobReference,
    waiting_orders::WaitingOrder,
};

impl WorkerLoop {
    /// Gives back what has not begun, once no more orders come in: before that, the broker would return them
    /// to this very worker, and count each time as a delivery that failed.
    pub(super) fn give_back_if_drained(&mut self) {
        if !self.takes_orders() && self.session.is_all_closed(self.generation) {
            let given_back = self.orders.take_given_back(|_| true);
            self.settle(given_back, Settlement::GiveBack);
            let unbegun = self.orders.take_unbegun(|_| true);
            self.give_back_unbegun(unbegun);
        }
    }

    /// Gives back the orders of the types that rest, once no more of them come in.
    pub(super) fn give_back_resting(&mut self) {
        let now = Instant::now();
        let Self { orders, rests, session, generation, .. } = self;
        let is_closed = |job_type: &_| session.is_closed(*generation, job_type);
        // Also when the rest is over already: it took that long to stop consuming.
        let given_back = orders.take_given_back(is_closed);
        let unbegun = match rests.due_at(now) {
            Some(_) => orders.take_unbegun(|job_type| rests.is_resting(job_type, now) && is_closed(job_type)),
            None => Vec::new(), // the usual case, without a look at what waits
        };
        self.settle(given_back, Settlement::GiveBack);
        self.give_back_unbegun(unbegun);
    }

    /// Gives back the orders of bundles that have waited long enough beside slots that are taken.
    pub(super) fn give_back_impatient(&mut self) {
        let now = Instant::now();
        let Self { orders, rests, .. } = self;
        let impatient = orders.take_impatient(now, |job_type| rests.is_resting(job_type, now));
        self.settle(impatient, Settlement::GiveBack);
    }

    /// Orders that came back often already are sent anew by the backend: they must not reach the delivery limit for meeting
    /// workers that end or rest.
    fn give_back_unbegun(&self, unbegun: Vec<WaitingOrder<OrderDelivery<Delivery>>>) {
        let (often, seldom): (Vec<_>, Vec<_>) =
            unbegun.into_iter().partition(|waiting| waiting.returns >= RETURNS_MAX);
        let deliveries = seldom.into_iter().flat_map(|waiting| waiting.deliveries.into_vec());
        self.settle(deliveries.collect(), Settlement::GiveBack);
        for WaitingOrder { order, redelivered, traceparent, deliveries, .. } in often {
            let responses = Arc::clone(&self.responses);
            self.tasks.spawn(async move {
                let (key, job_type) = (OrderKey::of(&order), &order.job_type);
                let reference =
                    JobReference { job_id: order.job_id, job_type, traceparent: traceparent.as_ref() };
                let execution = Execution::not_begun(redelivered);
                let said = responses.hand_back(&reference, &key, &execution, true, None).await;
                let settlement = if said { Settlement::Acknowledge } else { Settlement::GiveBack };
                settle(&responses, deliveries.into_vec(), settlement).await;
            });
        }
    }

    /// The worker ends: what it holds, and what came back often, is sent anew by the backend. All else goes back with the
    /// session. Returns what it holds and could not say, for the goodbye.
    pub(super) async fn hand_back_running(&mut self) -> Vec<AttemptId> {
        let mut given_up = self.orders.take_running();
        if mutant("hand_back_forgotten") {
            given_up.retain(|given_up| !given_up.held);
        }
        let responses = &self.responses;
        let hand_back = |GivenUp { key, job_type, execution, held, resend, deliveries }| async move {
            let reference = JobReference { job_id: key.job_id(), job_type: &job_type, traceparent: None };
            let said = resend
                && timeout(SHUTDOWN_TIMEOUT, responses.hand_back(&reference, &key, &execution, true, None))
                    .await
                    .unwrap_or(false);
            if said {
                let settled = settle(responses, deliveries, Settlement::Acknowledge);
                let _ = timeout(SHUTDOWN_TIMEOUT, settled).await;
            }
            (held && !said).then_some(AttemptId { job_id: key.job_id(), attempt: key.attempt() })
        };
        join_all(given_up.into_iter().map(hand_back)).await.into_iter().flatten().collect()
    }
}
