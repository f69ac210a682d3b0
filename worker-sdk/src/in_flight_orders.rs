//! The orders that are here: which run, which wait for a slot, which were answered already.
//!
//! Pure bookkeeping, so that its rules are tested without a broker. `D` is a delivery: what must be
//! acknowledged in the end.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use crewcall_amqp::OutboundMessage;
use crewcall_proto::{Attempt, AttemptId, JobId, JobType, discovery::RunningOrder};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    context::JobContext,
    execution::Execution,
    fifo_cache::FifoCache,
    hold::HoldSignal,
    limits::{
        FINISHED_BYTES_MAX, FINISHED_ORDERS_MAX, ORDERS_LISTED_MAX, RETURNS_BEFORE_HOLD, RETURNS_MAX,
        REVOKED_ORDERS_MAX,
    },
    mutant::mutant,
    order_key::OrderKey,
    pace::Pace,
    prefetch_control::OrderCounts,
    stop_cause::StopCause,
    waiting_orders::{Deliveries, WaitingOrder, WaitingOrders},
};

/// What to do with an order that arrived.
pub(crate) enum Admission<D> {
    /// It waits for a slot now, or joined the same order that waits or runs already: nothing to do.
    Taken,
    /// This process has answered it before: send the answer again, then acknowledge.
    AnswerAgain(Box<OutboundMessage>, Vec<D>),
    /// It was revoked, or is held already: acknowledge it.
    Forget(Vec<D>),
    /// It is of a bundle that came back, and not known here: give it back, so that it comes by itself.
    SendAnew(Vec<D>),
}

/// What a cancellation met.
pub(crate) enum Cancellation<D> {
    /// A running attempt, which has been told.
    Told,
    /// An order that has not begun: answer for it.
    NotBegun(Box<WaitingOrder<D>>),
    /// Nothing that is here.
    Unknown,
}

/// The orders that are here.
pub(crate) struct InFlightOrders<D> {
    slots: usize,
    running: HashMap<OrderKey, RunningAttempt<D>>,
    /// How many of them are held.
    held: usize,
    /// How many of them have left their slots, and only wait for the confirm of their answers.
    slots_left: usize,
    /// The slots of attempts that are over, but whose handlers do not end.
    unfinished_handlers: usize,
    waiting: WaitingOrders<D>,
    pace: Pace,
    /// Deliveries to give back without an answer, once no more orders of their type come in.
    given_back: Vec<(JobType, D)>,
    /// Deliveries of held attempts, to acknowledge once no other order can come in their place.
    released: Vec<(JobType, D)>,
    finished: FifoCache<OrderKey, OutboundMessage>,
    revoked: FifoCache<(JobId, Attempt), ()>,
}

struct RunningAttempt<D> {
    job: JobContext,
    began_at: Instant,
    deliveries: Deliveries<D>,
    begun: Begun,
    /// Whether it is held: the backend knows, and no order is behind it any more.
    held: bool,
}

/// What is known of an attempt that begins.
pub(crate) struct Begun {
    pub(crate) execution: Execution,
    /// How often its order had come back to its queue.
    pub(crate) returns: i64,
    /// Tells it to be held now, and tells whether that has begun.
    pub(crate) hold: Arc<HoldSignal>,
}

/// An attempt that ran, and that goes back.
pub(crate) struct GivenUp<D> {
    pub(crate) key: OrderKey,
    pub(crate) job_type: JobType,
    pub(crate) execution: Execution,
    /// Whether heartbeats kept it: the backend may count on them as soon as the hold is under way.
    pub(crate) held: bool,
    /// Whether the backend has to send its order anew.
    pub(crate) resend: bool,
    pub(crate) deliveries: Vec<D>,
}

/// What an attempt leaves behind when it ends.
pub(crate) struct EndedOrder<D> {
    pub(crate) deliveries: Vec<D>,
    /// How long it took.
    pub(crate) took: Duration,
    /// Set if its slot stays taken: fires when the handler ends. Then call [`InFlightOrders::handler_ended`].
    pub(crate) unfinished: Option<CancellationToken>,
}

impl<D> InFlightOrders<D> {
    pub(crate) fn new(slots: u32) -> Self {
        Self {
            slots: usize::try_from(slots).unwrap_or(usize::MAX),
            running: HashMap::new(),
            held: 0,
            slots_left: 0,
            unfinished_handlers: 0,
            waiting: WaitingOrders::new(),
            pace: Pace::default(),
            given_back: Vec::new(),
            released: Vec::new(),
            finished: FifoCache::new(FINISHED_ORDERS_MAX, FINISHED_BYTES_MAX),
            revoked: FifoCache::new(REVOKED_ORDERS_MAX, usize::MAX),
        }
    }

    /// Takes an order in. Never runs what runs, waits, or has been answered here already, nor what is of a bundle that came
    /// back: it may have ended a worker, and by itself it is charged with that alone.
    pub(crate) fn admit(&mut self, arrived: WaitingOrder<D>) -> Admission<D> {
        let key = OrderKey::of(&arrived.order);
        if mutant("duplicate_runs") {
            self.waiting.push(arrived);
            return Admission::Taken;
        }
        if let Some(running) = self.running.get_mut(&key) {
            if running.held {
                return Admission::Forget(arrived.deliveries.into_vec());
            }
            if arrived.returns >= RETURNS_BEFORE_HOLD {
                running.begun.hold.at_once.notify_one();
            }
            running.begun.returns = arrived.returns.max(running.begun.returns);
            running.deliveries.join(arrived.deliveries);
            return Admission::Taken;
        }
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.deliveries.join(arrived.deliveries);
            return Admission::Taken;
        }
        if let Some(answer) = self.finished.get(&key) {
            return Admission::AnswerAgain(Box::new(answer.clone()), arrived.deliveries.into_vec());
        }
        if self.revoked.get(&(key.job_id(), key.attempt())).is_some() {
            return Admission::Forget(arrived.deliveries.into_vec());
        }
        if arrived.came_in_bundle() && arrived.redelivered && !mutant("bundle_unsplit") {
            return Admission::SendAnew(arrived.deliveries.into_vec());
        }
        self.waiting.push(arrived);
        Admission::Taken
    }

    /// The next order to begin with, if there is one and a slot is free. One that asks is passed over, and so is one of a
    /// type that rests.
    pub(crate) fn next_to_begin(
        &mut self,
        now: Instant,
        rests: impl Fn(&JobType) -> bool,
    ) -> Option<WaitingOrder<D>> {
        if self.is_full() {
            return None;
        }
        self.waiting.take_first(|waiting| {
            waiting.asks_until.is_none_or(|until| until <= now) && !rests(&waiting.order.job_type)
        })
    }

    /// Whether every slot is taken.
    fn is_full(&self) -> bool {
        self.slots_busy() >= self.slots
    }

    /// The backend says that these attempts are wanted.
    pub(crate) fn proceed(&mut self, attempts: &[AttemptId]) {
        self.waiting.proceed(attempts);
    }

    /// When the first of the orders that ask has waited for long enough.
    pub(crate) fn ask_ends_at(&self, now: Instant) -> Option<Instant> {
        self.waiting.ask_ends_at(now)
    }

    /// When to look again for orders of bundles that have waited long enough for a slot; `None` while one is free.
    pub(crate) fn patience_ends_at(&self, now: Instant) -> Option<Instant> {
        if !self.is_full() {
            return None;
        }
        let is_over = self.waiting.is_any_impatient(now, 0);
        let turn_is_late = if is_over { self.pace.falls_at() } else { None };
        self.waiting.patience_ends_at(now).into_iter().chain(turn_is_late.filter(|at| now < *at)).min()
    }

    /// Takes the orders of bundles that have waited long enough for a slot, if every slot is taken, and that would wait as
    /// long again at the pace at which attempts end: another worker may have a slot. Those of a type that rests do not wait
    /// for one.
    pub(crate) fn take_impatient(&mut self, now: Instant, rests: impl Fn(&JobType) -> bool) -> Vec<D> {
        if !self.is_full() || !self.waiting.is_any_impatient(now, 0) {
            return Vec::new();
        }
        let soon = self.pace.recent(now);
        let taken = self.waiting.take_impatient(now, soon, |waiting| !rests(&waiting.order.job_type));
        deliveries_of(taken)
    }

    /// Begins an attempt.
    pub(crate) fn begin(&mut self, key: OrderKey, job: JobContext, begun: Begun, deliveries: Deliveries<D>) {
        let began_at = Instant::now();
        self.running.insert(key, RunningAttempt { job, began_at, deliveries, begun, held: false });
    }

    /// The backend knows that an attempt is held here: from now on heartbeats keep it, and its order is released.
    /// `false` if it does not run any more.
    pub(crate) fn hold(&mut self, key: &OrderKey) -> bool {
        let Some(running) = self.running.get_mut(key) else { return false };
        self.held += usize::from(!std::mem::replace(&mut running.held, true));
        let job_type = running.job.job_type().clone();
        let deliveries = running.deliveries.take();
        self.released.extend(deliveries.into_iter().map(|delivery| (job_type.clone(), delivery)));
        true
    }

    /// The released deliveries of the types for which no other order can come in their place.
    pub(crate) fn take_released(&mut self, is_closed: impl Fn(&JobType) -> bool) -> Vec<D> {
        self.released
            .extract_if(.., |(job_type, _)| is_closed(job_type))
            .map(|(_, delivery)| delivery)
            .collect()
    }

    /// Ends an attempt. Its slot is free, unless it was stopped and something still works for it.
    pub(crate) fn end(&mut self, key: &OrderKey) -> EndedOrder<D> {
        let Some(RunningAttempt { job, began_at, deliveries, held, .. }) = self.running.remove(key) else {
            return EndedOrder { deliveries: Vec::new(), took: Duration::ZERO, unfinished: None };
        };
        self.held -= usize::from(held);
        self.pace.count(Instant::now());
        let (was_stopped, handler_ended) = (job.stop_cause().is_some(), job.handler_ended());
        drop(job);
        let unfinished = Some(handler_ended).filter(|ended| was_stopped && !ended.is_cancelled());
        self.unfinished_handlers += usize::from(unfinished.is_some());
        EndedOrder { deliveries: deliveries.into_vec(), took: began_at.elapsed(), unfinished }
    }

    /// A handler that had not ended with its attempt has ended now: its slot is free.
    pub(crate) fn handler_ended(&mut self) {
        self.unfinished_handlers = self.unfinished_handlers.saturating_sub(1);
    }

    /// How many handlers have not ended with their attempts.
    pub(crate) fn unfinished_handlers(&self) -> usize {
        self.unfinished_handlers
    }

    /// How many slots serve the broker's orders: neither held attempts nor unfinished handlers take them.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.saturating_sub(self.held + self.unfinished_handlers)
    }

    /// How many slots are free, and how many orders could begin in them beside those that wait.
    pub(crate) fn room(&self) -> usize {
        self.slots.saturating_sub(self.slots_busy() + self.waiting.len())
    }

    /// The numbers that decide how many orders of a type may come.
    pub(crate) fn count(&self, job_type: &JobType) -> OrderCounts {
        let running = self.running.values().filter(|running| running.job.job_type() == job_type);
        let waiting = self.waiting.iter().filter(|waiting| waiting.order.job_type == *job_type);
        let all =
            running.map(|running| &running.deliveries).chain(waiting.map(|waiting| &waiting.deliveries));
        let (here, earlier) =
            all.map(Deliveries::counts).fold((0, 0), |sum, (here, earlier)| (sum.0 + here, sum.1 + earlier));
        OrderCounts { capacity: self.capacity(), here, earlier }
    }

    /// A new subscription begins: what is here of the type came by an earlier one.
    pub(crate) fn mark_earlier(&mut self, job_type: &JobType) {
        let running = self.running.values_mut().filter(|running| running.job.job_type() == job_type);
        running.for_each(|running| running.deliveries.mark_earlier());
        let waiting = self.waiting.deliveries_mut().filter(|(order, _)| order.job_type == *job_type);
        waiting.for_each(|(_, deliveries)| deliveries.mark_earlier());
    }

    /// Takes the orders of a type that wait here for slots that are taken for long, the youngest first. One that
    /// has been returned often enough stays: it must not reach the delivery limit for being unlucky.
    pub(crate) fn take_surplus(&mut self, job_type: &JobType) -> Vec<D> {
        let running = |running: &&RunningAttempt<D>| running.job.job_type() == job_type && !running.held;
        let room = self.capacity().saturating_sub(self.running.values().filter(running).count());
        let waiting = self.waiting.iter().filter(|waiting| waiting.order.job_type == *job_type).count();
        let taken = self.waiting.take_youngest(waiting.saturating_sub(room), |waiting| {
            waiting.order.job_type == *job_type && waiting.returns < RETURNS_MAX
        });
        deliveries_of(taken)
    }

    /// Takes the orders that wait here, except for those that have been returned often enough, that wait for a word
    /// and not for a slot, or that came in a bundle: these have a patience of their own.
    pub(crate) fn take_waiting_for_others(&mut self) -> Vec<D> {
        let goes = |waiting: &WaitingOrder<D>| {
            waiting.returns < RETURNS_MAX && !waiting.asks() && !waiting.came_in_bundle()
        };
        deliveries_of(self.waiting.take_all(goes))
    }

    /// Remembers the answer to an order, in case that the broker delivers it again.
    pub(crate) fn remember_answer(&mut self, key: OrderKey, answer: OutboundMessage) {
        let bytes = answer.body.len();
        self.finished.insert(key, answer, bytes);
    }

    /// Keeps deliveries until they can be given back: now, the broker would return them to this very worker.
    pub(crate) fn give_back_later(&mut self, job_type: &JobType, deliveries: Vec<D>) {
        self.given_back.extend(deliveries.into_iter().map(|delivery| (job_type.clone(), delivery)));
    }

    pub(crate) fn cancel(&mut self, job_id: JobId, attempt: Attempt) -> Cancellation<D> {
        if let Some((_, running)) = self.running.iter().find(|(key, _)| key.is(job_id, attempt)) {
            running.job.stop(StopCause::Cancelled);
            return Cancellation::Told;
        }
        self.waiting
            .take(job_id, attempt)
            .map_or(Cancellation::Unknown, |waiting| Cancellation::NotBegun(Box::new(waiting)))
    }

    /// An attempt is not wanted. One that runs is told to stop; an order that waits here is forgotten, and so is
    /// one that comes later. Returns what to acknowledge.
    pub(crate) fn revoke(&mut self, job_id: JobId, attempt: Attempt) -> Vec<D> {
        self.revoked.insert((job_id, attempt), (), 0);
        match self.cancel(job_id, attempt) {
            Cancellation::NotBegun(waiting) => waiting.deliveries.into_vec(),
            Cancellation::Told | Cancellation::Unknown => Vec::new(),
        }
    }

    /// The orders of these types that have not begun.
    pub(crate) fn take_unbegun(&mut self, of: impl Fn(&JobType) -> bool) -> Vec<WaitingOrder<D>> {
        self.waiting.take_all(|waiting| of(&waiting.order.job_type))
    }

    /// The deliveries of these types that were to be given back.
    pub(crate) fn take_given_back(&mut self, of: impl Fn(&JobType) -> bool) -> Vec<D> {
        self.given_back.extract_if(.., |(job_type, _)| of(job_type)).map(|(_, delivery)| delivery).collect()
    }

    /// What runs, to be given up.
    pub(crate) fn take_running(&mut self) -> Vec<GivenUp<D>> {
        let running =
            self.running.drain().map(|(key, RunningAttempt { job, deliveries, begun, held, .. })| {
                let Begun { execution, returns, hold } = begun;
                let held = held || hold.has_begun();
                let resend = held || returns >= RETURNS_MAX;
                let (job_type, deliveries) = (job.job_type().clone(), deliveries.into_vec());
                GivenUp { key, job_type, execution, held, resend, deliveries }
            });
        running.collect()
    }

    /// The session is gone and every delivery with it: the broker delivers again what is not acknowledged.
    /// What runs goes on, and takes up its order when that comes back.
    pub(crate) fn forget_deliveries(&mut self) {
        self.waiting.clear();
        self.given_back.clear();
        self.released.clear();
        self.running.values_mut().for_each(|running| drop(running.deliveries.take()));
    }

    /// The worker leaves and hands back what runs: tells the handlers, of which those outside the runtime's
    /// control (in `spawn_blocking`) cannot be dropped.
    pub(crate) fn stop_all(&self) {
        self.running.values().for_each(|running| running.job.stop(StopCause::HandedBack));
    }

    /// Whether nothing runs or waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
            && self.waiting.is_empty()
            && self.given_back.is_empty()
            && self.released.is_empty()
    }

    /// How many orders are unfinished.
    pub(crate) fn unfinished(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    /// How many attempts of each type run.
    pub(crate) fn running_types(&self) -> BTreeMap<&JobType, usize> {
        let mut types = BTreeMap::new();
        for running in self.running.values() {
            *types.entry(running.job.job_type()).or_default() += 1;
        }
        types
    }

    /// How many slots are taken.
    pub(crate) fn slots_busy(&self) -> usize {
        self.running.len().saturating_sub(self.slots_left) + self.unfinished_handlers
    }

    /// So many attempts have left their slots, and only wait for the confirm of their answers.
    pub(crate) fn set_slots_left(&mut self, slots_left: usize) {
        self.slots_left = slots_left;
    }

    /// What is here, for the heartbeat: what runs, then what waits. The backend sends again what nobody lists.
    pub(crate) fn listed(&self) -> Vec<RunningOrder> {
        let is_listed = |running: &RunningAttempt<D>| !(running.held && mutant("held_unlisted"));
        let running = self.running.iter().filter(|(_, running)| is_listed(running));
        let running = running.map(|(key, running)| (*key, running.held, false));
        let waiting =
            self.waiting.iter().map(|waiting| (OrderKey::of(&waiting.order), false, waiting.asks()));
        running
            .chain(waiting)
            .take(ORDERS_LISTED_MAX)
            .map(|(key, held, asks)| RunningOrder {
                job_id: key.job_id(),
                attempt: key.attempt(),
                held,
                asks,
            })
            .collect()
    }
}

fn deliveries_of<D>(taken: Vec<WaitingOrder<D>>) -> Vec<D> {
    taken.into_iter().flat_map(|waiting| waiting.deliveries.into_vec()).collect()
}

#[cfg(test)]
#[path = "in_flight_orders_tests.rs"]
mod tests;
