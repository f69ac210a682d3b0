//! The orders whose confirm is awaited: how many, and for how long.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The orders whose confirm is awaited. Whoever looks shares no lock with those who publish.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    open: Mutex<Open>,
    orders: AtomicUsize,
    /// When the oldest was dispatched, in milliseconds after `origin`; [`NONE`] without one.
    oldest: AtomicU64,
    origin: Instant,
}

/// No order is awaited.
const NONE: u64 = u64::MAX;

/// How many orders are open of each batch, by its number: the first is the oldest.
#[derive(Debug, Default)]
struct Open {
    last: u64,
    batches: BTreeMap<u64, (Instant, usize)>,
}

/// Orders that were dispatched together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    number: u64,
    /// When.
    pub(super) since: Instant,
}

impl Default for Unconfirmed {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            orders: AtomicUsize::new(0),
            oldest: AtomicU64::new(NONE),
            origin: Instant::now(),
        }
    }
}

impl Unconfirmed {
    /// So many orders were dispatched together.
    pub(super) fn begin(&self, orders: usize) -> Batch {
        let since = Instant::now();
        self.orders.fetch_add(orders, Ordering::Relaxed);
        self.change(|open| {
            open.last += 1;
            open.batches.insert(open.last, (since, orders));
            Batch { number: open.last, since }
        })
    }

    /// So many of them are over: confirmed, or left to the next process.
    pub(super) fn end(&self, batch: Batch, orders: usize) {
        self.orders.fetch_sub(orders, Ordering::Relaxed);
        self.change(|open| {
            let Some((_, left)) = open.batches.get_mut(&batch.number) else { return };
            *left = left.saturating_sub(orders);
            if *left == 0 {
                open.batches.remove(&batch.number);
            }
        });
    }

    /// How many there are, and how old the oldest is.
    pub(super) fn look(&self) -> (usize, Duration) {
        let age = match self.oldest.load(Ordering::Relaxed) {
            NONE => Duration::ZERO,
            oldest => self.origin.elapsed().saturating_sub(Duration::from_millis(oldest)),
        };
        (self.orders.load(Ordering::Relaxed), age)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Open) -> T) -> T {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut open);
        let after_origin =
            |since: Instant| u64::try_from(since.duration_since(self.origin).as_millis()).unwrap_or(NONE);
        let oldest = open.batches.values().next().map_or(NONE, |(since, _)| after_origin(*since));
        self.oldest.store(oldest, Ordering::Relaxed);
        changed
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_order_is_one_that_is_still_open() {
        let second = Duration::from_secs(1);
        let unconfirmed = Unconfirmed::default();
        assert_eq!(unconfirmed.look(), (0, Duration::ZERO));
        advance(second).await;
        let first = unconfirmed.begin(2);
        advance(second).await;
        let later = unconfirmed.begin(1);
        advance(second).await;
        assert_eq!(unconfirmed.look(), (3, 2 * second));
        unconfirmed.end(first, 1);
        assert_eq!(unconfirmed.look(), (2, 2 * second), "one of them is open");
        unconfirmed.end(first, 1);
        assert_eq!(unconfirmed.look(), (1, second));
        unconfirmed.end(later, 1);
        assert_eq!(unconfirmed.look(), (0, Duration::ZERO));
    }
}
