//! One pass over one run: what there is to do for it is made ready, and stored in one transaction.

use std::{collections::HashSet, sync::Arc};

use crewcall_expressions::{Failed, Json, Scope};
use crewcall_proto::{RunId, Timestamp};

use super::knowledge::Knowledge;
use crate::{
    domain::{
        Submission,
        workflow::{
            definition::{JobTemplate, StepIndex, Work, read_moment},
            facts::{Command, Evaluation, Happened},
            known::{ItemWork, ParentStep, Role, StartedBy, StoredRun},
            limits::ITEMS_MAX,
            machine::{advance, outstanding},
            run::{Generation, Run},
        },
    },
    engine::{
        Engine,
        blocking::blocking,
        ports::{Accepted, ItemQuery, NewItem, RunData, StepDone, StoreError},
    },
    failpoints::Failpoint,
    mutant::die_at,
};

/// How many jobs one pass makes at most, so that nobody waits for long behind it.
const PASS_JOBS_MAX: usize = 256;

/// How many things one pass does at most.
const PASS_DEEDS_MAX: usize = 256;

/// How many open items are told to stop at once.
const STOP_PAGE: usize = 500;

/// Who has jobs of a run cancelled.
const THE_RUN: &str = "its run";

/// How often what does not get on is looked at again is up to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    /// Nothing is left to do, for now.
    Done,
    /// There is more to do at once.
    More,
    /// Something keeps it from going on: it is looked at again in a while.
    Held,
}

/// What is made ready for a run, and how the run would be then.
struct Pass<'a> {
    engine: &'a Engine,
    stored: Arc<StoredRun>,
    /// The run as it will be, as far as is known here.
    local: Run,
    done: Vec<StepDone>,
    jobs: usize,
    held: bool,
    now: Timestamp,
}

/// Does what there is to do for a run.
pub(super) async fn pass(engine: &Engine, id: RunId) -> Result<Passed, StoreError> {
    let Some(stored) = engine.store.open_run(id) else { return Ok(Passed::Done) };
    let (local, now) = (stored.run.clone(), engine.clock.now());
    let mut pass = Pass { engine, stored, local, done: Vec::new(), jobs: 0, held: false, now };
    let mut seen = HashSet::new();
    loop {
        let commands = outstanding(pass.stored.info.workflow(), &pass.local);
        let new: Vec<Command> = commands.into_iter().filter(|command| seen.insert(key_of(command))).collect();
        if new.is_empty() || pass.is_full() {
            break;
        }
        for command in new {
            if pass.is_full() {
                break;
            }
            pass.obey(command).await?;
        }
    }
    let (is_full, held, done) = (pass.is_full(), pass.held, pass.done);
    if done.is_empty() {
        return Ok(if held { Passed::Held } else { Passed::Done });
    }
    let answers = engine.changes.step_run(id, done).await?;
    let stale = answers.iter().filter(|answer| answer.is_err()).count();
    if stale > 0 {
        tracing::debug!(run.id = %id, stale, "A run moved on before what was made ready for it was stored.");
    }
    Ok(match (is_full, held || stale == answers.len()) {
        (_, true) => Passed::Held,
        (true, false) => Passed::More,
        (false, false) => Passed::Done,
    })
}

/// What tells two commands apart: the same is done once in a pass.
fn key_of(command: &Command) -> (u8, usize, Generation, u32) {
    match *command {
        Command::Evaluate { step, generation } => (0, step.0, generation, 0),
        Command::MakeItems { step, generation, from, .. } => (1, step.0, generation, from),
        Command::StartChild { step, generation } => (2, step.0, generation, 0),
        Command::CancelJobs { step, generation } => (3, step.0, generation, 0),
        Command::CancelChild { step, generation } => (4, step.0, generation, 0),
        Command::Compensate { step, generation, from, .. } => (5, step.0, generation, from),
        Command::CancelCompensations { step, generation } => (6, step.0, generation, 0),
        Command::OpenWait { step, generation, .. } | Command::CloseWait { step, generation } => {
            (7, step.0, generation, 0)
        }
        Command::Journal(_) | Command::Ended(_) => (8, 0, Generation::FIRST, 0),
    }
}

impl Pass<'_> {
    fn is_full(&self) -> bool {
        self.jobs >= PASS_JOBS_MAX || self.done.len() >= PASS_DEEDS_MAX
    }

    async fn obey(&mut self, command: Command) -> Result<(), StoreError> {
        match command {
            Command::Evaluate { step, generation } => self.evaluate(step, generation).await,
            Command::MakeItems { step, generation, from, count } => {
                self.make_items(step, generation, from, count).await
            }
            Command::Compensate { step, generation, from, count } => {
                self.compensate(step, generation, from, count).await
            }
            Command::StartChild { step, generation } => self.start_child(step, generation).await,
            Command::CancelJobs { step, generation } => self.stop_jobs(step, generation, Role::Work).await,
            Command::CancelCompensations { step, generation } => {
                self.stop_jobs(step, generation, Role::Undo).await
            }
            Command::CancelChild { step, generation } => self.stop_child(step, generation).await,
            // These belong into the transaction of a change, and are none of what is outstanding.
            Command::OpenWait { .. }
            | Command::CloseWait { .. }
            | Command::Journal(_)
            | Command::Ended(_) => Ok(()),
        }
    }

    /// Something is ready: the run will be as the machine says of it.
    fn ready(&mut self, done: StepDone, happened: Happened) {
        if let Ok(advance) = advance(self.stored.info.workflow(), &self.local, happened, self.now) {
            self.local = advance.run;
            self.done.push(done);
        }
    }

    async fn knowledge(&self, step: StepIndex) -> Result<Knowledge, StoreError> {
        let reads = self.stored.info.workflow().step(step).map_or(&[][..], |step| &step.reads);
        self.engine.knowledge(&self.stored, &self.local, reads).await
    }

    async fn evaluate(&mut self, step: StepIndex, generation: Generation) -> Result<(), StoreError> {
        let (knowledge, stored) = (self.knowledge(step).await?, Arc::clone(&self.stored));
        let evaluated = blocking(move || evaluate(&stored, step, &knowledge)).await?;
        let (evaluation, list) = evaluated;
        if let Some(list) = list {
            self.engine.runs.lists.keep((self.stored.id(), step, generation), Arc::new(list));
        }
        let happened = Happened::Evaluated { step, generation, evaluation: evaluation.clone() };
        self.ready(StepDone::Evaluated { step, generation, evaluation }, happened);
        Ok(())
    }

    async fn make_items(
        &mut self,
        step: StepIndex,
        generation: Generation,
        from: u32,
        count: u32,
    ) -> Result<(), StoreError> {
        let Some(Work::Job { job, each }) = self.work(step) else { return Ok(()) };
        let (bare, has_items) = (job.bare().clone(), each.is_some());
        let (key, runs) = ((self.stored.id(), step, generation), &self.engine.runs);
        // A step begins when all that it reads is over: the parts of its items know the same.
        let knowledge = match runs.knowledge.get(key) {
            Some(knowledge) => knowledge,
            None => Arc::new(self.knowledge(step).await?),
        };
        if has_items {
            runs.knowledge.keep(key, Arc::clone(&knowledge));
        }
        let (stored, known) = (Arc::clone(&self.stored), runs.lists.get(key));
        let (filled, list) =
            blocking(move || fill_items(&stored, step, &knowledge, known, from, count)).await?;
        if let Some(list) = list {
            self.engine.runs.lists.keep(key, list);
        }
        let of_index = |index| index;
        self.items_ready((step, generation, Role::Work, from), bare, filled, of_index).await
    }

    async fn compensate(
        &mut self,
        step: StepIndex,
        generation: Generation,
        from: u32,
        count: u32,
    ) -> Result<(), StoreError> {
        let definition = self.stored.info.workflow().step(step);
        let Some(template) = definition.and_then(|step| step.compensate.clone()) else { return Ok(()) };
        let completed = self.engine.completed_items(&self.stored, &self.local, step).await?;
        let (skip, take) = (to_usize(from), to_usize(count));
        let undone: Vec<(u32, Json)> = completed.into_iter().rev().skip(skip).take(take).collect();
        let indexes: Vec<u32> = undone.iter().map(|(index, _)| *index).collect();
        let (knowledge, bare) = (self.knowledge(step).await?, template.bare().clone());
        let stored = Arc::clone(&self.stored);
        let filled =
            blocking(move || fill_compensations(&stored, step, &template, &knowledge, &undone)).await?;
        let of_index = move |index: u32| indexes.get(to_usize(index - from)).copied().unwrap_or(index);
        self.items_ready((step, generation, Role::Undo, from), bare, filled, of_index).await
    }

    /// Jobs are ready, or will not do.
    async fn items_ready(
        &mut self,
        (step, generation, role, from): (StepIndex, Generation, Role, u32),
        bare: Submission,
        filled: Vec<Result<Box<Submission>, String>>,
        of_index: impl Fn(u32) -> u32,
    ) -> Result<(), StoreError> {
        let mut items = Vec::with_capacity(filled.len());
        let mut born_failed = 0;
        for (index, submission) in (from..).zip(filled) {
            let Some(job) = self.engine.job_made(Some(bare.clone()), submission, self.now).await else {
                // Its parameters are looked at again in a moment.
                self.held = true;
                break;
            };
            born_failed += u32::from(job.status.state.is_terminal());
            let window = self.engine.relay.window(&job.job_type);
            let job = Accepted { job, window, idempotency: None, after: None };
            items.push(NewItem { job, of_index: of_index(index) });
        }
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        if count == 0 {
            return Ok(());
        }
        self.jobs += items.len();
        let happened = match role {
            Role::Work => Happened::ItemsMade { step, generation, from, count, born_failed },
            Role::Undo => Happened::CompensationsMade { step, generation, from, count, born_failed },
        };
        self.ready(StepDone::Items { step, generation, role, from, items }, happened);
        Ok(())
    }

    async fn start_child(&mut self, step: StepIndex, generation: Generation) -> Result<(), StoreError> {
        let Some(Work::Child { workflow, .. }) = self.work(step) else { return Ok(()) };
        let (workflow, knowledge) = (workflow.clone(), self.knowledge(step).await?);
        let stored = Arc::clone(&self.stored);
        let filled = blocking(move || {
            let Some(Work::Child { data, .. }) = stored.info.workflow().step(step).map(|step| &step.work)
            else {
                return Err("it starts no run".to_owned());
            };
            let scope = knowledge.scope().map_err(|error| error.to_string())?;
            data.fill(&scope).map_err(|failed| failed.to_string())
        });
        let parent = ParentStep { run: self.stored.id(), step, generation };
        let info = &self.stored.info;
        let (root, depth) = (info.root, info.depth + 1);
        let run = match filled.await? {
            Ok(_) if depth > self.engine.depth_max => {
                Err(format!("{} runs and jobs made each other before it: nothing more is made", info.depth))
            }
            Ok(data) => {
                let data = RunData { data: data.to_string(), event: None, schedule: None };
                self.engine.new_run(&workflow, data, StartedBy::Step(parent), (root, depth)).await?
            }
            Err(message) => Err(message),
        };
        let born_failed = u32::from(run.is_err());
        if let Err(reason) = &run {
            tracing::warn!(run.id = %self.stored.id(), step = step.0, reason, "A step cannot start its run.");
        }
        let happened = Happened::ItemsMade { step, generation, from: 0, count: 1, born_failed };
        self.ready(StepDone::Child { step, generation, run }, happened);
        Ok(())
    }

    /// Has the open jobs of a step cancelled, once: from then on nobody makes more of them.
    async fn stop_jobs(
        &mut self,
        step: StepIndex,
        generation: Generation,
        role: Role,
    ) -> Result<(), StoreError> {
        let (id, engine) = (self.stored.id(), self.engine);
        if engine.runs.is_stopped((id, step, generation, role)) {
            return Ok(());
        }
        let Some(definition) = self.stored.info.workflow().step(step) else { return Ok(()) };
        let mut after = None;
        loop {
            let name = Arc::clone(&definition.name);
            let open = ItemQuery {
                run: id,
                step: name,
                generation,
                role,
                after,
                open: true,
                results: false,
                limit: STOP_PAGE,
            };
            let items = engine.store.items(open).await?;
            let Some(last) = items.last() else { break };
            after = Some(last.key.index);
            let ids = items.iter().filter_map(|item| match item.work {
                ItemWork::Job { id, .. } => Some(id),
                ItemWork::Run { .. } => None,
            });
            engine.cancel_jobs(ids.collect(), THE_RUN, "its run stops").await?;
            die_at(Failpoint::RunJobsStopped);
        }
        engine.runs.stopped((id, step, generation, role));
        Ok(())
    }

    async fn stop_child(&mut self, step: StepIndex, generation: Generation) -> Result<(), StoreError> {
        let (id, engine) = (self.stored.id(), self.engine);
        let told = (id, step, generation, Role::Work);
        let (Some(definition), Some(state)) = (self.stored.info.workflow().step(step), self.local.step(step))
        else {
            return Ok(());
        };
        if engine.runs.is_stopped(told) {
            return Ok(());
        }
        if let Some(child) = engine.child_of(id, &definition.name, state).await? {
            let happened = Happened::CancelRequested { by: THE_RUN.to_owned(), force: false };
            engine.changes.tell_run(child, happened).await?;
        }
        engine.runs.stopped(told);
        Ok(())
    }

    fn work(&self, step: StepIndex) -> Option<&Work> {
        self.stored.info.workflow().step(step).map(|step| &step.work)
    }
}

/// What the expressions of a step say about its beginning; and its items, if it has `each`.
fn evaluate(stored: &StoredRun, step: StepIndex, knowledge: &Knowledge) -> (Evaluation, Option<Vec<Json>>) {
    let fail = |message: String| (Evaluation::Fail(message), None);
    let Some(definition) = stored.info.workflow().step(step) else {
        return fail("there is no such step".to_owned());
    };
    let scope = match knowledge.scope() {
        Ok(scope) => scope,
        Err(error) => return fail(error.to_string()),
    };
    match definition.when.as_ref().map(|when| when.boolean(&scope)) {
        None | Some(Ok(true)) => {}
        Some(Ok(false)) => return (Evaluation::Skip, None),
        Some(Err(failed)) => return fail(format!("when: {failed}")),
    }
    match &definition.work {
        Work::Job { each: Some(_), .. } => match list_of(stored, step, &scope) {
            Ok(list) => {
                let items = u32::try_from(list.len()).unwrap_or(u32::MAX);
                (Evaluation::Begin { items, until: None }, Some(list))
            }
            Err(message) => fail(message),
        },
        Work::Until(moment) => {
            let read = moment.fill(&scope).map_err(|failed| format!("until: {failed}"));
            match read.map(|value| (value.as_str().and_then(read_moment), value)) {
                Ok((Some(until), _)) => (Evaluation::Begin { items: 0, until: Some(until) }, None),
                Ok((None, value)) => {
                    fail(format!("until is {value}, which is no time such as \"2026-11-20T16:07:00Z\""))
                }
                Err(message) => fail(message),
            }
        }
        Work::Job { each: None, .. } | Work::Event(_) | Work::Approval(_) | Work::Child { .. } => {
            (Evaluation::Begin { items: 1, until: None }, None)
        }
    }
}

/// The items of a step.
fn list_of(stored: &StoredRun, step: StepIndex, scope: &Scope<'_>) -> Result<Vec<Json>, String> {
    let definition = stored.info.workflow().step(step);
    let Some(Work::Job { each: Some(each), .. }) = definition.map(|step| &step.work) else {
        return Err("it has no items".to_owned());
    };
    match each.list.fill(scope).map_err(|failed| format!("each: {failed}"))? {
        Json::Array(items) if items.len() > to_usize(ITEMS_MAX) => {
            Err(format!("each: it has {} items, and a step has at most {ITEMS_MAX}", items.len()))
        }
        Json::Array(items) => Ok(items),
        other => Err(format!("each is a list, not {}", kind(&other))),
    }
}

/// The jobs of these items; and the list that they are of, if it was made anew.
type Filled = (Vec<Result<Box<Submission>, String>>, Option<Arc<Vec<Json>>>);

fn fill_items(
    stored: &StoredRun,
    step: StepIndex,
    knowledge: &Knowledge,
    list: Option<Arc<Vec<Json>>>,
    from: u32,
    count: u32,
) -> Filled {
    let all = |message: String| (from..from + count).map(|_| Err(message.clone())).collect();
    let Some(Work::Job { job, each }) = stored.info.workflow().step(step).map(|step| &step.work) else {
        return (all("it has no job".to_owned()), None);
    };
    let scope = match knowledge.scope() {
        Ok(scope) => scope,
        Err(error) => return (all(error.to_string()), None),
    };
    if each.is_none() {
        return (vec![boxed(job.fill(&scope))], None);
    }
    let (list, is_new) = match list {
        Some(list) => (list, false),
        None => match list_of(stored, step, &scope) {
            Ok(list) => (Arc::new(list), true),
            Err(message) => return (all(message), None),
        },
    };
    let filled = (from..from + count).map(|index| {
        let Some(item) = list.get(to_usize(index)) else {
            return Err("the list has no such item".to_owned());
        };
        let index = Json::from(index);
        let scope = scope.with([("item", item), ("index", &index)]).map_err(|error| error.to_string())?;
        boxed(job.fill(&scope))
    });
    (filled.collect(), is_new.then(|| Arc::clone(&list)))
}

fn fill_compensations(
    stored: &StoredRun,
    step: StepIndex,
    template: &JobTemplate,
    knowledge: &Knowledge,
    undone: &[(u32, Json)],
) -> Vec<Result<Box<Submission>, String>> {
    let scope = match knowledge.scope() {
        Ok(scope) => scope,
        Err(error) => return undone.iter().map(|_| Err(error.to_string())).collect(),
    };
    // Without `each` there are no items to name.
    let list = list_of(stored, step, &scope).unwrap_or_default();
    let fill = |(index, result): &(u32, Json)| {
        let done = serde_json::json!({ "result": result });
        let (item, number) = (list.get(to_usize(*index)).unwrap_or(&Json::Null), Json::from(*index));
        let more = [("step", &done), ("item", item), ("index", &number)];
        let scope = scope.with(more).map_err(|error| error.to_string())?;
        boxed(template.fill(&scope))
    };
    undone.iter().map(fill).collect()
}

fn boxed(filled: Result<Submission, Failed>) -> Result<Box<Submission>, String> {
    filled.map(Box::new).map_err(|failed| failed.to_string())
}

const fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
