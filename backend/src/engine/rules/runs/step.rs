//! What was made ready for a run is stored, if the run still wants it.

use std::sync::Arc;

use crewcall_proto::RunId;

use super::{
    movement::happen,
    start::{may_start, start},
};
use crate::{
    domain::{
        Cause, CausedBy,
        workflow::{
            definition::StepIndex,
            facts::{Evaluation, Happened, Stale},
            known::{ItemKey, Role},
            run::Generation,
        },
    },
    engine::{
        ports::{Inserted, NewItem, NewItemRow, NewItemWork, NewRun, RunStarted, StepDone, WorkflowWrite},
        rules::{Decide, Decision, Inconsistent, Loaded, NewJob, Rules, Wanted, submission},
    },
};

/// Moves a run on by what was made ready for it.
pub struct StepRun {
    id: RunId,
    done: Vec<Ready>,
}

/// What was made ready, and encoded.
enum Ready {
    Evaluated { step: StepIndex, generation: Generation, evaluation: Evaluation },
    Items(ReadyItems),
    Child { step: StepIndex, generation: Generation, run: Result<Box<NewRun>, String> },
}

struct ReadyItems {
    step: StepIndex,
    generation: Generation,
    role: Role,
    from: u32,
    items: Vec<(NewJob, u32)>,
}

impl StepRun {
    /// Makes it ready.
    ///
    /// # Errors
    ///
    /// When parameters cannot be written as JSON, which no accepted job's cannot.
    pub fn new(id: RunId, done: Vec<StepDone>) -> Result<Self, serde_json::Error> {
        let ready = |done| {
            Ok(match done {
                StepDone::Evaluated { step, generation, evaluation } => {
                    Ready::Evaluated { step, generation, evaluation }
                }
                StepDone::Items { step, generation, role, from, items } => {
                    let item = |NewItem { job, of_index }| Ok((NewJob::new(job)?, of_index));
                    let items = items.into_iter().map(item).collect::<Result<_, serde_json::Error>>()?;
                    Ready::Items(ReadyItems { step, generation, role, from, items })
                }
                StepDone::Child { step, generation, run } => Ready::Child { step, generation, run },
            })
        };
        Ok(Self { id, done: done.into_iter().map(ready).collect::<Result<_, serde_json::Error>>()? })
    }

    /// How many jobs and steps it is about.
    pub fn rows(&self) -> usize {
        let rows = |ready: &Ready| if let Ready::Items(ready) = ready { ready.items.len() } else { 1 };
        self.done.iter().map(rows).sum()
    }
}

impl Decide for StepRun {
    type Value = Vec<Result<(), Stale>>;

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Nothing
    }

    fn decide(self, mut loaded: Loaded, rules: &mut Rules) -> Result<Decision<Self::Value>, Inconsistent> {
        let mut decision = Decision::nothing(Vec::with_capacity(self.done.len()));
        for ready in self.done {
            let done = match ready {
                Ready::Evaluated { step, generation, evaluation } => {
                    let happened = Happened::Evaluated { step, generation, evaluation };
                    happen(self.id, happened, rules, &mut decision).map(drop)
                }
                Ready::Items(ready) => store_items(self.id, ready, &mut loaded, rules, &mut decision)?,
                Ready::Child { step, generation, run } => {
                    start_child(self.id, (step, generation), run, rules, &mut decision)
                }
            };
            decision.value.push(done);
        }
        Ok(decision)
    }
}

/// Stores jobs of a step, if these are the ones that are to be made.
fn store_items<T>(
    id: RunId,
    ready: ReadyItems,
    loaded: &mut Loaded,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) -> Result<Result<(), Stale>, Inconsistent> {
    let ReadyItems { step, generation, role, from, items } = ready;
    // All or none: what is counted is stored.
    if !items.iter().all(|(job, _)| rules.counts.takes(job.job_type())) {
        return Ok(Err(Stale::State));
    }
    let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
    let is_over = |job: &NewJob| job.is_over();
    let born_failed = u32::try_from(items.iter().filter(|(job, _)| is_over(job)).count()).unwrap_or(u32::MAX);
    let happened = match role {
        Role::Work => Happened::ItemsMade { step, generation, from, count, born_failed },
        Role::Undo => Happened::CompensationsMade { step, generation, from, count, born_failed },
    };
    let run = match happen(id, happened, rules, decision) {
        Ok(run) => run,
        Err(stale) => return Ok(Err(stale)),
    };
    let info = &run.info;
    let Some(definition) = info.workflow().step(step) else { return Ok(Err(Stale::Unknown)) };
    for (index, (job, of_index)) in (from..).zip(items) {
        let key = ItemKey { run: id, step, role, index, generation };
        let (workflow, step) = (info.version.name().clone(), Arc::clone(&definition.name));
        let by = CausedBy::Step { key, workflow, step };
        let cause = Arc::new(Cause { by, root: info.root, depth: info.depth });
        let is_over = is_over(&job);
        let Inserted::Stored { job } = submission::store(job, Some(cause), loaded, rules, decision) else {
            return Err(Inconsistent("a job of a run was not stored, although there was room for its type"));
        };
        let item = NewItemRow { key, of_index, work: NewItemWork::Job(job.id), is_over };
        decision.writes.workflows.push(WorkflowWrite::Item { item, version: run.run.version });
    }
    Ok(Ok(()))
}

/// Starts the run that is the work of a step; or fails the step, if there can be none.
fn start_child<T>(
    id: RunId,
    (step, generation): (StepIndex, Generation),
    child: Result<Box<NewRun>, String>,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) -> Result<(), Stale> {
    let child = match child {
        Ok(child) => match may_start(&child, rules) {
            Ok(_) => Some(child),
            // It is made ready anew, or there is room later.
            Err(RunStarted::OtherVersion | RunStarted::TooMany) => return Err(Stale::State),
            Err(_) => None,
        },
        Err(_) => None,
    };
    let born_failed = u32::from(child.is_none());
    let happened = Happened::ItemsMade { step, generation, from: 0, count: 1, born_failed };
    let run = happen(id, happened, rules, decision)?;
    let key = ItemKey { run: id, step, role: Role::Work, index: 0, generation };
    let work = child.as_ref().map_or(NewItemWork::Nothing, |child| NewItemWork::Run(child.id));
    let item = NewItemRow { key, of_index: 0, work, is_over: child.is_none() };
    decision.writes.workflows.push(WorkflowWrite::Item { item, version: run.run.version });
    if let Some(child) = child {
        start(*child, rules, decision);
    }
    Ok(())
}
