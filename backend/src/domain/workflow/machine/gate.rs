//! Whether a step begins, by what became of those that it needs.

use super::{
    super::{
        definition::{RunIf, StepIndex},
        run::{Reason, StepState},
    },
    Machine,
};

/// What the needs of a step say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Gate {
    /// Some are not over.
    Closed,
    Open,
    Skip(Reason),
}

/// The answer of a gate to what its needs ended as, those whose failure is overlooked being completed.
fn gate(run_if: RunIf, needs: &[(StepIndex, StepState)]) -> Gate {
    if needs.iter().any(|(_, state)| !state.is_terminal()) {
        return Gate::Closed;
    }
    let has = |wanted: StepState| needs.iter().any(|(_, state)| *state == wanted);
    match run_if {
        RunIf::Completed => match needs.iter().find(|(_, state)| *state != StepState::Completed) {
            None => Gate::Open,
            Some((step, state)) => Gate::Skip(Reason::Need { step: *step, state: *state }),
        },
        RunIf::AnyCompleted if has(StepState::Completed) => Gate::Open,
        RunIf::AnyCompleted => Gate::Skip(Reason::NoneCompleted),
        RunIf::Failed if has(StepState::Failed) => Gate::Open,
        RunIf::Failed => Gate::Skip(Reason::NoneFailed),
        RunIf::Finished => Gate::Open,
    }
}

impl Machine<'_> {
    /// Begins, skips or cancels a pending step, if all that it needs is over.
    pub(super) fn look_at(&mut self, index: StepIndex) {
        let step = self.step(index);
        if step.state != StepState::Pending || step.is_due {
            return;
        }
        let definition = self.definition(index);
        let needs: Vec<_> =
            definition.needs.iter().map(|need| (*need, self.state_for_gates(*need))).collect();
        match gate(definition.run_if, &needs) {
            Gate::Closed => {}
            Gate::Skip(reason) => self.end_step(index, StepState::Skipped, Some(reason)),
            Gate::Open if self.goes_on(index) => {
                self.step_mut(index).is_due = true;
                self.attend(index);
            }
            Gate::Open => self.end_step(index, StepState::Cancelled, Some(Reason::RunStopped)),
        }
    }

    fn state_for_gates(&self, index: StepIndex) -> StepState {
        match self.step(index).state {
            StepState::Failed if self.definition(index).continues_on_failure => StepState::Completed,
            state => state,
        }
    }
}
