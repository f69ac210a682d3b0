//! What steps do: items, child runs and waits.

use crewcall_proto::Timestamp;

use super::{
    super::{
        definition::{Limit, OnTimeout, StepIndex, Work},
        facts::{Command, Entry, Evaluation, Item, Outcome, Stale},
        limits::{ITEMS_CHUNK, ITEMS_MAX},
        run::{Decision, Generation, ItemCounts, Reason, StepState},
    },
    Machine, after, count_ended, count_made, expect_making, expect_open,
};
use crate::domain::Sequence;

impl Machine<'_> {
    /// Goes on with a step that is due, unless the run is paused.
    pub(super) fn attend(&mut self, index: StepIndex) {
        if self.run.is_paused {
            return;
        }
        if self.definition(index).wants_evaluation() {
            let generation = self.step(index).generation;
            self.commands.push(Command::Evaluate { step: index, generation });
        } else {
            self.begin(index, 1, self.moment);
        }
    }

    pub(super) fn on_evaluated(
        &mut self,
        index: StepIndex,
        generation: Generation,
        evaluation: Evaluation,
    ) -> Result<(), Stale> {
        let definition = self.expect_generation(index, generation)?;
        let is_until = matches!(definition.work, Work::Until(_));
        let step = self.expect_state(index, StepState::Pending)?;
        if !step.is_due || self.run.is_paused {
            return Err(Stale::State);
        }
        match evaluation {
            Evaluation::Skip => self.end_step(index, StepState::Skipped, Some(Reason::ConditionFalse)),
            Evaluation::Fail(message) => self.fail(index, message),
            Evaluation::Begin { until: None, .. } if is_until => return Err(Stale::Unknown),
            Evaluation::Begin { items, .. } if items > ITEMS_MAX => {
                self.fail(index, format!("it has {items} items, and a step has at most {ITEMS_MAX}"));
            }
            Evaluation::Begin { items, until } => self.begin(index, items, until.unwrap_or(self.moment)),
        }
        Ok(())
    }

    fn fail(&mut self, index: StepIndex, message: String) {
        self.end_step(index, StepState::Failed, Some(Reason::InvalidParameters(message)));
    }

    /// A step begins: with so many items, if it has some; until this moment, if it waits for one.
    fn begin(&mut self, index: StepIndex, items: u32, until: Timestamp) {
        let moment = self.moment;
        let (items, deadline_at) = match &self.definition(index).work {
            Work::Job { each: Some(_), .. } => (Some(items), None),
            Work::Job { each: None, .. } | Work::Child { .. } => (Some(1), None),
            Work::Event(wait) => (None, wait.limit.timeout.map(|timeout| after(moment, timeout))),
            Work::Approval(limit) => (None, limit.timeout.map(|timeout| after(moment, timeout))),
            Work::Until(_) => (None, Some(until)),
        };
        let step = self.step_mut(index);
        step.is_due = false;
        step.began_at = Some(moment);
        step.deadline_at = deadline_at;
        let generation = step.generation;
        self.commands.push(Command::Journal(Entry::StepBegan { step: index, items: items.unwrap_or(0) }));
        if let Some(total) = items {
            let step = self.step_mut(index);
            step.state = StepState::Running;
            step.items = ItemCounts { total, ..ItemCounts::default() };
            self.settle_items(index);
        } else {
            self.step_mut(index).state = StepState::Waiting;
            self.commands.push(Command::OpenWait { step: index, generation, deadline_at });
        }
    }

    /// Has the next items made, as far as there is room.
    pub(super) fn make_items(&mut self, index: StepIndex) {
        let definition = self.definition(index);
        let (parallel, is_child) = (definition.parallel(), matches!(definition.work, Work::Child { .. }));
        let step = self.step(index);
        let (items, generation) = (step.items, step.generation);
        let room = parallel.saturating_sub(items.open()).min(items.total - items.made).min(ITEMS_CHUNK);
        if self.run.is_paused || items.making > 0 || room == 0 {
            return;
        }
        self.step_mut(index).items.making = room;
        self.commands.push(if is_child {
            Command::StartChild { step: index, generation }
        } else {
            Command::MakeItems { step: index, generation, from: items.made, count: room }
        });
    }

    /// What was to be made of them is not made, or not now.
    pub(super) fn take_back_items(&mut self, index: StepIndex) {
        if self.step(index).items.making > 0 {
            self.step_mut(index).items.making = 0;
        }
    }

    pub(super) fn on_items_made(
        &mut self,
        index: StepIndex,
        from: u32,
        count: u32,
        born_failed: u32,
    ) -> Result<(), Stale> {
        let step = self.expect_state(index, StepState::Running)?;
        expect_making(&step.items, from, count, born_failed)?;
        count_made(&mut self.step_mut(index).items, count, born_failed);
        self.settle_items(index);
        Ok(())
    }

    pub(super) fn on_job_ended(
        &mut self,
        index: StepIndex,
        item: Item,
        outcome: Outcome,
    ) -> Result<(), Stale> {
        let definition = self.expect_generation(index, item.generation)?;
        if !matches!(definition.work, Work::Job { .. }) {
            return Err(Stale::Unknown);
        }
        let step = self.expect_state(index, StepState::Running)?;
        expect_open(&step.items, item)?;
        count_ended(&mut self.step_mut(index).items, outcome);
        self.settle_items(index);
        Ok(())
    }

    pub(super) fn on_child_ended(
        &mut self,
        index: StepIndex,
        generation: Generation,
        outcome: Outcome,
    ) -> Result<(), Stale> {
        let definition = self.expect_generation(index, generation)?;
        if !matches!(definition.work, Work::Child { .. }) {
            return Err(Stale::Unknown);
        }
        let step = self.expect_state(index, StepState::Running)?;
        if step.items.open() == 0 {
            return Err(Stale::State);
        }
        count_ended(&mut self.step_mut(index).items, outcome);
        self.settle_items(index);
        Ok(())
    }

    /// Ends a step of items if nothing of it is open and nothing is to come; else goes on with it.
    pub(super) fn settle_items(&mut self, index: StepIndex) {
        let tolerate = self.definition(index).tolerate();
        let step = self.step(index);
        let (items, is_stopping) = (step.items, step.is_stopping);
        // What is cancelled while the step is not stopping was cancelled by somebody else.
        let failures = items.failed + if is_stopping { 0 } else { items.cancelled };
        let is_doomed = tolerate.is_exceeded(failures, items.total);
        let goes_on = !is_doomed && !is_stopping;
        if goes_on && !items.is_over() {
            return self.make_items(index);
        }
        self.take_back_items(index);
        if items.open() > 0 {
            return;
        }
        let (state, reason) = if is_doomed {
            (StepState::Failed, Some(Reason::ItemsFailed(failures)))
        } else if goes_on || (items.is_over() && items.cancelled == 0) {
            // It may have got everything done before it heard that it should stop.
            (StepState::Completed, None)
        } else {
            (StepState::Cancelled, Some(Reason::RunStopped))
        };
        self.end_step(index, state, reason);
    }

    pub(super) fn on_wait_answered(
        &mut self,
        index: StepIndex,
        generation: Generation,
        event: Sequence,
    ) -> Result<(), Stale> {
        let definition = self.expect_generation(index, generation)?;
        if !matches!(definition.work, Work::Event(_)) {
            return Err(Stale::Unknown);
        }
        self.expect_state(index, StepState::Waiting)?;
        self.step_mut(index).answer = Some(event);
        self.end_step(index, StepState::Completed, None);
        Ok(())
    }

    pub(super) fn on_wait_timed_out(
        &mut self,
        index: StepIndex,
        generation: Generation,
    ) -> Result<(), Stale> {
        let limit = match &self.expect_generation(index, generation)?.work {
            Work::Event(wait) => Some(wait.limit),
            Work::Approval(limit) => Some(*limit),
            Work::Until(_) => None,
            Work::Job { .. } | Work::Child { .. } => return Err(Stale::Unknown),
        };
        let step = self.expect_state(index, StepState::Waiting)?;
        if step.deadline_at.is_none_or(|deadline_at| self.moment < deadline_at) {
            return Err(Stale::NotDue);
        }
        let (state, reason) = match limit {
            None => (StepState::Completed, None),
            Some(Limit { on_timeout: OnTimeout::Continue, .. }) => {
                (StepState::Completed, Some(Reason::TimedOut))
            }
            Some(Limit { on_timeout: OnTimeout::Fail, .. }) => (StepState::Failed, Some(Reason::TimedOut)),
        };
        self.end_step(index, state, reason);
        Ok(())
    }

    /// The first decision stands.
    pub(super) fn on_decided(
        &mut self,
        index: StepIndex,
        approved: bool,
        by: String,
        comment: Option<String>,
    ) -> Result<(), Stale> {
        if !matches!(self.expect_step(index)?.work, Work::Approval(_)) {
            return Err(Stale::Unknown);
        }
        if self.step(index).decision.is_some() {
            return Err(Stale::Decided);
        }
        self.expect_state(index, StepState::Waiting)?;
        let at = self.moment;
        self.step_mut(index).decision = Some(Decision { approved, by, comment, at });
        if approved {
            self.end_step(index, StepState::Completed, None);
        } else {
            self.end_step(index, StepState::Failed, Some(Reason::Rejected));
        }
        Ok(())
    }
}
