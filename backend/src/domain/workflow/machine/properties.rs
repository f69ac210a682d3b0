//! Random workflows, with everything happening in random order, more than once, and not at all until somebody asks again.

use std::collections::{BTreeMap, BTreeSet};

use crewcall_proto::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    super::{
        definition::{RunIf, StepIndex, Work, Workflow},
        facts::{Command, Entry, Evaluation, Happened, Item, Outcome},
        run::{Generation, Run, RunState, RunStep, StepState},
        waits_for::{WaitsFor, has_to_get_on},
    },
    advance,
    naive::{Definition, Naive},
    outstanding,
    random::{ITEMS, Kind, STEPS, Spec, read, spec},
};
use crate::domain::Sequence;

/// How many changes a run has at most: the largest ones have a few hundred.
const CHANGES_MAX: usize = 3_000;

/// A row of an item: of the step, or of what undoes it.
type Row = (bool, StepIndex, Generation, u32);

/// What is there beside the run: the rows of items, and what happened so far.
struct World<'a> {
    specs: &'a [Spec],
    workflow: &'a Definition,
    run: Run,
    rows: BTreeMap<Row, bool>,
    facts: Vec<Happened>,
    choices: std::slice::Iter<'a, u16>,
    retries: u32,
}

impl<'a> World<'a> {
    fn new(specs: &'a [Spec], workflow: &'a Definition, choices: &'a [u16]) -> Self {
        let (run, rows, facts) = (Run::new(&workflow.0), BTreeMap::new(), Vec::new());
        Self { specs, workflow, run, rows, facts, choices: choices.iter(), retries: 0 }
    }

    fn definition(&self) -> &'a Workflow {
        &self.workflow.0
    }

    fn choose(&mut self, from: usize) -> usize {
        usize::from(self.choices.next().copied().unwrap_or(0)) % from.max(1)
    }

    fn spec(&self, step: StepIndex) -> &'a Spec {
        let number: usize = self.definition().steps[step.0].name[1..].parse().expect("a number");
        &self.specs[number]
    }

    /// Late enough for every deadline that was set before.
    fn moment(&self) -> Timestamp {
        Timestamp::from_millis(1_000_000 * i64::try_from(self.facts.len() + 1).expect("few"))
    }

    fn open(&self) -> impl Iterator<Item = Row> + '_ {
        self.rows.iter().filter(|(_, is_open)| **is_open).map(|(row, _)| *row)
    }

    /// Everything that may happen next of itself.
    fn enabled(&self) -> Vec<Happened> {
        let mut enabled: Vec<Happened> = outstanding(self.definition(), &self.run)
            .into_iter()
            .filter_map(|command| self.answer(&command))
            .collect();
        for (is_undo, step, generation, index) in self.open() {
            let item = Item { index, generation, is_open: true };
            let state = &self.run.steps[step.0];
            let outcome = self.spec(step).outcomes[index as usize % ITEMS];
            let is_child = matches!(self.definition().steps[step.0].work, Work::Child { .. });
            let ended = |outcome| match (is_undo, is_child) {
                (true, _) => Happened::CompensationEnded { step, item, outcome },
                (false, true) => Happened::ChildEnded { step, generation, outcome },
                (false, false) => Happened::JobEnded { step, item, outcome },
            };
            enabled.push(ended(outcome));
            enabled.extend((state.is_stopping && !is_undo).then(|| ended(Outcome::Cancelled)));
        }
        for (index, step) in
            self.run.steps.iter().enumerate().filter(|(_, step)| step.state == StepState::Waiting)
        {
            let (step, generation) = (StepIndex(index), step.generation);
            let is_answered = self.spec(step).is_answered;
            enabled.push(match &self.definition().steps[index].work {
                Work::Event(_) if is_answered => {
                    Happened::WaitAnswered { step, generation, event: Sequence(1) }
                }
                Work::Approval(_) => {
                    Happened::Decided { step, approved: is_answered, by: "ann".to_owned(), comment: None }
                }
                _ => Happened::WaitTimedOut { step, generation },
            });
        }
        let by = "ann".to_owned();
        if self.run.is_paused {
            enabled.push(Happened::Resumed { by });
        } else if self.run.state == RunState::Queued {
            enabled.push(Happened::Started);
        }
        enabled
    }

    /// What answers a command.
    fn answer(&self, command: &Command) -> Option<Happened> {
        Some(match *command {
            Command::Evaluate { step, generation } => {
                let spec = self.spec(step);
                let items = u32::from(spec.evaluation) % u32::try_from(ITEMS + 1).expect("few");
                let until = (spec.kind == Kind::Until).then(|| self.moment().plus_millis(5));
                let evaluation = match spec.evaluation {
                    0 if spec.has_condition => Evaluation::Skip,
                    1 => Evaluation::Fail("no value".to_owned()),
                    _ => Evaluation::Begin { items, until },
                };
                Happened::Evaluated { step, generation, evaluation }
            }
            Command::MakeItems { step, generation, from, count } => {
                let born_failed = if from == 0 { self.spec(step).born_failed } else { 0 };
                Happened::ItemsMade { step, generation, from, count, born_failed }
            }
            Command::StartChild { step, generation } => {
                Happened::ItemsMade { step, generation, from: 0, count: 1, born_failed: 0 }
            }
            Command::Compensate { step, generation, from, count } => {
                // Not all at once, now and then.
                let count = if from == 0 { 1 } else { count };
                Happened::CompensationsMade { step, generation, from, count, born_failed: 0 }
            }
            _ => return None,
        })
    }

    /// What somebody may do at any time.
    fn intrusion(&mut self) -> Option<Happened> {
        let by = "ann".to_owned();
        let steps = self.run.steps.len();
        Some(match self.choose(7) {
            0 => Happened::CancelRequested { by, force: false },
            1 => Happened::CancelRequested { by, force: true },
            2 | 3 => Happened::Paused { by },
            4 => Happened::TimedOut,
            5 => Happened::RetryRequested { by, from: Some(StepIndex(self.choose(steps))) },
            _ => return None,
        })
    }

    /// Something happens. Whatever follows from it is held against what must always be so.
    fn happen(&mut self, happened: Happened) -> Result<bool, TestCaseError> {
        let before = outstanding(self.definition(), &self.run);
        let Ok(change) = advance(self.definition(), &self.run, happened.clone(), self.moment()) else {
            return Ok(false);
        };
        let old = std::mem::replace(&mut self.run, change.run);
        self.retries += u32::from(matches!(happened, Happened::RetryRequested { .. }));
        self.keep_rows(&happened)?;
        self.facts.push(happened);
        // Who hears commands misses nothing that is to be done, and is told nothing else.
        let now: BTreeSet<Command> = outstanding(self.definition(), &self.run).into_iter().collect();
        let before: BTreeSet<Command> = before.into_iter().collect();
        let told: BTreeSet<Command> =
            change.commands.iter().filter(|command| is_answered(command)).cloned().collect();
        prop_assert!(now.difference(&before).all(|command| told.contains(command)), "{now:?}, told {told:?}");
        prop_assert!(told.is_subset(&now), "told {told:?}, but there is {now:?}");
        for (index, (old, new)) in old.steps.iter().zip(&self.run.steps).enumerate() {
            prop_assert_eq!(old != new, change.changed.contains(&StepIndex(index)), "step {}", index);
        }
        for command in &change.commands {
            if let Command::Journal(Entry::StepBegan { step, .. }) = command {
                self.check_gate(*step)?;
            }
        }
        self.check()?;
        Ok(true)
    }

    /// The rows of items, as the transaction keeps them. E4: none is made twice.
    fn keep_rows(&mut self, happened: &Happened) -> Result<(), TestCaseError> {
        match *happened {
            Happened::ItemsMade { step, generation, from, count, born_failed }
            | Happened::CompensationsMade { step, generation, from, count, born_failed } => {
                let is_undo = matches!(happened, Happened::CompensationsMade { .. });
                for index in from..from + count {
                    let twin =
                        self.rows.insert((is_undo, step, generation, index), index >= from + born_failed);
                    prop_assert!(twin.is_none(), "item {} of step {:?} is made twice", index, step);
                }
            }
            Happened::JobEnded { step, item, .. } => {
                self.rows.insert((false, step, item.generation, item.index), false);
            }
            Happened::CompensationEnded { step, item, .. } => {
                self.rows.insert((true, step, item.generation, item.index), false);
            }
            Happened::ChildEnded { step, generation, .. } => {
                self.rows.insert((false, step, generation, 0), false);
            }
            _ => {}
        }
        Ok(())
    }

    /// E4: no step begins before its gate is open.
    fn check_gate(&self, index: StepIndex) -> Result<(), TestCaseError> {
        let definition = &self.definition().steps[index.0];
        let has = |wanted: &[StepState]| {
            definition.needs.iter().filter(|need| wanted.contains(&self.run.steps[need.0].state)).count()
        };
        let continued = definition.needs.iter().filter(|need| {
            self.run.steps[need.0].state == StepState::Failed
                && self.definition().steps[need.0].continues_on_failure
        });
        let completed = has(&[StepState::Completed]) + continued.count();
        prop_assert_eq!(has(&[StepState::Pending, StepState::Waiting, StepState::Running]), 0);
        let is_open = match definition.run_if {
            RunIf::Completed => completed == definition.needs.len(),
            RunIf::AnyCompleted => completed > 0,
            RunIf::Failed => has(&[StepState::Failed]) > 0,
            RunIf::Finished => true,
        };
        prop_assert!(is_open, "step {:?} begins too early", index);
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let run = &self.run;
        // The counts are those of the rows.
        for (index, step) in run.steps.iter().enumerate() {
            let open = |is_undo| {
                let mine =
                    |row: &Row| row.0 == is_undo && row.1 == StepIndex(index) && row.2 == step.generation;
                self.open().filter(mine).count()
            };
            prop_assert_eq!(open(false), step.items.open() as usize, "step {}", index);
            prop_assert_eq!(open(true), step.compensation.map_or(0, |counts| counts.open()) as usize);
            prop_assert!(step.items.open() <= self.definition().steps[index].parallel());
            prop_assert_eq!(step.state.is_terminal(), step.ended_as > 0);
        }
        // No item of an earlier generation is open, E5: nor anything of a run that is over.
        let is_over = run.state.is_terminal();
        prop_assert!(self.open().all(|row| !is_over && row.2 == run.steps[row.1.0].generation));
        prop_assert!(!is_over || outstanding(self.definition(), run).is_empty());
        prop_assert!(!is_over || run.steps.iter().all(|step| step.state.is_terminal()));
        // E6: whatever is open waits for something that has a name, and that is there.
        let things = outstanding(self.definition(), run);
        let mut some_wait = false;
        for step in (0..run.steps.len()).map(StepIndex) {
            let RunStep { state, generation, items, compensation, .. } = run.steps[step.0];
            let waits_for = WaitsFor::of(self.definition(), run, step);
            some_wait |= waits_for.is_some();
            let waits = match waits_for {
                None => state.is_terminal(),
                Some(WaitsFor::Start) => run.state == RunState::Queued,
                Some(WaitsFor::Needs(needs)) => !needs.is_empty(),
                Some(WaitsFor::Resume) => run.is_paused,
                Some(WaitsFor::Evaluation) => things.contains(&Command::Evaluate { step, generation }),
                Some(WaitsFor::Items { open, .. }) => open > 0 || items.making > 0,
                Some(WaitsFor::Child) => {
                    items.open() > 0 || things.contains(&Command::StartChild { step, generation })
                }
                Some(WaitsFor::Stop { open }) => open > 0,
                Some(WaitsFor::Event { .. } | WaitsFor::Moment(_) | WaitsFor::Decision { .. }) => {
                    state == StepState::Waiting
                }
                Some(WaitsFor::Compensation { open, .. }) => {
                    open > 0 || run.is_paused || compensation.is_some_and(|counts| counts.making > 0)
                }
            };
            prop_assert!(waits, "step {:?} waits for nothing", step);
        }
        prop_assert!(some_wait || is_over, "the run waits for nothing");
        // What is ours to do, or has jobs that may not end, is looked after.
        let has_work = !things.is_empty()
            || (run.steps.iter().zip(&self.definition().steps)).any(|(step, definition)| {
                !matches!(definition.work, Work::Child { .. }) && step.items.open() > 0
            });
        prop_assert!(
            !has_work || run.is_paused || has_to_get_on(self.definition(), run),
            "nobody looks after the run"
        );
        Naive::replay(self.workflow, &self.facts).agrees(run).map_err(TestCaseError::fail)
    }

    /// E7: what happened, from a new run on, leads to what there is.
    fn check_replay(&self) -> Result<(), TestCaseError> {
        let mut replayed = World::new(self.specs, self.workflow, &[]);
        for fact in &self.facts {
            let change = advance(self.definition(), &replayed.run, fact.clone(), replayed.moment());
            replayed.run = change.map_err(|stale| TestCaseError::fail(format!("{fact:?} is {stale:?}")))?.run;
            replayed.facts.push(fact.clone());
        }
        prop_assert_eq!(&replayed.run, &self.run);
        Ok(())
    }

    /// Whatever was said before changes nothing when it is said again.
    fn repeat(&mut self) -> Result<(), TestCaseError> {
        let choice = self.choose(self.facts.len());
        let Some(fact) = self.facts.get(choice).cloned() else { return Ok(()) };
        let again = match fact {
            Happened::JobEnded { step, item, outcome } => {
                Happened::JobEnded { step, item: Item { is_open: false, ..item }, outcome }
            }
            Happened::CompensationEnded { step, item, outcome } => {
                Happened::CompensationEnded { step, item: Item { is_open: false, ..item }, outcome }
            }
            // People may mean it, and a run may be started again.
            Happened::Started
            | Happened::Decided { .. }
            | Happened::TimedOut
            | Happened::CancelRequested { .. }
            | Happened::RetryRequested { .. }
            | Happened::Paused { .. }
            | Happened::Resumed { .. } => return Ok(()),
            other => other,
        };
        prop_assert!(
            advance(self.definition(), &self.run, again.clone(), self.moment()).is_err(),
            "{again:?}"
        );
        Ok(())
    }

    /// Goes on until the run is over, in an order of the choices'.
    fn play(&mut self, has_intrusions: bool) -> Result<(), TestCaseError> {
        for _ in 0..CHANGES_MAX {
            if has_intrusions {
                self.repeat()?;
                if self.choose(16) == 15
                    && let Some(intrusion) = self.intrusion()
                {
                    self.happen(intrusion)?;
                }
            }
            if self.run.state.is_terminal() && !self.run.is_paused {
                let by = "ann".to_owned();
                let from = Some(StepIndex(self.choose(self.run.steps.len()))).filter(|_| self.retries == 1);
                let wants_retry = has_intrusions && self.retries < 3 && self.choose(3) > 0;
                if wants_retry && self.happen(Happened::RetryRequested { by, from })? {
                    continue;
                }
                return Ok(());
            }
            let mut enabled = self.enabled();
            prop_assert!(!enabled.is_empty(), "nothing can happen: {:#?}", self.run);
            let happened = enabled.swap_remove(self.choose(enabled.len()));
            prop_assert!(self.happen(happened.clone())?, "{happened:?} is stale for {:#?}", self.run);
        }
        Err(TestCaseError::fail("it does not end"))
    }
}

/// Whether a command is answered, so that it stays outstanding until then.
fn is_answered(command: &Command) -> bool {
    match command {
        Command::OpenWait { .. } | Command::CloseWait { .. } | Command::Journal(_) | Command::Ended(_) => {
            false
        }
        Command::Evaluate { .. }
        | Command::MakeItems { .. }
        | Command::StartChild { .. }
        | Command::CancelJobs { .. }
        | Command::CancelChild { .. }
        | Command::Compensate { .. }
        | Command::CancelCompensations { .. } => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_run_stays_sound_and_ends(
        specs in vec(spec(), 1..=STEPS),
        on_failure in select(vec!["cancel", "drain", "compensate"]),
        choices in vec(any::<u16>(), 600),
    ) {
        let workflow = read(&specs, on_failure)?;
        let mut world = World::new(&specs, &workflow, &choices);
        world.play(true)?;
        world.check_replay()?;
    }

    #[test]
    fn with_drain_the_end_does_not_depend_on_the_order(
        specs in vec(spec(), 1..=STEPS),
        orders in vec(vec(any::<u16>(), 300), 2..4),
    ) {
        let workflow = read(&specs, "drain")?;
        let mut ends = Vec::new();
        for choices in &orders {
            let mut world = World::new(&specs, &workflow, choices);
            world.play(false)?;
            let steps: Vec<StepState> = world.run.steps.iter().map(|step| step.state).collect();
            ends.push((world.run.state, steps));
        }
        prop_assert!(ends.windows(2).all(|ends| ends[0] == ends[1]), "{ends:#?}");
    }
}
