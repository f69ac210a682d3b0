//! Workflows and their runs, in memory.

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
    engine::{
        ports::{
            ItemQuery, JournalLine, NewRun, RunData, RunQuery, RunStarted, RunTold, StepDone, StoreError,
            VersionLine, WaitAnswers, WorkflowChange, WorkflowChanged, Workflows, Written,
        },
        rules::{AnswerWaits, ChangeWorkflow, DeleteFinishedRuns, StartRun, StepRun, TellRun},
    },
};
use crewcall_proto::RunId;

use super::MemoryStore;

#[async_trait]
impl Workflows for MemoryStore {
    fn workflows(&self) -> Vec<Arc<KnownWorkflow>> {
        self.read(|_, rules| rules.runs.workflows().cloned().collect()).unwrap_or_default()
    }

    fn workflow(&self, name: &WorkflowName) -> Option<Arc<KnownWorkflow>> {
        self.read(|_, rules| rules.runs.workflow(name).cloned()).ok().flatten()
    }

    async fn workflow_version(
        &self,
        name: &WorkflowName,
        number: u32,
    ) -> Result<Option<Arc<WorkflowVersion>>, StoreError> {
        self.read(|disk, _| disk.shelf.versions.get(&(name.clone(), number)).cloned())
    }

    async fn workflow_versions(
        &self,
        name: &WorkflowName,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<VersionLine>, StoreError> {
        self.read(|disk, _| {
            let kept = disk.shelf.versions.values().rev().filter(|version| version.name() == name);
            let meant = kept.filter(|version| before.is_none_or(|before| version.number < before));
            let line = |version: &Arc<WorkflowVersion>| VersionLine {
                number: version.number,
                made_at: version.made_at,
                made_by: version.made_by.clone(),
            };
            meant.take(limit).map(line).collect()
        })
    }

    async fn change_workflow(
        &self,
        name: &WorkflowName,
        change: WorkflowChange,
    ) -> Result<Written<WorkflowChanged>, StoreError> {
        self.run(ChangeWorkflow { name: name.clone(), change }).await
    }

    fn open_runs(&self) -> Vec<Arc<StoredRun>> {
        self.read(|_, rules| rules.runs.open().cloned().collect()).unwrap_or_default()
    }

    fn open_run(&self, id: RunId) -> Option<Arc<StoredRun>> {
        self.read(|_, rules| rules.runs.get(id).cloned()).ok().flatten()
    }

    fn open_run_counts(&self, name: &WorkflowName) -> BTreeMap<RunState, usize> {
        let mut counts = BTreeMap::new();
        for run in self.open_runs().into_iter().filter(|run| run.info.version.name() == name) {
            *counts.entry(run.run.state).or_default() += 1;
        }
        counts
    }

    async fn start_run(&self, new: NewRun) -> Result<Written<RunStarted>, StoreError> {
        self.run(StartRun(new)).await
    }

    async fn step_run(
        &self,
        id: RunId,
        done: Vec<StepDone>,
    ) -> Result<Written<Vec<Result<(), Stale>>>, StoreError> {
        self.run(StepRun::new(id, done).unwrap()).await
    }

    async fn tell_run(&self, id: RunId, happened: Happened) -> Result<Written<RunTold>, StoreError> {
        self.run(TellRun { id, happened }).await
    }

    async fn answer_waits(&self, answers: WaitAnswers) -> Result<Written<()>, StoreError> {
        self.run(AnswerWaits(answers)).await
    }

    async fn waits_looked_to(&self) -> Result<Sequence, StoreError> {
        self.read(|disk, _| disk.shelf.looked_to)
    }

    async fn run(&self, id: RunId) -> Result<Option<(StoredRun, RunData)>, StoreError> {
        self.read(|disk, _| {
            let kept = disk.shelf.runs.get(&id)?;
            Some((kept.stored.as_ref().clone(), kept.data.clone()))
        })
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<StoredRun>, StoreError> {
        self.read(|disk, _| disk.shelf.list(query))
    }

    async fn items(&self, query: ItemQuery) -> Result<Vec<StoredItem>, StoreError> {
        self.read(|disk, _| disk.shelf.items(&query, &disk.jobs))
    }

    async fn journal(&self, id: RunId, after: u64, limit: usize) -> Result<Vec<JournalLine>, StoreError> {
        self.read(|disk, _| {
            let lines = disk.shelf.runs.get(&id).into_iter().flat_map(|kept| &kept.journal);
            lines.filter(|line| line.number > after).take(limit).cloned().collect()
        })
    }

    async fn delete_finished_runs(
        &self,
        kept_for: Duration,
        limit: usize,
    ) -> Result<Written<usize>, StoreError> {
        self.run(DeleteFinishedRuns { kept_for, limit }).await
    }
}
