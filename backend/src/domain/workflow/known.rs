//! Workflows as they are kept: versions, and what is made of them.

use std::{collections::BTreeMap, sync::Arc};

use crewcall_proto::{JobId, RunId, Timestamp};

use super::{
    definition::{StepIndex, Work, Workflow, WorkflowName},
    run::{Generation, Run, RunState, StepState},
};
pub use crate::domain::run_names::{ItemKey, Role};
use crate::domain::{FiredBy, JobError, MadeOf, Pause, Root, Sequence, State};

/// One version of a workflow. It never changes.
#[derive(Debug)]
pub struct WorkflowVersion {
    pub workflow: Workflow,
    /// From 1, and one more with each document that is another.
    pub number: u32,
    /// The document as JSON text.
    pub document: Arc<str>,
    pub made_at: Timestamp,
    /// Who made it, as they call themselves.
    pub made_by: String,
}

/// A version is what its name and number say.
impl PartialEq for WorkflowVersion {
    fn eq(&self, other: &Self) -> bool {
        (self.name(), self.number) == (other.name(), other.number)
    }
}

impl WorkflowVersion {
    #[must_use]
    pub fn name(&self) -> &WorkflowName {
        &self.workflow.name
    }
}

/// A workflow that runs can be made of.
#[derive(Debug, Clone)]
pub struct KnownWorkflow {
    /// What new runs are made of.
    pub newest: Arc<WorkflowVersion>,
    /// Whether its triggers and its queue wait, and since when.
    pub pause: Option<Pause>,
    pub created_at: Timestamp,
}

impl KnownWorkflow {
    #[must_use]
    pub fn name(&self) -> &WorkflowName {
        self.newest.name()
    }
}

/// What made a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartedBy {
    /// Somebody, as they call themselves.
    Person(String),
    /// A consumer made it of an event; or a trigger of its workflow, which is a consumer as well.
    Event(MadeOf),
    /// A step of another run.
    Step(ParentStep),
    /// A tick of a schedule.
    Schedule(FiredBy),
}

/// The step that a run is the work of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParentStep {
    pub run: RunId,
    pub step: StepIndex,
    pub generation: Generation,
}

/// What never changes of a run, but for its data, which may be large.
#[derive(Debug, Clone)]
pub struct RunInfo {
    pub id: RunId,
    pub version: Arc<WorkflowVersion>,
    pub started_by: StartedBy,
    /// What the runs have in common that are counted together, if their number is limited.
    pub key: Option<String>,
    /// Words to find it by.
    pub labels: BTreeMap<String, String>,
    /// Where the chain of events, jobs and runs began.
    pub root: Root,
    /// How many jobs and runs of the chain made each other, this one included; 0, if somebody started it.
    pub depth: u32,
    /// The newest event when it was made: waits look at the log from behind it.
    pub log_from: Sequence,
    pub created_at: Timestamp,
}

impl RunInfo {
    #[must_use]
    pub fn workflow(&self) -> &Workflow {
        &self.version.workflow
    }

    /// The step that it is the work of.
    #[must_use]
    pub const fn parent(&self) -> Option<ParentStep> {
        match &self.started_by {
            StartedBy::Step(parent) => Some(*parent),
            StartedBy::Person(_) | StartedBy::Event(_) | StartedBy::Schedule(_) => None,
        }
    }
}

/// A wait for an event that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenWait {
    /// It looks at the events behind this one.
    pub since: Sequence,
    /// Whether everything was looked at for it that was recorded before it was opened: it goes with the others from there on.
    pub caught_up: bool,
}

/// A run, and how far it got.
#[derive(Debug, Clone)]
pub struct StoredRun {
    pub info: Arc<RunInfo>,
    pub run: Run,
    /// The waits for events that are open, by their steps.
    pub waits: BTreeMap<StepIndex, OpenWait>,
}

impl StoredRun {
    #[must_use]
    pub fn id(&self) -> RunId {
        self.info.id
    }

    /// When the next of its limits is reached: its own, or that of a step that waits.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let waiting = self.run.steps.iter().filter(|step| step.state == StepState::Waiting);
        waiting.filter_map(|step| step.deadline_at).chain(self.run.deadline_at).min()
    }

    /// What it needs of the log: everything behind this event. `None` if no step waits for events, or will.
    #[must_use]
    pub fn needs_after(&self) -> Option<Sequence> {
        let steps = self.run.steps.iter().zip(&self.info.workflow().steps);
        let mut waits = steps.filter(|(step, definition)| {
            matches!(definition.work, Work::Event(_)) && !step.state.is_terminal()
        });
        waits.next().map(|_| self.info.log_from)
    }
}

/// An item of a step, as it is kept: a job, or the run of another workflow.
#[derive(Debug, Clone)]
pub struct StoredItem {
    pub key: ItemKey,
    /// Which item of the step it undoes; for those that do its work, itself.
    pub of_index: u32,
    pub work: ItemWork,
}

/// What does the work of an item.
#[derive(Debug, Clone)]
pub enum ItemWork {
    Job {
        id: JobId,
        state: State,
        /// What came out, as JSON text; left out where only the outcome was asked for.
        result: Option<Arc<str>>,
        error: Option<JobError>,
    },
    Run {
        id: RunId,
        state: RunState,
    },
}
