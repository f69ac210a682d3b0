//! How far a run got.

use std::{fmt, str::FromStr};

use crewcall_proto::Timestamp;

use super::definition::{StepIndex, Workflow};
use crate::domain::Sequence;
pub use crate::domain::run_names::{Generation, RunState, UnknownState};

/// Where a step of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepState {
    /// Not all that it needs is over; or it is, and the step is about to be evaluated. The end of its last need, and the
    /// evaluation, move it on.
    Pending,
    /// It waits for an event, a moment or a decision, one of which moves it on, or its time limit does.
    Waiting,
    /// Its job, its items or its child run are under way. The end of the last moves it on.
    Running,
    /// It did what it is for. Terminal, until a retry begins it again.
    Completed,
    /// Terminal, until a retry begins it again.
    Failed,
    /// What it needs did not end as it wants, or its condition is false. Terminal, until a retry begins it again.
    Skipped,
    /// The run was stopped before the step ended. Terminal, until a retry begins it again.
    Cancelled,
}

impl StepState {
    /// Every state, in the order of a step's life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Waiting,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// Whether the step is over.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled => true,
            Self::Pending | Self::Waiting | Self::Running => false,
        }
    }

    /// The word in the API, the store, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for StepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StepState {
    type Err = UnknownState;

    fn from_str(word: &str) -> Result<Self, UnknownState> {
        let words = "pending, waiting, running, completed, failed, skipped, cancelled";
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or(UnknownState { what: "step", words })
    }
}

/// Why a step is as it is, where that is not plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Skipped: a step that it needs did not complete.
    Need { step: StepIndex, state: StepState },
    /// Skipped: none of the steps that it needs completed.
    NoneCompleted,
    /// Skipped: none of the steps that it needs failed.
    NoneFailed,
    /// Skipped: its condition is false.
    ConditionFalse,
    /// Failed: one of its expressions has no value, or not one that can be used.
    InvalidParameters(String),
    /// Failed: so many of its items did, one job or child run being an item as well.
    ItemsFailed(u32),
    /// Failed: somebody rejected it.
    Rejected,
    /// Failed, or completed all the same: nobody answered in time.
    TimedOut,
    /// Cancelled: the run stopped.
    RunStopped,
}

impl Reason {
    /// The reason in a sentence without a full stop.
    #[must_use]
    pub fn sentence(&self, workflow: &Workflow) -> String {
        match self {
            Self::Need { step, state } => match workflow.step(*step) {
                Some(need) => format!("step {:?}, which it needs, is {state}", need.name),
                None => format!("a step that it needs is {state}"),
            },
            Self::NoneCompleted => "none of the steps that it needs completed".to_owned(),
            Self::NoneFailed => "none of the steps that it needs failed".to_owned(),
            Self::ConditionFalse => "its condition is false".to_owned(),
            Self::InvalidParameters(message) => message.clone(),
            Self::ItemsFailed(1) => "its job failed, or was cancelled".to_owned(),
            Self::ItemsFailed(items) => format!("{items} of its jobs failed, or were cancelled"),
            Self::Rejected => "somebody rejected it".to_owned(),
            Self::TimedOut => "nobody answered in time".to_owned(),
            Self::RunStopped => "the run was stopped before".to_owned(),
        }
    }
}

/// Why a run stops before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub cause: StopCause,
    /// Which steps may still begin, and are not told to stop.
    pub cleanup: Cleanup,
}

/// Why a run stops before its end: the first reason that there was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopCause {
    StepFailed(StepIndex),
    TimedOut,
    Cancelled,
}

/// Which steps clean up when a run stops, by the states of steps that they begin after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cleanup {
    /// Those for failed ones, and those for finished ones.
    FailedAndFinished,
    /// Those for finished ones.
    Finished,
    Nothing,
}

/// How many items of a step there are, and what became of them. No decision looks at an item: one that ends costs the same
/// among ten and ten thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ItemCounts {
    /// How many there are to be.
    pub total: u32,
    /// How many are stored: those from 0 up to this one.
    pub made: u32,
    /// How many are to be stored next.
    pub making: u32,
    pub completed: u32,
    pub failed: u32,
    pub cancelled: u32,
}

impl ItemCounts {
    /// Those that are stored and not over.
    #[must_use]
    pub const fn open(&self) -> u32 {
        self.made.saturating_sub(self.completed + self.failed + self.cancelled)
    }

    /// Whether nothing is open, and nothing is to come.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.open() == 0 && self.made == self.total
    }
}

/// What somebody decided about an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub approved: bool,
    /// As they call themselves.
    pub by: String,
    pub comment: Option<String>,
    pub at: Timestamp,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStep {
    pub state: StepState,
    /// That of the run when the step began anew.
    pub generation: Generation,
    /// While it is pending: its gate is open, and it is evaluated next.
    pub is_due: bool,
    pub reason: Option<Reason>,
    /// Its items; a job without `each` and a child run are one.
    pub items: ItemCounts,
    /// What runs of it was told to stop.
    pub is_stopping: bool,
    /// Until when it waits. A moment that the document names stays what it is when a clock is set back; a time limit moves
    /// with the clock.
    pub deadline_at: Option<Timestamp>,
    /// What somebody decided.
    pub decision: Option<Decision>,
    /// The event that it waited for.
    pub answer: Option<Sequence>,
    /// The jobs that undo its completed items, once they are looked at.
    pub compensation: Option<ItemCounts>,
    pub began_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Which of the run's steps it was to end, counted from 1 over all generations; 0 while it is not over.
    pub ended_as: u32,
}

impl RunStep {
    /// A step that has not begun.
    #[must_use]
    pub fn new(generation: Generation) -> Self {
        Self {
            state: StepState::Pending,
            generation,
            is_due: false,
            reason: None,
            items: ItemCounts::default(),
            is_stopping: false,
            deadline_at: None,
            decision: None,
            answer: None,
            compensation: None,
            began_at: None,
            ended_at: None,
            ended_as: 0,
        }
    }
}

/// One run of a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub state: RunState,
    pub generation: Generation,
    /// Nothing begins, what runs goes on.
    pub is_paused: bool,
    /// Why it stops before its end.
    pub stop: Option<Stop>,
    /// When it is stopped; `None` if it has no limit, or is about to end.
    pub deadline_at: Option<Timestamp>,
    /// Its compensations began, so that it cannot be tried again.
    pub is_compensated: bool,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// How many steps ended so far.
    pub steps_ended: u32,
    /// In the order of the document.
    pub steps: Vec<RunStep>,
    /// Counts the changes, from 1.
    pub version: u64,
}

impl Run {
    /// A run that waits for its start.
    #[must_use]
    pub fn new(workflow: &Workflow) -> Self {
        Self {
            state: RunState::Queued,
            generation: Generation::FIRST,
            is_paused: false,
            stop: None,
            deadline_at: None,
            is_compensated: false,
            started_at: None,
            ended_at: None,
            steps_ended: 0,
            steps: workflow.steps.iter().map(|_| RunStep::new(Generation::FIRST)).collect(),
            version: 1,
        }
    }

    /// A step; `None` if the workflow has fewer.
    #[must_use]
    pub fn step(&self, step: StepIndex) -> Option<&RunStep> {
        self.steps.get(step.0)
    }

    /// The steps that failed, so that the run did, in the order of the document.
    pub fn failures<'a>(&'a self, workflow: &'a Workflow) -> impl Iterator<Item = StepIndex> + 'a {
        let steps = self.steps.iter().zip(&workflow.steps).enumerate();
        steps
            .filter(|(_, (step, definition))| {
                step.state == StepState::Failed && !definition.continues_on_failure
            })
            .map(|(index, _)| StepIndex(index))
    }

    /// The steps of which something was to be undone and is not, or not yet, in the order of the document.
    pub fn not_undone<'a>(&'a self, workflow: &'a Workflow) -> impl Iterator<Item = StepIndex> + 'a {
        let steps = self.steps.iter().zip(&workflow.steps).enumerate();
        let is_left = |step: &RunStep| match step.compensation {
            Some(counts) => counts.completed < counts.total,
            None => step.items.completed > 0,
        };
        steps
            .filter(move |(_, (step, definition))| {
                self.is_compensated && definition.compensate.is_some() && is_left(step)
            })
            .map(|(index, _)| StepIndex(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in RunState::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        for state in StepState::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert!("pending".parse::<RunState>().unwrap_err().to_string().contains("a run is one of queued"));
        assert!("queued".parse::<StepState>().unwrap_err().to_string().contains("a step is one of pending"));
    }
}
