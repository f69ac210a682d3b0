//! Whether the worker's loop turns, and whether it takes orders: what the loop says of itself, for whoever asks.

use tokio::time::Instant;

use crate::limits::LOOP_STALLED_AFTER;

/// What the loop said of itself last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoopState {
    /// When it handled an event last; a heartbeat is one.
    pub(crate) turned_at: Instant,
    /// Whether it takes orders.
    pub(crate) readiness: Readiness,
}

impl LoopState {
    /// Of a loop that starts.
    pub(crate) fn new() -> Self {
        Self { turned_at: Instant::now(), readiness: Readiness::NoSession }
    }

    /// Whether it turns.
    pub(crate) fn is_alive(&self) -> bool {
        self.turned_at.elapsed() < LOOP_STALLED_AFTER
    }
}

/// Whether a worker takes orders, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It does.
    Ready,
    /// There is no session with the broker.
    NoSession,
    /// There is one, but the backend has not said which of the types it serves.
    NotWelcome,
    /// An operator drained the worker.
    Drained,
    /// The worker is on its way out.
    ShuttingDown,
}

impl Readiness {
    /// Why the worker takes no orders; `None` if it does.
    pub(crate) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Ready => None,
            Self::NoSession => Some("there is no session with the broker"),
            Self::NotWelcome => Some("the backend has not welcomed the worker in this session"),
            Self::Drained => Some("an operator drained the worker: it takes no orders until it is resumed"),
            Self::ShuttingDown => {
                Some("the worker shuts down: it finishes what runs, and takes no more orders")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_turn_is_not_alive() {
        let state = LoopState::new();
        advance(LOOP_STALLED_AFTER / 2).await;
        assert!(state.is_alive());
        advance(LOOP_STALLED_AFTER / 2).await;
        assert!(!state.is_alive());
    }
}
