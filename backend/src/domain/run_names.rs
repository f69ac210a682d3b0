//! Names of workflows, and of the parts of their runs: what everybody needs to talk of them.

use std::{fmt, str::FromStr, sync::Arc};

use crewcall_proto::{JobType, RunId};

/// The place of a step in its document, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex(pub usize);
/// The name of a workflow. It has the shape of a job type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkflowName(Arc<str>);

impl WorkflowName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkflowName {
    type Err = InvalidWorkflowName;

    fn from_str(text: &str) -> Result<Self, InvalidWorkflowName> {
        match JobType::new(text) {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(InvalidWorkflowName { text: text.chars().take(JobType::LENGTH_MAX).collect() }),
        }
    }
}

impl fmt::Display for WorkflowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the name of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not the name of a workflow: it is 1 to 128 characters of a-z 0-9 . _ - in dot-separated words, such as \"asset.publish\""
)]
pub struct InvalidWorkflowName {
    text: String,
}

/// Counts how often a run, or a step of it, began: from 1, and one more with each retry. What an earlier generation says is
/// of no meaning any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl Generation {
    pub const FIRST: Self = Self(1);

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Where a run stands. After a crash the store has it as the last commit left it, and
/// the machine's `outstanding` says what there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunState {
    /// It waits for a place among the runs of its workflow, or for the end of a pause.
    Queued,
    /// Steps begin and end. The end of the last, a failure, a cancellation or its time limit moves it on.
    Running,
    /// What ran was told to stop, and steps that clean up may still run. The end of the last step moves it on.
    Stopping,
    /// What completed is undone, in reverse order. The end of the last compensation moves it on.
    Compensating,
    /// All that was to be done is done. Terminal, until somebody asks for a retry.
    Completed,
    /// A step failed, or the time was over. Terminal, until somebody asks for a retry.
    Failed,
    /// Somebody cancelled it. Terminal, until somebody asks for a retry.
    Cancelled,
}

impl RunState {
    /// Every state, in the order of a run's life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Stopping,
        Self::Compensating,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the run is over.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::Running | Self::Stopping | Self::Compensating => false,
        }
    }

    /// The word in the API, the store, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RunState {
    type Err = UnknownState;

    fn from_str(word: &str) -> Result<Self, UnknownState> {
        let words = "queued, running, stopping, compensating, completed, failed, cancelled";
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or(UnknownState { what: "run", words })
    }
}

/// A word that names no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a state of a {what} is one of {words}")]
pub struct UnknownState {
    pub(super) what: &'static str,
    pub(super) words: &'static str,
}

/// What a job of a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It does the work of the step.
    Work,
    /// It undoes what another did.
    Undo,
}

impl Role {
    /// The word in the API and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Undo => "undo",
        }
    }
}

/// Which item of which run a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    pub run: RunId,
    pub step: StepIndex,
    pub role: Role,
    /// From 0.
    pub index: u32,
    pub generation: Generation,
}
