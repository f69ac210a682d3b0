//! Runs for tests, told by names.

use crewcall_expressions::Json;
use crewcall_proto::Timestamp;

use super::{
    super::{
        definition::{StepIndex, Workflow},
        facts::{Command, Evaluation, Happened, Item, Outcome, Stale},
        run::{Run, RunState},
    },
    advance, outstanding,
};
use crate::domain::Sequence;

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// Reads a workflow, of which only the inside is given: `"steps": …`.
pub(super) fn workflow(inside: &str) -> Workflow {
    let document: Json = format!("{{\"name\": \"w\", {inside}}}").parse().expect("it is JSON");
    Workflow::read(&document).unwrap_or_else(|problems| panic!("{inside}: {problems:#?}"))
}

/// A run, what was commanded so far, and a clock.
pub(super) struct Play {
    pub(super) workflow: Workflow,
    pub(super) run: Run,
    /// Those of the last call.
    pub(super) commands: Vec<Command>,
    pub(super) now: Timestamp,
}

impl Play {
    /// A run that began.
    pub(super) fn start(inside: &str) -> Self {
        let workflow = workflow(inside);
        let run = Run::new(&workflow);
        let mut play = Self { workflow, run, commands: Vec::new(), now: NOW };
        play.happen(Happened::Started);
        play
    }

    pub(super) fn step(&self, name: &str) -> StepIndex {
        self.workflow.find(name).unwrap_or_else(|| panic!("there is no step {name}"))
    }

    pub(super) fn try_to(&mut self, happened: Happened) -> Result<(), Stale> {
        let advance = advance(&self.workflow, &self.run, happened, self.now)?;
        self.run = advance.run;
        self.commands = advance.commands;
        Ok(())
    }

    /// Something that must change the run. Items are made as soon as they are asked for.
    pub(super) fn happen(&mut self, happened: Happened) {
        let told = format!("{happened:?}");
        self.try_to(happened).unwrap_or_else(|stale| panic!("{told} is {stale:?}"));
    }

    /// Makes all items that are asked for, until no more are.
    pub(super) fn make(&mut self) -> &mut Self {
        while let Some(made) =
            outstanding(&self.workflow, &self.run).into_iter().find_map(|command| made(&command))
        {
            self.happen(made);
        }
        self
    }

    pub(super) fn evaluated(&mut self, name: &str, evaluation: Evaluation) -> &mut Self {
        let step = self.step(name);
        let generation = self.run.steps[step.0].generation;
        self.happen(Happened::Evaluated { step, generation, evaluation });
        self
    }

    pub(super) fn begins(&mut self, name: &str, items: u32) -> &mut Self {
        self.evaluated(name, Evaluation::Begin { items, until: None })
    }

    pub(super) fn item(&self, name: &str, index: u32) -> Item {
        Item { index, generation: self.run.steps[self.step(name).0].generation, is_open: true }
    }

    /// The job of a step without items ends, or that of its first item.
    pub(super) fn ends(&mut self, name: &str, outcome: Outcome) -> &mut Self {
        self.item_ends(name, 0, outcome)
    }

    pub(super) fn item_ends(&mut self, name: &str, index: u32, outcome: Outcome) -> &mut Self {
        self.make();
        let (step, item) = (self.step(name), self.item(name, index));
        self.happen(Happened::JobEnded { step, item, outcome });
        self
    }

    pub(super) fn undone(&mut self, name: &str, index: u32, outcome: Outcome) -> &mut Self {
        self.make();
        let (step, item) = (self.step(name), self.item(name, index));
        self.happen(Happened::CompensationEnded { step, item, outcome });
        self
    }

    pub(super) fn answered(&mut self, name: &str) -> &mut Self {
        let step = self.step(name);
        let generation = self.run.steps[step.0].generation;
        self.happen(Happened::WaitAnswered { step, generation, event: Sequence(7) });
        self
    }

    pub(super) fn decided(&mut self, name: &str, approved: bool) -> Result<(), Stale> {
        let step = self.step(name);
        self.try_to(Happened::Decided { step, approved, by: "ann".to_owned(), comment: None })
    }

    pub(super) fn timed_out(&mut self, name: &str, later: i64) -> Result<(), Stale> {
        let step = self.step(name);
        let generation = self.run.steps[step.0].generation;
        self.now = NOW.plus_millis(later);
        self.try_to(Happened::WaitTimedOut { step, generation })
    }

    pub(super) fn cancel(&mut self, force: bool) -> Result<(), Stale> {
        self.try_to(Happened::CancelRequested { by: "ann".to_owned(), force })
    }

    pub(super) fn retry(&mut self, from: Option<&str>) -> Result<(), Stale> {
        let from = from.map(|name| self.step(name));
        self.try_to(Happened::RetryRequested { by: "ann".to_owned(), from })
    }

    pub(super) fn start_again(&mut self) -> &mut Self {
        self.happen(Happened::Started);
        self
    }

    /// The state of the run, and of each step that is not pending, with the number of its generation from the second on.
    pub(super) fn told(&self) -> String {
        let steps = self.run.steps.iter().zip(&self.workflow.steps).map(|(step, definition)| {
            let again = if step.generation.0 > 1 { format!("#{}", step.generation.0) } else { String::new() };
            let due = if step.is_due { "!" } else { "" };
            format!(" {}{again}={}{due}", definition.name, step.state)
        });
        format!("{}:{}", self.run.state, steps.collect::<String>())
    }

    pub(super) fn is(&self, expected: &str) -> &Self {
        assert_eq!(self.told(), expected);
        self
    }

    pub(super) fn is_over(&self, state: RunState) -> &Self {
        assert_eq!(self.run.state, state, "{}", self.told());
        assert!(outstanding(&self.workflow, &self.run).is_empty());
        self
    }

    /// Whether a command was given, by its name in the code and that of a step.
    pub(super) fn commanded(&self, command: &str, name: &str) -> bool {
        let step = self.step(name);
        self.commands.iter().any(|given| {
            let text = format!("{given:?}");
            text.starts_with(&format!("{command} ")) && text.contains(&format!("step: {step:?}"))
        })
    }
}

/// What answers a command to make items.
pub(super) fn made(command: &Command) -> Option<Happened> {
    Some(match *command {
        Command::MakeItems { step, generation, from, count } => {
            Happened::ItemsMade { step, generation, from, count, born_failed: 0 }
        }
        Command::StartChild { step, generation } => {
            Happened::ItemsMade { step, generation, from: 0, count: 1, born_failed: 0 }
        }
        Command::Compensate { step, generation, from, count } => {
            Happened::CompensationsMade { step, generation, from, count, born_failed: 0 }
        }
        Command::OpenWait { .. }
        | Command::CloseWait { .. }
        | Command::Journal(_)
        | Command::Ended(_)
        | Command::Evaluate { .. }
        | Command::CancelJobs { .. }
        | Command::CancelChild { .. }
        | Command::CancelCompensations { .. } => return None,
    })
}
