//! Workflows and their runs, in the database.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_proto::RunId;

use super::{
    SqliteStore,
    counters::{self, WAITS_LOOKED_TO},
    run_list,
    runs::{self, RunReader},
    versions,
};
use crate::{
    domain::{
        Sequence,
        workflow::{
            definition::WorkflowName,
            facts::{Happened, Stale},
            known::{KnownWorkflow, StoredItem, StoredRun, WorkflowVersion},
            run::RunState,
        },
    },
    engine::{
        ports::{
            ItemQuery, JournalLine, NewRun, RunData, RunQuery, RunStarted, RunTold, StepDone, StoreError,
            VersionLine, WaitAnswers, WorkflowChange, WorkflowChanged, Workflows, Written,
        },
        rules::{AnswerWaits, ChangeWorkflow, DeleteFinishedRuns, StartRun, StepRun, TellRun},
    },
};

#[async_trait]
impl Workflows for SqliteStore {
    fn workflows(&self) -> Vec<Arc<KnownWorkflow>> {
        self.known.runs.workflows()
    }

    fn workflow(&self, name: &WorkflowName) -> Option<Arc<KnownWorkflow>> {
        self.known.runs.workflow(name)
    }

    async fn workflow_version(
        &self,
        name: &WorkflowName,
        number: u32,
    ) -> Result<Option<Arc<WorkflowVersion>>, StoreError> {
        let (name, versions) = (name.clone(), self.versions.clone());
        self.readers.read(move |connection| versions.get(connection, &name, number)).await
    }

    async fn workflow_versions(
        &self,
        name: &WorkflowName,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<VersionLine>, StoreError> {
        let name = name.clone();
        self.readers.read(move |connection| versions::lines(connection, &name, before, limit)).await
    }

    async fn change_workflow(
        &self,
        name: &WorkflowName,
        change: WorkflowChange,
    ) -> Result<Written<WorkflowChanged>, StoreError> {
        self.run(1, ChangeWorkflow { name: name.clone(), change }).await
    }

    fn open_runs(&self) -> Vec<Arc<StoredRun>> {
        self.known.runs.open()
    }

    fn open_run(&self, id: RunId) -> Option<Arc<StoredRun>> {
        self.known.runs.get(id)
    }

    fn open_run_counts(&self, name: &WorkflowName) -> BTreeMap<RunState, usize> {
        self.known.runs.counts(name)
    }

    async fn start_run(&self, new: NewRun) -> Result<Written<RunStarted>, StoreError> {
        self.run(1, StartRun(new)).await
    }

    async fn step_run(
        &self,
        id: RunId,
        done: Vec<StepDone>,
    ) -> Result<Written<Vec<Result<(), Stale>>>, StoreError> {
        // Encoded here, on the caller's thread, as those that are submitted.
        let step =
            StepRun::new(id, done).map_err(|error| StoreError::Broken { reason: error.to_string() })?;
        self.run(step.rows(), step).await
    }

    async fn tell_run(&self, id: RunId, happened: Happened) -> Result<Written<RunTold>, StoreError> {
        self.run(1, TellRun { id, happened }).await
    }

    async fn answer_waits(&self, answers: WaitAnswers) -> Result<Written<()>, StoreError> {
        let rows = 1 + answers.caught_up.len() + answers.answers.len();
        self.run(rows, AnswerWaits(answers)).await
    }

    async fn waits_looked_to(&self) -> Result<Sequence, StoreError> {
        self.readers.read(|connection| counters::read(connection, WAITS_LOOKED_TO).map(Sequence)).await
    }

    async fn run(&self, id: RunId) -> Result<Option<(StoredRun, RunData)>, StoreError> {
        let versions = self.versions.clone();
        let read = move |connection: &_| {
            let Some((seq, run)) = RunReader::new(connection, &versions).get(id)? else { return Ok(None) };
            Ok(Some((run, runs::data(connection, seq)?)))
        };
        self.readers.read(read).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<StoredRun>, StoreError> {
        let (query, versions) = (query.clone(), self.versions.clone());
        self.readers.list(move |connection| run_list::runs(connection, &versions, &query)).await
    }

    async fn items(&self, query: ItemQuery) -> Result<Vec<StoredItem>, StoreError> {
        let versions = self.versions.clone();
        self.readers.read(move |connection| RunReader::new(connection, &versions).items(&query)).await
    }

    async fn journal(&self, id: RunId, after: u64, limit: usize) -> Result<Vec<JournalLine>, StoreError> {
        self.readers.read(move |connection| runs::journal(connection, id, after, limit)).await
    }

    async fn delete_finished_runs(
        &self,
        kept_for: Duration,
        limit: usize,
    ) -> Result<Written<usize>, StoreError> {
        self.run(limit, DeleteFinishedRuns { kept_for, limit }).await
    }
}
