//! Workflows and their runs, as a store keeps them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_proto::{RunId, Timestamp};

use super::{Accepted, IdempotencyKey, StoreError, Written};
use crate::domain::{
    Pause, Root, Sequence,
    workflow::{
        definition::{StepIndex, Workflow, WorkflowName},
        facts::{Entry, Evaluation, Happened, Stale},
        known::{ItemKey, KnownWorkflow, Role, StartedBy, StoredItem, StoredRun, WorkflowVersion},
        run::{Generation, RunState},
    },
};

/// How many workflows there may be.
pub const WORKFLOWS_MAX: usize = 1_000;

/// How many runs may be open: each is kept in memory, and looked at when one of its jobs ends.
pub const RUNS_OPEN_MAX: usize = 100_000;

/// How many documents in a row of one workflow are kept although no run is made of them any more.
pub const VERSIONS_KEPT: u32 = 100;

/// Keeps workflows and their runs. Whatever moves a run is decided by [`advance`](crate::domain::workflow::machine::advance) in the
/// transaction that makes it happen, and stored in it together with the jobs that follow.
#[async_trait]
pub trait Workflows: Send + Sync {
    /// All of them as committed last, by name. Costs no query.
    fn workflows(&self) -> Vec<Arc<KnownWorkflow>>;

    /// One of them as committed last. Costs no query.
    fn workflow(&self, name: &WorkflowName) -> Option<Arc<KnownWorkflow>>;

    /// One version, also of a workflow that is deleted, as long as runs of it are kept.
    async fn workflow_version(
        &self,
        name: &WorkflowName,
        number: u32,
    ) -> Result<Option<Arc<WorkflowVersion>>, StoreError>;

    /// The versions of a workflow that are kept, newest first, from the one before `before`.
    async fn workflow_versions(
        &self,
        name: &WorkflowName,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<VersionLine>, StoreError>;

    /// Does something to one workflow, or makes it.
    async fn change_workflow(
        &self,
        name: &WorkflowName,
        change: WorkflowChange,
    ) -> Result<Written<WorkflowChanged>, StoreError>;

    /// The runs that are not over, as committed last. Costs no query.
    fn open_runs(&self) -> Vec<Arc<StoredRun>>;

    /// A run that is not over, as committed last. Costs no query.
    fn open_run(&self, id: RunId) -> Option<Arc<StoredRun>>;

    /// How many runs of a workflow are in each state that is not terminal. Costs no query.
    fn open_run_counts(&self, name: &WorkflowName) -> BTreeMap<RunState, usize>;

    /// Makes a run that somebody asked for.
    async fn start_run(&self, new: NewRun) -> Result<Written<RunStarted>, StoreError>;

    /// Moves a run on by what was made ready for it, each part for itself: one that has become stale does nothing.
    async fn step_run(
        &self,
        id: RunId,
        done: Vec<StepDone>,
    ) -> Result<Written<Vec<Result<(), Stale>>>, StoreError>;

    /// Moves a run by what somebody did to it, or by its time.
    async fn tell_run(&self, id: RunId, happened: Happened) -> Result<Written<RunTold>, StoreError>;

    /// Answers waits for events, each for itself, and keeps how far the log was looked at for all of them.
    async fn answer_waits(&self, answers: WaitAnswers) -> Result<Written<()>, StoreError>;

    /// Up to where the log was looked at for all waits that had caught up, when that was kept last.
    async fn waits_looked_to(&self) -> Result<Sequence, StoreError>;

    /// A run, and the data that it was started with.
    async fn run(&self, id: RunId) -> Result<Option<(StoredRun, RunData)>, StoreError>;

    /// Runs, newest first.
    async fn runs(&self, query: &RunQuery) -> Result<Vec<StoredRun>, StoreError>;

    /// Items of one step of a run, by their index.
    async fn items(&self, query: ItemQuery) -> Result<Vec<StoredItem>, StoreError>;

    /// The journal of a run, oldest first, from the line behind `after`.
    async fn journal(&self, id: RunId, after: u64, limit: usize) -> Result<Vec<JournalLine>, StoreError>;

    /// Deletes runs that have been over for so long, each with its jobs. Does so many jobs at most, so that a large run takes several
    /// calls. Returns how many runs and jobs are gone.
    async fn delete_finished_runs(
        &self,
        kept_for: Duration,
        limit: usize,
    ) -> Result<Written<usize>, StoreError>;
}

/// A version, in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionLine {
    pub number: u32,
    pub made_at: Timestamp,
    pub made_by: String,
}

/// What somebody does to a workflow.
#[derive(Debug, Clone)]
pub enum WorkflowChange {
    /// Make it, or make it anew of another document.
    Put {
        workflow: Box<Workflow>,
        /// Its document as JSON text: the same text makes no version.
        document: Arc<str>,
        by: String,
        /// The version that it has to have now; 0, if there must be none.
        expected: Option<u32>,
    },
    Pause(Pause),
    Resume {
        /// Passing over the events that came meanwhile.
        from_now: bool,
    },
    Delete,
}

/// What became of a change.
#[derive(Debug, Clone, Default)]
pub enum WorkflowChanged {
    Created(Arc<KnownWorkflow>),
    Changed(Arc<KnownWorkflow>),
    /// It was like that already.
    Unchanged(Arc<KnownWorkflow>),
    Deleted,
    /// There is none of that name.
    #[default]
    Unknown,
    /// There are [`WORKFLOWS_MAX`] already.
    TooMany,
    /// It has another version than somebody expected; `None`, if there is none.
    OtherVersion(Option<u32>),
    /// So many of its runs are not over, of which this is one.
    HasOpenRuns {
        count: usize,
        one: RunId,
    },
}

/// What a run was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunData {
    /// JSON text: what `trigger.data` is.
    pub data: String,
    /// The event that it was made of, without its data: JSON text.
    pub event: Option<String>,
    /// The tick that it was made for: JSON text.
    pub schedule: Option<String>,
}

/// A run that is to be made.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: RunId,
    pub workflow: WorkflowName,
    /// The version by which it was made ready: if it is not the newest any more, nothing is made.
    pub version: u32,
    pub data: RunData,
    pub started_by: StartedBy,
    /// What the runs have in common that are counted together.
    pub key: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub root: Root,
    pub depth: u32,
    /// Under which name it may be asked for again without making another.
    pub idempotency: Option<IdempotencyKey>,
}

/// What became of a [`NewRun`].
#[derive(Debug, Clone, Default)]
pub enum RunStarted {
    Started(Arc<StoredRun>),
    /// A run was made under this key and of the same request already.
    Replayed(RunId),
    /// A run was made under this key, of another request.
    KeyReused,
    /// There is no room for it, and its workflow says that it is not made then.
    Skipped,
    /// The workflow is paused.
    Paused(Pause),
    /// There is no such workflow.
    #[default]
    Unknown,
    /// It has another version by now.
    OtherVersion,
    /// [`RUNS_OPEN_MAX`] runs are open already.
    TooMany,
}

/// What was made ready for a run.
#[derive(Debug, Clone)]
pub enum StepDone {
    Evaluated {
        step: StepIndex,
        generation: Generation,
        evaluation: Evaluation,
    },
    /// Jobs of a step, or those that undo it, in the order of their items. Those that are failed already were born so.
    Items {
        step: StepIndex,
        generation: Generation,
        role: Role,
        from: u32,
        items: Vec<NewItem>,
    },
    /// The run that is the work of a step; or why it cannot be made.
    Child {
        step: StepIndex,
        generation: Generation,
        run: Result<Box<NewRun>, String>,
    },
}

/// A job that is an item of a step.
#[derive(Debug, Clone)]
pub struct NewItem {
    /// Ready, scheduled, or failed already.
    pub job: Accepted,
    /// Which item of the step it undoes; for those that do its work, its own.
    pub of_index: u32,
}

/// What became of something that was told to a run.
#[derive(Debug, Clone, Default)]
pub enum RunTold {
    Changed(Arc<StoredRun>),
    /// It changes nothing of the run as it is.
    Stale(Stale, Arc<StoredRun>),
    #[default]
    Unknown,
    /// The run is over, and would be made anew of a workflow that is deleted; or [`RUNS_OPEN_MAX`] runs are open.
    TooMany,
}

/// What was found in the log for waits.
#[derive(Debug, Clone, Default)]
pub struct WaitAnswers {
    /// Up to where it was looked at for all that had caught up.
    pub looked_to: Option<Sequence>,
    /// The waits that have caught up now.
    pub caught_up: Vec<(RunId, StepIndex, Generation)>,
    /// The events that waits were for.
    pub answers: Vec<(RunId, StepIndex, Generation, Sequence)>,
}

/// Which runs are asked for.
#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    pub workflow: Option<WorkflowName>,
    /// In one of these states; in any, if there is none.
    pub states: Vec<RunState>,
    /// With all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Made before this one.
    pub before: Option<RunId>,
    /// How many at most.
    pub limit: usize,
}

/// Which items are asked for.
#[derive(Debug, Clone)]
pub struct ItemQuery {
    pub run: RunId,
    /// The name of the step.
    pub step: Arc<str>,
    pub generation: Generation,
    pub role: Role,
    /// From the item behind this one.
    pub after: Option<u32>,
    /// Only those whose job is open, by the run's own account.
    pub open: bool,
    /// With what came out of their jobs.
    pub results: bool,
    /// How many at most.
    pub limit: usize,
}

/// A line of the journal of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalLine {
    /// Counts the lines of a run, from 1.
    pub number: u64,
    /// The version of the run that it leads to.
    pub version: u64,
    pub at: Timestamp,
    pub entry: JournalEntry,
}

/// What a line of the journal says.
#[derive(Debug, Clone, PartialEq)]
pub enum JournalEntry {
    /// What happened to the run.
    Happened(Happened),
    /// What it decided.
    Decided(Entry),
}

/// What is to be written of workflows and runs.
#[derive(Debug)]
pub enum WorkflowWrite {
    /// A version came.
    Version(Arc<WorkflowVersion>),
    /// A workflow came or changed.
    Put(Arc<KnownWorkflow>),
    Deleted(WorkflowName),
    /// A run came.
    Run {
        run: Arc<StoredRun>,
        data: RunData,
        idempotency: Option<IdempotencyKey>,
    },
    /// A run changed: itself, and these of its steps, whose waits for events are those of the run; and the lines of its journal,
    /// each with its time and the version of the run that it leads to.
    Moved {
        run: Arc<StoredRun>,
        steps: Vec<StepIndex>,
        journal: Vec<(Timestamp, u64, JournalEntry)>,
    },
    /// The work of an item came, by this version of its run.
    Item {
        item: NewItemRow,
        version: u64,
    },
    /// The work of an item ended, by this version of its run.
    ItemEnded {
        key: ItemKey,
        version: u64,
    },
    /// The log was looked at up to here for all waits that had caught up.
    LookedTo(Sequence),
    /// A run goes; its jobs are gone.
    RunDeleted(RunId),
}

/// The work of an item that came.
#[derive(Debug, Clone)]
pub struct NewItemRow {
    pub key: ItemKey,
    pub of_index: u32,
    /// Its job, or its run.
    pub work: NewItemWork,
    /// It was over from its beginning.
    pub is_over: bool,
}

/// What does the work of an item that came.
#[derive(Debug, Clone, Copy)]
pub enum NewItemWork {
    Job(crewcall_proto::JobId),
    Run(RunId),
    /// Nothing: it could not be made.
    Nothing,
}
