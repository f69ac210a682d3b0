use crewcall_proto::{JobType, JsonObject, PROTOCOL_VERSION, Timestamp};
use futures_util::FutureExt;

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
        max_attempts: 5,
        parameters: JsonObject::new(),
        timeout_ms: None,
        expires_at: None,
        created_at: Timestamp::from_millis(0),
    }
}

fn arrive(book: &mut Book, order: &Order, delivery: u32) -> Admission<u32> {
    arrive_again(book, order, 0, delivery)
}

fn arrive_again(book: &mut Book, order: &Order, returns: i64, delivery: u32) -> Admission<u32> {
    let (order, deliveries) = (order.clone(), Deliveries::one(delivery));
    book.admit(WaitingOrder {
        order,
        redelivered: false,
        returns,
        traceparent: None,
        asks_until: None,
        deliveries,
    })
}

/// Begins the next order, as the crew does.
fn begin(book: &mut Book) -> Option<JobContext> {
    begin_told_by(book, Arc::default())
}

fn begin_told_by(book: &mut Book, hold: Arc<HoldSignal>) -> Option<JobContext> {
    let waiting = book.next_to_begin(Instant::now(), |_| false)?;
    let job = JobContext::new(&waiting.order, ProgressBoard::new(None).0);
    let begun =
        Begun { execution: Execution::beginning(waiting.redelivered), returns: waiting.returns, hold };
    book.began(OrderKey::of(&waiting.order), job.clone(), begun, waiting.deliveries);
    Some(job)
}

#[test]
fn orders_wait_for_a_slot_and_begin_in_their_order() {
    let (mut book, orders) = (Book::new(1), [order(), order()]);
    arrive(&mut book, &orders[0], 1);
    arrive(&mut book, &orders[1], 2);
    assert_eq!(begin(&mut book).unwrap().id(), orders[0].job_id);
    assert!(begin(&mut book).is_none());
    assert_eq!(book.ended(&OrderKey::of(&orders[0])).deliveries, [1]);
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
    assert_eq!(book.ended(&OrderKey::of(&order)).deliveries, [1, 2, 3]);
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
    let left = book.ended(&OrderKey::of(&orders[0])).deliveries;
    assert_eq!(left, [3], "the old delivery is gone with its session");
}

#[test]
fn a_running_attempt_whose_order_keeps_coming_back_is_held() {
    let (mut book, order, told) = (Book::new(1), order(), Arc::<HoldSignal>::default());
    arrive(&mut book, &order, 1);
    begin_told_by(&mut book, Arc::clone(&told)).unwrap();
    for returns in 0..=RETURNS_BEFORE_HOLD {
        assert!(told.at_once.notified().now_or_never().is_none(), "{returns} returns");
        book.session_lost();
        assert!(matches!(arrive_again(&mut book, &order, returns, 2), Admission::Taken));
    }
    assert!(told.at_once.notified().now_or_never().is_some());
    assert!(book.hold(&OrderKey::of(&order)));
    assert_eq!(book.take_released(|_| true), [2], "before the broker gives it up");
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
    assert!(matches!(arrive(&mut book, &orders[0], 1), Admission::Forget(deliveries) if deliveries == [1]));
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
    assert_eq!(waiting.deliveries.into_vec(), [2]);
}

#[test]
fn a_revoked_attempt_that_runs_is_stopped() {
    let (mut book, order) = (Book::new(1), order());
    arrive(&mut book, &order, 1);
    let job = begin(&mut book).unwrap();
    assert_eq!(book.revoke(order.job_id, Attempt::FIRST), [0; 0]);
    assert_eq!(job.stop_cause(), Some(StopCause::Cancelled));
    assert_eq!(book.listed().len(), 1, "it is here until it has answered");
}

#[test]
fn a_held_attempt_releases_its_order_and_takes_its_slot_from_the_broker() {
    let (mut book, orders) = (Book::new(2), [order(), order()]);
    let job_type = orders[0].job_type.clone();
    arrive(&mut book, &orders[0], 1);
    arrive(&mut book, &orders[1], 2);
    begin(&mut book).unwrap();
    begin(&mut book).unwrap();
    assert_eq!(book.tally(&job_type), Tally { capacity: 2, here: 2, earlier: 0 });
    assert!(book.hold(&OrderKey::of(&orders[0])));
    assert_eq!(book.tally(&job_type), Tally { capacity: 1, here: 1, earlier: 0 });
    assert_eq!(book.take_released(|_| false), [0; 0], "another order could come in its place");
    assert!(matches!(arrive(&mut book, &orders[0], 3), Admission::Forget(deliveries) if deliveries == [3]));
    assert_eq!(book.take_released(|released| *released == job_type), [1]);
    let listed: Vec<_> = book.listed().iter().map(|order| (order.job_id, order.held)).collect();
    assert!(listed.contains(&(orders[0].job_id, true)) && listed.contains(&(orders[1].job_id, false)));
    assert_eq!(book.ended(&OrderKey::of(&orders[0])).deliveries, [0; 0], "nothing is left to acknowledge");
    assert_eq!(book.capacity(), 2);
    assert!(!book.hold(&OrderKey::of(&orders[0])), "it has ended meanwhile");
}

#[test]
fn a_held_attempt_survives_its_session() {
    let (mut book, order) = (Book::new(1), order());
    arrive(&mut book, &order, 1);
    begin(&mut book).unwrap();
    book.hold(&OrderKey::of(&order));
    book.session_lost();
    assert_eq!(book.take_released(|_| true), [0; 0], "its acknowledgement is of no use any more");
    assert!(book.listed()[0].held);
    assert!(matches!(arrive(&mut book, &order, 2), Admission::Forget(_)), "and so the order came back");
}

#[test]
fn a_new_subscription_counts_what_an_earlier_one_brought() {
    let (mut book, orders) = (Book::new(3), [order(), order(), order()]);
    let job_type = orders[0].job_type.clone();
    arrive(&mut book, &orders[0], 1);
    begin(&mut book).unwrap();
    arrive(&mut book, &orders[1], 2);
    book.mark_earlier(&job_type);
    arrive(&mut book, &orders[2], 3);
    assert_eq!(book.tally(&job_type), Tally { capacity: 3, here: 3, earlier: 2 });
    book.ended(&OrderKey::of(&orders[0]));
    assert_eq!(book.tally(&job_type), Tally { capacity: 3, here: 2, earlier: 1 });
    book.session_lost();
    assert_eq!(book.tally(&job_type), Tally { capacity: 3, here: 0, earlier: 0 });
}

#[test]
fn what_waits_for_a_slot_that_is_held_goes_back_but_not_for_ever() {
    let (mut book, orders) = (Book::new(1), [order(), order(), order()]);
    let job_type = orders[0].job_type.clone();
    arrive(&mut book, &orders[0], 1);
    begin(&mut book).unwrap();
    arrive_again(&mut book, &orders[1], RETURNS_MAX, 2);
    arrive(&mut book, &orders[2], 3);
    assert_eq!(book.listed().len(), 3, "what waits is listed");
    assert_eq!(book.slots_busy(), 1);
    book.hold(&OrderKey::of(&orders[0]));
    assert_eq!(book.take_surplus(&job_type), [3], "the other one was returned often enough");
    assert_eq!(book.take_surplus(&job_type), [0; 0]);
    assert_eq!(book.unfinished(), 2);
}

#[test]
fn a_stopped_handler_that_does_not_end_keeps_its_slot() {
    let (mut book, orders) = (Book::new(1), [order(), order()]);
    arrive(&mut book, &orders[0], 1);
    let thread = begin(&mut book).unwrap();
    arrive(&mut book, &orders[1], 2);
    thread.stop(StopCause::TimedOut);
    let left = book.ended(&OrderKey::of(&orders[0]));
    let gone = left.lingers.unwrap();
    assert_eq!((left.deliveries, book.capacity(), book.slots_busy()), (vec![1], 0, 1));
    assert!(begin(&mut book).is_none() && !gone.is_cancelled());
    drop(thread);
    assert!(gone.is_cancelled());
    book.handler_gone();
    assert!(begin(&mut book).is_some());
}

#[test]
fn a_drain_gives_back_what_has_not_begun() {
    let (mut book, orders) = (Book::new(1), [order(), order()]);
    arrive(&mut book, &orders[0], 1);
    begin(&mut book).unwrap();
    arrive(&mut book, &orders[1], 2);
    let job_type = JobType::new("test").unwrap();
    book.give_back_later(&job_type, vec![3]);
    assert_eq!(book.take_given_back(|closed| *closed != job_type), [] as [u32; 0]);
    assert_eq!(book.take_given_back(|closed| *closed == job_type), [3]);
    let unbegun = book.take_unbegun(|_| true).into_iter();
    assert_eq!(unbegun.flat_map(|waiting| waiting.deliveries.into_vec()).collect::<Vec<_>>(), [2]);
    assert!(!book.is_empty());
    book.ended(&OrderKey::of(&orders[0]));
    assert!(book.is_empty());
}

#[test]
fn what_waits_beside_slots_that_are_taken_goes_to_others_but_not_for_ever() {
    let (mut book, orders) = (Book::new(2), [order(), order(), order()]);
    arrive(&mut book, &orders[0], 1);
    assert_eq!(book.room(), 1);
    begin(&mut book).unwrap();
    arrive_again(&mut book, &orders[1], RETURNS_MAX, 2);
    arrive(&mut book, &orders[2], 3);
    assert_eq!(book.room(), 0);
    assert_eq!(book.take_waiting_for_others(), [3]);
    assert_eq!(book.take_waiting_for_others(), [0; 0], "the other one was returned often enough");
    assert_eq!(begin(&mut book).unwrap().id(), orders[1].job_id);
}

#[test]
fn an_order_that_asks_lets_others_go_first_and_begins_when_it_is_wanted_or_nobody_answers() {
    let (mut book, orders) = (Book::new(3), [order(), order(), order()]);
    let (now, patience) = (Instant::now(), Duration::from_secs(2));
    for (delivery, order) in (1..).zip(&orders) {
        let asks_until = (delivery != 2).then(|| now + patience);
        let (order, deliveries) = (order.clone(), Deliveries::one(delivery));
        let redelivered = asks_until.is_some();
        book.admit(WaitingOrder {
            order,
            redelivered,
            returns: 0,
            traceparent: None,
            asks_until,
            deliveries,
        });
    }
    let next = |book: &mut Book, now| book.next_to_begin(now, |_| false).map(|it| it.order.job_id);
    assert_eq!(book.listed().iter().map(|order| order.asks).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(next(&mut book, now), Some(orders[1].job_id));
    assert_eq!(next(&mut book, now), None);
    let [first, .., last] = &orders;
    book.proceed(&[AttemptId { job_id: last.job_id, attempt: last.attempt }]);
    assert_eq!(next(&mut book, now), Some(last.job_id));
    assert_eq!(book.ask_ends_at(now), Some(now + patience));
    assert_eq!(next(&mut book, now + patience), Some(first.job_id), "the backend may be away");
}

#[test]
fn what_runs_is_given_up_with_what_the_backend_has_to_send_anew() {
    let (mut book, orders) = (Book::new(3), [order(), order(), order()]);
    for (returns, order) in (0..).zip(&orders) {
        arrive_again(&mut book, order, returns, 1);
        begin(&mut book).unwrap();
    }
    book.hold(&OrderKey::of(&orders[0]));
    let mut given_up = book.take_running();
    given_up.sort_by_key(|given_up| orders.iter().position(|order| OrderKey::of(order) == given_up.key));
    let resend: Vec<(bool, bool)> =
        given_up.iter().map(|given_up| (given_up.held, given_up.resend)).collect();
    assert_eq!(resend, [(true, true), (false, false), (false, true)], "held, returned once, returned twice");
}
