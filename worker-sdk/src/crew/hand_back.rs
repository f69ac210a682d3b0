//! What goes back: orders that did not begin, orders whose handlers gave them up, and what runs when the worker cannot wait.

use std::sync::Arc;

use crewcall_amqp::{Delivery, Published};
use crewcall_proto::{AttemptId, MessageKind, response::HandedBack};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::{Crew, receive::Settlement, receive::settle};
use crate::{
    attempt::Execution,
    clock,
    limits::{FAREWELL_TIMEOUT, RETURNS_MAX},
    mutant::mutant,
    orders::{GivenUp, OrderKey, WaitingOrder},
    outbox::{Outbox, Subject},
};

impl Crew {
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
        let unbegun = orders.take_unbegun(|job_type| rests.is_resting(job_type, now) && is_closed(job_type));
        self.settle(given_back, Settlement::GiveBack);
        self.give_back_unbegun(unbegun);
    }

    /// Orders that came back often already are sent anew by the backend: they must not reach the delivery limit for meeting
    /// workers that end or rest.
    fn give_back_unbegun(&self, unbegun: Vec<WaitingOrder<Delivery>>) {
        for WaitingOrder { order, redelivered, returns, traceparent, deliveries, .. } in unbegun {
            if returns < RETURNS_MAX {
                self.settle(deliveries.into_vec(), Settlement::GiveBack);
                continue;
            }
            let outbox = Arc::clone(&self.outbox);
            self.tasks.spawn(async move {
                let (key, job_type) = (OrderKey::of(&order), &order.job_type);
                let subject = Subject { job_id: order.job_id, job_type, traceparent: traceparent.as_deref() };
                let message = message(&outbox, &key, &Execution::not_begun(redelivered), true, None);
                let said = say(&outbox, &subject, &message).await;
                settle(
                    deliveries.into_vec(),
                    if said { Settlement::Acknowledge } else { Settlement::GiveBack },
                )
                .await;
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
        let outbox = &self.outbox;
        let hand_back = |GivenUp { key, job_type, execution, held, resend, deliveries }| async move {
            let subject = Subject { job_id: key.job_id(), job_type: &job_type, traceparent: None };
            let said = resend
                && timeout(
                    FAREWELL_TIMEOUT,
                    say(outbox, &subject, &message(outbox, &key, &execution, true, None)),
                )
                .await
                .unwrap_or(false);
            if said {
                let _ = timeout(FAREWELL_TIMEOUT, settle(deliveries, Settlement::Acknowledge)).await;
            }
            (held && !said).then_some(AttemptId { job_id: key.job_id(), attempt: key.attempt() })
        };
        join_all(given_up.into_iter().map(hand_back)).await.into_iter().flatten().collect()
    }
}

/// What is said of an attempt that goes back.
pub(crate) fn message(
    outbox: &Outbox,
    key: &OrderKey,
    execution: &Execution,
    resend: bool,
    message: Option<String>,
) -> HandedBack {
    HandedBack {
        job_id: key.job_id(),
        attempt: key.attempt(),
        attempt_token: key.attempt_token(),
        execution_id: execution.id,
        worker_id: outbox.worker_id.clone(),
        resend,
        message,
        started_at: execution.started_at,
        at: clock::now(),
    }
}

/// Says so, once. `false` when it is not known to have arrived: the backend may be of a version that does not listen.
pub(crate) async fn say(outbox: &Outbox, subject: &Subject<'_>, message: &HandedBack) -> bool {
    match outbox.response(MessageKind::HandedBack, subject, message) {
        Ok(message) => matches!(outbox.publisher.publish(message).await, Ok(Published::Confirmed)),
        Err(_) => false,
    }
}
