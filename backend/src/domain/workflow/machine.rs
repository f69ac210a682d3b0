//! The state machine of a run: what follows from what happened.

mod compensation;
mod gate;
mod outstanding;
mod retry;
mod stop;
mod work;

pub use outstanding::outstanding;

use std::{collections::BTreeSet, time::Duration};

use crewcall_proto::Timestamp;

use super::{
    definition::{OnFailure, Step, StepIndex, Workflow},
    facts::{Advance, Command, Entry, Happened, Item, Outcome, Stale},
    run::{Cleanup, Generation, ItemCounts, Reason, Run, RunState, RunStep, StepState, StopCause},
};

/// What `happened` makes of a run at this moment, and what is to be done about it. Total: whatever happens has an answer in
/// every state, and what is said again changes nothing the second time. Steps that begin and end without work are gone
/// through at once.
///
/// # Errors
///
/// [`Stale`] when nothing changes.
pub fn advance(
    workflow: &Workflow,
    run: &Run,
    happened: Happened,
    moment: Timestamp,
) -> Result<Advance, Stale> {
    let mut machine = Machine {
        workflow,
        run: run.clone(),
        moment,
        commands: Vec::new(),
        changed: BTreeSet::new(),
        to_look_at: BTreeSet::new(),
    };
    machine.on(happened)?;
    machine.settle();
    machine.run.version += 1;
    let changed = machine.changed.into_iter().collect();
    Ok(Advance { run: machine.run, changed, commands: machine.commands })
}

/// One call of [`advance`], under way.
struct Machine<'a> {
    workflow: &'a Workflow,
    run: Run,
    moment: Timestamp,
    commands: Vec<Command>,
    changed: BTreeSet<StepIndex>,
    /// Steps of which something that they need has just ended.
    to_look_at: BTreeSet<StepIndex>,
}

impl Machine<'_> {
    fn on(&mut self, happened: Happened) -> Result<(), Stale> {
        match happened {
            Happened::Started => self.on_started(),
            Happened::Evaluated { step, generation, evaluation } => {
                self.on_evaluated(step, generation, evaluation)
            }
            Happened::ItemsMade { step, generation, from, count, born_failed } => {
                self.expect_generation(step, generation)?;
                self.on_items_made(step, from, count, born_failed)
            }
            Happened::JobEnded { step, item, outcome } => self.on_job_ended(step, item, outcome),
            Happened::ChildEnded { step, generation, outcome } => {
                self.on_child_ended(step, generation, outcome)
            }
            Happened::WaitAnswered { step, generation, event } => {
                self.on_wait_answered(step, generation, event)
            }
            Happened::WaitTimedOut { step, generation } => self.on_wait_timed_out(step, generation),
            Happened::Decided { step, approved, by, comment } => self.on_decided(step, approved, by, comment),
            Happened::TimedOut => self.on_timed_out(),
            Happened::CancelRequested { force, by: _ } => self.on_cancel_requested(force),
            Happened::RetryRequested { from, by: _ } => self.on_retry_requested(from),
            Happened::Paused { by: _ } => self.on_paused(),
            Happened::Resumed { by: _ } => self.on_resumed(),
            Happened::CompensationsMade { step, generation, from, count, born_failed } => {
                self.expect_generation(step, generation)?;
                self.on_compensations_made(step, from, count, born_failed)
            }
            Happened::CompensationEnded { step, item, outcome } => {
                self.on_compensation_ended(step, item, outcome)
            }
        }
    }

    fn on_started(&mut self) -> Result<(), Stale> {
        if self.run.state != RunState::Queued || self.run.is_paused {
            return Err(Stale::State);
        }
        self.run.state = RunState::Running;
        self.run.started_at = Some(self.moment);
        self.run.deadline_at = self.workflow.timeout.map(|timeout| after(self.moment, timeout));
        self.to_look_at.extend((0..self.run.steps.len()).map(StepIndex));
        Ok(())
    }

    /// Looks at every step that may begin or be skipped now, and at what follows from that. Each is looked at once for
    /// each of its needs at most.
    fn settle(&mut self) {
        while let Some(step) = self.to_look_at.pop_first() {
            self.look_at(step);
        }
        // Where no step ended, the run cannot be over.
        if self.changed.iter().any(|step| self.step(*step).state.is_terminal()) {
            self.conclude();
        }
    }

    /// The run is over if all of its steps are, and nothing is left to be undone.
    fn conclude(&mut self) {
        let is_open = match self.run.state {
            RunState::Running | RunState::Stopping => true,
            RunState::Queued
            | RunState::Compensating
            | RunState::Completed
            | RunState::Failed
            | RunState::Cancelled => false,
        };
        if !is_open || !self.run.steps.iter().all(|step| step.state.is_terminal()) {
            return;
        }
        let cause = self.run.stop.as_ref().map(|stop| &stop.cause);
        let end = match cause {
            Some(StopCause::Cancelled) => RunState::Cancelled,
            Some(StopCause::StepFailed(_) | StopCause::TimedOut) => RunState::Failed,
            None if self.run.failures(self.workflow).next().is_some() => RunState::Failed,
            None => RunState::Completed,
        };
        let is_forced = self.run.stop.as_ref().is_some_and(|stop| stop.cleanup == Cleanup::Nothing);
        let is_undone = end == RunState::Failed && self.workflow.on_failure == OnFailure::Compensate;
        if is_undone && !is_forced && self.has_more_to_undo() {
            self.run.state = RunState::Compensating;
            self.run.is_compensated = true;
            self.compensate_next();
        } else {
            self.end_run(end);
        }
    }

    fn end_run(&mut self, state: RunState) {
        self.run.state = state;
        self.run.ended_at = Some(self.moment);
        self.run.deadline_at = None;
        self.commands.push(Command::Journal(Entry::Ended(state)));
        self.commands.push(Command::Ended(state));
    }

    /// A step is over. What needs it is looked at next; if it failed, the run may have.
    fn end_step(&mut self, index: StepIndex, state: StepState, reason: Option<Reason>) {
        self.run.steps_ended += 1;
        let (moment, ended_as) = (self.moment, self.run.steps_ended);
        let step = self.step_mut(index);
        let (before, generation) = (step.state, step.generation);
        step.state = state;
        step.reason = reason;
        step.is_due = false;
        step.is_stopping = false;
        step.deadline_at = None;
        step.ended_at = Some(moment);
        step.ended_as = ended_as;
        if before == StepState::Waiting {
            self.commands.push(Command::CloseWait { step: index, generation });
        }
        self.commands.push(Command::Journal(Entry::StepEnded { step: index, state }));
        self.to_look_at.extend(self.workflow.dependents(index));
        if state == StepState::Failed && !self.definition(index).continues_on_failure {
            self.on_step_failed(index);
        }
    }

    fn on_step_failed(&mut self, index: StepIndex) {
        match self.workflow.on_failure {
            // Whatever does not need it goes on, so that the end does not depend on who was first.
            OnFailure::Drain => {}
            OnFailure::Cancel | OnFailure::Compensate => {
                if self.run.stop.is_none() {
                    self.stop(StopCause::StepFailed(index), Cleanup::FailedAndFinished);
                }
            }
        }
    }

    /// A step that the workflow has.
    fn expect_step(&self, index: StepIndex) -> Result<&Step, Stale> {
        self.workflow.step(index).filter(|_| index.0 < self.run.steps.len()).ok_or(Stale::Unknown)
    }

    /// A step of this generation.
    fn expect_generation(&self, index: StepIndex, generation: Generation) -> Result<&Step, Stale> {
        let definition = self.expect_step(index)?;
        if self.step(index).generation == generation { Ok(definition) } else { Err(Stale::Generation) }
    }

    /// A step in this state.
    fn expect_state(&self, index: StepIndex, state: StepState) -> Result<&RunStep, Stale> {
        Some(self.step(index)).filter(|step| step.state == state).ok_or(Stale::State)
    }

    fn definition(&self, index: StepIndex) -> &Step {
        &self.workflow.steps[index.0]
    }

    fn step(&self, index: StepIndex) -> &RunStep {
        &self.run.steps[index.0]
    }

    /// A step that is about to change.
    fn step_mut(&mut self, index: StepIndex) -> &mut RunStep {
        self.changed.insert(index);
        &mut self.run.steps[index.0]
    }
}

/// An item of these is open by its row, and by the counts.
fn expect_open(counts: &ItemCounts, item: Item) -> Result<(), Stale> {
    if !item.is_open {
        return Err(Stale::Repeated);
    }
    if item.index < counts.made && counts.open() > 0 { Ok(()) } else { Err(Stale::Unknown) }
}

/// So many items from this one on are those that are to be made.
fn expect_making(counts: &ItemCounts, from: u32, count: u32, born_failed: u32) -> Result<(), Stale> {
    if from < counts.made {
        return Err(Stale::Repeated);
    }
    if counts.making == 0 {
        return Err(Stale::State);
    }
    let are_those = from == counts.made && (1..=counts.making).contains(&count) && born_failed <= count;
    if are_those { Ok(()) } else { Err(Stale::Unknown) }
}

/// Items were stored.
fn count_made(counts: &mut ItemCounts, count: u32, born_failed: u32) {
    counts.made += count;
    counts.failed += born_failed;
    counts.making = 0;
}

/// An item ended.
fn count_ended(counts: &mut ItemCounts, outcome: Outcome) {
    match outcome {
        Outcome::Completed => counts.completed += 1,
        Outcome::Failed => counts.failed += 1,
        Outcome::Cancelled => counts.cancelled += 1,
    }
}

/// The moment that is so much later.
fn after(moment: Timestamp, duration: Duration) -> Timestamp {
    moment.plus_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod test_support;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod failure_tests;

#[cfg(test)]
mod naive;

#[cfg(test)]
mod random;

#[cfg(test)]
mod properties;
