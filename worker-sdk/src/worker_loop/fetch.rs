//! Orders that are fetched one at a time, while the door is shut.

use crewcall_amqp::Delivery;
use crewcall_proto::JobType;
use tokio::time::Instant;

use super::WorkerLoop;
use crate::{door::Door, order_delivery::Settlement};

impl WorkerLoop {
    /// Shuts the door when every slot is taken for long; then gives back what waits, and fetches what there is room for.
    pub(super) fn follow_door(&mut self) {
        if !self.takes_orders() {
            // Whoever takes orders again begins anew.
            self.door = Door::default();
            return;
        }
        let was_open = self.door.is_open();
        self.door.follow(self.orders.room() == 0, self.welcomed.len(), Instant::now());
        if self.door.is_open() || !self.session.is_all_closed(self.generation) {
            return;
        }
        match self.orders.room() {
            0 => {
                let waiting = self.orders.take_waiting_for_others();
                self.settle(waiting, Settlement::GiveBack);
            }
            // The wish to consume nothing has not even been told yet.
            _ if was_open => {}
            room if self.fetches.is_empty() => self.fetch(room),
            _ => {}
        }
    }

    fn fetch(&mut self, orders_max: usize) {
        let (welcomed, now) = (self.welcomed.iter(), Instant::now());
        let mut types: Vec<JobType> =
            welcomed.filter(|job_type| !self.rests.is_resting(job_type, now)).cloned().collect();
        // No type is always the first.
        let first = self.fetched.checked_rem(types.len()).unwrap_or(0);
        types.rotate_left(first);
        self.fetches.spawn(self.session.fetch(&types, orders_max));
    }

    /// Takes in what was fetched. When that is nothing, it is left to the broker to say when there is something.
    pub(super) fn on_fetched(&mut self, deliveries: Vec<Delivery>) {
        let is_empty = deliveries.is_empty();
        self.fetched = self.fetched.wrapping_add(deliveries.len().max(1));
        for delivery in deliveries {
            if self.generation == Some(delivery.generation) {
                self.on_order(delivery);
            }
        }
        if is_empty {
            self.door = Door::default();
        }
    }
}
