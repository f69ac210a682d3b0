//! A model check of runs: every order in which two that look at a run, ends of jobs, an answer, a limit and people can come between
//! each other, with the real machine.
//!
//! **The world** is one run of a diamond: a step, a condition, a fan-out of two beside a wait with a limit, and what joins them; and two
//! that step it, as two backends would have. To look at what there is to do is one step, to commit it another; a crash may come at any
//! moment, and forgets what was looked at. News of the end of a job may come twice. Somebody cancels the run, and somebody tries it
//! again. The search visits every state that can be reached, breadth first.
//!
//! **What must hold** in each: an item has one open job at most, over all beginnings of its step (E4); a run that is over has none (E5);
//! and from each state the end of the run can be reached without anybody's help but that of jobs and time (E6).
//!
//! Three negative controls: what is stale is stored all the same; news are taken whatever beginning they are of; an end counts again.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crewcall_backend::domain::{
    Sequence,
    workflow::{
        definition::{StepIndex, Workflow},
        facts::{Command, Evaluation, Happened, Item, Outcome},
        machine::{advance, outstanding},
        run::{Generation, Run, RunState, StepState},
    },
};
use crewcall_proto::Timestamp;
use serde_json::json;

/// More states than this mean that the world has grown beyond what a test should look at.
const STATES_MAX: usize = 2_000_000;

/// When everything happens that is in time, and when the limit of the wait is over.
const IN_TIME: Timestamp = Timestamp::from_millis(1_000_000);
const LATE: Timestamp = Timestamp::from_millis(1_000_000 + 120_000);

/// How often the run is tried again.
const RETRIES_MAX: u8 = 1;

fn workflow() -> Workflow {
    let document = json!({
        "name": "diamond",
        "steps": {
            "a": {"job": "t"},
            "b": {"needs": ["a"], "when": "steps.a.result.go", "each": "${{ steps.a.result.list }}", "parallel": 1, "tolerate": 1, "job": "t"},
            "c": {"needs": ["a"], "wait": {"event": "e", "timeout_seconds": 60, "on_timeout": "continue"}},
            "d": {"needs": ["b", "c"], "job": "t"},
        },
    });
    Workflow::read(&document).unwrap()
}

/// What those who step leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// Items are stored although the machine says that they are stale.
    StaleIsStored,
    /// News of an earlier beginning are taken for those of the step as it is now.
    Generation,
    /// An end is said again, as of an item that is open.
    Repeated,
}

/// An item: its step, generation and index.
type Key = (usize, u32, u32);

#[derive(Debug, Clone)]
struct World {
    run: Run,
    /// How often a job of each item was made, and whether one is open.
    items: BTreeMap<Key, (u8, bool)>,
    /// What each of the two has ready to commit.
    ready: [Option<Vec<Happened>>; 2],
    late: bool,
    cancelled: bool,
    retries: u8,
}

/// What can happen next.
#[derive(Debug, Clone)]
enum Act {
    Start,
    Look(usize),
    Commit(usize),
    Crash,
    End(Key, Outcome),
    EndAgain(Key),
    Answer,
    Late,
    TimeOut,
    Cancel,
    Retry,
}

impl World {
    fn new(workflow: &Workflow) -> Self {
        let run = Run::new(workflow);
        Self { run, items: BTreeMap::new(), ready: [None, None], late: false, cancelled: false, retries: 0 }
    }

    /// What tells it from others. How often the run changed does not.
    fn key(&self) -> String {
        let run = Run { version: 0, ..self.run.clone() };
        format!("{run:?}{:?}{:?}{}{}{}", self.items, self.ready, self.late, self.cancelled, self.retries)
    }

    fn acts(&self, workflow: &Workflow) -> Vec<Act> {
        let mut acts = Vec::new();
        let run = &self.run;
        if run.state == RunState::Queued {
            acts.push(Act::Start);
        }
        for (one, ready) in self.ready.iter().enumerate() {
            if ready.is_some() {
                acts.push(Act::Commit(one));
            } else if !outstanding(workflow, run).is_empty() {
                acts.push(Act::Look(one));
            }
        }
        if self.ready.iter().any(Option::is_some) {
            acts.push(Act::Crash);
        }
        for (key, (_, is_open)) in &self.items {
            if *is_open {
                acts.push(Act::End(*key, Outcome::Completed));
                acts.push(Act::End(*key, Outcome::Failed));
            } else {
                acts.push(Act::EndAgain(*key));
            }
        }
        if run.steps.iter().any(|step| step.state == StepState::Waiting) {
            acts.push(Act::Answer);
            acts.push(if self.late { Act::TimeOut } else { Act::Late });
        }
        if !self.cancelled && !run.state.is_terminal() {
            acts.push(Act::Cancel);
        }
        if run.state.is_terminal() && self.retries < RETRIES_MAX {
            acts.push(Act::Retry);
        }
        acts
    }

    fn happen(&mut self, workflow: &Workflow, happened: Happened) -> bool {
        let now = if self.late { LATE } else { IN_TIME };
        match advance(workflow, &self.run, happened, now) {
            Ok(advance) => {
                self.run = advance.run;
                true
            }
            Err(_) => false,
        }
    }

    /// The world after something happened.
    fn after(&self, act: &Act, workflow: &Workflow, broken: Broken) -> Self {
        let mut world = self.clone();
        match act {
            Act::Start => drop(world.happen(workflow, Happened::Started)),
            Act::Look(one) => {
                let ready =
                    outstanding(workflow, &world.run).into_iter().filter_map(|command| world.obey(&command));
                world.ready[*one] = Some(ready.collect());
            }
            Act::Commit(one) => {
                for happened in world.ready[*one].take().unwrap_or_default() {
                    world.commit(workflow, happened, broken);
                }
            }
            Act::Crash => world.ready = [None, None],
            Act::End(key, outcome) => {
                world.items.entry(*key).and_modify(|(_, is_open)| *is_open = false);
                world.end(workflow, *key, *outcome, true, broken);
            }
            Act::EndAgain(key) => {
                let is_old = key.1 < world.run.steps[key.0].generation.0;
                let is_open = broken == Broken::Repeated || (broken == Broken::Generation && is_old);
                world.end(workflow, *key, Outcome::Completed, is_open, broken);
            }
            Act::Answer => world.wait(workflow, |step, generation| Happened::WaitAnswered {
                step,
                generation,
                event: Sequence(7),
            }),
            Act::Late => world.late = true,
            Act::TimeOut => {
                world.wait(workflow, |step, generation| Happened::WaitTimedOut { step, generation });
            }
            Act::Cancel => {
                world.cancelled = true;
                world.happen(workflow, Happened::CancelRequested { by: "x".to_owned(), force: false });
            }
            Act::Retry => {
                world.retries += 1;
                world.happen(workflow, Happened::RetryRequested { by: "x".to_owned(), from: None });
            }
        }
        world
    }

    /// What a command is answered with. To cancel jobs is up to these: they end in any way.
    fn obey(&self, command: &Command) -> Option<Happened> {
        match *command {
            Command::Evaluate { step, generation } => {
                let evaluation = Evaluation::Begin { items: 2, until: None };
                Some(Happened::Evaluated { step, generation, evaluation })
            }
            Command::MakeItems { step, generation, from, count } => {
                Some(Happened::ItemsMade { step, generation, from, count, born_failed: 0 })
            }
            _ => None,
        }
    }

    fn commit(&mut self, workflow: &Workflow, happened: Happened, broken: Broken) {
        let made = match happened {
            Happened::ItemsMade { step, generation, from, count, .. } => {
                Some((step, generation, from, count))
            }
            _ => None,
        };
        let counts = self.happen(workflow, happened);
        let Some((step, generation, from, count)) =
            made.filter(|_| counts || broken == Broken::StaleIsStored)
        else {
            return;
        };
        for index in from..from + count {
            let (made, is_open) = self.items.entry((step.0, generation.0, index)).or_default();
            *made += 1;
            *is_open = true;
        }
    }

    fn end(&mut self, workflow: &Workflow, key: Key, outcome: Outcome, is_open: bool, broken: Broken) {
        let (step, generation, index) = key;
        let now = self.run.steps[step].generation;
        let generation = if broken == Broken::Generation { now } else { Generation(generation) };
        let item = Item { index, generation, is_open };
        self.happen(workflow, Happened::JobEnded { step: StepIndex(step), item, outcome });
    }

    fn wait(&mut self, workflow: &Workflow, said: fn(StepIndex, Generation) -> Happened) {
        let waiting = self.run.steps.iter().position(|step| step.state == StepState::Waiting);
        if let Some(index) = waiting {
            let generation = self.run.steps[index].generation;
            self.happen(workflow, said(StepIndex(index), generation));
        }
    }

    /// What is wrong with it, if anything is.
    fn wrong(&self) -> Option<&'static str> {
        let open = || {
            self.items
                .iter()
                .filter(|(_, (_, is_open))| *is_open)
                .map(|((step, _, index), _)| (*step, *index))
        };
        let mut seen = HashSet::new();
        if self.items.values().any(|(made, _)| *made > 1) || !open().all(|item| seen.insert(item)) {
            return Some("E4: an item has two jobs");
        }
        if self.run.state.is_terminal() && open().next().is_some() {
            return Some("E5: a run that is over has an open job");
        }
        None
    }
}

/// How many states there are; or what is wrong in one of them, and how it came about.
fn search(broken: Broken) -> Result<usize, String> {
    let workflow = workflow();
    let first = World::new(&workflow);
    let mut known = HashMap::from([(first.key(), 0_usize)]);
    let mut came_from: Vec<(usize, Option<Act>)> = vec![(0, None)];
    // Who leads to a state by jobs, time and those who look, without people.
    let mut leads_to: Vec<Vec<usize>> = vec![Vec::new()];
    let mut over = Vec::new();
    let mut queue = VecDeque::from([(0_usize, first)]);
    while let Some((number, world)) = queue.pop_front() {
        if let Some(wrong) = world.wrong() {
            return Err(format!("{wrong}: {:?}", path(&came_from, number)));
        }
        if world.run.state.is_terminal() {
            over.push(number);
        }
        for act in world.acts(&workflow) {
            let next = world.after(&act, &workflow, broken);
            let helps = !matches!(act, Act::Cancel | Act::Retry | Act::Crash);
            let to = *known.entry(next.key()).or_insert_with(|| {
                came_from.push((number, Some(act.clone())));
                leads_to.push(Vec::new());
                queue.push_back((came_from.len() - 1, next));
                came_from.len() - 1
            });
            if helps {
                leads_to[to].push(number);
            }
        }
        assert!(known.len() <= STATES_MAX, "the world is too large");
    }
    let mut ends = vec![false; came_from.len()];
    let mut to_visit = over;
    while let Some(number) = to_visit.pop() {
        if !std::mem::replace(&mut ends[number], true) {
            to_visit.extend(&leads_to[number]);
        }
    }
    match ends.iter().position(|ends| !ends) {
        Some(stuck) => Err(format!("E6: the run cannot end: {:?}", path(&came_from, stuck))),
        None => Ok(known.len()),
    }
}

fn path(came_from: &[(usize, Option<Act>)], mut number: usize) -> Vec<Act> {
    let mut acts = Vec::new();
    while let (before, Some(act)) = &came_from[number] {
        acts.push(act.clone());
        number = *before;
    }
    acts.reverse();
    acts
}

#[test]
fn a_run_makes_each_job_once_and_ends_in_every_order() {
    let states = search(Broken::Nothing).unwrap();
    assert!(states > 1_000, "only {states} states: the world is not what it should be");
}

#[test]
fn without_the_machines_word_an_item_has_two_jobs() {
    assert!(search(Broken::StaleIsStored).unwrap_err().starts_with("E"));
}

#[test]
fn without_the_generation_a_late_word_ends_a_step_that_began_again() {
    assert!(search(Broken::Generation).unwrap_err().starts_with("E"));
}

#[test]
fn without_the_rows_of_items_an_end_counts_twice() {
    assert!(search(Broken::Repeated).unwrap_err().starts_with("E"));
}
