//! How much may be under way at once.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes are counted in these: a semaphore hands out at most 2^32 of anything in one go.
const BYTES_PER_UNIT: usize = 1_024;

/// The messages that may wait for their confirm at once.
pub(super) struct Window {
    places: Arc<Semaphore>,
    places_max: usize,
    units: Arc<Semaphore>,
    units_max: u32,
}

/// Room for one message, until it is given back or the last copy is gone.
#[derive(Clone)]
pub(super) struct Place(Arc<Mutex<Option<[OwnedSemaphorePermit; 2]>>>);

impl Window {
    pub(super) fn new(places_max: usize, bytes_max: usize) -> Self {
        let places_max = places_max.clamp(1, Semaphore::MAX_PERMITS);
        let units_max = u32::try_from(bytes_max.div_ceil(BYTES_PER_UNIT)).unwrap_or(u32::MAX).max(1);
        let units = usize::try_from(units_max).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
            units: Arc::new(Semaphore::new(units)),
            units_max,
        }
    }

    pub(super) fn places(&self) -> usize {
        self.places_max
    }

    /// How many places are taken.
    pub(super) fn taken(&self) -> usize {
        self.places_max.saturating_sub(self.places.available_permits())
    }

    /// Waits for room for a message with a body of this size, in the order of the callers.
    pub(super) async fn place(&self, bytes: usize) -> Place {
        let units = u32::try_from(bytes.div_ceil(BYTES_PER_UNIT)).unwrap_or(u32::MAX).min(self.units_max);
        // Never closed, so neither can fail.
        let permits = match self.places.clone().acquire_owned().await {
            Ok(place) => self.units.clone().acquire_many_owned(units).await.ok().map(|units| [place, units]),
            Err(_) => None,
        };
        Place(Arc::new(Mutex::new(permits)))
    }
}

impl Place {
    pub(super) fn give_back(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Whether it is still counted.
    pub(super) fn is_taken(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn large_bodies_wait_for_each_other_and_none_is_too_large() {
        let window = Window::new(10, 4 * BYTES_PER_UNIT);
        let small = window.place(1).await;
        let large = window.place(3 * BYTES_PER_UNIT).await;
        assert_eq!(window.taken(), 2);
        assert!(window.place(1).now_or_never().is_none(), "four units are taken");
        large.give_back();
        let copy = window.place(1).await;
        drop((small, copy));
        assert_eq!(window.taken(), 0);
        let huge = window.place(usize::MAX).await;
        assert!(huge.is_taken() && window.place(1).now_or_never().is_none());
    }
}
