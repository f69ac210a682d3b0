//! Holding an attempt: the worker acknowledges its order and keeps it by heartbeats, so that it outlives the session.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, mpsc};

use crate::order_key::OrderKey;

/// How an attempt that runs for long comes to be held: kept by heartbeats instead of by its order.
pub(crate) struct Hold {
    /// After how long.
    pub(crate) after: Duration,
    /// What it and the worker loop tell each other.
    pub(crate) signal: Arc<HoldSignal>,
    /// Whom to tell that the backend knows of it, so that the order is acknowledged.
    pub(crate) done: mpsc::Sender<OrderKey>,
}

/// What an attempt and the worker loop tell each other of its hold.
#[derive(Debug, Default)]
pub(crate) struct HoldSignal {
    /// Fires when it has to be at once: the order came back to its queue too often.
    pub(crate) at_once: Notify,
    /// Whether it was announced. From then on the order may be gone, so a failure must be reported.
    begun: AtomicBool,
}

impl HoldSignal {
    /// The hold is announced from now on.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }
}
