//! What people do to runs.

use std::sync::Arc;

use crewcall_proto::RunId;

use crate::{
    domain::workflow::{
        definition::StepIndex,
        facts::{Happened, Stale},
        known::StoredRun,
        run::RunState,
    },
    engine::{
        Caller, Engine,
        ports::{RUNS_OPEN_MAX, RunQuery, RunTold, StoreError},
        runs::RunView,
    },
};

/// Why something was not done to a run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("there is no such run")]
    Unknown,
    /// It has no such step, or one of another kind.
    #[error("the run has no such step")]
    NoStep { names: Vec<String> },
    /// The run is in no state in which that can be done: why, and the run as it is.
    #[error("that cannot be done to the run as it is")]
    Refused { stale: Stale, run: Box<RunView> },
    #[error("{RUNS_OPEN_MAX} runs are open already")]
    TooManyRuns,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Cancels a run: steps that clean up still run, but for `force`.
    ///
    /// # Errors
    ///
    /// [`RunError`] when nothing changes.
    pub async fn cancel_run(
        self: &Arc<Self>,
        caller: &Caller,
        id: RunId,
        force: bool,
        reason: Option<String>,
    ) -> Result<(), RunError> {
        tracing::info!(run.id = %id, by = caller.by(), force, reason, "Somebody cancels a run.");
        self.tell(id, Happened::CancelRequested { by: caller.by().to_owned(), force }).await
    }

    /// Cancels the next of the runs that a query selects and that are not over, at most `limit` of them. Returns how many it did, and
    /// where to go on; `None` when there are no more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when not all could be told; those before are.
    pub async fn cancel_runs(
        self: &Arc<Self>,
        caller: &Caller,
        query: RunQuery,
        force: bool,
        dry_run: bool,
        reason: Option<String>,
    ) -> Result<(usize, Option<RunId>), StoreError> {
        tracing::info!(by = caller.by(), force, dry_run, reason, ?query, "Somebody cancels many runs.");
        let states: Vec<RunState> = RunState::ALL.into_iter().filter(|state| !state.is_terminal()).collect();
        let is_open = |state: &RunState| !state.is_terminal();
        let asked: Vec<RunState> = query.states.iter().copied().filter(is_open).collect();
        if asked.is_empty() && !query.states.is_empty() {
            return Ok((0, None));
        }
        let query = RunQuery { states: if asked.is_empty() { states } else { asked }, ..query };
        let runs = self.store.runs(&query).await?;
        let next = runs.last().filter(|_| runs.len() == query.limit).map(StoredRun::id);
        if dry_run {
            return Ok((runs.len(), next));
        }
        let mut cancelled = 0;
        for run in &runs {
            let happened = Happened::CancelRequested { by: caller.by().to_owned(), force };
            let told = self.changes.tell_run(run.id(), happened).await?;
            cancelled += usize::from(matches!(told, RunTold::Changed(_)));
        }
        Ok((cancelled, next))
    }

    /// Tries a run again that is over: what failed or was cancelled, or everything from this step on.
    ///
    /// # Errors
    ///
    /// [`RunError`] when nothing changes.
    pub async fn retry_run(
        self: &Arc<Self>,
        caller: &Caller,
        id: RunId,
        from: Option<&str>,
        reason: Option<String>,
    ) -> Result<(), RunError> {
        tracing::info!(run.id = %id, by = caller.by(), from, reason, "Somebody tries a run again.");
        let from = match from {
            Some(name) => Some(self.step_of(id, name).await?),
            None => None,
        };
        self.tell(id, Happened::RetryRequested { by: caller.by().to_owned(), from }).await
    }

    /// Approves or rejects a step that waits for it. The first decision stands.
    ///
    /// # Errors
    ///
    /// [`RunError`] when nothing changes.
    pub async fn decide_step(
        self: &Arc<Self>,
        caller: &Caller,
        id: RunId,
        step: &str,
        approved: bool,
        comment: Option<String>,
    ) -> Result<(), RunError> {
        let by = caller.by().to_owned();
        tracing::info!(run.id = %id, step, by, approved, "Somebody decides about a step.");
        let step = self.step_of(id, step).await?;
        self.tell(id, Happened::Decided { step, approved, by, comment }).await
    }

    async fn step_of(&self, id: RunId, name: &str) -> Result<StepIndex, RunError> {
        let (stored, _) = self.store.run(id).await?.ok_or(RunError::Unknown)?;
        let workflow = stored.info.workflow();
        workflow.find(name).ok_or_else(|| {
            let names = workflow.steps.iter().map(|step| step.name.to_string()).collect();
            RunError::NoStep { names }
        })
    }

    async fn tell(self: &Arc<Self>, id: RunId, happened: Happened) -> Result<(), RunError> {
        let engine = Arc::clone(self);
        let told = self.to_its_end(async move { engine.changes.tell_run(id, happened).await }).await?;
        match told {
            RunTold::Changed(_) => Ok(()),
            RunTold::Unknown => Err(RunError::Unknown),
            RunTold::TooMany => Err(RunError::TooManyRuns),
            RunTold::Stale(stale, _) => {
                let run = self.run_view(id).await?.ok_or(RunError::Unknown)?;
                Err(RunError::Refused { stale, run: Box::new(run) })
            }
        }
    }
}
