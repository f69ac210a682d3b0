//! The way of the orders that go to one queue: where they wait, and how the queue is.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, watch},
    time::Instant,
};

use super::{
    UNCONFIRMED_PER_TYPE_MAX,
    parcel::{Parcel, Waiting},
};
use crate::mutant::mutant;

/// How long a queue may be stuck before it is looked at whether it has a leader at all, and replaced by a new one of its name
/// if it has none: one that is merely slow, or whose leader moves to another node, confirms before that.
const REPLACED_AFTER: Duration = Duration::from_secs(30);

/// How long until that is tried again, if it could not be done or did not help: whoever is called has read the log then.
const REPLACED_EVERY: Duration = Duration::from_secs(60);

/// Orders in their order, and whether somebody sends them.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    is_served: bool,
}

/// The way of the orders that go to one queue.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: String,
    orders: Mutex<Queue>,
    /// Rings when an order came.
    pub(super) arrived: Notify,
    /// Places on the shared link.
    pub(super) together: Arc<Semaphore>,
    /// Places apart.
    pub(super) apart: Semaphore,
    pub(super) mode: watch::Sender<Mode>,
    /// The session of the shared link in which the queue has confirmed an order; none is 0.
    proven_in: AtomicU64,
    /// Rings when the queue was replaced.
    pub(super) replaced: Notify,
    replacement: Mutex<Replacement>,
}

/// What was done about a queue that is stuck.
#[derive(Debug, Default)]
pub(super) struct Replacement {
    tried_at: Option<Instant>,
    /// Why it could not be done.
    pub(super) failure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// On the shared link.
    Together,
    /// Nothing is confirmed, since when.
    Stuck(Instant),
    /// It confirms again, but not yet all that is still open on the shared link.
    Apart,
}

impl Lane {
    pub(super) fn new(queue: String) -> Self {
        Self {
            queue,
            orders: Mutex::default(),
            arrived: Notify::new(),
            together: Arc::new(Semaphore::new(UNCONFIRMED_PER_TYPE_MAX)),
            apart: Semaphore::new(UNCONFIRMED_PER_TYPE_MAX),
            mode: watch::Sender::new(Mode::Together),
            proven_in: AtomicU64::new(0),
            replaced: Notify::new(),
            replacement: Mutex::default(),
        }
    }

    /// The queue has confirmed an order in this session of the shared link.
    pub(super) fn prove(&self, session: Option<u64>) {
        self.proven_in.store(session.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether the queue has confirmed an order in this session of the shared link.
    pub(super) fn is_proven(&self, session: Option<u64>) -> bool {
        session.is_some_and(|session| self.proven_in.load(Ordering::Relaxed) == session)
            || mutant("first_together")
    }

    pub(super) fn is_to_be_replaced(&self) -> bool {
        let Mode::Stuck(since) = *self.mode.borrow() else { return false };
        let tried_at = self.replacement().tried_at;
        since.elapsed() >= REPLACED_AFTER && tried_at.is_none_or(|at| at.elapsed() >= REPLACED_EVERY)
    }

    pub(super) fn tried_to_replace(&self, failure: Option<String>) {
        *self.replacement() = Replacement { tried_at: Some(Instant::now()), failure };
    }

    /// It confirms again: nothing is to be replaced.
    pub(super) fn replacement_is_over(&self) {
        *self.replacement() = Replacement::default();
    }

    pub(super) fn replacement(&self) -> MutexGuard<'_, Replacement> {
        self.replacement.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts orders behind those that wait. Returns whether somebody has to begin to send them.
    pub(super) fn enqueue(&self, orders: impl Iterator<Item = Waiting>) -> bool {
        let mut queue = self.orders();
        queue.waiting.extend(orders);
        self.arrived.notify_one();
        !std::mem::replace(&mut queue.is_served, true)
    }

    /// The next order, if one waits, with those behind it that may share its message.
    pub(super) fn next(&self, with_bundles: bool) -> Option<Parcel> {
        let mut queue = self.orders();
        let waiting = queue.waiting.len();
        let mut parcel = Parcel::of(queue.waiting.pop_front()?, waiting);
        while let Some(next) = queue.waiting.front()
            && with_bundles
            && parcel.has_room_for(next)
            && let Some(next) = queue.waiting.pop_front()
        {
            parcel.add(next);
        }
        Some(parcel)
    }

    /// Nobody sends orders any more. Returns whether that is so: not when one came in between.
    pub(super) fn rest(&self) -> bool {
        let mut queue = self.orders();
        queue.is_served = !queue.waiting.is_empty();
        !queue.is_served
    }

    pub(super) fn is_stuck(&self) -> bool {
        matches!(*self.mode.borrow(), Mode::Stuck(_))
    }

    pub(super) fn part(&self) {
        let parted = self.mode.send_if_modified(|mode| {
            let parted = !matches!(mode, Mode::Stuck(_));
            if parted {
                *mode = Mode::Stuck(Instant::now());
            }
            parted
        });
        if parted {
            tracing::warn!(
                queue = self.queue,
                "A queue does not confirm what is sent to it: its type waits, and the others go on."
            );
        }
    }

    fn orders(&self) -> MutexGuard<'_, Queue> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
