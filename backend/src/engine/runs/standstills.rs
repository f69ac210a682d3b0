//! Runs in which nothing happens although they have to get on by themselves.
//!
//! Which of them that may be is told by the state of a run, in memory, when it changes. Those in which nothing has happened for a while are
//! then looked at one after the other: as long as one of its jobs runs, waits for its time, or is of a paused type, a run gets on.
//! A job that belongs to no run costs nothing here, and a scrape looks at one run of each workflow.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use crewcall_proto::{JobType, RunId, Timestamp};

use super::locked;
use crate::{
    domain::{
        State,
        workflow::{
            definition::{Step, StepIndex, Work, WorkflowName},
            known::{ItemWork, Role, StoredRun},
            run::{Generation, RunState},
            waits_for::has_to_get_on,
        },
    },
    engine::{
        Engine,
        ports::{ItemQuery, StoreError},
    },
};

/// For how long nothing happens in a run before it is looked at: most jobs begin within that time.
const QUIET_FOR_MS: i64 = 30_000;

/// When a run that gets on is looked at again, if nothing has happened in it until then.
const LOOK_AGAIN_MS: i64 = 60_000;

/// When a run that stands still is: sooner, so that it is not complained of for long after its job has begun.
const LOOK_SOON_MS: i64 = 10_000;

/// How many runs are looked at in one step, each by a query of an index. All that may be open have their turn within 7 minutes.
const LOOKS_MAX: usize = 256;

/// How many open items of a step are read at once.
const ITEMS_PAGE: usize = 500;

/// After which time the log says that a run stands still: as long as the alert waits.
const TOLD_AFTER: Duration = Duration::from_secs(15 * 60);

/// The runs that have to get on by themselves.
#[derive(Default)]
pub(super) struct Standstills {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    runs: HashMap<RunId, Quiet>,
    by_look: BTreeSet<(Timestamp, RunId)>,
    /// Those that stand still, as far as the last look told, by when something happened in them last.
    still: BTreeMap<WorkflowName, BTreeSet<(Timestamp, RunId)>>,
}

/// A run that has to get on by itself.
struct Quiet {
    workflow: WorkflowName,
    /// The version of the run, which each change counts up.
    version: u64,
    /// When something happened in it last, or when it was last seen to get on.
    since: Timestamp,
    look_at: Timestamp,
    is_still: bool,
    /// Whether the log says so.
    is_told: bool,
}

impl Inner {
    fn put(&mut self, id: RunId, quiet: Quiet) {
        self.remove(id);
        self.by_look.insert((quiet.look_at, id));
        if quiet.is_still {
            self.still.entry(quiet.workflow.clone()).or_default().insert((quiet.since, id));
        }
        self.runs.insert(id, quiet);
    }

    fn remove(&mut self, id: RunId) {
        let Some(before) = self.runs.remove(&id) else { return };
        self.by_look.remove(&(before.look_at, id));
        if before.is_still
            && let Some(still) = self.still.get_mut(&before.workflow)
        {
            still.remove(&(before.since, id));
            if still.is_empty() {
                self.still.remove(&before.workflow);
            }
        }
    }
}

impl Standstills {
    /// A run that an earlier process left open. When something happened in it last is told by its steps; by a clock that was set back
    /// since, that may be to come.
    pub(super) fn restore(&self, run: &StoredRun, now: Timestamp) {
        let steps = run.run.steps.iter();
        let times = steps.flat_map(|step| [step.began_at, step.ended_at]).chain([run.run.started_at]);
        self.note(run, times.flatten().fold(run.info.created_at, Ord::max).min(now));
    }

    /// Something may have happened in a run.
    pub(super) fn moved(&self, run: &StoredRun, now: Timestamp) {
        let known = locked(&self.inner).runs.get(&run.id()).map(|quiet| quiet.version);
        if known != Some(run.run.version) {
            self.note(run, now);
        }
    }

    fn note(&self, run: &StoredRun, since: Timestamp) {
        let mut inner = locked(&self.inner);
        if !has_to_get_on(run.info.workflow(), &run.run) {
            return inner.remove(run.id());
        }
        let workflow = run.info.version.name().clone();
        let look_at = since.plus_millis(QUIET_FOR_MS);
        let (version, is_still, is_told) = (run.run.version, false, false);
        inner.put(run.id(), Quiet { workflow, version, since, look_at, is_still, is_told });
    }

    /// Forgets a run that is over.
    pub(super) fn forget(&self, id: RunId) {
        locked(&self.inner).remove(id);
    }

    /// When something happened last in the run of a workflow that has stood still the longest; `None` if none does.
    pub(super) fn oldest(&self, workflow: &WorkflowName) -> Option<Timestamp> {
        locked(&self.inner).still.get(workflow)?.first().map(|(since, _)| *since)
    }

    /// Looks at the runs in which nothing has happened for a while.
    async fn look(&self, engine: &Engine) -> Result<(), StoreError> {
        let now = engine.clock.now();
        let due: Vec<RunId> = {
            let inner = locked(&self.inner);
            let due = inner.by_look.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id);
            due.take(LOOKS_MAX).collect()
        };
        for id in due {
            let Some(run) = engine.store.open_run(id) else {
                self.forget(id);
                continue;
            };
            let gets_on = engine.gets_on(&run).await?;
            self.looked(&run, gets_on, now);
        }
        Ok(())
    }

    fn looked(&self, run: &StoredRun, gets_on: bool, now: Timestamp) {
        let (id, mut inner) = (run.id(), locked(&self.inner));
        // What happened meanwhile counts more.
        let Some(quiet) = inner.runs.get(&id).filter(|quiet| quiet.version == run.run.version) else {
            return;
        };
        let since = if gets_on { now } else { quiet.since };
        let look_at = now.plus_millis(if gets_on { LOOK_AGAIN_MS } else { LOOK_SOON_MS });
        let stood = now.since(since);
        let is_told = !gets_on && (quiet.is_told || stood >= TOLD_AFTER);
        let (workflow, version) = (quiet.workflow.clone(), quiet.version);
        if is_told && !quiet.is_told {
            tracing::warn!(run.id = %id, workflow.name = workflow.as_str(), stood_seconds = stood.as_secs(), "A run stands still.");
        }
        inner.put(id, Quiet { workflow, version, since, look_at, is_still: !gets_on, is_told });
    }
}

impl Engine {
    /// Looks at runs in which nothing has happened for a while: whether they get on.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub(in crate::engine) async fn look_for_standstills(&self) -> Result<(), StoreError> {
        self.runs.standstills.look(self).await
    }

    /// Whether a run that has to get on by itself does, although nothing happens in it: a job of it runs, waits for its time or is of a
    /// paused type, it waits for another run, or others have the place that it waits for.
    async fn gets_on(&self, run: &Arc<StoredRun>) -> Result<bool, StoreError> {
        if run.run.state == RunState::Queued {
            let name = run.info.version.name();
            let is_paused = self.store.workflow(name).is_some_and(|known| known.pause.is_some());
            let counts = self.store.open_run_counts(name);
            return Ok(is_paused || counts.keys().any(|state| *state != RunState::Queued));
        }
        for (index, state) in run.run.steps.iter().enumerate() {
            let Some(definition) = run.info.workflow().step(StepIndex(index)) else { continue };
            let open_undo = state.compensation.map_or(0, |counts| counts.open());
            for (role, open) in [(Role::Work, state.items.open()), (Role::Undo, open_undo)] {
                if open > 0 && self.some_job_gets_on(run.id(), definition, state.generation, role).await? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn some_job_gets_on(
        &self,
        run: RunId,
        definition: &Step,
        generation: Generation,
        role: Role,
    ) -> Result<bool, StoreError> {
        let is_paused =
            job_type(definition, role).is_some_and(|job_type| self.limits.get(&job_type).pause.is_some());
        if is_paused {
            return Ok(true);
        }
        let gets_on = |work: &ItemWork| match work {
            // Another run, which is looked at itself.
            ItemWork::Run { .. } => true,
            ItemWork::Job { state, .. } => matches!(state, State::Running | State::Scheduled),
        };
        let mut after = None;
        loop {
            let step = Arc::clone(&definition.name);
            let (open, results, limit) = (true, false, ITEMS_PAGE);
            let query = ItemQuery { run, step, generation, role, after, open, results, limit };
            let items = self.store.items(query).await?;
            if items.iter().any(|item| gets_on(&item.work)) {
                return Ok(true);
            }
            let Some(last) = items.last().filter(|_| items.len() == ITEMS_PAGE) else { return Ok(false) };
            after = Some(last.key.index);
        }
    }
}

/// The type of the jobs of a step; of those that undo it.
fn job_type(definition: &Step, role: Role) -> Option<JobType> {
    let job = match (role, &definition.work) {
        (Role::Undo, _) => definition.compensate.as_ref(),
        (Role::Work, Work::Job { job, .. }) => Some(&**job),
        (Role::Work, Work::Event(_) | Work::Until(_) | Work::Approval(_) | Work::Child { .. }) => None,
    };
    JobType::new(job?.bare().job_type.as_str()).ok()
}
