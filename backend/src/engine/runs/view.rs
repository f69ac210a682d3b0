//! Workflows and runs as people look at them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crewcall_expressions::Json;
use crewcall_proto::{JobId, RunId, Timestamp};

use crate::{
    domain::{
        ConsumerName, Pause, Problem,
        workflow::{
            definition::{Step, StepIndex, Work, Workflow, WorkflowName},
            known::{ItemWork, KnownWorkflow, Role, StoredItem, StoredRun, WorkflowVersion},
            run::{Generation, RunState, StepState, StopCause},
            waits_for::WaitsFor,
        },
    },
    engine::{
        ConsumerView, Engine,
        checked::{Checked, NotChecked},
        ports::{ItemQuery, JournalLine, RunData, RunQuery, StoreError, VersionLine},
        rfc3339::rfc3339,
    },
};

/// A workflow as it is now.
#[derive(Debug, Clone)]
pub struct WorkflowView {
    pub known: Arc<KnownWorkflow>,
    /// The consumer that makes runs of events, if it has such triggers.
    pub triggers: Option<ConsumerView>,
    /// How many of its runs are in each state that is not terminal.
    pub open_runs: BTreeMap<RunState, usize>,
    /// When something happened last in the one of them that has stood still the longest, if any does.
    pub still_since: Option<Timestamp>,
    /// What does not fit any more, because workers announced other schemas since.
    pub problems: Vec<Problem>,
    /// What may not work, such as types that nobody announced.
    pub warnings: Vec<Problem>,
}

/// A run as it is now.
#[derive(Debug, Clone)]
pub struct RunView {
    pub stored: StoredRun,
    pub data: RunData,
    /// In the order of the document.
    pub steps: Vec<StepView>,
    /// What came out, if it completed and its workflow says so; or why that has no value.
    pub outputs: Option<Result<Json, String>>,
    /// Why it is as it is, in a sentence: why it waits, stops or failed.
    pub reason: Option<String>,
}

/// A step of a run as it is now.
#[derive(Debug, Clone)]
pub struct StepView {
    pub name: Arc<str>,
    pub state: StepState,
    pub generation: Generation,
    /// What it does: `job`, `each`, `wait`, `approval` or `workflow`.
    pub kind: &'static str,
    /// The steps that it needs.
    pub needs: Vec<Arc<str>>,
    /// Why it is as it is, in a sentence.
    pub reason: Option<String>,
    /// What it waits for, in a sentence; `None` if it is over.
    pub waiting: Option<String>,
    pub began_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// The run that is its work, if another workflow is.
    pub child: Option<RunId>,
    /// The job that is its work, if it is one.
    pub job: Option<JobId>,
}

/// One item of a step.
pub type ItemView = StoredItem;

impl Engine {
    /// All workflows, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn workflows(&self) -> Result<Vec<WorkflowView>, StoreError> {
        let mut views = Vec::new();
        for known in self.store.workflows() {
            views.push(self.workflow_view(known).await?);
        }
        Ok(views)
    }

    /// One workflow.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn workflow(&self, name: &WorkflowName) -> Result<Option<WorkflowView>, StoreError> {
        match self.store.workflow(name) {
            Some(known) => self.workflow_view(known).await.map(Some),
            None => Ok(None),
        }
    }

    async fn workflow_view(&self, known: Arc<KnownWorkflow>) -> Result<WorkflowView, StoreError> {
        let name = known.name();
        let triggers = self.consumer(&ConsumerName::of_workflow(name)).await?;
        let (open_runs, still_since) = (self.store.open_run_counts(name), self.runs.standstills.oldest(name));
        let document = serde_json::from_str(&known.newest.document).unwrap_or_default();
        let checked = match self.fit(&document).await {
            Ok(checked) => checked,
            Err(NotChecked::Store(error)) => return Err(error),
            // It cannot be said now.
            Err(NotChecked::Busy) => Checked::default(),
        };
        let Checked { problems, warnings } = checked;
        Ok(WorkflowView { known, triggers, open_runs, still_since, problems, warnings })
    }

    /// One version of a workflow, as long as it is kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn workflow_version(
        &self,
        name: &WorkflowName,
        number: u32,
    ) -> Result<Option<Arc<WorkflowVersion>>, StoreError> {
        self.store.workflow_version(name, number).await
    }

    /// The versions of a workflow that are kept, newest first, from the one before `before`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn workflow_versions(
        &self,
        name: &WorkflowName,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<VersionLine>, StoreError> {
        self.store.workflow_versions(name, before, limit).await
    }

    /// One run.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn run_view(&self, id: RunId) -> Result<Option<RunView>, StoreError> {
        let Some((stored, data)) = self.store.run(id).await? else { return Ok(None) };
        let outputs = self.outputs_of(&stored).await?;
        let mut steps = Vec::with_capacity(stored.run.steps.len());
        for index in (0..stored.run.steps.len()).map(StepIndex) {
            steps.extend(self.step_view(&stored, index).await?);
        }
        let reason = self.why(&stored);
        Ok(Some(RunView { stored, data, steps, outputs, reason }))
    }

    async fn step_view(&self, stored: &StoredRun, index: StepIndex) -> Result<Option<StepView>, StoreError> {
        let workflow = stored.info.workflow();
        let (Some(definition), Some(step)) = (workflow.step(index), stored.run.step(index)) else {
            return Ok(None);
        };
        let has_one = match &definition.work {
            Work::Job { each: None, .. } | Work::Child { .. } => step.items.made > 0,
            Work::Job { .. } | Work::Event(_) | Work::Until(_) | Work::Approval(_) => false,
        };
        let (mut job, mut child) = (None, None);
        if has_one {
            let (name, generation, role) = (Arc::clone(&definition.name), step.generation, Role::Work);
            let query = ItemQuery {
                run: stored.id(),
                step: name,
                generation,
                role,
                after: None,
                open: false,
                results: false,
                limit: 1,
            };
            match self.store.items(query).await?.first().map(|item| &item.work) {
                Some(ItemWork::Job { id, .. }) => job = Some(*id),
                Some(ItemWork::Run { id, .. }) => child = Some(*id),
                None => {}
            }
        }
        let waits_for = WaitsFor::of(workflow, &stored.run, index);
        Ok(Some(StepView {
            name: Arc::clone(&definition.name),
            state: step.state,
            generation: step.generation,
            kind: match &definition.work {
                Work::Job { each: None, .. } => "job",
                Work::Job { each: Some(_), .. } => "each",
                Work::Event(_) | Work::Until(_) => "wait",
                Work::Approval(_) => "approval",
                Work::Child { .. } => "workflow",
            },
            needs: definition
                .needs
                .iter()
                .filter_map(|need| Some(Arc::clone(&workflow.step(*need)?.name)))
                .collect(),
            reason: step.reason.as_ref().map(|reason| reason.sentence(workflow)),
            waiting: waits_for.map(|waits_for| sentence(&waits_for, workflow, definition)),
            began_at: step.began_at,
            ended_at: step.ended_at,
            child,
            job,
        }))
    }

    /// Why a run is as it is, in a sentence.
    fn why(&self, stored: &StoredRun) -> Option<String> {
        let (workflow, run, info) = (stored.info.workflow(), &stored.run, &stored.info);
        let name = info.version.name();
        let step_name = |step: StepIndex| workflow.step(step).map_or("?", |step| &step.name).to_owned();
        let failed = |step: StepIndex| {
            let why =
                run.step(step).and_then(|step| step.reason.as_ref()).map(|reason| reason.sentence(workflow));
            format!(
                "step {:?} failed: {}",
                step_name(step),
                why.unwrap_or_else(|| "nobody knows why".to_owned())
            )
        };
        let stop = run.stop.as_ref().map(|stop| match &stop.cause {
            StopCause::StepFailed(step) => failed(*step),
            StopCause::TimedOut => "its time was over".to_owned(),
            StopCause::Cancelled => "somebody cancelled it".to_owned(),
        });
        let paused = || {
            let of_all = self.store.workflow(name).and_then(|known| known.pause.clone());
            let by = |pause: Pause| {
                let why = pause.reason.map_or(String::new(), |reason| format!(": {reason}"));
                format!("{} paused the workflow{why}", pause.by)
            };
            of_all.map(by)
        };
        match run.state {
            RunState::Queued => Some(if run.is_paused {
                "it is paused".to_owned()
            } else {
                paused().unwrap_or_else(|| {
                    "it waits for a place: as many runs of its workflow are under way as may be".to_owned()
                })
            }),
            RunState::Running if run.is_paused => {
                Some("it is paused: what runs goes on, and nothing begins".to_owned())
            }
            RunState::Running | RunState::Completed => None,
            RunState::Stopping => stop.map(|why| format!("it stops, because {why}")),
            RunState::Compensating => stop.map(|why| format!("what completed is undone, because {why}")),
            RunState::Failed | RunState::Cancelled => {
                let why = stop.or_else(|| run.failures(workflow).next().map(failed));
                let left: Vec<String> = run.not_undone(workflow).map(step_name).collect();
                let left = (!left.is_empty()).then(|| format!("not undone: {}", left.join(", ")));
                let parts: Vec<String> = why.into_iter().chain(left).collect();
                (!parts.is_empty()).then(|| parts.join("; "))
            }
        }
    }

    /// One run, as soon as it is over or `wait` is done.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn wait_for_run(&self, id: RunId, wait: Duration) -> Result<Option<RunView>, StoreError> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut watch = self.watch_run(id);
        loop {
            let is_open = self.store.open_run(id).is_some();
            if !is_open || tokio::time::timeout_at(deadline, watch.changed()).await.is_err() {
                return self.run_view(id).await;
            }
        }
    }

    /// Follows one run: wakes when it changes. Register first, then read.
    #[must_use]
    pub fn watch_run(&self, id: RunId) -> RunWatch {
        RunWatch { receiver: self.runs.watch(id) }
    }

    /// Runs, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn runs(&self, query: &RunQuery) -> Result<Vec<StoredRun>, StoreError> {
        self.store.runs(query).await
    }

    /// Items of a step of a run as it is now, by their index, from the one behind `after`; `None` if there is no such run or step.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn run_items(
        &self,
        id: RunId,
        step: &str,
        role: Role,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Option<Vec<ItemView>>, StoreError> {
        let Some((stored, _)) = self.store.run(id).await? else { return Ok(None) };
        let workflow = stored.info.workflow();
        let Some(index) = workflow.find(step) else { return Ok(None) };
        let (Some(definition), Some(state)) = (workflow.step(index), stored.run.step(index)) else {
            return Ok(None);
        };
        let (step, generation) = (Arc::clone(&definition.name), state.generation);
        let query = ItemQuery { run: id, step, generation, role, after, open: false, results: true, limit };
        self.store.items(query).await.map(Some)
    }

    /// Lines of the journal of a run, oldest first, from the one behind `after`, with the version of its workflow, which names the
    /// steps; `None` if there is no such run.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn run_journal(
        &self,
        id: RunId,
        after: u64,
        limit: usize,
    ) -> Result<Option<(Arc<WorkflowVersion>, Vec<JournalLine>)>, StoreError> {
        let Some((stored, _)) = self.store.run(id).await? else { return Ok(None) };
        let lines = self.store.journal(id, after, limit).await?;
        Ok(Some((Arc::clone(&stored.info.version), lines)))
    }
}

/// What a step waits for, in a sentence.
fn sentence(waits_for: &WaitsFor, workflow: &Workflow, step: &Step) -> String {
    let until =
        |until: &Option<Timestamp>| until.map_or(String::new(), |at| format!(", until {}", rfc3339(at)));
    match waits_for {
        WaitsFor::Start => "the start of the run".to_owned(),
        WaitsFor::Needs(needs) => {
            let names = needs.iter().filter_map(|need| workflow.step(*need)).map(|need| need.name.as_ref());
            format!("the end of {}", names.collect::<Vec<_>>().join(", "))
        }
        WaitsFor::Resume => "the end of the pause".to_owned(),
        WaitsFor::Evaluation => "nothing: its expressions are evaluated next".to_owned(),
        WaitsFor::Items { open: 1, to_make: 0 } => "the end of its job".to_owned(),
        WaitsFor::Items { open, to_make: 0 } => format!("the end of {open} jobs"),
        WaitsFor::Items { open: 0, to_make: 1 } => "nothing: its job is made next".to_owned(),
        WaitsFor::Items { open: 0, to_make } => format!("nothing: {to_make} jobs are made next"),
        WaitsFor::Items { open, to_make } => {
            format!("the end of {open} jobs, and {to_make} that are still to be made")
        }
        WaitsFor::Child => "the end of the run that it started".to_owned(),
        WaitsFor::Stop { open } => format!("{open} jobs that were told to stop"),
        WaitsFor::Event { until: limit } => match &step.work {
            Work::Event(wait) => format!("an event {}{}", wait.subject.as_str(), until(limit)),
            _ => format!("an event{}", until(limit)),
        },
        WaitsFor::Moment(at) => rfc3339(*at).to_string(),
        WaitsFor::Decision { until: limit } => format!("somebody who approves or rejects it{}", until(limit)),
        WaitsFor::Compensation { open, to_make } => {
            format!("{open} jobs that undo it, and {to_make} that are still to be made")
        }
    }
}

/// Wakes when a run changes.
#[derive(Debug)]
pub struct RunWatch {
    receiver: tokio::sync::watch::Receiver<u64>,
}

impl RunWatch {
    /// Returns when the run has changed since this was asked last, or since the watch was made.
    pub async fn changed(&mut self) {
        // The sender is kept for as long as there is a watch.
        let _ = self.receiver.changed().await;
    }
}
