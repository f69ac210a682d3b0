//! Which job queues are consumed, and with which prefetch; what goes back to the broker meanwhile.

use std::collections::BTreeMap;

use crewcall_proto::JobType;
use tokio::time::Instant;

use super::{Crew, receive::Settlement};
use crate::intake::{Advice, Intake};

impl Crew {
    /// Makes the subscriptions follow the slots, and acknowledges the orders of held attempts once no other
    /// order can come in their place.
    pub(super) fn balance_subscriptions(&mut self) {
        let mut changed = false;
        if self.takes_orders() && self.door.is_open() {
            let welcomed = std::mem::take(&mut self.welcomed);
            let now = Instant::now();
            for job_type in &welcomed {
                changed |= if self.rests.is_resting(job_type, now) {
                    self.intakes.remove(job_type).is_some()
                } else {
                    self.balance(job_type)
                };
            }
            self.welcomed = welcomed;
        } else {
            changed = !self.intakes.is_empty();
            self.intakes.clear();
        }
        if changed {
            self.want_orders();
        }
        let Self { orders, intakes, session, generation, .. } = self;
        let released = orders.take_released(|job_type| match intakes.get(job_type) {
            Some(Intake::Settling { .. } | Intake::Full { .. } | Intake::Open { .. }) => true,
            Some(Intake::Closing) | None => session.is_closed(*generation, job_type),
        });
        self.settle(released, Settlement::Acknowledge);
    }

    /// Follows the numbers of one type; answers whether its subscription is to change.
    fn balance(&mut self, job_type: &JobType) -> bool {
        let intake = self.intakes.entry(job_type.clone()).or_default();
        // The usual case, at no cost: the full prefetch, and so nothing here that came earlier.
        if *intake == (Intake::Open { prefetch: self.orders.capacity() }) {
            return false;
        }
        let prefetch = intake.prefetch();
        let (now, tally) = (Instant::now(), self.orders.tally(job_type));
        let mut advice = intake.follow(tally, self.session.is_closed(self.generation, job_type), now);
        let mut given_back = Vec::new();
        if advice == Advice::Settle {
            let surplus = self.orders.take_surplus(job_type);
            advice = intake.settle(self.orders.tally(job_type));
            if !surplus.is_empty() {
                tracing::info!(
                    job.r#type = %job_type,
                    orders = surplus.len(),
                    "Orders go back to their queue, because the slots here are taken for long"
                );
            }
            given_back = surplus;
        }
        let changed = intake.prefetch() != prefetch;
        if advice == Advice::Open {
            self.orders.mark_earlier(job_type);
        }
        self.settle(given_back, Settlement::GiveBack);
        changed
    }

    /// Says which queues are to be consumed now.
    pub(super) fn want_orders(&self) {
        let open = self.intakes.iter().filter(|(_, intake)| intake.prefetch() > 0);
        let prefetches: BTreeMap<JobType, u16> = open
            .map(|(job_type, intake)| {
                (job_type.clone(), u16::try_from(intake.prefetch()).unwrap_or(u16::MAX))
            })
            .collect();
        self.session.want(self.generation.unwrap_or_default(), prefetches);
    }
}
