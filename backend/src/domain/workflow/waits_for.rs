//! What an open step waits for, so that nothing that is open is open for no reason that has a name.

use crewcall_proto::Timestamp;

use super::{
    definition::{StepIndex, Work, Workflow},
    run::{Run, RunState, StepState},
};

/// What an open step waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitsFor {
    /// The run has no place yet.
    Start,
    /// These of the steps that it needs are not over.
    Needs(Vec<StepIndex>),
    /// The run is paused.
    Resume,
    /// Its expressions are evaluated next.
    Evaluation,
    /// So many of its items are under way, and so many are still to be made.
    Items {
        open: u32,
        to_make: u32,
    },
    /// A run of another workflow.
    Child,
    /// It was told to stop, and so many of its items are still open.
    Stop {
        open: u32,
    },
    /// An event, until this time if there is a limit.
    Event {
        until: Option<Timestamp>,
    },
    Moment(Timestamp),
    /// Somebody's decision, until this time if there is a limit.
    Decision {
        until: Option<Timestamp>,
    },
    /// It is over, and being undone: so many jobs of that are under way, and so many are still to be made.
    Compensation {
        open: u32,
        to_make: u32,
    },
}

impl WaitsFor {
    /// What a step of a run waits for; `None` if it is over and not being undone. As long as a run is not over, one of its
    /// steps waits for something.
    #[must_use]
    pub fn of(workflow: &Workflow, run: &Run, index: StepIndex) -> Option<Self> {
        let (step, definition) = (run.step(index)?, workflow.step(index)?);
        let items = step.items;
        match step.state {
            StepState::Completed | StepState::Failed | StepState::Skipped | StepState::Cancelled => {
                let counts = step.compensation.filter(|counts| !counts.is_over())?;
                let is_open = run.state == RunState::Compensating;
                let (open, to_make) = (counts.open(), counts.total - counts.made);
                is_open.then_some(Self::Compensation { open, to_make })
            }
            StepState::Pending if run.state == RunState::Queued => Some(Self::Start),
            StepState::Pending if !step.is_due => {
                let is_open =
                    |need: &&StepIndex| run.step(**need).is_some_and(|need| !need.state.is_terminal());
                Some(Self::Needs(definition.needs.iter().filter(is_open).copied().collect()))
            }
            StepState::Pending if run.is_paused => Some(Self::Resume),
            StepState::Pending => Some(Self::Evaluation),
            StepState::Waiting => Some(match (&definition.work, step.deadline_at) {
                (Work::Until(_), Some(until)) => Self::Moment(until),
                (Work::Approval(_), until) => Self::Decision { until },
                (Work::Event(_) | Work::Until(_) | Work::Job { .. } | Work::Child { .. }, until) => {
                    Self::Event { until }
                }
            }),
            StepState::Running if step.is_stopping => Some(Self::Stop { open: items.open() }),
            StepState::Running if items.open() == 0 && run.is_paused => Some(Self::Resume),
            StepState::Running if matches!(definition.work, Work::Child { .. }) => Some(Self::Child),
            StepState::Running => Some(Self::Items { open: items.open(), to_make: items.total - items.made }),
        }
    }
}
