//! The states of a job.

use std::{fmt, str::FromStr};

/// Where a job stands. Each state says who moves a job out of it, and what a crash leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It comes after other jobs, and one of those is not over. The end of the last of them moves it on, in the same
    /// transaction. A crash leaves it as it is.
    Blocked,
    /// Due later: the back-off before the next attempt. The clock moves it to [`State::Ready`]. A crash
    /// leaves the due time in the store, and the next start finds it.
    Scheduled,
    /// Due, and waiting for room in the dispatch window of its type. The relay moves it to
    /// [`State::Dispatched`]. A crash leaves it as it is.
    Ready,
    /// No worker has ever served its type: its order, or another one of the type, came back through the alternate exchange.
    /// The first announcement of the type moves it to [`State::Ready`].
    Unroutable,
    /// An order for the current attempt is with the broker, or on its way there. A worker's response or
    /// the broker's dead letter moves it on. After a crash the relay publishes again what was not yet
    /// confirmed; the attempt token makes a duplicate harmless.
    Dispatched,
    /// A worker reported the start of the current attempt. Its response, or the end of its lease, moves
    /// it on. After a crash of the backend the lease starts anew.
    Running,
    /// An attempt succeeded. Terminal.
    Completed,
    /// The last attempt failed, or an attempt failed for good. Terminal, until somebody asks for a retry.
    Failed,
    /// Somebody cancelled it before it ended. Terminal, until somebody asks for a retry.
    Cancelled,
}

impl State {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 9] = [
        Self::Blocked,
        Self::Scheduled,
        Self::Ready,
        Self::Unroutable,
        Self::Dispatched,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the job is over.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Blocked
            | Self::Scheduled
            | Self::Ready
            | Self::Unroutable
            | Self::Dispatched
            | Self::Running => false,
        }
    }

    /// Whether an attempt is with the broker or a worker.
    #[must_use]
    pub const fn is_in_flight(self) -> bool {
        match self {
            Self::Dispatched | Self::Running => true,
            Self::Blocked
            | Self::Scheduled
            | Self::Ready
            | Self::Unroutable
            | Self::Completed
            | Self::Failed
            | Self::Cancelled => false,
        }
    }

    /// The word in the API, the store, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Scheduled => "scheduled",
            Self::Ready => "ready",
            Self::Unroutable => "unroutable",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or(UnknownState)
    }
}

/// A word that names no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a state is one of blocked, scheduled, ready, unroutable, dispatched, running, completed, failed, cancelled"
)]
pub struct UnknownState;
