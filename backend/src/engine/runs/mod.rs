//! Runs of workflows go on: what there is to evaluate and to fill in is done beside the store's transaction ([`pass`]); what follows is
//! stored in it, if the run still wants it ([`rules`](super::rules)). So two that do it at once do the work twice and store it once.
//!
//! Nothing here is the truth: what a run wants is told by its state alone, and after a crash the same is done again. A commit wakes; a
//! tick of a second looks again at what did not get on.

mod knowledge;

mod pass;

mod waits;

mod checking;

mod standstills;

mod view;

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crewcall_expressions::Json;
use crewcall_proto::{RunId, Timestamp};
use dashmap::DashMap;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{MissedTickBehavior, interval},
};

use self::{knowledge::Knowledge, pass::Passed, standstills::Standstills};
pub(super) use checking::text_of;
pub use view::{ItemView, RunView, RunWatch, StepView, WorkflowView};

use super::{
    Engine, Observer,
    blocking::blocking,
    ports::{JobChanged, NewRun, RunChanged, RunData, StoreError},
};
use crate::domain::{
    Cause, CausedBy, PublishedEvent, Root, State,
    workflow::{
        definition::{StepIndex, WorkflowName},
        facts::Happened,
        known::{ItemWork, KnownWorkflow, Role, StartedBy, StoredRun},
        run::{Generation, Run, RunState, StepState},
    },
};

/// How often it is looked whether anything is left undone. What is new wakes at once.
const TICK: Duration = Duration::from_secs(1);

/// How many runs are looked at at once: the store commits for all of them together.
const PASSES_AT_ONCE: usize = 64;

/// How many lists of items are kept, so that they are not evaluated for each of their items.
const LISTS_KEPT: usize = 16;

/// Of how many steps with items it is kept what their expressions know, so that it is not read for each part of them. It may be as
/// large as all that an expression may read.
const KNOWLEDGE_KEPT: usize = 4;

/// One beginning of one step of a run.
type Begun = (RunId, StepIndex, Generation);

/// How runs get on, as far as it is not in the store.
pub struct RunWork {
    /// Documents are read one at a time: a large one takes half a second.
    documents: Semaphore,
    /// Runs that changed and were not looked at since.
    moved: Mutex<HashSet<RunId>>,
    wake: Notify,
    deadlines: Mutex<Deadlines>,
    lists: Kept<Vec<Json>>,
    knowledge: Kept<Knowledge>,
    /// Whose jobs were told to stop.
    stopped: Mutex<HashSet<(RunId, StepIndex, Generation, Role)>>,
    watchers: DashMap<RunId, watch::Sender<u64>>,
    waits: waits::Waits,
    standstills: Standstills,
}

impl Default for RunWork {
    fn default() -> Self {
        Self {
            documents: Semaphore::new(1),
            moved: Mutex::default(),
            wake: Notify::new(),
            deadlines: Mutex::default(),
            lists: Kept::new(LISTS_KEPT),
            knowledge: Kept::new(KNOWLEDGE_KEPT),
            stopped: Mutex::default(),
            watchers: DashMap::new(),
            waits: waits::Waits::default(),
            standstills: Standstills::default(),
        }
    }
}

/// What steps began with, of the last ones.
struct Kept<T> {
    count_max: usize,
    kept: Mutex<VecDeque<(Begun, Arc<T>)>>,
}

impl<T> Kept<T> {
    fn new(count_max: usize) -> Self {
        Self { count_max, kept: Mutex::default() }
    }

    fn get(&self, begun: Begun) -> Option<Arc<T>> {
        let kept = locked(&self.kept);
        kept.iter().find(|(known, _)| *known == begun).map(|(_, it)| Arc::clone(it))
    }

    fn keep(&self, begun: Begun, it: Arc<T>) {
        let mut kept = locked(&self.kept);
        kept.retain(|(known, _)| *known != begun);
        if kept.len() == self.count_max {
            kept.pop_front();
        }
        kept.push_back((begun, it));
    }

    fn forget(&self, id: RunId) {
        locked(&self.kept).retain(|((run, _, _), _)| *run != id);
    }
}

/// When the next limit of each run is reached.
#[derive(Default)]
struct Deadlines {
    by_run: HashMap<RunId, Timestamp>,
    by_time: BTreeSet<(Timestamp, RunId)>,
}

impl Deadlines {
    fn set(&mut self, id: RunId, deadline: Option<Timestamp>) {
        let before = match deadline {
            Some(deadline) => self.by_run.insert(id, deadline),
            None => self.by_run.remove(&id),
        };
        if let Some(before) = before {
            self.by_time.remove(&(before, id));
        }
        self.by_time.extend(deadline.map(|deadline| (deadline, id)));
    }

    fn due(&self, now: Timestamp) -> Vec<RunId> {
        self.by_time.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

impl RunWork {
    fn is_stopped(&self, told: (RunId, StepIndex, Generation, Role)) -> bool {
        locked(&self.stopped).contains(&told)
    }

    fn stopped(&self, told: (RunId, StepIndex, Generation, Role)) {
        locked(&self.stopped).insert(told);
    }

    /// Forgets what belongs to a run that is over.
    fn forget(&self, id: RunId) {
        locked(&self.deadlines).set(id, None);
        self.lists.forget(id);
        self.knowledge.forget(id);
        locked(&self.stopped).retain(|(run, _, _, _)| *run != id);
        self.waits.forget(id);
        self.standstills.forget(id);
    }

    /// Something may have to be done for these runs.
    fn look_at(&self, runs: impl IntoIterator<Item = RunId>) {
        locked(&self.moved).extend(runs);
        self.wake.notify_one();
    }

    fn watch(&self, id: RunId) -> watch::Receiver<u64> {
        self.watchers.entry(id).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// Forgets who nobody watches any more.
    fn tidy(&self) {
        self.watchers.retain(|_, watchers| watchers.receiver_count() > 0);
    }
}

impl Observer for RunWork {
    fn after_commit(&self, _: &[JobChanged]) {}

    fn after_runs(&self, runs: &[RunChanged]) {
        for changed in runs {
            if let Some(watchers) = self.watchers.get(&changed.run.id()) {
                watchers.send_modify(|count| *count += 1);
            }
        }
        self.look_at(runs.iter().map(|changed| changed.run.id()));
    }
}

/// Lets runs go on until the engine's tasks are told to stop.
///
/// # Errors
///
/// [`StoreError`] when the store fails for good.
pub(super) async fn run(engine: &Engine) -> Result<(), StoreError> {
    let stop = engine.tasks.stop();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut head = engine.changes.log_head();
    let (mut turns, mut passes) = (Turns::default(), FuturesUnordered::new());
    engine.runs.waits.restore(engine).await?;
    let open = engine.store.open_runs();
    open.iter().for_each(|run| engine.runs.standstills.restore(run, engine.clock.now()));
    engine.runs.look_at(open.iter().map(|run| run.id()));
    loop {
        let (due_in, mut is_tick, mut ended) = (time_left(engine), false, Vec::new());
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => is_tick = true,
            () = engine.runs.wake.notified() => {}
            () = tokio::time::sleep(due_in) => {}
            changed = head.changed() => if changed.is_err() { return Ok(()) },
            Some(passed) = passes.next(), if !passes.is_empty() => ended.push(passed),
        }
        head.mark_unchanged();
        if is_tick {
            engine.metrics.set_runs_held(turns.held.len());
            turns.queue.extend(turns.held.drain());
            engine.runs.tidy();
        }
        let moved: Vec<RunId> = locked(&engine.runs.moved).drain().collect();
        engine.runs.waits.notice(engine, &moved);
        beside(&mut passes, &mut ended, look(engine, is_tick)).await?;
        for (id, passed) in ended {
            turns.ended(id, or_later(passed)?);
        }
        for id in moved {
            match engine.store.open_run(id) {
                None => engine.runs.forget(id),
                Some(run) => {
                    locked(&engine.runs.deadlines).set(id, run.next_deadline());
                    engine.runs.standstills.moved(&run, engine.clock.now());
                    turns.queue.push_back(id);
                }
            }
        }
        while passes.len() < PASSES_AT_ONCE
            && let Some(id) = turns.next()
        {
            passes.push(async move { (id, pass::pass(engine, id).await) });
        }
    }
}

/// Whose turn it is to be looked at.
#[derive(Default)]
struct Turns {
    /// Those that are looked at now, and whether they are to be once more afterwards.
    at_work: HashMap<RunId, bool>,
    queue: VecDeque<RunId>,
    /// Those that wait for the next tick.
    held: HashSet<RunId>,
}

impl Turns {
    /// The next that is not looked at already: one that is has its turn once more afterwards.
    fn next(&mut self) -> Option<RunId> {
        while let Some(id) = self.queue.pop_front() {
            match self.at_work.entry(id) {
                Entry::Occupied(mut again) => drop(again.insert(true)),
                Entry::Vacant(place) => {
                    place.insert(false);
                    return Some(id);
                }
            }
        }
        None
    }

    fn ended(&mut self, id: RunId, passed: Option<Passed>) {
        match passed {
            Some(Passed::More) => self.queue.push_back(id),
            Some(Passed::Done) => {}
            Some(Passed::Held) | None => drop(self.held.insert(id)),
        }
        if self.at_work.remove(&id) == Some(true) {
            self.queue.push_back(id);
        }
    }
}

/// What there is to do beside the passes: events for those who wait, and limits that are reached.
async fn look(engine: &Engine, is_tick: bool) -> Result<(), StoreError> {
    if is_tick {
        or_later(engine.runs.waits.keep(engine).await)?;
    }
    or_later(engine.runs.waits.go_on(engine).await)?;
    or_later(expire(engine).await)?;
    Ok(())
}

/// Does something while the passes go on. A pass that is not polled keeps the turn to read that it was given: a few of them would keep
/// everybody from reading, and this as well, for which they wait.
async fn beside<F: Future, T>(
    passes: &mut FuturesUnordered<F>,
    ended: &mut Vec<F::Output>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(passed) = passes.next(), if !passes.is_empty() => ended.push(passed),
        }
    }
}

/// An error that may pass is told, and what it kept is done later.
fn or_later<T>(done: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error @ (StoreError::Failed { .. } | StoreError::Closed)) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "Runs wait for the store.");
            Ok(None)
        }
    }
}

/// How long it is until the next limit is reached.
fn time_left(engine: &Engine) -> Duration {
    let next = locked(&engine.runs.deadlines).next();
    let left = next.map_or(TICK.as_millis().try_into().unwrap_or(i64::MAX), |at| {
        at.as_millis().saturating_sub(engine.clock.now().as_millis())
    });
    Duration::from_millis(u64::try_from(left).unwrap_or(0).clamp(1, 1_000))
}

/// Tells runs whose limits are reached.
async fn expire(engine: &Engine) -> Result<(), StoreError> {
    let now = engine.clock.now();
    let due = locked(&engine.runs.deadlines).due(now);
    for id in due {
        let Some(run) = engine.store.open_run(id) else {
            engine.runs.forget(id);
            continue;
        };
        for happened in expired(&run, now) {
            engine.changes.tell_run(id, happened).await?;
        }
        // What changed by it is looked at next.
        let next = engine.store.open_run(id).and_then(|run| run.next_deadline());
        locked(&engine.runs.deadlines).set(id, next);
    }
    Ok(())
}

/// Which limits of a run are reached.
fn expired(run: &StoredRun, now: Timestamp) -> Vec<Happened> {
    let is_due = |deadline: Option<Timestamp>| deadline.is_some_and(|deadline| deadline <= now);
    let steps = run.run.steps.iter().enumerate();
    let steps = steps.filter(|(_, step)| step.state == StepState::Waiting && is_due(step.deadline_at));
    let mut happened: Vec<Happened> = steps
        .map(|(index, step)| Happened::WaitTimedOut { step: StepIndex(index), generation: step.generation })
        .collect();
    if is_due(run.run.deadline_at) {
        happened.push(Happened::TimedOut);
    }
    happened
}

impl Engine {
    /// The items of a step that completed, with their results, in the order of their index.
    async fn completed_items(
        &self,
        stored: &StoredRun,
        local: &Run,
        step: StepIndex,
    ) -> Result<Vec<(u32, Json)>, StoreError> {
        let (definition, state) = (stored.info.workflow().step(step), local.step(step));
        let (Some(definition), Some(state)) = (definition, state) else { return Ok(Vec::new()) };
        let items = self.results(stored.id(), &definition.name, state).await?;
        let completed = items.into_iter().filter_map(|item| match item.work {
            ItemWork::Job { state: State::Completed, result, .. } => {
                let result = result.as_deref().and_then(|text| serde_json::from_str(text).ok());
                Some((item.key.index, result.unwrap_or_default()))
            }
            ItemWork::Job { .. } => None,
            ItemWork::Run { state, .. } => {
                (state == RunState::Completed).then(|| (item.key.index, Json::Null))
            }
        });
        Ok(completed.collect())
    }

    /// The run that is made of an event; `None` when there is no such workflow now.
    pub(in crate::engine) async fn run_of(
        &self,
        workflow: &WorkflowName,
        event: &PublishedEvent,
        cause: &Cause,
    ) -> Result<Option<Result<Box<NewRun>, String>>, StoreError> {
        let CausedBy::Consumer(made_of) = &cause.by else { return Ok(None) };
        if self.store.workflow(workflow).is_none() {
            return Ok(None);
        }
        let mut known = super::consumers::known_of(event);
        if let Some(fields) = known.as_object_mut() {
            fields.remove("data");
        }
        let data = RunData { data: event.data.clone(), event: Some(known.to_string()), schedule: None };
        let started_by = StartedBy::Event(made_of.clone());
        self.new_run(workflow, data, started_by, (cause.root, cause.depth)).await.map(Some)
    }

    /// A run, made ready by the newest version of its workflow; or why it cannot be, in a sentence.
    pub(in crate::engine) async fn new_run(
        &self,
        workflow: &WorkflowName,
        data: RunData,
        started_by: StartedBy,
        (root, depth): (Root, u32),
    ) -> Result<Result<Box<NewRun>, String>, StoreError> {
        let Some(known) = self.store.workflow(workflow) else {
            return Ok(Err(format!("there is no workflow {workflow}")));
        };
        let key = match key_of(&known, &data).await? {
            Ok(key) => key,
            Err(message) => return Ok(Err(message)),
        };
        Ok(Ok(Box::new(NewRun {
            id: RunId::generate(),
            workflow: workflow.clone(),
            version: known.newest.number,
            data,
            started_by,
            key,
            labels: Default::default(),
            root,
            depth,
            idempotency: None,
        })))
    }
}

/// What the runs have in common that are counted together; or why that has no value.
async fn key_of(
    known: &Arc<KnownWorkflow>,
    data: &RunData,
) -> Result<Result<Option<String>, String>, StoreError> {
    let has_key = known.newest.workflow.concurrency.as_ref().is_some_and(|limit| limit.key.is_some());
    if !has_key {
        return Ok(Ok(None));
    }
    let (known, knowledge) = (Arc::clone(known), Knowledge::of_trigger(data));
    let filled = blocking(move || {
        let limit = known.newest.workflow.concurrency.as_ref();
        let Some(template) = limit.and_then(|limit| limit.key.as_ref()) else { return Ok(None) };
        let scope = knowledge.scope().map_err(|error| error.to_string())?;
        let value = template.fill(&scope).map_err(|failed| format!("concurrency.key: {failed}"))?;
        Ok(Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    });
    filled.await
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
