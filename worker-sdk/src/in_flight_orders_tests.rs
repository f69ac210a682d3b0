use crewcall_proto::{AttemptToken, JobType, Order};
use futures_util::FutureExt;

use super::*;
use crate::{
    emitter::Emitter,
    progress::ProgressBoard,
    testing::{Recorder, Setup},
};

#[path = "in_flight_bundles_tests.rs"]
mod bundles;

/// Orders whose deliveries are numbers.
type InFlight = InFlightOrders<u32>;

fn order() -> Order {
    Setup::new().order(&JobType::new("test").unwrap())
}

fn arrive(in_flight: &mut InFlight, order: &Order, delivery: u32) -> Admission<u32> {
    arrive_again(in_flight, order, 0, delivery)
}

fn arrive_again(in_flight: &mut InFlight, order: &Order, returns: i64, delivery: u32) -> Admission<u32> {
    let (order, deliveries) = (order.clone(), Deliveries::one(delivery));
    in_flight.admit(WaitingOrder {
        order,
        redelivered: false,
        returns,
        traceparent: None,
        asks_until: None,
        patient_until: None,
        deliveries,
    })
}

/// Begins the next order, as the worker loop does.
fn begin<D>(in_flight: &mut InFlightOrders<D>) -> Option<JobContext> {
    begin_told_by(in_flight, Arc::default())
}

fn begin_told_by<D>(in_flight: &mut InFlightOrders<D>, hold: Arc<HoldSignal>) -> Option<JobContext> {
    let waiting = in_flight.next_to_begin(Instant::now(), |_| false)?;
    let order = &waiting.order;
    let emitter = Emitter::new(order.job_type.clone(), Arc::default(), Box::<Recorder>::default());
    let job = JobContext::new(order, None, ProgressBoard::new(None).0, emitter);
    let begun =
        Begun { execution: Execution::beginning(waiting.redelivered), returns: waiting.returns, hold };
    in_flight.begin(OrderKey::of(&waiting.order), job.clone(), begun, waiting.deliveries);
    Some(job)
}

#[test]
fn orders_wait_for_a_slot_and_begin_in_their_order() {
    let (mut in_flight, orders) = (InFlight::new(1), [order(), order()]);
    arrive(&mut in_flight, &orders[0], 1);
    arrive(&mut in_flight, &orders[1], 2);
    assert_eq!(begin(&mut in_flight).unwrap().id(), orders[0].job_id);
    assert!(begin(&mut in_flight).is_none());
    assert_eq!(in_flight.end(&OrderKey::of(&orders[0])).deliveries, [1]);
    assert_eq!(begin(&mut in_flight).unwrap().id(), orders[1].job_id);
}

#[test]
fn an_order_that_comes_twice_runs_once_and_is_acknowledged_twice() {
    let (mut in_flight, order) = (InFlight::new(2), order());
    arrive(&mut in_flight, &order, 1);
    assert!(matches!(arrive(&mut in_flight, &order, 2), Admission::Taken));
    begin(&mut in_flight).unwrap();
    assert!(matches!(arrive(&mut in_flight, &order, 3), Admission::Taken));
    assert!(begin(&mut in_flight).is_none(), "it must not run beside itself");
    assert_eq!(in_flight.end(&OrderKey::of(&order)).deliveries, [1, 2, 3]);
}

#[test]
fn a_running_attempt_outlives_its_session_and_takes_up_its_order_again() {
    let (mut in_flight, orders) = (InFlight::new(1), [order(), order()]);
    arrive(&mut in_flight, &orders[0], 1);
    begin(&mut in_flight).unwrap();
    arrive(&mut in_flight, &orders[1], 2);
    in_flight.forget_deliveries();
    assert_eq!(in_flight.unfinished(), 1, "what had not begun comes back with the next session");
    assert!(matches!(arrive(&mut in_flight, &orders[0], 3), Admission::Taken));
    let left = in_flight.end(&OrderKey::of(&orders[0])).deliveries;
    assert_eq!(left, [3], "the old delivery is gone with its session");
}

#[test]
fn a_running_attempt_whose_order_keeps_coming_back_is_held() {
    let (mut in_flight, order, told) = (InFlight::new(1), order(), Arc::<HoldSignal>::default());
    arrive(&mut in_flight, &order, 1);
    begin_told_by(&mut in_flight, Arc::clone(&told)).unwrap();
    for returns in 0..=RETURNS_BEFORE_HOLD {
        assert!(told.at_once.notified().now_or_never().is_none(), "{returns} returns");
        in_flight.forget_deliveries();
        assert!(matches!(arrive_again(&mut in_flight, &order, returns, 2), Admission::Taken));
    }
    assert!(told.at_once.notified().now_or_never().is_some());
    assert!(in_flight.hold(&OrderKey::of(&order)));
    assert_eq!(in_flight.take_released(|_| true), [2], "before the broker gives it up");
}

#[test]
fn an_answered_order_is_answered_again_but_not_for_another_token() {
    let (mut in_flight, mut order) = (InFlight::new(1), order());
    in_flight.remember_answer(OrderKey::of(&order), OutboundMessage::default());
    assert!(
        matches!(arrive(&mut in_flight, &order, 1), Admission::AnswerAgain(_, deliveries) if deliveries == [1])
    );
    order.attempt_token = AttemptToken::generate();
    assert!(matches!(arrive(&mut in_flight, &order, 2), Admission::Taken));
}

#[test]
fn a_revoked_order_is_forgotten_wherever_it_is() {
    let (mut in_flight, orders) = (InFlight::new(1), [order(), order()]);
    assert_eq!(in_flight.revoke(orders[0].job_id, Attempt::FIRST), [0; 0]);
    assert!(
        matches!(arrive(&mut in_flight, &orders[0], 1), Admission::Forget(deliveries) if deliveries == [1])
    );
    arrive(&mut in_flight, &orders[1], 2);
    assert_eq!(in_flight.revoke(orders[1].job_id, Attempt::FIRST), [2]);
    assert!(in_flight.is_empty());
}

#[test]
fn a_cancellation_reaches_what_runs_and_what_waits() {
    let (mut in_flight, orders) = (InFlight::new(1), [order(), order()]);
    arrive(&mut in_flight, &orders[0], 1);
    arrive(&mut in_flight, &orders[1], 2);
    let job = begin(&mut in_flight).unwrap();
    assert!(matches!(in_flight.cancel(orders[0].job_id, Attempt::FIRST.next()), Cancellation::Unknown));
    assert!(!job.is_cancelled());
    assert!(matches!(in_flight.cancel(orders[0].job_id, Attempt::FIRST), Cancellation::Told));
    assert!(job.is_cancelled());
    let Cancellation::NotBegun(waiting) = in_flight.cancel(orders[1].job_id, Attempt::FIRST) else {
        unreachable!("it waits for a slot")
    };
    assert_eq!(waiting.deliveries.into_vec(), [2]);
}

#[test]
fn a_revoked_attempt_that_runs_is_stopped() {
    let (mut in_flight, order) = (InFlight::new(1), order());
    arrive(&mut in_flight, &order, 1);
    let job = begin(&mut in_flight).unwrap();
    assert_eq!(in_flight.revoke(order.job_id, Attempt::FIRST), [0; 0]);
    assert_eq!(job.stop_cause(), Some(StopCause::Cancelled));
    assert_eq!(in_flight.listed().len(), 1, "it is here until it has answered");
}

#[test]
fn a_held_attempt_releases_its_order_and_takes_its_slot_from_the_broker() {
    let (mut in_flight, orders) = (InFlight::new(2), [order(), order()]);
    let job_type = orders[0].job_type.clone();
    arrive(&mut in_flight, &orders[0], 1);
    arrive(&mut in_flight, &orders[1], 2);
    begin(&mut in_flight).unwrap();
    begin(&mut in_flight).unwrap();
    assert_eq!(in_flight.count(&job_type), OrderCounts { capacity: 2, here: 2, earlier: 0 });
    assert!(in_flight.hold(&OrderKey::of(&orders[0])));
    assert_eq!(in_flight.count(&job_type), OrderCounts { capacity: 1, here: 1, earlier: 0 });
    assert_eq!(in_flight.take_released(|_| false), [0; 0], "another order could come in its place");
    assert!(
        matches!(arrive(&mut in_flight, &orders[0], 3), Admission::Forget(deliveries) if deliveries == [3])
    );
    assert_eq!(in_flight.take_released(|released| *released == job_type), [1]);
    let listed: Vec<_> = in_flight.listed().iter().map(|order| (order.job_id, order.held)).collect();
    assert!(listed.contains(&(orders[0].job_id, true)) && listed.contains(&(orders[1].job_id, false)));
    assert_eq!(in_flight.end(&OrderKey::of(&orders[0])).deliveries, [0; 0], "nothing is left to acknowledge");
    assert_eq!(in_flight.capacity(), 2);
    assert!(!in_flight.hold(&OrderKey::of(&orders[0])), "it has ended meanwhile");
}

#[test]
fn a_held_attempt_survives_its_session() {
    let (mut in_flight, order) = (InFlight::new(1), order());
    arrive(&mut in_flight, &order, 1);
    begin(&mut in_flight).unwrap();
    in_flight.hold(&OrderKey::of(&order));
    in_flight.forget_deliveries();
    assert_eq!(in_flight.take_released(|_| true), [0; 0], "its acknowledgement is of no use any more");
    assert!(in_flight.listed()[0].held);
    assert!(matches!(arrive(&mut in_flight, &order, 2), Admission::Forget(_)), "and so the order came back");
}

#[test]
fn a_new_subscription_counts_what_an_earlier_one_brought() {
    let (mut in_flight, orders) = (InFlight::new(3), [order(), order(), order()]);
    let job_type = orders[0].job_type.clone();
    arrive(&mut in_flight, &orders[0], 1);
    begin(&mut in_flight).unwrap();
    arrive(&mut in_flight, &orders[1], 2);
    in_flight.mark_earlier(&job_type);
    arrive(&mut in_flight, &orders[2], 3);
    assert_eq!(in_flight.count(&job_type), OrderCounts { capacity: 3, here: 3, earlier: 2 });
    in_flight.end(&OrderKey::of(&orders[0]));
    assert_eq!(in_flight.count(&job_type), OrderCounts { capacity: 3, here: 2, earlier: 1 });
    in_flight.forget_deliveries();
    assert_eq!(in_flight.count(&job_type), OrderCounts { capacity: 3, here: 0, earlier: 0 });
}

#[test]
fn what_waits_for_a_slot_that_is_held_goes_back_but_not_for_ever() {
    let (mut in_flight, orders) = (InFlight::new(1), [order(), order(), order()]);
    let job_type = orders[0].job_type.clone();
    arrive(&mut in_flight, &orders[0], 1);
    begin(&mut in_flight).unwrap();
    arrive_again(&mut in_flight, &orders[1], RETURNS_MAX, 2);
    arrive(&mut in_flight, &orders[2], 3);
    assert_eq!(in_flight.listed().len(), 3, "what waits is listed");
    assert_eq!(in_flight.slots_busy(), 1);
    in_flight.hold(&OrderKey::of(&orders[0]));
    assert_eq!(in_flight.take_surplus(&job_type), [3], "the other one was returned often enough");
    assert_eq!(in_flight.take_surplus(&job_type), [0; 0]);
    assert_eq!(in_flight.unfinished(), 2);
}

#[test]
fn a_stopped_handler_that_does_not_end_keeps_its_slot() {
    let (mut in_flight, orders) = (InFlight::new(1), [order(), order()]);
    arrive(&mut in_flight, &orders[0], 1);
    let thread = begin(&mut in_flight).unwrap();
    arrive(&mut in_flight, &orders[1], 2);
    thread.stop(StopCause::TimedOut);
    let left = in_flight.end(&OrderKey::of(&orders[0]));
    let handler_ended = left.unfinished.unwrap();
    assert_eq!((left.deliveries, in_flight.capacity(), in_flight.slots_busy()), (vec![1], 0, 1));
    assert!(begin(&mut in_flight).is_none() && !handler_ended.is_cancelled());
    drop(thread);
    assert!(handler_ended.is_cancelled());
    in_flight.handler_ended();
    assert!(begin(&mut in_flight).is_some());
}

#[test]
fn a_drain_gives_back_what_has_not_begun() {
    let (mut in_flight, orders) = (InFlight::new(1), [order(), order()]);
    arrive(&mut in_flight, &orders[0], 1);
    begin(&mut in_flight).unwrap();
    arrive(&mut in_flight, &orders[1], 2);
    let job_type = JobType::new("test").unwrap();
    in_flight.give_back_later(&job_type, vec![3]);
    assert_eq!(in_flight.take_given_back(|closed| *closed != job_type), [] as [u32; 0]);
    assert_eq!(in_flight.take_given_back(|closed| *closed == job_type), [3]);
    let unbegun = in_flight.take_unbegun(|_| true).into_iter();
    assert_eq!(unbegun.flat_map(|waiting| waiting.deliveries.into_vec()).collect::<Vec<_>>(), [2]);
    assert!(!in_flight.is_empty());
    in_flight.end(&OrderKey::of(&orders[0]));
    assert!(in_flight.is_empty());
}

#[test]
fn what_waits_beside_slots_that_are_taken_goes_to_others_but_not_for_ever() {
    let (mut in_flight, orders) = (InFlight::new(2), [order(), order(), order()]);
    arrive(&mut in_flight, &orders[0], 1);
    assert_eq!(in_flight.room(), 1);
    begin(&mut in_flight).unwrap();
    arrive_again(&mut in_flight, &orders[1], RETURNS_MAX, 2);
    arrive(&mut in_flight, &orders[2], 3);
    assert_eq!(in_flight.room(), 0);
    assert_eq!(in_flight.take_waiting_for_others(), [3]);
    assert_eq!(in_flight.take_waiting_for_others(), [0; 0], "the other one was returned often enough");
    assert_eq!(begin(&mut in_flight).unwrap().id(), orders[1].job_id);
}

#[test]
fn an_order_that_asks_lets_others_go_first_and_begins_when_it_is_wanted_or_nobody_answers() {
    let (mut in_flight, orders) = (InFlight::new(3), [order(), order(), order()]);
    let (now, patience) = (Instant::now(), Duration::from_secs(2));
    for (delivery, order) in (1..).zip(&orders) {
        let asks_until = (delivery != 2).then(|| now + patience);
        let (order, deliveries) = (order.clone(), Deliveries::one(delivery));
        let redelivered = asks_until.is_some();
        in_flight.admit(WaitingOrder {
            order,
            redelivered,
            returns: 0,
            traceparent: None,
            asks_until,
            patient_until: None,
            deliveries,
        });
    }
    let next =
        |in_flight: &mut InFlight, now| in_flight.next_to_begin(now, |_| false).map(|it| it.order.job_id);
    assert_eq!(in_flight.listed().iter().map(|order| order.asks).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(next(&mut in_flight, now), Some(orders[1].job_id));
    assert_eq!(next(&mut in_flight, now), None);
    let [first, .., last] = &orders;
    in_flight.proceed(&[AttemptId { job_id: last.job_id, attempt: last.attempt }]);
    assert_eq!(next(&mut in_flight, now), Some(last.job_id));
    assert_eq!(in_flight.ask_ends_at(now), Some(now + patience));
    assert_eq!(next(&mut in_flight, now + patience), Some(first.job_id), "the backend may be away");
}

#[test]
fn what_runs_is_given_up_with_what_the_backend_has_to_send_anew() {
    let (mut in_flight, orders) = (InFlight::new(3), [order(), order(), order()]);
    for (returns, order) in (0..).zip(&orders) {
        arrive_again(&mut in_flight, order, returns, 1);
        begin(&mut in_flight).unwrap();
    }
    in_flight.hold(&OrderKey::of(&orders[0]));
    let mut given_up = in_flight.take_running();
    given_up.sort_by_key(|given_up| orders.iter().position(|order| OrderKey::of(order) == given_up.key));
    let resend: Vec<(bool, bool)> =
        given_up.iter().map(|given_up| (given_up.held, given_up.resend)).collect();
    assert_eq!(resend, [(true, true), (false, false), (false, true)], "held, returned once, returned twice");
}
