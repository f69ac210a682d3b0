//! Workflows and open runs as committed last, for readers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use crewcall_proto::RunId;

use crate::{
    domain::workflow::{
        definition::WorkflowName,
        known::{KnownWorkflow, StoredRun},
        run::RunState,
    },
    engine::rules::{Runs, RunsMoved},
};

/// Workflows and open runs as committed last. The writer holds the lock for as long as it takes to replace a few pointers.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedRuns {
    committed: Arc<RwLock<Committed>>,
    /// Whether there may be one, open or over.
    any: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Committed {
    workflows: BTreeMap<WorkflowName, Arc<KnownWorkflow>>,
    open: HashMap<RunId, Arc<StoredRun>>,
    /// How many runs of each workflow are in each state. None is 0.
    counts: BTreeMap<WorkflowName, BTreeMap<RunState, usize>>,
}

impl SharedRuns {
    /// What the database held when it was opened; and whether there was any run, open or over.
    pub(super) fn loaded(runs: &Runs, any: bool) -> Self {
        let mut committed = Committed::default();
        for workflow in runs.workflows() {
            committed.workflows.insert(workflow.name().clone(), Arc::clone(workflow));
        }
        for run in runs.open() {
            committed.put(run.id(), Some(Arc::clone(run)));
        }
        Self { committed: Arc::new(RwLock::new(committed)), any: Arc::new(AtomicBool::new(any)) }
    }

    /// Workflows and runs came, changed and went, and that is committed.
    pub(super) fn add(&self, moved: RunsMoved) {
        if moved.workflows.is_empty() && moved.runs.is_empty() {
            return;
        }
        if !moved.runs.is_empty() {
            self.any.store(true, Ordering::Relaxed);
        }
        let mut committed = self.committed.write().unwrap_or_else(PoisonError::into_inner);
        for (name, workflow) in moved.workflows {
            match workflow {
                Some(workflow) => drop(committed.workflows.insert(name, workflow)),
                None => drop(committed.workflows.remove(&name)),
            }
        }
        for (id, run) in moved.runs {
            committed.put(id, run);
        }
    }

    /// Whether there may be one, open or over: otherwise no job belongs to any.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// All workflows, by name.
    pub(super) fn workflows(&self) -> Vec<Arc<KnownWorkflow>> {
        self.read().workflows.values().cloned().collect()
    }

    pub(super) fn workflow(&self, name: &WorkflowName) -> Option<Arc<KnownWorkflow>> {
        self.read().workflows.get(name).cloned()
    }

    pub(super) fn open(&self) -> Vec<Arc<StoredRun>> {
        self.read().open.values().cloned().collect()
    }

    pub(super) fn get(&self, id: RunId) -> Option<Arc<StoredRun>> {
        self.read().open.get(&id).cloned()
    }

    /// How many open runs of a workflow are in each state that any is in.
    pub(super) fn counts(&self, name: &WorkflowName) -> BTreeMap<RunState, usize> {
        self.read().counts.get(name).cloned().unwrap_or_default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Committed> {
        self.committed.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Committed {
    fn put(&mut self, id: RunId, run: Option<Arc<StoredRun>>) {
        if let Some(run) = &run {
            let counts = self.counts.entry(run.info.version.name().clone()).or_default();
            *counts.entry(run.run.state).or_default() += 1;
        }
        let before = match run {
            Some(run) => self.open.insert(id, run),
            None => self.open.remove(&id),
        };
        if let Some(before) = before {
            self.leave(before.info.version.name(), before.run.state);
        }
    }

    fn leave(&mut self, name: &WorkflowName, state: RunState) {
        let Some(counts) = self.counts.get_mut(name) else { return };
        if let Some(count) = counts.get_mut(&state) {
            *count -= 1;
        }
        counts.retain(|_, count| *count > 0);
        if counts.is_empty() {
            self.counts.remove(name);
        }
    }
}
