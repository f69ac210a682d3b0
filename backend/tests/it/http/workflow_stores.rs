//! Workflows of stores that fail, and of those that fill.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_backend::{
    domain::{
        Sequence,
        workflow::{
            definition::WorkflowName,
            facts::{Happened, Stale},
            known::{KnownWorkflow, StoredItem, StoredRun, WorkflowVersion},
            run::RunState,
        },
    },
    engine::ports::{
        ItemQuery, JournalLine, NewRun, RunData, RunQuery, RunStarted, RunTold, StepDone, StoreError,
        VersionLine, WaitAnswers, WorkflowChange, WorkflowChanged, Workflows, Written,
    },
};
use crewcall_proto::RunId;

use super::{filling_store::FillingStore, stores::FailingStore};

#[async_trait]
impl Workflows for FailingStore {
    fn workflows(&self) -> Vec<Arc<KnownWorkflow>> {
        Vec::new()
    }

    fn workflow(&self, _: &WorkflowName) -> Option<Arc<KnownWorkflow>> {
        None
    }

    async fn workflow_version(
        &self,
        _: &WorkflowName,
        _: u32,
    ) -> Result<Option<Arc<WorkflowVersion>>, StoreError> {
        Err((self.0)())
    }

    async fn workflow_versions(
        &self,
        _: &WorkflowName,
        _: Option<u32>,
        _: usize,
    ) -> Result<Vec<VersionLine>, StoreError> {
        Err((self.0)())
    }

    async fn change_workflow(
        &self,
        _: &WorkflowName,
        _: WorkflowChange,
    ) -> Result<Written<WorkflowChanged>, StoreError> {
        Err((self.0)())
    }

    fn open_runs(&self) -> Vec<Arc<StoredRun>> {
        Vec::new()
    }

    fn open_run(&self, _: RunId) -> Option<Arc<StoredRun>> {
        None
    }

    fn open_run_counts(&self, _: &WorkflowName) -> BTreeMap<RunState, usize> {
        BTreeMap::new()
    }

    async fn start_run(&self, _: NewRun) -> Result<Written<RunStarted>, StoreError> {
        Err((self.0)())
    }

    async fn step_run(
        &self,
        _: RunId,
        _: Vec<StepDone>,
    ) -> Result<Written<Vec<Result<(), Stale>>>, StoreError> {
        Err((self.0)())
    }

    async fn tell_run(&self, _: RunId, _: Happened) -> Result<Written<RunTold>, StoreError> {
        Err((self.0)())
    }

    async fn answer_waits(&self, _: WaitAnswers) -> Result<Written<()>, StoreError> {
        Err((self.0)())
    }

    async fn waits_looked_to(&self) -> Result<Sequence, StoreError> {
        Ok(Sequence(0))
    }

    async fn run(&self, _: RunId) -> Result<Option<(StoredRun, RunData)>, StoreError> {
        Err((self.0)())
    }

    async fn runs(&self, _: &RunQuery) -> Result<Vec<StoredRun>, StoreError> {
        Err((self.0)())
    }

    async fn items(&self, _: ItemQuery) -> Result<Vec<StoredItem>, StoreError> {
        Err((self.0)())
    }

    async fn journal(&self, _: RunId, _: u64, _: usize) -> Result<Vec<JournalLine>, StoreError> {
        Err((self.0)())
    }

    async fn delete_finished_runs(&self, _: Duration, _: usize) -> Result<Written<usize>, StoreError> {
        Err((self.0)())
    }
}

#[async_trait]
impl Workflows for FillingStore {
    fn workflows(&self) -> Vec<Arc<KnownWorkflow>> {
        self.store.workflows()
    }

    fn workflow(&self, name: &WorkflowName) -> Option<Arc<KnownWorkflow>> {
        self.store.workflow(name)
    }

    async fn workflow_version(
        &self,
        name: &WorkflowName,
        number: u32,
    ) -> Result<Option<Arc<WorkflowVersion>>, StoreError> {
        self.store.workflow_version(name, number).await
    }

    async fn workflow_versions(
        &self,
        name: &WorkflowName,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<VersionLine>, StoreError> {
        self.store.workflow_versions(name, before, limit).await
    }

    async fn change_workflow(
        &self,
        name: &WorkflowName,
        change: WorkflowChange,
    ) -> Result<Written<WorkflowChanged>, StoreError> {
        self.store.change_workflow(name, change).await
    }

    fn open_runs(&self) -> Vec<Arc<StoredRun>> {
        self.store.open_runs()
    }

    fn open_run(&self, id: RunId) -> Option<Arc<StoredRun>> {
        self.store.open_run(id)
    }

    fn open_run_counts(&self, name: &WorkflowName) -> BTreeMap<RunState, usize> {
        self.store.open_run_counts(name)
    }

    async fn start_run(&self, new: NewRun) -> Result<Written<RunStarted>, StoreError> {
        self.store.start_run(new).await
    }

    async fn step_run(
        &self,
        id: RunId,
        done: Vec<StepDone>,
    ) -> Result<Written<Vec<Result<(), Stale>>>, StoreError> {
        self.store.step_run(id, done).await
    }

    async fn tell_run(&self, id: RunId, happened: Happened) -> Result<Written<RunTold>, StoreError> {
        self.store.tell_run(id, happened).await
    }

    async fn answer_waits(&self, answers: WaitAnswers) -> Result<Written<()>, StoreError> {
        self.store.answer_waits(answers).await
    }

    async fn waits_looked_to(&self) -> Result<Sequence, StoreError> {
        self.store.waits_looked_to().await
    }

    async fn run(&self, id: RunId) -> Result<Option<(StoredRun, RunData)>, StoreError> {
        self.store.run(id).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<StoredRun>, StoreError> {
        self.store.runs(query).await
    }

    async fn items(&self, query: ItemQuery) -> Result<Vec<StoredItem>, StoreError> {
        self.store.items(query).await
    }

    async fn journal(&self, id: RunId, after: u64, limit: usize) -> Result<Vec<JournalLine>, StoreError> {
        self.store.journal(id, after, limit).await
    }

    async fn delete_finished_runs(
        &self,
        kept_for: Duration,
        limit: usize,
    ) -> Result<Written<usize>, StoreError> {
        self.store.delete_finished_runs(kept_for, limit).await
    }
}
