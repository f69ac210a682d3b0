//! What a store in memory keeps of workflows and their runs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crewcall_backend::{
    domain::{
        Cause, CausedBy, Job, Sequence,
        workflow::{
            definition::{Work, WorkflowName},
            known::{ItemKey, ItemWork, KnownWorkflow, StoredItem, StoredRun, WorkflowVersion},
            run::StepState,
        },
    },
    engine::{
        ports::{
            IdempotencyKey, ItemQuery, JournalLine, NewItemRow, NewItemWork, RunData, RunQuery,
            VERSIONS_KEPT, WorkflowWrite,
        },
        rules::{Runs, forgotten_until},
    },
};
use crewcall_proto::{JobId, RunId, Timestamp};

use super::disk::Kept;

/// A run, with what is kept beside it.
pub(super) struct KeptRun {
    pub(super) stored: Arc<StoredRun>,
    pub(super) data: RunData,
    key: Option<IdempotencyKey>,
    pub(super) journal: Vec<JournalLine>,
    /// Each, and whether it is open.
    items: BTreeMap<ItemKey, (NewItemRow, bool)>,
}

/// Workflows and runs.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) workflows: BTreeMap<WorkflowName, Arc<KnownWorkflow>>,
    pub(super) versions: BTreeMap<(WorkflowName, u32), Arc<WorkflowVersion>>,
    pub(super) runs: BTreeMap<RunId, KeptRun>,
    pub(super) looked_to: Sequence,
}

impl Shelf {
    /// What the rules know of it.
    pub(super) fn known(&self) -> Runs {
        let open = self.runs.values().filter(|kept| !kept.stored.run.state.is_terminal());
        let workflows = self.workflows.values().map(|workflow| workflow.as_ref().clone());
        Runs::new(workflows, open.map(|kept| kept.stored.as_ref().clone()))
    }

    pub(super) fn set_back(&mut self, behind_ms: i64) {
        let earlier = |at: Timestamp| at.plus_millis(-behind_ms);
        for kept in self.runs.values_mut() {
            let mut stored = kept.stored.as_ref().clone();
            stored.run.deadline_at = stored.run.deadline_at.map(earlier);
            for (step, definition) in stored.run.steps.iter_mut().zip(&stored.info.workflow().steps) {
                let is_moment = matches!(definition.work, Work::Until(_));
                if step.state == StepState::Waiting && !is_moment {
                    step.deadline_at = step.deadline_at.map(earlier);
                }
            }
            kept.stored = Arc::new(stored);
        }
    }

    pub(super) fn last_version(&self, name: &WorkflowName) -> Option<u32> {
        let from = (name.clone(), 0)..=(name.clone(), u32::MAX);
        self.versions.range(from).next_back().map(|((_, number), _)| *number)
    }

    pub(super) fn run_key(&self, key: &str, now: Timestamp) -> Option<([u8; 32], RunId)> {
        let has = |kept: &&KeptRun| kept.key.as_ref().is_some_and(|known| known.key == key);
        let kept = self.runs.values().find(has)?;
        let is_known = kept.stored.info.created_at > forgotten_until(now);
        Some((kept.key.as_ref()?.body_hash, kept.stored.id())).filter(|_| is_known)
    }

    /// Runs that ended before this, and the ids of so many of their jobs.
    pub(super) fn finished(
        &self,
        until: Timestamp,
        limit: usize,
        jobs: &BTreeMap<JobId, Kept>,
    ) -> (Vec<JobId>, Vec<RunId>) {
        let is_open = |id: RunId| self.runs.get(&id).is_some_and(|kept| !kept.stored.run.state.is_terminal());
        let mut old: Vec<&StoredRun> = self.runs.values().map(|kept| kept.stored.as_ref()).collect();
        old.retain(|run| {
            run.run.ended_at.is_some_and(|at| at < until)
                && !run.info.parent().is_some_and(|parent| is_open(parent.run))
        });
        old.sort_by_key(|run| run.run.ended_at);
        let (mut go, mut runs) = (Vec::new(), Vec::new());
        for run in old.into_iter().take(limit) {
            let of_run: Vec<JobId> = self.jobs_of(run.id()).filter(|id| jobs.contains_key(id)).collect();
            let room = limit - go.len();
            let is_whole = of_run.len() <= room;
            go.extend(of_run.into_iter().take(room));
            if !is_whole {
                break;
            }
            runs.push(run.id());
        }
        (go, runs)
    }

    fn jobs_of(&self, id: RunId) -> impl Iterator<Item = JobId> {
        let items = self.runs.get(&id).into_iter().flat_map(|kept| kept.items.values());
        items.filter_map(|(item, _)| if let NewItemWork::Job(id) = item.work { Some(id) } else { None })
    }

    /// Newest first.
    pub(super) fn list(&self, query: &RunQuery) -> Vec<StoredRun> {
        let selects = |run: &&Arc<StoredRun>| {
            query.workflow.as_ref().is_none_or(|name| run.info.version.name() == name)
                && (query.states.is_empty() || query.states.contains(&run.run.state))
                && query.labels.iter().all(|(name, value)| run.info.labels.get(name) == Some(value))
                && query.before.is_none_or(|before| run.id() < before)
        };
        let newest = self.runs.values().rev().map(|kept| &kept.stored).filter(selects);
        newest.take(query.limit).map(|run| run.as_ref().clone()).collect()
    }

    pub(super) fn items(&self, query: &ItemQuery, jobs: &BTreeMap<JobId, Kept>) -> Vec<StoredItem> {
        let Some(kept) = self.runs.get(&query.run) else { return Vec::new() };
        let step = kept.stored.info.workflow().find(&query.step);
        let selected = kept.items.values().filter(|(item, is_open)| {
            Some(item.key.step) == step
                && (item.key.generation, item.key.role) == (query.generation, query.role)
                && query.after.is_none_or(|after| item.key.index > after)
                && (*is_open || !query.open)
        });
        let stored = selected.filter_map(|(item, _)| {
            let work = match item.work {
                NewItemWork::Job(id) => {
                    let Job { status, .. } = &jobs.get(&id)?.job;
                    let result = status.result.as_deref().filter(|_| query.results).map(Arc::from);
                    ItemWork::Job { id, state: status.state, result, error: status.error.clone() }
                }
                NewItemWork::Run(id) => ItemWork::Run { id, state: self.runs.get(&id)?.stored.run.state },
                NewItemWork::Nothing => return None,
            };
            Some(StoredItem { key: item.key, of_index: item.of_index, work })
        });
        stored.take(query.limit).collect()
    }

    pub(super) fn write(&mut self, write: WorkflowWrite, causes: &mut HashMap<JobId, Arc<Cause>>) {
        match write {
            WorkflowWrite::Version(version) => {
                self.versions.insert((version.name().clone(), version.number), version);
            }
            WorkflowWrite::Put(workflow) => {
                self.workflows.insert(workflow.name().clone(), workflow);
                self.forget_versions();
            }
            WorkflowWrite::Deleted(name) => {
                self.workflows.remove(&name);
                self.forget_versions();
            }
            WorkflowWrite::Run { run, data, idempotency } => {
                if idempotency.is_some() {
                    let older = self.runs.values_mut();
                    let has_it = |kept: &&mut KeptRun| {
                        kept.key.as_ref().map(|key| &key.key) == idempotency.as_ref().map(|key| &key.key)
                    };
                    older.filter(has_it).for_each(|kept| kept.key = None);
                }
                let (journal, items) = (Vec::new(), BTreeMap::new());
                self.runs.insert(run.id(), KeptRun { stored: run, data, key: idempotency, journal, items });
            }
            WorkflowWrite::Moved { run, journal, .. } => {
                let kept = self.runs.get_mut(&run.id()).unwrap();
                for (number, (at, version, entry)) in (kept.journal.len() + 1..).zip(journal) {
                    let number = number.try_into().unwrap();
                    kept.journal.push(JournalLine { number, version, at, entry });
                }
                kept.stored = run;
            }
            WorkflowWrite::Item { item, .. } => {
                let kept = self.runs.get_mut(&item.key.run).unwrap();
                if let NewItemWork::Job(id) = item.work {
                    causes.insert(id, Arc::new(cause(&kept.stored, item.key)));
                }
                let is_open = !item.is_over;
                assert!(kept.items.insert(item.key, (item, is_open)).is_none());
            }
            WorkflowWrite::ItemEnded { key, .. } => {
                self.runs.get_mut(&key.run).unwrap().items.get_mut(&key).unwrap().1 = false;
            }
            WorkflowWrite::LookedTo(to) => self.looked_to = self.looked_to.max(to),
            WorkflowWrite::RunDeleted(id) => {
                self.runs.remove(&id);
                self.forget_versions();
            }
        }
    }

    fn forget_versions(&mut self) {
        let Self { workflows, versions, runs, .. } = self;
        versions.retain(|(name, number), _| {
            let newest = workflows.get(name).map(|workflow| workflow.newest.number);
            newest.is_some_and(|newest| *number > newest.saturating_sub(VERSIONS_KEPT))
                || runs.values().any(|kept| {
                    let version = &kept.stored.info.version;
                    (version.name(), version.number) == (name, *number)
                })
        });
    }
}

fn cause(run: &StoredRun, key: ItemKey) -> Cause {
    let (workflow, step) = (run.info.version.name().clone(), run.info.workflow().step(key.step).unwrap());
    let by = CausedBy::Step { key, workflow, step: Arc::clone(&step.name) };
    Cause { by, root: run.info.root, depth: run.info.depth }
}
