//! What ends a run before its time, and what holds it up.

use super::{
    super::{
        definition::{RunIf, StepIndex, Work},
        facts::{Command, Entry, Stale},
        run::{Cleanup, Reason, RunState, StepState, Stop, StopCause},
    },
    Machine,
};

impl Machine<'_> {
    /// The run stops: what may not go on is told to. What is pending is left to its gate, which knows better why it will not
    /// begin. A run that stops already keeps its cause, and its cleanup gets no larger.
    pub(super) fn stop(&mut self, cause: StopCause, cleanup: Cleanup) {
        let cause = self.run.stop.take().map_or(cause, |stop| stop.cause);
        self.run.stop = Some(Stop { cause, cleanup });
        if self.run.state != RunState::Stopping {
            self.run.state = RunState::Stopping;
            self.run.deadline_at = None;
            self.commands.push(Command::Journal(Entry::Stopping));
        }
        for index in (0..self.run.steps.len()).map(StepIndex) {
            if self.goes_on(index) {
                continue;
            }
            let step = self.step(index);
            match step.state {
                StepState::Pending if !step.is_due => {}
                StepState::Pending | StepState::Waiting => {
                    self.end_step(index, StepState::Cancelled, Some(Reason::RunStopped));
                }
                StepState::Running if step.is_stopping => {}
                StepState::Running => self.stop_items(index),
                StepState::Completed | StepState::Failed | StepState::Skipped | StepState::Cancelled => {}
            }
        }
    }

    /// Whether a step may begin and go on, although the run may be stopping.
    pub(super) fn goes_on(&self, index: StepIndex) -> bool {
        let Some(stop) = &self.run.stop else { return true };
        match self.definition(index).run_if {
            RunIf::Completed | RunIf::AnyCompleted => false,
            RunIf::Failed => stop.cleanup == Cleanup::FailedAndFinished,
            RunIf::Finished => stop.cleanup != Cleanup::Nothing,
        }
    }

    fn stop_items(&mut self, index: StepIndex) {
        let is_child = matches!(self.definition(index).work, Work::Child { .. });
        let step = self.step_mut(index);
        step.is_stopping = true;
        let (generation, open) = (step.generation, step.items.open());
        if open > 0 {
            self.commands.push(if is_child {
                Command::CancelChild { step: index, generation }
            } else {
                Command::CancelJobs { step: index, generation }
            });
        }
        self.settle_items(index);
    }

    /// The time of a run ends what it is for. What cleans up afterwards has its own limits.
    pub(super) fn on_timed_out(&mut self) -> Result<(), Stale> {
        if self.run.state != RunState::Running {
            return Err(Stale::State);
        }
        if self.run.deadline_at.is_none_or(|deadline_at| self.moment < deadline_at) {
            return Err(Stale::NotDue);
        }
        self.stop(StopCause::TimedOut, Cleanup::FailedAndFinished);
        Ok(())
    }

    pub(super) fn on_cancel_requested(&mut self, force: bool) -> Result<(), Stale> {
        let cleanup = if force { Cleanup::Nothing } else { Cleanup::Finished };
        let so_far = self.run.stop.as_ref().map(|stop| stop.cleanup);
        match self.run.state {
            RunState::Completed | RunState::Failed | RunState::Cancelled => return Err(Stale::State),
            // It would change nothing.
            RunState::Stopping | RunState::Compensating if so_far >= Some(cleanup) => {
                return Err(Stale::State);
            }
            // It is being undone already. Only force leaves that half done.
            RunState::Compensating if !force => return Err(Stale::State),
            RunState::Compensating => self.abandon_compensation(),
            RunState::Running | RunState::Stopping => self.stop(StopCause::Cancelled, cleanup),
            RunState::Queued => {
                // Nothing of it began, so there is nothing to clean up either.
                self.stop(StopCause::Cancelled, Cleanup::Nothing);
                for index in (0..self.run.steps.len()).map(StepIndex) {
                    if !self.step(index).state.is_terminal() {
                        self.end_step(index, StepState::Cancelled, Some(Reason::RunStopped));
                    }
                }
            }
        }
        Ok(())
    }

    /// Nothing more begins. What was to be made is asked for again at the end of the pause.
    pub(super) fn on_paused(&mut self) -> Result<(), Stale> {
        if self.run.state.is_terminal() || self.run.is_paused {
            return Err(Stale::State);
        }
        self.run.is_paused = true;
        for index in (0..self.run.steps.len()).map(StepIndex) {
            self.take_back_items(index);
            self.take_back_compensations(index);
        }
        Ok(())
    }

    pub(super) fn on_resumed(&mut self) -> Result<(), Stale> {
        if !self.run.is_paused {
            return Err(Stale::State);
        }
        self.run.is_paused = false;
        for index in (0..self.run.steps.len()).map(StepIndex) {
            let step = self.step(index);
            match step.state {
                StepState::Pending if step.is_due => self.attend(index),
                StepState::Running if !step.is_stopping => self.settle_items(index),
                StepState::Pending
                | StepState::Waiting
                | StepState::Running
                | StepState::Completed
                | StepState::Failed
                | StepState::Skipped
                | StepState::Cancelled => {}
            }
        }
        self.resume_compensation();
        Ok(())
    }
}
