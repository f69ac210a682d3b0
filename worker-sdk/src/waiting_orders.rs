//! The orders that wait here for a slot, in the order in which they came. Pure bookkeeping: it is told the time.
//!
//! Bundles can make them some thousands, so nothing that happens for each order or event looks at all of them.

use std::collections::{HashSet, VecDeque};

use crewcall_proto::{Attempt, AttemptId, JobId, Order, TraceParent};
use tokio::time::Instant;

use crate::order_key::OrderKey;

/// An order that waits for a slot, with every delivery of it.
pub(crate) struct WaitingOrder<D> {
    pub(crate) order: Order,
    /// Whether the broker may have delivered it before.
    pub(crate) redelivered: bool,
    /// How often it came back to its queue before.
    pub(crate) returns: i64,
    pub(crate) traceparent: Option<TraceParent>,
    /// Until when it waits for the word that it is still wanted; `None` once it came, or when nobody is asked.
    pub(crate) asks_until: Option<Instant>,
    /// Until when it waits for a slot while every slot is taken; `None` for as long as it takes. Set if it came in a bundle.
    pub(crate) patient_until: Option<Instant>,
    pub(crate) deliveries: Deliveries<D>,
}

/// The deliveries of one order that are not settled. More than one if it was published or delivered twice; none
/// after the session was lost.
pub(crate) struct Deliveries<D> {
    all: Vec<D>,
    /// How many of them, from the first, an earlier subscription brought.
    earlier: usize,
}

impl<D> Deliveries<D> {
    pub(crate) fn one(delivery: D) -> Self {
        Self { all: vec![delivery], earlier: 0 }
    }

    /// How many they are, and how many of them an earlier subscription brought.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.all.len(), self.earlier)
    }

    /// What is here came by an earlier subscription.
    pub(crate) fn mark_earlier(&mut self) {
        self.earlier = self.all.len();
    }

    /// The same order came once more.
    pub(crate) fn join(&mut self, mut more: Self) {
        self.all.append(&mut more.all);
    }

    pub(crate) fn into_vec(self) -> Vec<D> {
        self.all
    }

    pub(crate) fn take(&mut self) -> Vec<D> {
        self.earlier = 0;
        std::mem::take(&mut self.all)
    }
}

/// The orders that wait for a slot.
pub(crate) struct WaitingOrders<D> {
    orders: VecDeque<WaitingOrder<D>>,
    /// Their keys: an order that arrives is mostly new, which is seen at once.
    keys: HashSet<OrderKey>,
    /// How many of them ask.
    asking: usize,
    /// How many of them came in bundles.
    patient: usize,
}

impl<D> WaitingOrder<D> {
    pub(crate) fn asks(&self) -> bool {
        self.asks_until.is_some()
    }

    pub(crate) fn came_in_bundle(&self) -> bool {
        self.patient_until.is_some()
    }
}

impl<D> WaitingOrders<D> {
    pub(crate) fn new() -> Self {
        Self { orders: VecDeque::new(), keys: HashSet::new(), asking: 0, patient: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.orders.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &WaitingOrder<D>> {
        self.orders.iter()
    }

    pub(crate) fn deliveries_mut(&mut self) -> impl Iterator<Item = (&Order, &mut Deliveries<D>)> {
        self.orders.iter_mut().map(|waiting| (&waiting.order, &mut waiting.deliveries))
    }

    pub(crate) fn push(&mut self, waiting: WaitingOrder<D>) {
        self.keys.insert(OrderKey::of(&waiting.order));
        self.asking += usize::from(waiting.asks());
        self.patient += usize::from(waiting.came_in_bundle());
        self.orders.push_back(waiting);
    }

    pub(crate) fn get_mut(&mut self, key: &OrderKey) -> Option<&mut WaitingOrder<D>> {
        if !self.keys.contains(key) {
            return None;
        }
        self.orders.iter_mut().find(|waiting| OrderKey::of(&waiting.order) == *key)
    }

    /// Takes the first of them that is of this kind.
    pub(crate) fn take_first(&mut self, is: impl Fn(&WaitingOrder<D>) -> bool) -> Option<WaitingOrder<D>> {
        let at = self.orders.iter().position(is)?;
        let taken = self.orders.remove(at)?;
        self.forget(&taken);
        Some(taken)
    }

    pub(crate) fn take(&mut self, job_id: JobId, attempt: Attempt) -> Option<WaitingOrder<D>> {
        self.take_first(|waiting| OrderKey::of(&waiting.order).is(job_id, attempt))
    }

    /// Takes all of them that are of this kind.
    pub(crate) fn take_all(&mut self, is: impl Fn(&WaitingOrder<D>) -> bool) -> Vec<WaitingOrder<D>> {
        // Mostly there are none, and then nothing moves.
        if !self.orders.iter().any(&is) {
            return Vec::new();
        }
        let (taken, kept): (VecDeque<_>, _) = self.orders.drain(..).partition(is);
        self.orders = kept;
        taken.iter().for_each(|waiting| self.forget(waiting));
        Vec::from(taken)
    }

    /// Takes at most so many of this kind, the youngest first.
    pub(crate) fn take_youngest(
        &mut self,
        orders_max: usize,
        is: impl Fn(&WaitingOrder<D>) -> bool,
    ) -> Vec<WaitingOrder<D>> {
        let mut taken = Vec::new();
        for at in (0..self.orders.len()).rev() {
            if taken.len() < orders_max && is(&self.orders[at]) {
                taken.extend(self.orders.remove(at));
            }
        }
        taken.iter().for_each(|waiting| self.forget(waiting));
        taken
    }

    pub(crate) fn clear(&mut self) {
        self.orders.clear();
        self.keys.clear();
        (self.asking, self.patient) = (0, 0);
    }

    /// These need not ask any longer.
    pub(crate) fn proceed(&mut self, attempts: &[AttemptId]) {
        for waiting in self.orders.iter_mut().filter(|waiting| waiting.asks()) {
            let key = OrderKey::of(&waiting.order);
            if attempts.iter().any(|attempt| key.is(attempt.job_id, attempt.attempt)) {
                waiting.asks_until = None;
                self.asking -= 1;
            }
        }
    }

    /// When the first of those that ask has waited for long enough.
    pub(crate) fn ask_ends_at(&self, now: Instant) -> Option<Instant> {
        if self.asking == 0 {
            return None;
        }
        self.iter().filter_map(|waiting| waiting.asks_until).filter(|until| now < *until).min()
    }

    /// When the next of them has waited long enough for a slot. Of those that have not yet, it is the one that came first.
    pub(crate) fn patience_ends_at(&self, now: Instant) -> Option<Instant> {
        if self.patient == 0 {
            return None;
        }
        self.iter().filter_map(|waiting| waiting.patient_until).find(|until| now < *until)
    }

    /// Whether any of them has waited long enough for a slot, but for those whose turn comes soon: the first so many.
    pub(crate) fn is_any_impatient(&self, now: Instant, soon: usize) -> bool {
        if self.patient == 0 {
            return false;
        }
        // They stand in the order in which they lose their patience.
        let first = self.orders.range(soon.min(self.len())..).find_map(|waiting| waiting.patient_until);
        first.is_some_and(|until| until <= now)
    }

    /// Takes those of this kind that have waited long enough for a slot, but for those whose turn comes soon.
    pub(crate) fn take_impatient(
        &mut self,
        now: Instant,
        soon: usize,
        is: impl Fn(&WaitingOrder<D>) -> bool,
    ) -> Vec<WaitingOrder<D>> {
        if !self.is_any_impatient(now, soon) {
            return Vec::new();
        }
        let is_impatient = |waiting: &WaitingOrder<D>| {
            waiting.patient_until.is_some_and(|until| until <= now) && is(waiting)
        };
        let (taken, kept): (Vec<_>, Vec<_>) = self.orders.drain(soon..).partition(is_impatient);
        self.orders.extend(kept);
        taken.iter().for_each(|waiting| self.forget(waiting));
        taken
    }

    fn forget(&mut self, taken: &WaitingOrder<D>) {
        self.keys.remove(&OrderKey::of(&taken.order));
        self.asking -= usize::from(taken.asks());
        self.patient -= usize::from(taken.came_in_bundle());
    }
}
