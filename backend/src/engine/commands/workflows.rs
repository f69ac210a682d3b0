//! What people do to workflows.

use std::{collections::BTreeMap, sync::Arc};

use crewcall_expressions::Json;
use crewcall_proto::RunId;

use crate::{
    domain::{
        ConsumerName, Pause, Problem, Root,
        workflow::{
            definition::WorkflowName,
            facts::Happened,
            known::{KnownWorkflow, StartedBy, StoredRun},
        },
    },
    engine::{
        Caller, Engine, Moved, Put,
        checked::{Checked, NotChecked},
        ports::{
            IdempotencyKey, NewRun, RUNS_OPEN_MAX, RunData, RunStarted, StoreError, WORKFLOWS_MAX,
            WorkflowChange, WorkflowChanged,
        },
        runs::text_of,
    },
};

/// Why something was not done to a workflow.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    /// The document is not valid.
    #[error("the workflow has {} problems", .0.len())]
    Invalid(Vec<Problem>),
    #[error("there is no such workflow")]
    Unknown,
    #[error("there are {WORKFLOWS_MAX} workflows already")]
    TooMany,
    /// It has another version than was expected; `None`, if there is none.
    #[error("the workflow has another version than was expected")]
    OtherVersion(Option<u32>),
    /// It cannot be deleted: so many of its runs are not over, of which this is one.
    #[error("{count} runs of the workflow are not over, such as {one}")]
    HasOpenRuns { count: usize, one: RunId },
    /// It starts no run.
    #[error("the workflow is paused")]
    Paused(Pause),
    /// There is no room for another run, and the workflow says that none is made then.
    #[error("as many runs of the workflow are under way as may be")]
    NoPlace,
    /// The data does not fit the workflow's parameters, or is too large.
    #[error("the data has {} problems", .0.len())]
    InvalidData(Vec<Problem>),
    /// Too many others are being checked.
    #[error("too many documents or parameters are being checked")]
    CheckBusy,
    #[error("{RUNS_OPEN_MAX} runs are open already")]
    TooManyRuns,
    /// The key belongs to another request.
    #[error("the idempotency key was used for another body")]
    KeyReused,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NotChecked> for WorkflowError {
    fn from(error: NotChecked) -> Self {
        match error {
            NotChecked::Busy => Self::CheckBusy,
            NotChecked::Store(error) => Self::Store(error),
        }
    }
}

/// What somebody starts a run with.
#[derive(Debug, Clone)]
pub struct TriggerRequest {
    /// What `trigger.data` is; an empty object unless said otherwise.
    pub data: Json,
    /// Words to find the run by.
    pub labels: BTreeMap<String, String>,
    /// Under which name it may be asked for again.
    pub idempotency: Option<IdempotencyKey>,
}

/// A run that somebody started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Triggered {
    pub run: RunId,
    /// It was started before, under the same key.
    pub replayed: bool,
}

impl Engine {
    /// What is wrong with a document, and what may be. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`WorkflowError::CheckBusy`], and when the store cannot be read.
    pub async fn check_workflow(&self, document: Json) -> Result<Checked, WorkflowError> {
        let (read, document) = self.read_workflow(None, document).await?;
        let mut checked = self.fit(&document).await?;
        if let Err(problems) = read {
            checked.problems = problems;
        }
        Ok(checked)
    }

    /// Makes a workflow, or another version of it. `expected` is the version that it has to have; 0, if there must be none.
    ///
    /// # Errors
    ///
    /// [`WorkflowError`] when nothing changes.
    pub async fn put_workflow(
        self: &Arc<Self>,
        caller: &Caller,
        name: &WorkflowName,
        document: Json,
        expected: Option<u32>,
    ) -> Result<(Put, Arc<KnownWorkflow>), WorkflowError> {
        let (read, document) = self.read_workflow(Some(name), document).await?;
        let workflow = Box::new(read.map_err(WorkflowError::Invalid)?);
        let Checked { problems, .. } = self.fit(&document).await?;
        if !problems.is_empty() {
            return Err(WorkflowError::Invalid(problems));
        }
        self.keep_trigger_place(name).await?;
        tracing::info!(workflow = %name, by = caller.by(), "A workflow is set.");
        let (document, by) = (text_of(&document), caller.by().to_owned());
        let change = WorkflowChange::Put { workflow, document, by, expected };
        match self.change_workflow(name, change).await? {
            WorkflowChanged::Created(known) => Ok((Put::Created, known)),
            WorkflowChanged::Changed(known) => Ok((Put::Changed, known)),
            WorkflowChanged::Unchanged(known) => Ok((Put::Unchanged, known)),
            _ => Err(broken("it answered a document with something else").into()),
        }
    }

    /// Pauses a workflow: no event starts a run, and none that waits begins. With `runs`, its open runs are paused as well.
    ///
    /// # Errors
    ///
    /// [`WorkflowError`] when nothing changes.
    pub async fn pause_workflow(
        self: &Arc<Self>,
        caller: &Caller,
        name: &WorkflowName,
        reason: Option<String>,
        runs: bool,
    ) -> Result<(), WorkflowError> {
        let by = caller.by().to_owned();
        tracing::info!(workflow = %name, by, reason, runs, "A workflow is paused.");
        let pause = Pause { by: by.clone(), reason, at: self.clock.now() };
        self.change_workflow(name, WorkflowChange::Pause(pause)).await?;
        if runs {
            self.tell_all(name, &Happened::Paused { by }, |run| !run.run.is_paused).await?;
        }
        Ok(())
    }

    /// Ends the pause of a workflow, and of all its runs. Its triggers go on where they stood, or pass over what came meanwhile.
    /// Returns how they moved; `None` if it has none for events.
    ///
    /// # Errors
    ///
    /// [`WorkflowError`] when nothing changes.
    pub async fn resume_workflow(
        self: &Arc<Self>,
        caller: &Caller,
        name: &WorkflowName,
        from_now: bool,
        reason: Option<String>,
    ) -> Result<Option<Moved>, WorkflowError> {
        let by = caller.by().to_owned();
        tracing::info!(workflow = %name, by, from_now, reason, "A workflow is resumed.");
        self.keep_trigger_place(name).await?;
        let place = || {
            let consumer = self.store.consumer(&ConsumerName::of_workflow(name))?;
            Some(self.consumption.place_of(&consumer))
        };
        let from = place();
        self.change_workflow(name, WorkflowChange::Resume { from_now }).await?;
        self.tell_all(name, &Happened::Resumed { by }, |run| run.run.is_paused).await?;
        Ok(from.zip(place()).map(|(from, to)| Moved { from, to }))
    }

    /// Deletes a workflow. Its runs that are over stay for as long as others.
    ///
    /// # Errors
    ///
    /// [`WorkflowError`] when nothing changes.
    pub async fn delete_workflow(
        self: &Arc<Self>,
        caller: &Caller,
        name: &WorkflowName,
    ) -> Result<(), WorkflowError> {
        tracing::info!(workflow = %name, by = caller.by(), "A workflow is deleted.");
        self.change_workflow(name, WorkflowChange::Delete).await?;
        self.consumption.forget(&ConsumerName::of_workflow(name));
        Ok(())
    }

    /// Starts a run.
    ///
    /// # Errors
    ///
    /// [`WorkflowError`] when none is started.
    pub async fn trigger_workflow(
        self: &Arc<Self>,
        caller: &Caller,
        name: &WorkflowName,
        request: TriggerRequest,
    ) -> Result<Triggered, WorkflowError> {
        let TriggerRequest { data, labels, idempotency } = request;
        loop {
            let known = self.store.workflow(name).ok_or(WorkflowError::Unknown)?;
            self.check_data(&known, &data).await?;
            let run_data = RunData { data: data.to_string(), event: None, schedule: None };
            let (id, started_by) = (RunId::generate(), StartedBy::Person(caller.by().to_owned()));
            let new = self.new_run(name, run_data, started_by, (Root::Run(id), 0)).await?;
            let invalid = |message| WorkflowError::InvalidData(vec![Problem::new("/data", message)]);
            let new = NewRun {
                id,
                labels: labels.clone(),
                idempotency: idempotency.clone(),
                ..*new.map_err(invalid)?
            };
            let engine = Arc::clone(self);
            let started = self.to_its_end(async move { engine.changes.start_run(new).await }).await?;
            return match started {
                RunStarted::Started(run) => {
                    tracing::info!(workflow = %name, run.id = %run.id(), by = caller.by(), "A run is started.");
                    Ok(Triggered { run: run.id(), replayed: false })
                }
                RunStarted::Replayed(run) => Ok(Triggered { run, replayed: true }),
                RunStarted::KeyReused => Err(WorkflowError::KeyReused),
                RunStarted::Skipped => Err(WorkflowError::NoPlace),
                RunStarted::Paused(pause) => Err(WorkflowError::Paused(pause)),
                RunStarted::Unknown => Err(WorkflowError::Unknown),
                RunStarted::TooMany => Err(WorkflowError::TooManyRuns),
                // Somebody set another meanwhile.
                RunStarted::OtherVersion => continue,
            };
        }
    }

    async fn check_data(&self, known: &KnownWorkflow, data: &Json) -> Result<(), WorkflowError> {
        match self.data_problems(known, data).await? {
            problems if problems.is_empty() => Ok(()),
            problems => Err(WorkflowError::InvalidData(problems)),
        }
    }

    /// What the triggers looked at under the document before is not looked at again under this one, whatever dies when.
    async fn keep_trigger_place(&self, name: &WorkflowName) -> Result<(), StoreError> {
        match self.store.consumer(&ConsumerName::of_workflow(name)) {
            Some(consumer) => self.keep_places(std::slice::from_ref(&consumer)).await,
            None => Ok(()),
        }
    }

    /// Tells the open runs of a workflow, those that it means something to.
    async fn tell_all(
        &self,
        name: &WorkflowName,
        happened: &Happened,
        means: impl Fn(&StoredRun) -> bool,
    ) -> Result<(), StoreError> {
        let runs = self.store.open_runs();
        for run in runs.iter().filter(|run| run.info.version.name() == name && means(run)) {
            self.changes.tell_run(run.id(), happened.clone()).await?;
        }
        Ok(())
    }

    async fn change_workflow(
        self: &Arc<Self>,
        name: &WorkflowName,
        change: WorkflowChange,
    ) -> Result<WorkflowChanged, WorkflowError> {
        let (engine, of) = (Arc::clone(self), name.clone());
        let changed = self.to_its_end(async move {
            let changed = engine.changes.change_workflow(&of, change).await?;
            engine.consumption.wake();
            Ok::<_, StoreError>(changed)
        });
        match changed.await? {
            WorkflowChanged::Unknown => Err(WorkflowError::Unknown),
            WorkflowChanged::TooMany => Err(WorkflowError::TooMany),
            WorkflowChanged::OtherVersion(is) => Err(WorkflowError::OtherVersion(is)),
            WorkflowChanged::HasOpenRuns { count, one } => Err(WorkflowError::HasOpenRuns { count, one }),
            changed => Ok(changed),
        }
    }
}

fn broken(reason: &str) -> StoreError {
    StoreError::Broken { reason: reason.to_owned() }
}
