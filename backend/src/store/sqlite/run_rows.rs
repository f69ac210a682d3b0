//! The columns of runs: each stands once, with the field that it is.

use std::{collections::BTreeMap, sync::Arc};

use crewcall_proto::{RunId, Timestamp};

use super::{
    columns::{Columns, Parameters, PartlyIndexed, Value, columns, names_of},
    run_values::{ReasonText, StopText, name_of, step_of},
    transaction_error::TransactionError,
};
use crate::{
    domain::{
        Pause, Root, Sequence, SubjectPattern,
        workflow::{
            definition::{StepIndex, Work, Workflow, WorkflowName},
            known::{OpenWait, RunInfo, StartedBy, StoredRun, WorkflowVersion},
            run::{Decision, Generation, ItemCounts, Run, RunState, RunStep, StepState},
        },
    },
    engine::ports::{RunData, VersionLine},
};

/// A workflow without what it says.
pub(super) struct WorkflowRow {
    pub(super) name: WorkflowName,
    pub(super) newest: u32,
    pub(super) pause: Option<Pause>,
    pub(super) created_at: Timestamp,
}

columns!(WorkflowRow { name: "name", newest: "newest", pause: "pause", created_at: "created_at" });

columns!(VersionLine { number: "number", made_at: "made_at", made_by: "made_by" });

/// What one version of a workflow says.
pub(super) struct VersionRow {
    pub(super) workflow: WorkflowName,
    pub(super) line: VersionLine,
    pub(super) document: String,
}

columns!(VersionRow { workflow: "workflow", line: "", document: "document" });

/// What never changes of a run.
pub(super) struct InfoRow {
    pub(super) id: RunId,
    pub(super) workflow: WorkflowName,
    pub(super) number: u32,
    pub(super) started_by: StartedBy,
    pub(super) key: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) root: Root,
    pub(super) depth: u32,
    pub(super) log_from: Sequence,
    pub(super) created_at: Timestamp,
}

columns!(InfoRow {
    id: "id",
    workflow: "workflow",
    number: "workflow_version",
    started_by: "",
    key: "concurrency_key",
    labels: "labels",
    root: "root",
    depth: "depth",
    log_from: "log_from",
    created_at: "created_at",
});

impl InfoRow {
    pub(super) fn of(info: &RunInfo) -> Self {
        Self {
            id: info.id,
            workflow: info.version.name().clone(),
            number: info.version.number,
            started_by: info.started_by.clone(),
            key: info.key.clone(),
            labels: info.labels.clone(),
            root: info.root,
            depth: info.depth,
            log_from: info.log_from,
            created_at: info.created_at,
        }
    }

    fn info(self, version: Arc<WorkflowVersion>) -> RunInfo {
        let Self { id, workflow: _, number: _, started_by, key, labels, root, depth, log_from, created_at } =
            self;
        RunInfo { id, version, started_by, key, labels, root, depth, log_from, created_at }
    }
}

/// What changes of a run, without its steps.
pub(super) struct StatusRow {
    pub(super) state: RunState,
    pub(super) ended_at: Option<Timestamp>,
    generation: Generation,
    is_paused: bool,
    stop: StopText,
    deadline_at: Option<Timestamp>,
    is_compensated: bool,
    started_at: Option<Timestamp>,
    steps_ended: u32,
    version: u64,
}

columns!(StatusRow {
    state: "state",
    ended_at: "ended_at",
} unindexed {
    generation: "generation",
    is_paused: "is_paused",
    stop: "",
    deadline_at: "deadline_at",
    is_compensated: "is_compensated",
    started_at: "started_at",
    steps_ended: "steps_ended",
    version: "version",
});

impl StatusRow {
    pub(super) fn of(workflow: &Workflow, run: &Run) -> Result<Self, TransactionError> {
        Ok(Self {
            state: run.state,
            ended_at: run.ended_at,
            generation: run.generation,
            is_paused: run.is_paused,
            stop: StopText::of(workflow, run.stop.as_ref())?,
            deadline_at: run.deadline_at,
            is_compensated: run.is_compensated,
            started_at: run.started_at,
            steps_ended: run.steps_ended,
            version: run.version,
        })
    }

    fn run(self, workflow: &Workflow, steps: Vec<RunStep>) -> Result<Run, TransactionError> {
        let Self { state, ended_at, generation, is_paused, stop, deadline_at, .. } = self;
        let Self { is_compensated, started_at, steps_ended, version, .. } = self;
        Ok(Run {
            state,
            generation,
            is_paused,
            stop: stop.stop(workflow)?,
            deadline_at,
            is_compensated,
            started_at,
            ended_at,
            steps_ended,
            steps,
            version,
        })
    }
}

/// A run without its steps, from its row.
pub(super) struct RunRow {
    pub(super) info: InfoRow,
    pub(super) status: StatusRow,
}

columns!(RunRow { info: "", status: "" });

/// The same, with the store's own number of the row.
pub(super) struct FoundRun {
    pub(super) seq: i64,
    pub(super) row: RunRow,
}

columns!(FoundRun { seq: "seq", row: "" });

impl RunRow {
    /// The run, of which these are the steps that have rows.
    pub(super) fn run(
        self,
        version: Arc<WorkflowVersion>,
        steps: Vec<StepRow>,
        waits: Vec<WaitRow>,
    ) -> Result<StoredRun, TransactionError> {
        let workflow = &version.workflow;
        let mut all: Vec<RunStep> = workflow.steps.iter().map(|_| RunStep::new(Generation::FIRST)).collect();
        for row in steps {
            let StepIndex(index) = step_of(workflow, &row.step)?;
            all[index] = row.run_step(workflow)?;
        }
        let wait = |WaitRow { step, since, caught_up, .. }: WaitRow| {
            Ok((step_of(workflow, &step)?, OpenWait { since, caught_up }))
        };
        let waits = waits.into_iter().map(wait).collect::<Result<_, TransactionError>>()?;
        let run = self.status.run(workflow, all)?;
        Ok(StoredRun { info: Arc::new(self.info.info(version)), run, waits })
    }
}

/// What a run was started with.
pub(super) struct DataRow {
    pub(super) run_seq: i64,
    pub(super) data: RunData,
}

columns!(DataRow { run_seq: "run_seq", data: "" });

columns!(RunData { event: "event", schedule: "schedule", data: "data" });

/// One label of a run.
pub(super) struct RunLabelRow {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) run_id: RunId,
}

columns!(RunLabelRow { name: "name", value: "value", run_id: "run_id" });

/// A step of a run.
pub(super) struct StepRow {
    run_seq: i64,
    step: String,
    state: StepState,
    generation: Generation,
    is_due: bool,
    reason: ReasonText,
    items: ItemCounts,
    is_stopping: bool,
    deadline_at: Option<Timestamp>,
    is_moment: bool,
    decision: Option<Decision>,
    answer: Option<Sequence>,
    compensation: Option<ItemCounts>,
    began_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    ended_as: u32,
}

columns!(StepRow {
    run_seq: "run_seq",
    step: "step",
    state: "state",
    generation: "generation",
    is_due: "is_due",
    reason: "",
    items: "items",
    is_stopping: "is_stopping",
    deadline_at: "deadline_at",
    is_moment: "is_moment",
    decision: "decision",
    answer: "answer",
    compensation: "undo",
    began_at: "began_at",
    ended_at: "ended_at",
    ended_as: "ended_as",
});

impl StepRow {
    pub(super) fn of(
        run_seq: i64,
        workflow: &Workflow,
        index: StepIndex,
        step: &RunStep,
    ) -> Result<Self, TransactionError> {
        let is_moment =
            workflow.step(index).is_some_and(|definition| matches!(definition.work, Work::Until(_)));
        Ok(Self {
            run_seq,
            step: name_of(workflow, index)?.to_owned(),
            state: step.state,
            generation: step.generation,
            is_due: step.is_due,
            reason: ReasonText::of(workflow, step.reason.as_ref())?,
            items: step.items,
            is_stopping: step.is_stopping,
            deadline_at: step.deadline_at,
            is_moment,
            decision: step.decision.clone(),
            answer: step.answer,
            compensation: step.compensation,
            began_at: step.began_at,
            ended_at: step.ended_at,
            ended_as: step.ended_as,
        })
    }

    fn run_step(self, workflow: &Workflow) -> Result<RunStep, TransactionError> {
        Ok(RunStep {
            state: self.state,
            generation: self.generation,
            is_due: self.is_due,
            reason: self.reason.reason(workflow)?,
            items: self.items,
            is_stopping: self.is_stopping,
            deadline_at: self.deadline_at,
            decision: self.decision,
            answer: self.answer,
            compensation: self.compensation,
            began_at: self.began_at,
            ended_at: self.ended_at,
            ended_as: self.ended_as,
        })
    }
}

/// A step that waits for an event.
pub(super) struct WaitRow {
    pub(super) run_seq: i64,
    pub(super) step: String,
    pub(super) generation: Generation,
    pub(super) subject: SubjectPattern,
    pub(super) since: Sequence,
    pub(super) caught_up: bool,
}

columns!(WaitRow {
    run_seq: "run_seq",
    step: "step",
    generation: "generation",
    subject: "subject",
    since: "since",
    caught_up: "caught_up",
});
