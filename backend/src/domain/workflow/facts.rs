//! What can happen to a run, and what is to be done about it.

use crewcall_proto::Timestamp;

use super::{
    definition::StepIndex,
    run::{Generation, Run, RunState, StepState},
};
use crate::domain::Sequence;

/// How a job or a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Completed,
    Failed,
    Cancelled,
}

/// The row of an item, as the transaction reads it: counters alone could not tell whether news of it came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// From 0.
    pub index: u32,
    pub generation: Generation,
    /// Whether its job is open by this row. Whoever records the end of the job closes it, if that is accepted.
    pub is_open: bool,
}

/// What the expressions of a step say about its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evaluation {
    /// Its condition is false.
    Skip,
    /// An expression has no value, or not one that can be used: why, in a sentence.
    Fail(String),
    /// It begins: with so many items if it has `each`, and until this moment if it waits for one.
    Begin { items: u32, until: Option<Timestamp> },
}

/// What happened. Whoever says it may be late, or say it again: that is an answer ([`Stale`]), and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// There is a place for the run.
    Started,
    Evaluated {
        step: StepIndex,
        generation: Generation,
        evaluation: Evaluation,
    },
    /// The next items of a step are about to be stored by this transaction, which stores them only if this is accepted. So many
    /// of them are born failed, because their parameters could not be filled in. A child run is an item.
    ItemsMade {
        step: StepIndex,
        generation: Generation,
        from: u32,
        count: u32,
        born_failed: u32,
    },
    /// The job of an item ended.
    JobEnded {
        step: StepIndex,
        item: Item,
        outcome: Outcome,
    },
    ChildEnded {
        step: StepIndex,
        generation: Generation,
        outcome: Outcome,
    },
    /// The event is there that a step waits for.
    WaitAnswered {
        step: StepIndex,
        generation: Generation,
        event: Sequence,
    },
    /// The deadline of a step has passed.
    WaitTimedOut {
        step: StepIndex,
        generation: Generation,
    },
    /// Somebody approved or rejected. It names no generation, because whoever decides means what they see.
    Decided {
        step: StepIndex,
        approved: bool,
        by: String,
        comment: Option<String>,
    },
    /// The deadline of the run has passed.
    TimedOut,
    CancelRequested {
        by: String,
        force: bool,
    },
    RetryRequested {
        by: String,
        from: Option<StepIndex>,
    },
    Paused {
        by: String,
    },
    Resumed {
        by: String,
    },
    /// As [`Happened::ItemsMade`], of the jobs that undo a step.
    CompensationsMade {
        step: StepIndex,
        generation: Generation,
        from: u32,
        count: u32,
        born_failed: u32,
    },
    /// A job that undoes an item of a step ended. The item is that of the compensation.
    CompensationEnded {
        step: StepIndex,
        item: Item,
        outcome: Outcome,
    },
}

impl Happened {
    /// Whether the journal of the run keeps it. The others are seen at the rows of items, which there may be many of. Both
    /// together, in the order of the run's versions, lead from a new run to the state that is stored.
    #[must_use]
    pub const fn is_journaled(&self) -> bool {
        match self {
            Self::ItemsMade { .. }
            | Self::JobEnded { .. }
            | Self::CompensationsMade { .. }
            | Self::CompensationEnded { .. } => false,
            Self::Started
            | Self::Evaluated { .. }
            | Self::ChildEnded { .. }
            | Self::WaitAnswered { .. }
            | Self::WaitTimedOut { .. }
            | Self::Decided { .. }
            | Self::TimedOut
            | Self::CancelRequested { .. }
            | Self::RetryRequested { .. }
            | Self::Paused { .. }
            | Self::Resumed { .. } => true,
        }
    }
}

/// Why something that happened changes nothing. An answer, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stale {
    /// The run or the step is in no state that it could change.
    State,
    /// It is about an earlier beginning of the step.
    Generation,
    /// It was said before.
    Repeated,
    /// The deadline is still to come.
    NotDue,
    /// There is no such step, or it does not do what was said of it.
    Unknown,
    /// Somebody decided before.
    Decided,
    /// The run was undone, so that it cannot be tried again.
    Compensated,
    /// All steps completed, or were skipped for a reason that a retry would not change.
    NothingToRetry,
}

impl Stale {
    /// The word in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Generation => "generation",
            Self::Repeated => "repeated",
            Self::NotDue => "not_due",
            Self::Unknown => "unknown",
            Self::Decided => "decided",
            Self::Compensated => "compensated",
            Self::NothingToRetry => "nothing_to_retry",
        }
    }
}

/// What is to be done. The first group belongs into the transaction of the change; what is said to be answered may be done
/// later, in steps, and again after a crash: [`outstanding`](super::machine::outstanding) tells it anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// A step waits from now on: keep until when, and for which event or decision.
    OpenWait { step: StepIndex, generation: Generation, deadline_at: Option<Timestamp> },
    /// It does not wait any more.
    CloseWait { step: StepIndex, generation: Generation },
    /// A line for the journal.
    Journal(Entry),
    /// The run is over: its place is free, and its outputs can be filled in.
    Ended(RunState),

    /// Read the expressions of a step. Answered by [`Happened::Evaluated`].
    Evaluate { step: StepIndex, generation: Generation },
    /// Fill in the parameters of these items, and store them with their jobs. Answered by [`Happened::ItemsMade`].
    MakeItems { step: StepIndex, generation: Generation, from: u32, count: u32 },
    /// Start the run of another workflow. Answered by [`Happened::ItemsMade`], of one.
    StartChild { step: StepIndex, generation: Generation },
    /// Cancel every open job of a step. Each is answered by [`Happened::JobEnded`].
    CancelJobs { step: StepIndex, generation: Generation },
    /// Answered by [`Happened::ChildEnded`].
    CancelChild { step: StepIndex, generation: Generation },
    /// Store the jobs that undo these of the completed items of a step, the last that completed being number 0. Answered by
    /// [`Happened::CompensationsMade`].
    Compensate { step: StepIndex, generation: Generation, from: u32, count: u32 },
    /// Cancel every open compensation of a step. Each is answered by [`Happened::CompensationEnded`].
    CancelCompensations { step: StepIndex, generation: Generation },
}

/// A line of a run's journal, beside what happened to it: what it decided.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    StepBegan { step: StepIndex, items: u32 },
    StepEnded { step: StepIndex, state: StepState },
    Stopping,
    StepCompensated { step: StepIndex, not_undone: u32 },
    Ended(RunState),
}

/// A change of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    pub run: Run,
    /// The steps that are not as they were, in the order of the document.
    pub changed: Vec<StepIndex>,
    /// In the order in which they were decided.
    pub commands: Vec<Command>,
}
