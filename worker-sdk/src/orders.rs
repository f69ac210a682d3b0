//! The orders that are here: which run, which wait for a slot, which were answered already.
//!
//! Pure bookkeeping, so that its rules are tested without a broker. `D` is a delivery: what must be
//! acknowledged in the end.

use std::collections::{HashMap, VecDeque};

use crewcall_amqp::OutboundMessage;
use crewcall_proto::{Attempt, AttemptToken, JobId, Order, discovery::RunningOrder};

use crate::{
    context::{JobContext, StopCause},
    limits::{FINISHED_BYTES_MAX, FINISHED_ORDERS_MAX, REVOKED_ORDERS_MAX},
    memory::BoundedMemory,
};

/// What tells one attempt from every other. With the token, so that a job that was started over (its
/// attempts counted from 1 again) is not answered from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct OrderKey {
    job_id: JobId,
    attempt: Attempt,
    attempt_token: AttemptToken,
}

impl OrderKey {
    pub(crate) fn of(order: &Order) -> Self {
        Self { job_id: order.job_id, attempt: order.attempt, attempt_token: order.attempt_token }
    }

    fn is(&self, job_id: JobId, attempt: Attempt) -> bool {
        self.job_id == job_id && self.attempt == attempt
    }
}

/// An order that waits for a slot, with every delivery of it.
pub(crate) struct WaitingOrder<D> {
    pub(crate) order: Order,
    /// Whether the broker may have delivered it before.
    pub(crate) redelivered: bool,
    pub(crate) traceparent: Option<String>,
    pub(crate) deliveries: Vec<D>,
}

/// What to do with an order that arrived.
pub(crate) enum Admission<D> {
    /// It waits for a slot now, or joined the same order that waits or runs already: nothing to do.
    Taken,
    /// This process has answered it before: send the answer again, then acknowledge.
    AnswerAgain(Box<OutboundMessage>, Vec<D>),
    /// It was revoked: acknowledge it.
    Forget(Vec<D>),
}

/// What a cancellation met.
pub(crate) enum Cancellation<D> {
    /// A running attempt, which has been told.
    Told,
    /// An order that had not begun: answer for it.
    NotBegun(Box<WaitingOrder<D>>),
    /// Nothing that is here.
    Unknown,
}

/// The orders that are here.
pub(crate) struct OrderBook<D> {
    slots: usize,
    running: HashMap<OrderKey, RunningAttempt<D>>,
    waiting: VecDeque<WaitingOrder<D>>,
    /// Deliveries to give back without an answer, once no more orders come in.
    given_back: Vec<D>,
    finished: BoundedMemory<OrderKey, OutboundMessage>,
    revoked: BoundedMemory<(JobId, Attempt), ()>,
}

struct RunningAttempt<D> {
    job: JobContext,
    /// More than one if the order was published or delivered twice; none after the session was lost.
    deliveries: Vec<D>,
}

impl<D> OrderBook<D> {
    pub(crate) fn new(slots: u32) -> Self {
        Self {
            slots: usize::try_from(slots).unwrap_or(usize::MAX),
            running: HashMap::new(),
            waiting: VecDeque::new(),
            given_back: Vec::new(),
            finished: BoundedMemory::new(FINISHED_ORDERS_MAX, FINISHED_BYTES_MAX),
            revoked: BoundedMemory::new(REVOKED_ORDERS_MAX, usize::MAX),
        }
    }

    /// Takes an order in. Never runs what runs, waits, or has been answered here already.
    pub(crate) fn admit(&mut self, mut arrived: WaitingOrder<D>) -> Admission<D> {
        let key = OrderKey::of(&arrived.order);
        if let Some(running) = self.running.get_mut(&key) {
            running.deliveries.append(&mut arrived.deliveries);
            return Admission::Taken;
        }
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| OrderKey::of(&waiting.order) == key) {
            waiting.deliveries.append(&mut arrived.deliveries);
            return Admission::Taken;
        }
        if let Some(answer) = self.finished.get(&key) {
            return Admission::AnswerAgain(Box::new(answer.clone()), arrived.deliveries);
        }
        if self.revoked.get(&(arrived.order.job_id, arrived.order.attempt)).is_some() {
            return Admission::Forget(arrived.deliveries);
        }
        self.waiting.push_back(arrived);
        Admission::Taken
    }

    /// The next order to begin with, if there is one and a slot is free.
    pub(crate) fn next_to_begin(&mut self) -> Option<WaitingOrder<D>> {
        if self.running.len() < self.slots { self.waiting.pop_front() } else { None }
    }

    /// An attempt began.
    pub(crate) fn began(&mut self, key: OrderKey, job: JobContext, deliveries: Vec<D>) {
        self.running.insert(key, RunningAttempt { job, deliveries });
    }

    /// An attempt ended: its slot is free. Returns its deliveries.
    pub(crate) fn ended(&mut self, key: &OrderKey) -> Vec<D> {
        self.running.remove(key).map(|running| running.deliveries).unwrap_or_default()
    }

    /// Remembers the answer to an order, in case that the broker delivers it again.
    pub(crate) fn answered(&mut self, key: OrderKey, answer: OutboundMessage) {
        let bytes = answer.body.len();
        self.finished.insert(key, answer, bytes);
    }

    /// Keeps deliveries until they can be given back: now, the broker would return them to this very worker.
    pub(crate) fn give_back_later(&mut self, mut deliveries: Vec<D>) {
        self.given_back.append(&mut deliveries);
    }

    pub(crate) fn cancel(&mut self, job_id: JobId, attempt: Attempt) -> Cancellation<D> {
        if let Some((_, running)) = self.running.iter().find(|(key, _)| key.is(job_id, attempt)) {
            running.job.stop(StopCause::Cancelled);
            return Cancellation::Told;
        }
        self.take_waiting(job_id, attempt)
            .map_or(Cancellation::Unknown, |waiting| Cancellation::NotBegun(Box::new(waiting)))
    }

    /// An attempt must not begin any more. Returns the deliveries of its order if it waits here; a running one goes on.
    pub(crate) fn revoke(&mut self, job_id: JobId, attempt: Attempt) -> Vec<D> {
        self.revoked.insert((job_id, attempt), (), 0);
        self.take_waiting(job_id, attempt).map(|waiting| waiting.deliveries).unwrap_or_default()
    }

    /// Every delivery whose order has not begun, to be given back.
    pub(crate) fn take_unbegun(&mut self) -> Vec<D> {
        let waiting = self.waiting.drain(..).flat_map(|waiting| waiting.deliveries);
        waiting.chain(self.given_back.drain(..)).collect()
    }

    /// The session is gone and every delivery with it: the broker delivers again what is not acknowledged.
    /// What runs goes on, and takes up its order when that comes back.
    pub(crate) fn session_lost(&mut self) {
        self.waiting.clear();
        self.given_back.clear();
        self.running.values_mut().for_each(|running| running.deliveries.clear());
    }

    /// The worker leaves and hands back what runs: tells the handlers, of which those outside the runtime's
    /// control (in `spawn_blocking`) cannot be dropped.
    pub(crate) fn stop_all(&self) {
        self.running.values().for_each(|running| running.job.stop(StopCause::HandedBack));
    }

    /// Whether nothing runs or waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.given_back.is_empty()
    }

    /// How many orders are unfinished.
    pub(crate) fn unfinished(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    /// What runs, for the heartbeat.
    pub(crate) fn running(&self) -> Vec<RunningOrder> {
        self.running
            .keys()
            .map(|key| RunningOrder { job_id: key.job_id, attempt: key.attempt, held: false })
            .collect()
    }

    fn take_waiting(&mut self, job_id: JobId, attempt: Attempt) -> Option<WaitingOrder<D>> {
        let at = self.waiting.iter().position(|waiting| OrderKey::of(&waiting.order).is(job_id, attempt))?;
        self.waiting.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use crewcall_proto::{JobType, JsonObject, PROTOCOL_VERSION, Timestamp};

    use super::*;
    use crate::progress::ProgressBoard;

    /// A book in which a delivery is a number.
    type Book = OrderBook<u32>;

    fn order() -> Order {
        Order {
            protocol: PROTOCOL_VERSION,
            job_id: JobId::generate(),
            job_type: JobType::new("test").unwrap(),
            attempt: Attempt::FIRST,
            attempt_token: AttemptToken::generate(),
            attempts_max: 5,
            parameters: JsonObject::new(),
            timeout_ms: None,
            expires_at: None,
            created_at: Timestamp::from_millis(0),
        }
    }

    fn arrive(book: &mut Book, order: &Order, delivery: u32) -> Admission<u32> {
        let deliveries = vec![delivery];
        book.admit(WaitingOrder { order: order.clone(), redelivered: false, traceparent: None, deliveries })
    }

    /// Begins the next order, as the crew does.
    fn begin(book: &mut Book) -> Option<JobContext> {
        let waiting = book.next_to_begin()?;
        let job = JobContext::new(&waiting.order, ProgressBoard::new(None).0);
        book.began(OrderKey::of(&waiting.order), job.clone(), waiting.deliveries);
        Some(job)
    }

    #[test]
    fn orders_wait_for_a_slot_and_begin_in_their_order() {
        let (mut book, orders) = (Book::new(1), [order(), order()]);
        arrive(&mut book, &orders[0], 1);
        arrive(&mut book, &orders[1], 2);
        assert_eq!(begin(&mut book).unwrap().id(), orders[0].job_id);
        assert!(begin(&mut book).is_none());
        assert_eq!(book.ended(&OrderKey::of(&orders[0])), [1]);
        assert_eq!(begin(&mut book).unwrap().id(), orders[1].job_id);
    }

    #[test]
    fn an_order_that_comes_twice_runs_once_and_is_acknowledged_twice() {
        let (mut book, order) = (Book::new(2), order());
        arrive(&mut book, &order, 1);
        assert!(matches!(arrive(&mut book, &order, 2), Admission::Taken));
        begin(&mut book).unwrap();
        assert!(matches!(arrive(&mut book, &order, 3), Admission::Taken));
        assert!(begin(&mut book).is_none(), "it must not run beside itself");
        assert_eq!(book.ended(&OrderKey::of(&order)), [1, 2, 3]);
    }

    #[test]
    fn a_running_attempt_outlives_its_session_and_takes_up_its_order_again() {
        let (mut book, orders) = (Book::new(1), [order(), order()]);
        arrive(&mut book, &orders[0], 1);
        begin(&mut book).unwrap();
        arrive(&mut book, &orders[1], 2);
        book.session_lost();
        assert_eq!(book.unfinished(), 1, "what had not begun comes back with the next session");
        assert!(matches!(arrive(&mut book, &orders[0], 3), Admission::Taken));
        assert_eq!(book.ended(&OrderKey::of(&orders[0])), [3], "the old delivery is gone with its session");
    }

    #[test]
    fn an_answered_order_is_answered_again_but_not_for_another_token() {
        let (mut book, mut order) = (Book::new(1), order());
        book.answered(OrderKey::of(&order), OutboundMessage::default());
        assert!(
            matches!(arrive(&mut book, &order, 1), Admission::AnswerAgain(_, deliveries) if deliveries == [1])
        );
        order.attempt_token = AttemptToken::generate();
        assert!(matches!(arrive(&mut book, &order, 2), Admission::Taken));
    }

    #[test]
    fn a_revoked_order_is_forgotten_wherever_it_is() {
        let (mut book, orders) = (Book::new(1), [order(), order()]);
        assert_eq!(book.revoke(orders[0].job_id, Attempt::FIRST), [0; 0]);
        assert!(
            matches!(arrive(&mut book, &orders[0], 1), Admission::Forget(deliveries) if deliveries == [1])
        );
        arrive(&mut book, &orders[1], 2);
        assert_eq!(book.revoke(orders[1].job_id, Attempt::FIRST), [2]);
        assert!(book.is_empty());
    }

    #[test]
    fn a_cancellation_reaches_what_runs_and_what_waits() {
        let (mut book, orders) = (Book::new(1), [order(), order()]);
        arrive(&mut book, &orders[0], 1);
        arrive(&mut book, &orders[1], 2);
        let job = begin(&mut book).unwrap();
        assert!(matches!(book.cancel(orders[0].job_id, Attempt::FIRST.next()), Cancellation::Unknown));
        assert!(!job.is_cancelled());
        assert!(matches!(book.cancel(orders[0].job_id, Attempt::FIRST), Cancellation::Told));
        assert!(job.is_cancelled());
        let Cancellation::NotBegun(waiting) = book.cancel(orders[1].job_id, Attempt::FIRST) else {
            unreachable!("it waits for a slot")
        };
        assert_eq!(waiting.deliveries, [2]);
    }

    #[test]
    fn a_drain_gives_back_what_has_not_begun() {
        let (mut book, orders) = (Book::new(1), [order(), order()]);
        arrive(&mut book, &orders[0], 1);
        begin(&mut book).unwrap();
        arrive(&mut book, &orders[1], 2);
        book.give_back_later(vec![3]);
        assert_eq!(book.take_unbegun(), [2, 3]);
        assert!(!book.is_empty());
        book.ended(&OrderKey::of(&orders[0]));
        assert!(book.is_empty());
    }
}
