//! The workflows there are and their runs that are not over, kept in memory by whoever writes: whether anything follows from the
//! end of a job is known without a query.
//!
//! It moves with the transaction: each step can be taken back until the transaction is committed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crewcall_proto::RunId;

use crate::domain::{
    Sequence, Subject, SubjectPattern,
    workflow::{
        definition::{Work, WorkflowName},
        known::{KnownWorkflow, StoredRun},
        run::RunState,
    },
};

/// Something that the open transaction did, with what takes it back.
#[derive(Debug)]
enum Step {
    Workflow { name: WorkflowName, before: Option<Arc<KnownWorkflow>> },
    Run { id: RunId, before: Option<Arc<StoredRun>> },
}

/// What the table can be rolled back to.
#[derive(Debug, Clone, Copy)]
pub struct RunsSavepoint {
    steps: usize,
}

/// What came, changed and went, and is committed.
#[derive(Debug, Default)]
pub struct RunsMoved {
    pub workflows: Vec<(WorkflowName, Option<Arc<KnownWorkflow>>)>,
    /// `None` for a run that is over.
    pub runs: Vec<(RunId, Option<Arc<StoredRun>>)>,
}

/// The runs that are counted together: those of one workflow and, if it says so, one key.
type Place = (WorkflowName, Option<String>);

/// The open runs of one place.
#[derive(Debug, Default)]
pub struct Crowd {
    /// Oldest first.
    pub under_way: BTreeSet<RunId>,
    /// Oldest first.
    pub queued: BTreeSet<RunId>,
}

/// Workflows and open runs, with what the open transaction changed.
#[derive(Debug, Default)]
pub struct Runs {
    workflows: BTreeMap<WorkflowName, Arc<KnownWorkflow>>,
    open: HashMap<RunId, Arc<StoredRun>>,
    crowds: BTreeMap<Place, Crowd>,
    /// Which of our own events steps wait for, or will, and how many of them.
    hearing: BTreeMap<SubjectPattern, usize>,
    /// From where on runs want the log, and how many of them.
    needs: BTreeMap<Sequence, usize>,
    /// What the open transaction did, in order.
    steps: Vec<Step>,
}

impl Runs {
    /// What the store held when it was opened.
    pub fn new(
        workflows: impl IntoIterator<Item = KnownWorkflow>,
        open: impl IntoIterator<Item = StoredRun>,
    ) -> Self {
        let mut runs = Self::default();
        for workflow in workflows {
            runs.workflows.insert(workflow.name().clone(), Arc::new(workflow));
        }
        for run in open {
            runs.put_run(run.id(), Some(Arc::new(run)));
        }
        runs
    }

    /// All workflows, by name.
    pub fn workflows(&self) -> impl Iterator<Item = &Arc<KnownWorkflow>> {
        self.workflows.values()
    }

    pub fn workflow(&self, name: &WorkflowName) -> Option<&Arc<KnownWorkflow>> {
        self.workflows.get(name)
    }

    /// Keeps a workflow as it is from now on; `None` removes it.
    pub fn set_workflow(&mut self, name: &WorkflowName, workflow: Option<Arc<KnownWorkflow>>) {
        let before = match workflow {
            Some(workflow) => self.workflows.insert(name.clone(), workflow),
            None => self.workflows.remove(name),
        };
        self.steps.push(Step::Workflow { name: name.clone(), before });
    }

    /// How many workflows there are.
    pub fn workflow_count(&self) -> usize {
        self.workflows.len()
    }

    /// The runs that are not over.
    pub fn open(&self) -> impl Iterator<Item = &Arc<StoredRun>> {
        self.open.values()
    }

    pub fn get(&self, id: RunId) -> Option<&Arc<StoredRun>> {
        self.open.get(&id)
    }

    /// How many runs are open.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// The open runs of one workflow and key.
    pub fn crowd(&self, workflow: &WorkflowName, key: Option<&str>) -> Option<&Crowd> {
        self.crowds.get(&(workflow.clone(), key.map(str::to_owned)))
    }

    /// The open runs of a workflow, by key.
    pub fn crowds(&self, workflow: &WorkflowName) -> impl Iterator<Item = (Option<&str>, &Crowd)> {
        let from = (workflow.clone(), None);
        let of_it = self.crowds.range(from..).take_while(move |((name, _), _)| name == workflow);
        of_it.map(|((_, key), crowd)| (key.as_deref(), crowd))
    }

    /// Keeps a run as it is from now on. One that is over is forgotten.
    pub fn set_run(&mut self, run: &Arc<StoredRun>) {
        let now = (!run.run.state.is_terminal()).then(|| Arc::clone(run));
        let before = self.put_run(run.id(), now);
        self.steps.push(Step::Run { id: run.id(), before });
    }

    /// Whether a step waits for this event of ours, or will.
    pub fn hears(&self, subject: &Subject) -> bool {
        self.hearing.keys().any(|pattern| pattern.selects(subject))
    }

    /// Whether any step waits for events of ours, or will.
    pub fn listens(&self) -> bool {
        !self.hearing.is_empty()
    }

    /// What has to be kept of the log for waits: everything after this place; `None` when nobody waits, or will.
    pub fn need_after(&self) -> Option<Sequence> {
        self.needs.keys().next().copied()
    }

    pub const fn savepoint(&self) -> RunsSavepoint {
        RunsSavepoint { steps: self.steps.len() }
    }

    /// Takes back every step since `savepoint`.
    pub fn roll_back_to(&mut self, savepoint: RunsSavepoint) {
        while self.steps.len() > savepoint.steps
            && let Some(step) = self.steps.pop()
        {
            match step {
                Step::Workflow { name, before: Some(before) } => drop(self.workflows.insert(name, before)),
                Step::Workflow { name, before: None } => drop(self.workflows.remove(&name)),
                Step::Run { id, before } => drop(self.put_run(id, before)),
            }
        }
    }

    /// The transaction was committed: its steps are final. Returns what came, changed and went.
    pub fn commit(&mut self) -> RunsMoved {
        if self.steps.is_empty() {
            return RunsMoved::default();
        }
        let (mut workflows, mut runs) = (BTreeSet::new(), BTreeSet::new());
        for step in self.steps.drain(..) {
            match step {
                Step::Workflow { name, .. } => drop(workflows.insert(name)),
                Step::Run { id, .. } => drop(runs.insert(id)),
            }
        }
        let workflows = workflows.into_iter().map(|name| (name.clone(), self.workflows.get(&name).cloned()));
        let runs = runs.into_iter().map(|id| (id, self.open.get(&id).cloned()));
        RunsMoved { workflows: workflows.collect(), runs: runs.collect() }
    }

    fn put_run(&mut self, id: RunId, run: Option<Arc<StoredRun>>) -> Option<Arc<StoredRun>> {
        if let Some(run) = &run {
            self.index(run, true);
        }
        let before = match run {
            Some(run) => self.open.insert(id, run),
            None => self.open.remove(&id),
        };
        if let Some(before) = &before {
            // What it has in common with what came counts twice meanwhile.
            let now = self.open.get(&id).cloned();
            self.index(before, false);
            if let Some(now) = now {
                self.join(&now);
            }
        }
        before
    }

    /// Counts a run, or does not any more.
    fn index(&mut self, run: &StoredRun, comes: bool) {
        if comes {
            self.join(run);
        } else {
            self.leave(run);
        }
        if let Some(after) = run.needs_after() {
            count(&mut self.needs, after, comes);
        }
        for pattern in awaited(run) {
            count(&mut self.hearing, pattern.clone(), comes);
        }
    }

    fn join(&mut self, run: &StoredRun) {
        let crowd = self.crowds.entry(place(run)).or_default();
        let of_its_state =
            if run.run.state == RunState::Queued { &mut crowd.queued } else { &mut crowd.under_way };
        of_its_state.insert(run.id());
    }

    fn leave(&mut self, run: &StoredRun) {
        let place = place(run);
        let Some(crowd) = self.crowds.get_mut(&place) else { return };
        let of_its_state =
            if run.run.state == RunState::Queued { &mut crowd.queued } else { &mut crowd.under_way };
        of_its_state.remove(&run.id());
        if crowd.queued.is_empty() && crowd.under_way.is_empty() {
            self.crowds.remove(&place);
        }
    }
}

fn place(run: &StoredRun) -> Place {
    (run.info.version.name().clone(), run.info.key.clone())
}

/// The events of ours that steps of a run wait for, or will.
fn awaited(run: &StoredRun) -> impl Iterator<Item = &SubjectPattern> {
    let steps = run.run.steps.iter().zip(&run.info.workflow().steps);
    steps.filter_map(|(step, definition)| match &definition.work {
        Work::Event(wait) if !step.state.is_terminal() && wait.subject.may_select_ours() => {
            Some(&wait.subject)
        }
        _ => None,
    })
}

fn count<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K, comes: bool) {
    if comes {
        *counts.entry(key).or_default() += 1;
        return;
    }
    let is_last = counts.get_mut(&key).is_some_and(|count| {
        *count -= 1;
        *count == 0
    });
    if is_last {
        counts.remove(&key);
    }
}
