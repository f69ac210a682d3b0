//! Undoing what completed: one step after the other, the last that ended first.

use super::{
    super::{
        definition::StepIndex,
        facts::{Command, Entry, Item, Outcome, Stale},
        limits::ITEMS_CHUNK,
        run::{Cleanup, ItemCounts, RunState},
    },
    Machine, count_ended, count_made, expect_making, expect_open,
};

impl Machine<'_> {
    /// Whether something that completed is to be undone and was not looked at.
    pub(super) fn has_more_to_undo(&self) -> bool {
        self.next_to_undo().is_some()
    }

    /// The step that ended last of those that have something to undo. Items that completed are undone even if their step did
    /// not complete as a whole.
    fn next_to_undo(&self) -> Option<StepIndex> {
        let steps = self.run.steps.iter().zip(&self.workflow.steps).enumerate();
        let open = steps.filter(|(_, (step, definition))| {
            definition.compensate.is_some() && step.items.completed > 0 && step.compensation.is_none()
        });
        open.max_by_key(|(_, (step, _))| step.ended_as).map(|(index, _)| StepIndex(index))
    }

    /// Begins with the next step, or ends the run if there is none.
    pub(super) fn compensate_next(&mut self) {
        let is_abandoned = self.run.stop.as_ref().is_some_and(|stop| stop.cleanup == Cleanup::Nothing);
        match self.next_to_undo().filter(|_| !is_abandoned) {
            Some(index) => {
                let step = self.step_mut(index);
                let total = step.items.completed;
                step.compensation = Some(ItemCounts { total, ..ItemCounts::default() });
                self.make_compensations(index);
            }
            None => self.end_run(RunState::Failed),
        }
    }

    /// Has the next jobs of a step made that undo it, as far as there is room.
    fn make_compensations(&mut self, index: StepIndex) {
        let parallel = self.definition(index).parallel();
        let generation = self.step(index).generation;
        let Some(counts) = self.step(index).compensation else { return };
        let room = parallel.saturating_sub(counts.open()).min(counts.total - counts.made).min(ITEMS_CHUNK);
        if self.run.is_paused || counts.making > 0 || room == 0 {
            return;
        }
        let from = counts.made;
        self.step_mut(index).compensation = Some(ItemCounts { making: room, ..counts });
        self.commands.push(Command::Compensate { step: index, generation, from, count: room });
    }

    pub(super) fn on_compensations_made(
        &mut self,
        index: StepIndex,
        from: u32,
        count: u32,
        born_failed: u32,
    ) -> Result<(), Stale> {
        let mut counts = self.expect_compensating(index)?;
        expect_making(&counts, from, count, born_failed)?;
        count_made(&mut counts, count, born_failed);
        self.step_mut(index).compensation = Some(counts);
        self.settle_compensation(index);
        Ok(())
    }

    pub(super) fn on_compensation_ended(
        &mut self,
        index: StepIndex,
        item: Item,
        outcome: Outcome,
    ) -> Result<(), Stale> {
        self.expect_generation(index, item.generation)?;
        let mut counts = self.expect_compensating(index)?;
        expect_open(&counts, item)?;
        count_ended(&mut counts, outcome);
        self.step_mut(index).compensation = Some(counts);
        self.settle_compensation(index);
        Ok(())
    }

    fn expect_compensating(&self, index: StepIndex) -> Result<ItemCounts, Stale> {
        let is_compensating = self.run.state == RunState::Compensating;
        self.step(index).compensation.filter(|_| is_compensating).ok_or(Stale::State)
    }

    /// Goes on with the step, or with the next when it is undone as far as it can be.
    fn settle_compensation(&mut self, index: StepIndex) {
        let is_abandoned = self.run.stop.as_ref().is_some_and(|stop| stop.cleanup == Cleanup::Nothing);
        let Some(counts) = self.step(index).compensation else { return };
        if counts.is_over() || (is_abandoned && counts.open() == 0) {
            let not_undone = counts.total - counts.completed;
            self.commands.push(Command::Journal(Entry::StepCompensated { step: index, not_undone }));
            self.compensate_next();
        } else if !is_abandoned {
            self.make_compensations(index);
        }
    }

    /// The step that is being undone.
    fn being_undone(&self) -> Option<StepIndex> {
        let is_open = |counts: ItemCounts| !counts.is_over();
        let open = self.run.steps.iter().position(|step| step.compensation.is_some_and(is_open));
        open.filter(|_| self.run.state == RunState::Compensating).map(StepIndex)
    }

    pub(super) fn resume_compensation(&mut self) {
        if let Some(index) = self.being_undone() {
            self.make_compensations(index);
        }
    }

    /// What is left stays as it is, and what runs is told to stop.
    pub(super) fn abandon_compensation(&mut self) {
        if let Some(stop) = &mut self.run.stop {
            stop.cleanup = Cleanup::Nothing;
        }
        let Some(index) = self.being_undone() else { return };
        self.take_back_compensations(index);
        let step = self.step(index);
        let generation = step.generation;
        if step.compensation.is_some_and(|counts| counts.open() > 0) {
            self.commands.push(Command::CancelCompensations { step: index, generation });
        }
        self.settle_compensation(index);
    }

    /// What was to be made of them is not made, or not now.
    pub(super) fn take_back_compensations(&mut self, index: StepIndex) {
        if let Some(counts) = self.step(index).compensation.filter(|counts| counts.making > 0) {
            self.step_mut(index).compensation = Some(ItemCounts { making: 0, ..counts });
        }
    }
}
