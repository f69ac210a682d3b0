use super::*;
use crate::{
    limits::{BUNDLE_PATIENCE, PREFETCH_SETTLE},
    order_delivery::{OrderDelivery, Settlement},
    prefetch_control::{PrefetchControl, PrefetchStep},
};

/// Orders whose deliveries are numbers, some of them shared.
type InFlight = InFlightOrders<OrderDelivery<u32>>;

/// A bundle arrives that came back so often; returns what becomes of each of its orders.
fn bundle(
    in_flight: &mut InFlight,
    orders: &[Order],
    delivery: u32,
    returns: i64,
    now: Instant,
) -> Vec<Admission<OrderDelivery<u32>>> {
    let keys: Vec<OrderKey> = orders.iter().map(OrderKey::of).collect();
    let shares = OrderDelivery::shares(delivery, &orders[0].job_type, keys.into_iter());
    let arrived = orders.iter().cloned().zip(shares).map(|(order, share)| WaitingOrder {
        order,
        redelivered: returns > 0,
        returns,
        traceparent: None,
        asks_until: None,
        patient_until: Some(now + BUNDLE_PATIENCE),
        deliveries: Deliveries::one(share),
    });
    arrived.map(|arrived| in_flight.admit(arrived)).collect()
}

fn orders(count: usize) -> Vec<Order> {
    (0..count).map(|_| order()).collect()
}

/// What the broker is told when these orders are done with.
fn acknowledge(deliveries: Vec<OrderDelivery<u32>>) -> Vec<(u32, Settlement)> {
    deliveries.into_iter().filter_map(OrderDelivery::acknowledge).collect()
}

/// Begins the next order, and ends it with an answer.
fn run(in_flight: &mut InFlight) -> Option<Vec<(u32, Settlement)>> {
    let id = begin(in_flight)?.id();
    let key = *in_flight.running.keys().find(|key| key.job_id() == id)?;
    in_flight.remember_answer(key, OutboundMessage::default());
    Some(acknowledge(in_flight.end(&key).deliveries))
}

#[test]
fn a_bundle_is_acknowledged_with_the_last_of_its_answers() {
    let (mut in_flight, orders) = (InFlight::new(2), orders(3));
    bundle(&mut in_flight, &orders, 1, 0, Instant::now());
    let told: Vec<_> = std::iter::from_fn(|| run(&mut in_flight)).collect();
    assert_eq!(told, [vec![], vec![], vec![(1, Settlement::Acknowledge)]]);
    assert!(in_flight.is_empty());
}

#[test]
fn an_attempt_that_waits_for_the_confirm_of_its_answer_leaves_its_slot_to_the_next() {
    let (mut in_flight, orders) = (InFlight::new(1), orders(3));
    bundle(&mut in_flight, &orders, 1, 0, Instant::now());
    begin(&mut in_flight).unwrap();
    in_flight.set_slots_left(1);
    assert_eq!(in_flight.slots_busy(), 0);
    assert_eq!(begin(&mut in_flight).unwrap().id(), orders[1].job_id);
    assert!(begin(&mut in_flight).is_none());
    assert_eq!((in_flight.slots_busy(), in_flight.unfinished()), (1, 3));
    in_flight.end(&OrderKey::of(&orders[0]));
    in_flight.set_slots_left(0);
    assert!(begin(&mut in_flight).is_none());
}

#[test]
fn what_is_called_off_while_it_waits_is_not_begun_and_its_share_is_settled() {
    let (mut in_flight, orders) = (InFlight::new(1), orders(3));
    bundle(&mut in_flight, &orders, 1, 0, Instant::now());
    assert_eq!(acknowledge(in_flight.revoke(orders[0].job_id, Attempt::FIRST)), []);
    let Cancellation::NotBegun(cancelled) = in_flight.cancel(orders[2].job_id, Attempt::FIRST) else {
        unreachable!("it waits for a slot")
    };
    assert_eq!(acknowledge(cancelled.deliveries.into_vec()), []);
    let told: Vec<_> = std::iter::from_fn(|| run(&mut in_flight)).collect();
    assert_eq!(told, [[(1, Settlement::Acknowledge)]], "the one between them");
}

#[test]
fn a_bundle_that_comes_back_begins_nothing_but_settles_what_is_known_here() {
    let (mut in_flight, orders, now) = (InFlight::new(1), orders(5), Instant::now());
    let [runs, waits, answered, revoked, _unknown] = &orders[..] else { unreachable!("five orders") };
    bundle(&mut in_flight, &[runs.clone(), waits.clone()], 1, 0, now);
    begin(&mut in_flight).unwrap();
    in_flight.remember_answer(OrderKey::of(answered), OutboundMessage::default());
    in_flight.revoke(revoked.job_id, Attempt::FIRST);
    let mut met = bundle(&mut in_flight, &orders, 2, 1, now);
    assert_eq!(in_flight.unfinished(), 2, "no other order is here now");
    let Some(Admission::SendAnew(unknown)) = met.pop() else { unreachable!("nobody knows the last one") };
    let Some(Admission::Forget(revoked)) = met.pop() else { unreachable!("it was revoked") };
    let Some(Admission::AnswerAgain(_, answered)) = met.pop() else { unreachable!("it was answered") };
    assert!(met.into_iter().all(|met| matches!(met, Admission::Taken)), "they join what is here");
    assert_eq!(acknowledge(unknown.into_iter().chain(revoked).chain(answered).collect()), []);
    let end = |in_flight: &mut InFlight, order| {
        let mut told = acknowledge(in_flight.end(&OrderKey::of(order)).deliveries);
        told.sort_by_key(|(delivery, _)| *delivery);
        told
    };
    assert_eq!(end(&mut in_flight, runs), []);
    begin(&mut in_flight).unwrap();
    let both = [(1, Settlement::Acknowledge), (2, Settlement::Acknowledge)];
    assert_eq!(end(&mut in_flight, waits), both, "the last share of either");
}

#[test]
fn what_waits_long_behind_slow_neighbours_goes_back_but_only_what_came_in_a_bundle() {
    let (mut in_flight, orders, now) = (InFlight::new(1), orders(4), Instant::now());
    let never = |_: &JobType| false;
    bundle(&mut in_flight, &orders[..2], 1, 0, now);
    let deliveries = Deliveries::one(OrderDelivery::Alone(2));
    let (order, asks_until) = (orders[2].clone(), None);
    in_flight.admit(WaitingOrder {
        order,
        redelivered: false,
        returns: 0,
        traceparent: None,
        asks_until,
        patient_until: None,
        deliveries,
    });
    let later = now + BUNDLE_PATIENCE / 2;
    bundle(&mut in_flight, &orders[3..], 3, 0, later);
    assert_eq!(in_flight.patience_ends_at(now), None, "a slot is free");
    assert!(in_flight.take_impatient(now + BUNDLE_PATIENCE, never).is_empty(), "a slot is free");
    begin(&mut in_flight).unwrap();
    assert_eq!(in_flight.patience_ends_at(now), Some(now + BUNDLE_PATIENCE));
    assert!(in_flight.take_impatient(later, never).is_empty());
    let over = now + BUNDLE_PATIENCE;
    assert!(in_flight.take_impatient(over, |_| true).is_empty(), "it rests, which is no wait for a slot");
    let [OrderDelivery::Share(first)] = &in_flight.take_impatient(over, never)[..] else {
        unreachable!("the second order of the first bundle")
    };
    assert!(first.key().is(orders[1].job_id, Attempt::FIRST));
    assert_eq!(in_flight.patience_ends_at(over), Some(later + BUNDLE_PATIENCE));
    assert_eq!(in_flight.take_impatient(later + BUNDLE_PATIENCE, never).len(), 1);
    assert_eq!(in_flight.patience_ends_at(over), None);
    assert_eq!(in_flight.unfinished(), 2, "one runs, and one came by itself");
}

#[tokio::test(start_paused = true)]
async fn what_waits_long_in_a_line_that_moves_goes_back_only_if_its_turn_is_far() {
    let (mut in_flight, orders, began) = (InFlight::new(1), orders(64), Instant::now());
    bundle(&mut in_flight, &orders, 1, 0, began);
    (0..20).for_each(|_| drop(run(&mut in_flight)));
    begin(&mut in_flight).unwrap();
    let over = began + BUNDLE_PATIENCE;
    let gone = in_flight.take_impatient(over, |_| false);
    assert_eq!(gone.len(), 64 - 21 - 20, "as many as have ended of late will end soon");
    assert_eq!(
        in_flight.patience_ends_at(over),
        Some(over + BUNDLE_PATIENCE),
        "the others are looked at again"
    );
    assert!(in_flight.take_impatient(over, |_| false).is_empty());
    let gone = in_flight.take_impatient(over + 2 * BUNDLE_PATIENCE, |_| false);
    assert_eq!(gone.len(), 20, "none has ended meanwhile");
    assert_eq!(in_flight.patience_ends_at(over + 2 * BUNDLE_PATIENCE), None);
}

#[test]
fn at_a_door_that_is_shut_bundles_keep_their_own_patience() {
    let (mut in_flight, orders, now) = (InFlight::new(1), orders(3), Instant::now());
    bundle(&mut in_flight, &orders, 1, 0, now);
    begin(&mut in_flight).unwrap();
    assert_eq!(in_flight.room(), 0);
    assert!(in_flight.take_waiting_for_others().is_empty());
    assert_eq!(in_flight.unfinished(), 3);
}

#[test]
fn with_nothing_held_the_prefetch_is_the_slots_however_many_orders_a_bundle_has() {
    let (mut in_flight, now) = (InFlight::new(4), Instant::now());
    let (mut control, job_type) = (PrefetchControl::default(), order().job_type);
    assert_eq!(control.follow(in_flight.count(&job_type), true, now), PrefetchStep::Open);
    for delivery in 0..8 {
        bundle(&mut in_flight, &orders(64), delivery, 0, now);
        assert_eq!(control.follow(in_flight.count(&job_type), false, now), PrefetchStep::Wait);
        begin(&mut in_flight);
    }
    assert_eq!(in_flight.count(&job_type).here, 512);
    assert_eq!(control.prefetch(), 4);
}

/// The worst case: the prefetch has to change while far more orders are here than there are slots.
#[test]
fn a_hold_among_bundles_never_leaves_a_slot_idle_for_good() {
    let (mut in_flight, first, mut now) = (InFlight::new(4), orders(64), Instant::now());
    let (mut control, job_type) = (PrefetchControl::Open { prefetch: 4 }, first[0].job_type.clone());
    bundle(&mut in_flight, &first, 1, 0, now);
    (0..4).for_each(|_| drop(begin(&mut in_flight).unwrap()));
    in_flight.hold(&OrderKey::of(&first[0]));
    let follow = |in_flight: &mut InFlight, control: &mut PrefetchControl, now| {
        let mut step = control.follow(in_flight.count(&job_type), true, now);
        let mut surplus = 0;
        if step == PrefetchStep::Settle {
            surplus = in_flight.take_surplus(&job_type).len();
            step = control.settle(in_flight.count(&job_type));
        }
        if step == PrefetchStep::Open {
            in_flight.mark_earlier(&job_type);
        }
        surplus
    };
    follow(&mut in_flight, &mut control, now);
    now += PREFETCH_SETTLE;
    assert_eq!(follow(&mut in_flight, &mut control, now), 60, "what waits goes back");
    assert_eq!(control.prefetch(), 0, "three slots are taken, and one is held");
    in_flight.end(&OrderKey::of(&first[1]));
    follow(&mut in_flight, &mut control, now);
    follow(&mut in_flight, &mut control, now + PREFETCH_SETTLE);
    assert_eq!(control.prefetch(), 1, "one slot is free");
    bundle(&mut in_flight, &orders(64), 2, 0, now);
    assert_eq!(follow(&mut in_flight, &mut control, now), 0);
    assert_eq!(control.prefetch(), 1, "a bundle takes as much of the prefetch as an order");
    first.iter().take(4).for_each(|order| drop(in_flight.end(&OrderKey::of(order))));
    while run(&mut in_flight).is_some() {
        follow(&mut in_flight, &mut control, now);
    }
    follow(&mut in_flight, &mut control, now);
    assert_eq!(control.prefetch(), 4, "nothing is held or here any more");
}
