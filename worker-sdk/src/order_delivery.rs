//! The delivery behind an order: one of its own, or a share of a bundle's.
//!
//! The broker knows deliveries only. So a bundle is settled when the last order in it is: acknowledged if all of them are
//! done with, and given back otherwise. Pure bookkeeping: `D` is a delivery.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crewcall_proto::JobType;

use crate::{mutant::mutant, order_key::OrderKey};

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// Done with: the broker forgets it.
    Acknowledge,
    /// Back to its queue, for another delivery.
    GiveBack,
    /// To the dead letters, where the backend concludes it.
    Reject,
}

/// What must be settled for an order in the end.
pub(crate) enum OrderDelivery<D> {
    /// A delivery of its own.
    Alone(D),
    /// A share of a bundle's.
    Share(Share<D>),
}

/// One order's share of the delivery of a bundle.
///
/// It counts only when it is settled. One that is dropped keeps the delivery unsettled for ever, so that the broker delivers
/// the bundle again when the session ends.
pub(crate) struct Share<D> {
    key: OrderKey,
    bundle: Arc<Bundle<D>>,
}

struct Bundle<D> {
    /// Until the last share takes it.
    delivery: Mutex<Option<D>>,
    job_type: JobType,
    /// How many shares are not settled.
    open: AtomicUsize,
    /// Whether a share is left that is not done with.
    goes_back: AtomicBool,
}

impl<D> OrderDelivery<D> {
    /// A share of a bundle's delivery for each of its orders, in their order.
    pub(crate) fn shares(
        delivery: D,
        job_type: &JobType,
        keys: impl ExactSizeIterator<Item = OrderKey>,
    ) -> impl Iterator<Item = Self> {
        let bundle = Arc::new(Bundle {
            delivery: Mutex::new(Some(delivery)),
            job_type: job_type.clone(),
            open: AtomicUsize::new(keys.len()),
            goes_back: AtomicBool::new(false),
        });
        keys.map(move |key| Self::Share(Share { key, bundle: Arc::clone(&bundle) }))
    }

    /// The order is done with. Returns what the broker is to be told now, which is nothing for most shares.
    pub(crate) fn acknowledge(self) -> Option<(D, Settlement)> {
        match self {
            Self::Alone(delivery) => Some((delivery, Settlement::Acknowledge)),
            Self::Share(share) => share.settle(true),
        }
    }
}

impl<D> Share<D> {
    pub(crate) fn key(&self) -> &OrderKey {
        &self.key
    }

    pub(crate) fn job_type(&self) -> &JobType {
        &self.bundle.job_type
    }

    /// Settles the share: `is_done` says whether its order needs no other delivery. The last one brings the delivery, and
    /// what becomes of it.
    pub(crate) fn settle(self, is_done: bool) -> Option<(D, Settlement)> {
        let Bundle { delivery, open, goes_back, .. } = &*self.bundle;
        if !is_done {
            goes_back.store(true, Ordering::Relaxed);
        }
        // Shows the last one what the others have stored.
        if open.fetch_sub(1, Ordering::AcqRel) > 1 && !mutant("bundle_acked_early") {
            return None;
        }
        let settlement =
            if goes_back.load(Ordering::Relaxed) { Settlement::GiveBack } else { Settlement::Acknowledge };
        let delivery = delivery.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some((delivery, settlement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(orders: usize) -> Vec<OrderDelivery<&'static str>> {
        OrderDelivery::shares(
            "the bundle",
            &JobType::new("test").unwrap(),
            (0..orders).map(|_| OrderKey::generate()),
        )
        .collect()
    }

    fn settle(delivery: OrderDelivery<&'static str>, is_done: bool) -> Option<(&'static str, Settlement)> {
        match delivery {
            OrderDelivery::Share(share) => share.settle(is_done),
            OrderDelivery::Alone(_) => unreachable!("they are shares"),
        }
    }

    #[test]
    fn an_order_of_its_own_is_acknowledged_at_once() {
        assert_eq!(OrderDelivery::Alone(1).acknowledge(), Some((1, Settlement::Acknowledge)));
    }

    #[test]
    fn a_bundle_is_settled_once_with_its_last_share_whatever_the_mix() {
        for orders in 1..=4_usize {
            for mix in 0..1_u32 << orders {
                let is_done = |at: usize| mix & (1 << at) != 0;
                let shares = bundle(orders).into_iter().enumerate();
                let mut told: Vec<_> = shares.map(|(at, share)| settle(share, is_done(at))).collect();
                let all_done = (0..orders).all(is_done);
                let settlement = if all_done { Settlement::Acknowledge } else { Settlement::GiveBack };
                assert_eq!(
                    told.pop(),
                    Some(Some(("the bundle", settlement))),
                    "{orders} orders, mix {mix:b}"
                );
                assert!(told.iter().all(Option::is_none), "{orders} orders, mix {mix:b}");
            }
        }
    }

    #[test]
    fn a_share_that_was_dropped_keeps_the_bundle_from_being_settled() {
        let mut shares = bundle(3);
        drop(shares.pop());
        assert!(shares.into_iter().all(|share| share.acknowledge().is_none()));
    }

    #[test]
    fn shares_that_are_settled_at_the_same_time_settle_their_bundle_once() {
        for _again in 0..200 {
            let shares = bundle(4);
            let told: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    shares.into_iter().map(|share| scope.spawn(|| share.acknowledge())).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(told, [("the bundle", Settlement::Acknowledge)]);
        }
    }
}
