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

/// Whether an open run has to get on by what the backend and its workers do: a step of it is to be evaluated, or has jobs to be made or
/// to end, or nothing of it waits for anything. Otherwise it waits for somebody, an event, a moment, the end of a pause, or another run.
/// One that waits for its place has to get on as well: whoever has that place leaves it.
#[must_use]
pub fn has_to_get_on(workflow: &Workflow, run: &Run) -> bool {
    if run.state.is_terminal() || run.is_paused {
        return false;
    }
    let mut waits_for_others = false;
    for index in (0..run.steps.len()).map(StepIndex) {
        let Some(step) = run.step(index) else { continue };
        // It waits for other steps, which are asked themselves.
        if step.state == StepState::Pending && !step.is_due && run.state != RunState::Queued {
            continue;
        }
        match WaitsFor::of(workflow, run, index) {
            None | Some(WaitsFor::Needs(_)) => {}
            Some(WaitsFor::Child) if step.items.open() > 0 => waits_for_others = true,
            Some(
                WaitsFor::Start
                | WaitsFor::Evaluation
                | WaitsFor::Items { .. }
                | WaitsFor::Child
                | WaitsFor::Stop { .. }
                | WaitsFor::Compensation { .. },
            ) => return true,
            Some(
                WaitsFor::Resume | WaitsFor::Event { .. } | WaitsFor::Moment(_) | WaitsFor::Decision { .. },
            ) => waits_for_others = true,
        }
    }
    !waits_for_others
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
