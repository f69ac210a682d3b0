//! What there is to do for a run, told by its state alone.

use super::super::{
    definition::{StepIndex, Work, Workflow},
    facts::Command,
    run::{Cleanup, ItemCounts, Run, StepState},
};

/// The commands that were given and are not answered: after a crash, and whenever it is not certain that they were heard.
/// What belongs into the transaction of a change is not among them.
#[must_use]
pub fn outstanding(workflow: &Workflow, run: &Run) -> Vec<Command> {
    let mut commands = Vec::new();
    let steps = run.steps.iter().zip(&workflow.steps).enumerate();
    for (index, (state, definition)) in steps {
        let (step, generation) = (StepIndex(index), state.generation);
        let is_child = matches!(definition.work, Work::Child { .. });
        if state.is_due && definition.wants_evaluation() && !run.is_paused {
            commands.push(Command::Evaluate { step, generation });
        }
        let ItemCounts { made: from, making: count, .. } = state.items;
        if count > 0 {
            commands.push(if is_child {
                Command::StartChild { step, generation }
            } else {
                Command::MakeItems { step, generation, from, count }
            });
        }
        if state.state == StepState::Running && state.is_stopping {
            commands.push(if is_child {
                Command::CancelChild { step, generation }
            } else {
                Command::CancelJobs { step, generation }
            });
        }
        let Some(ItemCounts { made: from, making: count, .. }) = state.compensation else { continue };
        if count > 0 {
            commands.push(Command::Compensate { step, generation, from, count });
        }
        let is_abandoned = run.stop.as_ref().is_some_and(|stop| stop.cleanup == Cleanup::Nothing);
        if is_abandoned && state.compensation.is_some_and(|counts| counts.open() > 0) {
            commands.push(Command::CancelCompensations { step, generation });
        }
    }
    commands
}
