//! Which job queues are consumed, and with which prefetch; what goes back to the broker meanwhile.

use std::collections::BTreeMap;

use crewcall_proto::JobType;
use tokio::time::Instant;

use super::WorkerLoop;
use crate::{
    order_delivery::Settlement,
    prefetch_control::{PrefetchControl, PrefetchStep},
};

impl WorkerLoop {
    /// Makes the subscriptions follow the slots, and acknowledges the orders of held attempts once no other
    /// order can come in their place.
    pub(super) fn balance_subscriptions(&mut self) {
        let mut changed = false;
        if self.takes_orders() && self.door.is_open() {
            let welcomed = std::mem::take(&mut self.welcomed);
            let now = Instant::now();
            for job_type in &welcomed {
                changed |= if self.rests.is_resting(job_type, now) {
                    self.prefetch_controls.remove(job_type).is_some()
                } else {
                    self.balance(job_type)
                };
            }
            self.welcomed = welcomed;
        } else {
            changed = !self.prefetch_controls.is_empty();
            self.prefetch_controls.clear();
        }
        if changed {
            self.want_orders();
        }
        let Self { orders, prefetch_controls, session, generation, .. } = self;
        let released = orders.take_released(|job_type| match prefetch_controls.get(job_type) {
            Some(
                PrefetchControl::Settling { .. }
                | PrefetchControl::Full { .. }
                | PrefetchControl::Open { .. },
            ) => true,
            Some(PrefetchControl::Closing) | None => session.is_closed(*generation, job_type),
        });
        self.settle(released, Settlement::Acknowledge);
    }

    /// Follows the numbers of one type; returns whether its subscription is to change.
    fn balance(&mut self, job_type: &JobType) -> bool {
        let prefetch_control = self.prefetch_controls.entry(job_type.clone()).or_default();
        // The usual case, at no cost: the full prefetch, and so nothing here that came earlier.
        if *prefetch_control == (PrefetchControl::Open { prefetch: self.orders.capacity() }) {
            return false;
        }
        let prefetch = prefetch_control.prefetch();
        let (now, counts) = (Instant::now(), self.orders.count(job_type));
        let mut step =
            prefetch_control.follow(counts, self.session.is_closed(self.generation, job_type), now);
        let mut given_back = Vec::new();
        if step == PrefetchStep::Settle {
            let surplus = self.orders.take_surplus(job_type);
            step = prefetch_control.settle(self.orders.count(job_type));
            if !surplus.is_empty() {
                tracing::info!(
                    job.r#type = %job_type,
                    orders = surplus.len(),
                    "Orders go back to their queue, because the slots here are taken for long."
                );
            }
            given_back = surplus;
        }
        let changed = prefetch_control.prefetch() != prefetch;
        if step == PrefetchStep::Open {
            self.orders.mark_earlier(job_type);
        }
        self.settle(given_back, Settlement::GiveBack);
        changed
    }

    /// Says which queues are to be consumed now.
    pub(super) fn want_orders(&self) {
        let open =
            self.prefetch_controls.iter().filter(|(_, prefetch_control)| prefetch_control.prefetch() > 0);
        let prefetches: BTreeMap<JobType, u16> = open
            .map(|(job_type, prefetch_control)| {
                (job_type.clone(), u16::try_from(prefetch_control.prefetch()).unwrap_or(u16::MAX))
            })
            .collect();
        self.session.want(self.generation.unwrap_or_default(), prefetches);
    }
}
