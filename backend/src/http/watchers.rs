//! How many requests may stay open to wait for changes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Problem};

/// How many streams and long polls there are at once. Each holds a connection, and watchers must leave some
/// to submitters: see [`super::serve::CONNECTIONS_MAX`].
pub const WATCHERS_MAX: usize = 2_048;

/// Admits watchers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Watchers {
    places: Arc<Semaphore>,
    places_max: usize,
}

impl Watchers {
    /// Admits `watchers_max` at once.
    pub(super) fn new(watchers_max: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(watchers_max)), places_max: watchers_max }
    }

    /// How many there are now.
    pub(super) fn count(&self) -> usize {
        self.places_max - self.places.available_permits()
    }

    /// A place, free again when the answer is dropped; or the problem that there is none.
    pub(super) fn admit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Problem::new(Code::TooManyWatchers, "as many requests as may wait for changes do so already")
        })
    }
}
