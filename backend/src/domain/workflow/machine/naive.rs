//! The same machine, said naively, to compare with: it keeps every item, and looks at everything again and again until nothing
//! changes. It gets the facts that were accepted, from the first on, and checks none of them.

use std::collections::BTreeMap;

use super::super::{
    definition::{OnFailure, RunIf, StepIndex, Work, Workflow},
    facts::{Evaluation, Happened, Outcome},
    run::{Cleanup, Generation, Run, RunState, StepState},
};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Naive<'w> {
    workflow: &'w Definition,
    state: RunState,
    generation: u32,
    paused: bool,
    /// Whether it was the cause that somebody cancelled it, and what still may begin.
    stop: Option<(bool, Cleanup)>,
    compensated: bool,
    ended: u32,
    steps: Vec<NaiveStep>,
}

/// A workflow that can be compared with itself.
#[derive(Debug)]
pub(super) struct Definition(pub(super) Workflow);

impl PartialEq for Definition {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

type Items = BTreeMap<u32, Option<Outcome>>;

#[derive(Debug, Clone, PartialEq)]
struct NaiveStep {
    state: StepState,
    generation: u32,
    due: bool,
    stopping: bool,
    total: usize,
    items: Items,
    undo: Option<(usize, Items)>,
    ended_as: u32,
}

fn fresh(generation: u32) -> NaiveStep {
    NaiveStep {
        state: StepState::Pending,
        generation,
        due: false,
        stopping: false,
        total: 0,
        items: Items::new(),
        undo: None,
        ended_as: 0,
    }
}

fn count(items: &Items, wanted: Option<Outcome>) -> usize {
    items.values().filter(|outcome| **outcome == wanted).count()
}

fn add(items: &mut Items, from: u32, count: u32, born_failed: u32) {
    for index in from..from + count {
        // Which of them were born failed is of no meaning: the first.
        items.insert(index, (index < from + born_failed).then_some(Outcome::Failed));
    }
}

/// An item ended. Where the facts call it by an index that was counted as born failed, another one is meant.
fn end(items: &mut Items, index: u32, outcome: Outcome) {
    let open = items.iter().find(|(_, outcome)| outcome.is_none()).map(|(index, _)| *index);
    let index = if items.get(&index) == Some(&None) { Some(index) } else { open };
    items.insert(index.expect("one is open"), Some(outcome));
}

impl<'w> Naive<'w> {
    pub(super) fn replay(workflow: &'w Definition, facts: &[Happened]) -> Self {
        let steps = workflow.0.steps.iter().map(|_| fresh(1)).collect();
        let mut naive = Self {
            workflow,
            state: RunState::Queued,
            generation: 1,
            paused: false,
            stop: None,
            compensated: false,
            ended: 0,
            steps,
        };
        for fact in facts {
            naive.apply(fact);
            naive.settle();
        }
        naive
    }

    fn apply(&mut self, fact: &Happened) {
        match fact {
            Happened::Started => self.state = RunState::Running,
            Happened::Evaluated { step, evaluation, .. } => match evaluation {
                Evaluation::Skip => self.end(*step, StepState::Skipped),
                Evaluation::Fail(_) => self.end(*step, StepState::Failed),
                Evaluation::Begin { items, .. } => self.begin(*step, *items as usize),
            },
            Happened::ItemsMade { step, from, count, born_failed, .. } => {
                add(&mut self.steps[step.0].items, *from, *count, *born_failed);
            }
            Happened::JobEnded { step, item, outcome } => {
                end(&mut self.steps[step.0].items, item.index, *outcome);
            }
            Happened::ChildEnded { step, outcome, .. } => end(&mut self.steps[step.0].items, 0, *outcome),
            Happened::WaitAnswered { step, .. } | Happened::Decided { step, approved: true, .. } => {
                self.end(*step, StepState::Completed);
            }
            Happened::WaitTimedOut { step, .. } => {
                let is_until = matches!(self.workflow.0.steps[step.0].work, Work::Until(_));
                self.end(*step, if is_until { StepState::Completed } else { StepState::Failed });
            }
            Happened::Decided { step, approved: false, .. } => self.end(*step, StepState::Failed),
            Happened::TimedOut => self.stop(false, Cleanup::FailedAndFinished),
            Happened::CancelRequested { force, .. } => self.cancel(*force),
            Happened::RetryRequested { from, .. } => self.retry(*from),
            Happened::Paused { .. } => self.paused = true,
            Happened::Resumed { .. } => self.paused = false,
            Happened::CompensationsMade { step, from, count, born_failed, .. } => {
                let (_, items) = self.steps[step.0].undo.as_mut().expect("it is being undone");
                add(items, *from, *count, *born_failed);
            }
            Happened::CompensationEnded { step, item, outcome } => {
                let (_, items) = self.steps[step.0].undo.as_mut().expect("it is being undone");
                end(items, item.index, *outcome);
            }
        }
    }

    fn begin(&mut self, index: StepIndex, items: usize) {
        let step = &mut self.steps[index.0];
        step.due = false;
        (step.state, step.total) = match &self.workflow.0.steps[index.0].work {
            Work::Job { each: Some(_), .. } => (StepState::Running, items),
            Work::Job { each: None, .. } | Work::Child { .. } => (StepState::Running, 1),
            Work::Event(_) | Work::Until(_) | Work::Approval(_) => (StepState::Waiting, 0),
        };
    }

    fn end(&mut self, index: StepIndex, state: StepState) {
        self.ended += 1;
        let step = &mut self.steps[index.0];
        (step.state, step.due, step.stopping, step.ended_as) = (state, false, false, self.ended);
        let counts = state == StepState::Failed && !self.workflow.0.steps[index.0].continues_on_failure;
        if counts && self.workflow.0.on_failure != OnFailure::Drain && self.stop.is_none() {
            self.stop(false, Cleanup::FailedAndFinished);
        }
    }

    fn stop(&mut self, cancelled: bool, cleanup: Cleanup) {
        let cancelled = self.stop.map_or(cancelled, |(cancelled, _)| cancelled);
        self.stop = Some((cancelled, cleanup));
        self.state = RunState::Stopping;
        for index in
            (0..self.steps.len()).map(StepIndex).filter(|index| !self.may(*index)).collect::<Vec<_>>()
        {
            let step = &mut self.steps[index.0];
            if step.due || step.state == StepState::Waiting {
                self.end(index, StepState::Cancelled);
            } else if step.state == StepState::Running {
                step.stopping = true;
                self.count_items(index);
            }
        }
    }

    fn may(&self, index: StepIndex) -> bool {
        match (self.stop, self.workflow.0.steps[index.0].run_if) {
            (None, _)
            | (Some((_, Cleanup::FailedAndFinished)), RunIf::Failed | RunIf::Finished)
            | (Some((_, Cleanup::Finished)), RunIf::Finished) => true,
            (Some(_), _) => false,
        }
    }

    fn cancel(&mut self, force: bool) {
        let cleanup = if force { Cleanup::Nothing } else { Cleanup::Finished };
        match self.state {
            RunState::Queued => {
                self.stop(true, Cleanup::Nothing);
                for index in 0..self.steps.len() {
                    if !self.steps[index].state.is_terminal() {
                        self.end(StepIndex(index), StepState::Cancelled);
                    }
                }
            }
            RunState::Compensating => {
                let cancelled = self.stop.is_some_and(|(cancelled, _)| cancelled);
                self.stop = Some((cancelled, Cleanup::Nothing));
            }
            _ => self.stop(true, cleanup),
        }
    }

    fn retry(&mut self, from: Option<StepIndex>) {
        let definitions = &self.workflow.0.steps;
        let mut again: Vec<bool> = self
            .steps
            .iter()
            .map(|step| matches!(step.state, StepState::Failed | StepState::Cancelled))
            .collect();
        let mut downstream: Vec<bool> =
            (0..again.len()).map(|index| Some(StepIndex(index)) == from).collect();
        for _ in 0..again.len() {
            for (index, definition) in definitions.iter().enumerate() {
                downstream[index] |= definition.needs.iter().any(|need| downstream[need.0]);
                again[index] |= downstream[index]
                    || (self.steps[index].state == StepState::Skipped
                        && definition.needs.iter().any(|need| again[need.0]));
            }
        }
        self.generation += 1;
        for (index, _) in again.iter().enumerate().filter(|(_, again)| **again) {
            self.steps[index] = fresh(self.generation);
        }
        (self.state, self.stop) = (RunState::Queued, None);
    }

    fn settle(&mut self) {
        if self.state == RunState::Queued {
            return;
        }
        while (0..self.steps.len()).any(|index| self.changes(StepIndex(index))) {}
        if matches!(self.state, RunState::Running | RunState::Stopping)
            && self.steps.iter().all(|step| step.state.is_terminal())
        {
            let failed = self.steps.iter().zip(&self.workflow.0.steps).any(|(step, definition)| {
                step.state == StepState::Failed && !definition.continues_on_failure
            });
            self.state = match self.stop {
                Some((true, _)) => RunState::Cancelled,
                Some((false, _)) => RunState::Failed,
                None if failed => RunState::Failed,
                None => RunState::Completed,
            };
            let is_forced = self.stop.is_some_and(|(_, cleanup)| cleanup == Cleanup::Nothing);
            let undoes = self.workflow.0.on_failure == OnFailure::Compensate && !is_forced;
            if self.state == RunState::Failed && undoes && self.next_to_undo().is_some() {
                (self.state, self.compensated) = (RunState::Compensating, true);
            }
        }
        if self.state == RunState::Compensating {
            self.undo();
        }
    }

    /// Whether something changes by itself about a step.
    fn changes(&mut self, index: StepIndex) -> bool {
        let definition = &self.workflow.0.steps[index.0];
        let before = self.steps[index.0].clone();
        match before.state {
            StepState::Pending if before.due && (self.paused || definition.wants_evaluation()) => {}
            StepState::Pending if before.due => self.begin(index, 1),
            StepState::Pending => self.gate(index),
            StepState::Running => self.count_items(index),
            _ => {}
        }
        self.steps[index.0] != before
    }

    fn gate(&mut self, index: StepIndex) {
        let definition = &self.workflow.0.steps[index.0];
        let (mut open, mut completed, mut failed) = (0, 0, 0);
        for need in &definition.needs {
            match self.steps[need.0].state {
                StepState::Completed => completed += 1,
                StepState::Failed if self.workflow.0.steps[need.0].continues_on_failure => completed += 1,
                StepState::Failed => failed += 1,
                StepState::Skipped | StepState::Cancelled => {}
                StepState::Pending | StepState::Waiting | StepState::Running => open += 1,
            }
        }
        let opens = match definition.run_if {
            RunIf::Completed => completed == definition.needs.len(),
            RunIf::AnyCompleted => completed > 0,
            RunIf::Failed => failed > 0,
            RunIf::Finished => true,
        };
        match (open, opens) {
            (0, false) => self.end(index, StepState::Skipped),
            (0, true) if self.may(index) => self.steps[index.0].due = true,
            (0, true) => self.end(index, StepState::Cancelled),
            _ => {}
        }
    }

    fn count_items(&mut self, index: StepIndex) {
        let definition = &self.workflow.0.steps[index.0];
        let step = &self.steps[index.0];
        if step.state != StepState::Running || count(&step.items, None) > 0 {
            return;
        }
        let cancelled = count(&step.items, Some(Outcome::Cancelled));
        let failed = count(&step.items, Some(Outcome::Failed)) + if step.stopping { 0 } else { cancelled };
        let all = step.items.len() == step.total;
        let tolerated = !definition
            .tolerate()
            .is_exceeded(u32::try_from(failed).expect("few"), u32::try_from(step.total).expect("few"));
        let stopped = step.stopping && (!all || cancelled > 0);
        match (tolerated, stopped, all) {
            (false, ..) => self.end(index, StepState::Failed),
            (true, true, _) => self.end(index, StepState::Cancelled),
            (true, false, true) => self.end(index, StepState::Completed),
            (true, false, false) => {}
        }
    }

    fn next_to_undo(&self) -> Option<usize> {
        let wants = |index: &usize| {
            let step = &self.steps[*index];
            self.workflow.0.steps[*index].compensate.is_some()
                && step.undo.is_none()
                && count(&step.items, Some(Outcome::Completed)) > 0
        };
        (0..self.steps.len()).filter(wants).max_by_key(|index| self.steps[*index].ended_as)
    }

    fn undo(&mut self) {
        let abandoned = self.stop.is_some_and(|(_, cleanup)| cleanup == Cleanup::Nothing);
        let is_open = |step: &NaiveStep| {
            step.undo
                .as_ref()
                .is_some_and(|(total, items)| count(items, None) > 0 || (items.len() < *total && !abandoned))
        };
        if self.steps.iter().any(is_open) {
            return;
        }
        match self.next_to_undo().filter(|_| !abandoned) {
            Some(index) => {
                let step = &mut self.steps[index];
                step.undo = Some((count(&step.items, Some(Outcome::Completed)), Items::new()));
            }
            None => self.state = RunState::Failed,
        }
    }

    /// Whether the machine has come to the same.
    pub(super) fn agrees(&self, run: &Run) -> Result<(), String> {
        let mine = format!(
            "{:?} {} {} {:?}",
            self.state,
            self.paused,
            self.compensated,
            self.stop.map(|stop| stop.1)
        );
        let stop = run.stop.as_ref().map(|stop| stop.cleanup);
        let its = format!("{:?} {} {} {stop:?}", run.state, run.is_paused, run.is_compensated);
        if mine != its {
            return Err(format!("naively {mine}, not {its}"));
        }
        for (index, (mine, its)) in self.steps.iter().zip(&run.steps).enumerate() {
            let counts = |items: &Items| {
                let of = |outcome| count(items, Some(outcome));
                [items.len(), of(Outcome::Completed), of(Outcome::Failed), of(Outcome::Cancelled)]
            };
            let counted = |items: super::ItemCounts| {
                [items.made, items.completed, items.failed, items.cancelled].map(|count| count as usize)
            };
            let undo = mine.undo.as_ref().map(|(total, items)| (*total, counts(items)));
            let undone = its.compensation.map(|items| (items.total as usize, counted(items)));
            let mine =
                (mine.state, Generation(mine.generation), mine.due, mine.stopping, counts(&mine.items), undo);
            let its = (its.state, its.generation, its.is_due, its.is_stopping, counted(its.items), undone);
            if mine != its {
                return Err(format!("step {index} is naively {mine:?}, not {its:?}"));
            }
        }
        Ok(())
    }
}
