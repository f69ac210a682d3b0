//! Beginning again what did not work.

use super::{
    super::{
        definition::StepIndex,
        facts::Stale,
        run::{RunState, RunStep, StepState},
    },
    Machine,
};

impl Machine<'_> {
    /// Steps that failed or were cancelled begin again, and what was skipped and needs one of them; the others keep their
    /// results. `from` begins again besides, with everything that needs it. The run waits for a place as a new one does.
    pub(super) fn on_retry_requested(&mut self, from: Option<StepIndex>) -> Result<(), Stale> {
        if let Some(from) = from {
            self.expect_step(from)?;
        }
        if !self.run.state.is_terminal() {
            return Err(Stale::State);
        }
        if self.run.is_compensated {
            return Err(Stale::Compensated);
        }
        let again = self.to_begin_again(from);
        if again.is_empty() {
            return Err(Stale::NothingToRetry);
        }
        let generation = self.run.generation.next();
        for index in again {
            *self.step_mut(index) = RunStep::new(generation);
        }
        self.run.generation = generation;
        self.run.state = RunState::Queued;
        self.run.stop = None;
        self.run.ended_at = None;
        Ok(())
    }

    fn to_begin_again(&self, from: Option<StepIndex>) -> Vec<StepIndex> {
        let mut begins_again = vec![false; self.run.steps.len()];
        let mut is_downstream = vec![false; self.run.steps.len()];
        for index in self.workflow.order() {
            let needs = &self.definition(*index).needs;
            is_downstream[index.0] = Some(*index) == from || needs.iter().any(|need| is_downstream[need.0]);
            begins_again[index.0] = is_downstream[index.0]
                || match self.step(*index).state {
                    StepState::Failed | StepState::Cancelled => true,
                    StepState::Skipped => needs.iter().any(|need| begins_again[need.0]),
                    StepState::Completed | StepState::Pending | StepState::Waiting | StepState::Running => {
                        false
                    }
                };
        }
        let again = begins_again.iter().enumerate().filter(|(_, again)| **again);
        again.map(|(index, _)| StepIndex(index)).collect()
    }
}
