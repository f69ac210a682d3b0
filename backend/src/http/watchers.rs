//! How many requests may stay open to wait for changes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Problem, ProblemCode};

/// How many streams and long polls there are at once. Each holds a connection, and watchers must leave some
/// to submitters: see `CONNECTIONS_MAX` in `serve`.
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

    /// A place, which is free again when it is dropped.
    pub(super) fn admit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let full = "too many requests wait for changes already";
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| Problem::new(ProblemCode::TooManyWatchers, full))
    }
}
