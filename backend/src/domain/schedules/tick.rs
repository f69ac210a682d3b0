//! What became of a tick, as it is kept.

use crewcall_proto::{JobId, RunId, Timestamp};

pub use crate::domain::schedule_name::{TickState, UnknownTickState};
use crate::domain::{Sequence, TickKey};

/// What a tick made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickWork {
    Job(JobId),
    Run(RunId),
    Event(Sequence),
}

/// How what a tick made ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickOutcome {
    Completed,
    Failed,
    Cancelled,
}

impl TickOutcome {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::Cancelled];

    /// The word in the API and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What became of a tick; or of several in a row, of which none fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickRecord {
    pub key: TickKey,
    /// The last of the ticks that it stands for; the tick itself, if it is one.
    pub last: Timestamp,
    /// How many ticks it stands for.
    pub count: u64,
    pub state: TickState,
    /// Why, if there is more to say.
    pub reason: Option<String>,
    /// When that was decided, by our clock.
    pub decided_at: Timestamp,
    pub work: Option<TickWork>,
    /// How that ended; `None` as long as it has not.
    pub outcome: Option<TickOutcome>,
    pub ended_at: Option<Timestamp>,
}
