//! Steps of runs, and their items, as the API shows them.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use super::{JobError, raw, rfc3339};
use crate::{
    domain::workflow::{
        known::{ItemWork, Role},
        run,
    },
    engine::{ItemView, StepView},
};

/// A step of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunStep {
    /// Its name.
    #[schema(example = "probe")]
    pub name: String,
    /// What it does: `job`, `each` (a job for each item), `wait`, `approval` or `workflow`.
    #[schema(example = "job")]
    pub kind: &'static str,
    /// Where it stands.
    #[schema(value_type = StepState)]
    pub state: &'static str,
    /// That of the run when the step began anew.
    pub generation: u32,
    /// The steps that it needs.
    pub needs: Vec<String>,
    /// Why it is as it is, in a sentence, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it waits for, in a sentence, if it is not over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// When it began.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began_at: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// The job that is its work, if it is one.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The run that is its work, if it is one.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Its items, if it has a job for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemCounts>,
    /// The jobs that undo what completed of it, once there are to be any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensation: Option<ItemCounts>,
    /// What somebody decided, if it is an approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The event that it waited for: its place in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<u64>,
}

/// How many items there are, and what became of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemCounts {
    /// How many there are to be.
    pub total: u32,
    /// How many are made.
    pub made: u32,
    pub completed: u32,
    pub failed: u32,
    pub cancelled: u32,
    /// Those that are made and not over.
    pub open: u32,
}

/// What somebody decided about an approval.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Decision {
    pub approved: bool,
    /// As they call themselves.
    pub by: String,
    /// What they said of it.
    pub comment: Option<String>,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
}

/// Items of a step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemList {
    /// By their index.
    pub items: Vec<Item>,
    /// Pass it as `after` to go on; `null` on the last page.
    pub next_after: Option<u32>,
}

/// One item of a step: a job, or the run of another workflow.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Item {
    /// Its number, from 0.
    pub index: u32,
    /// That of the step.
    pub generation: u32,
    /// `work`, or `undo` if it compensates for one.
    pub role: &'static str,
    /// The index of the item that it undoes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u32>,
    /// The job.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The run, if another workflow is the work of the step.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Where the job or run stands.
    pub state: &'static str,
    /// What came out, when completed: any JSON.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// What went wrong last, if anything did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

/// The schema of a state, whose words are the domain's; never made as a value.
pub(crate) enum StepState {}

impl ToSchema for StepState {}

impl PartialSchema for StepState {
    fn schema() -> RefOr<Schema> {
        let words = run::StepState::ALL.map(run::StepState::as_str);
        let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
        schema.description(Some("Where a step of a run stands.")).into()
    }
}

impl RunStep {
    pub(super) fn new(view: &StepView, step: &run::RunStep) -> Self {
        Self {
            name: view.name.to_string(),
            kind: view.kind,
            state: view.state.as_str(),
            generation: view.generation.0,
            needs: view.needs.iter().map(ToString::to_string).collect(),
            reason: view.reason.clone(),
            waiting: view.waiting.clone(),
            began_at: view.began_at.map(rfc3339),
            ended_at: view.ended_at.map(rfc3339),
            job: view.job.map(|id| id.to_string()),
            run: view.child.map(|id| id.to_string()),
            items: (view.kind == "each").then(|| step.items.into()),
            compensation: step.compensation.map(ItemCounts::from),
            decision: step.decision.as_ref().map(Decision::from),
            event: step.answer.map(|sequence| sequence.0),
        }
    }
}

impl From<run::ItemCounts> for ItemCounts {
    fn from(counts: run::ItemCounts) -> Self {
        Self {
            total: counts.total,
            made: counts.made,
            completed: counts.completed,
            failed: counts.failed,
            cancelled: counts.cancelled,
            open: counts.open(),
        }
    }
}

impl From<&run::Decision> for Decision {
    fn from(decision: &run::Decision) -> Self {
        Self {
            approved: decision.approved,
            by: decision.by.clone(),
            comment: decision.comment.clone(),
            at: rfc3339(decision.at),
        }
    }
}

impl From<&ItemView> for Item {
    fn from(item: &ItemView) -> Self {
        let (job, run, state, result, error) = match &item.work {
            ItemWork::Job { id, state, result, error } => {
                (Some(id.to_string()), None, state.as_str(), result.as_deref(), error.as_ref())
            }
            ItemWork::Run { id, state } => (None, Some(id.to_string()), state.as_str(), None, None),
        };
        Self {
            index: item.key.index,
            generation: item.key.generation.0,
            role: item.key.role.as_str(),
            undoes: (item.key.role == Role::Undo).then_some(item.of_index),
            job,
            run,
            state,
            result: result.map(raw),
            error: error.map(JobError::from),
        }
    }
}
