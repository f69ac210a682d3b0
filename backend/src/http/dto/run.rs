//! Runs as the API shows them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, value::RawValue};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use super::{raw, rfc3339, run_step::RunStep};
use crate::{
    domain::workflow::{
        known::{StartedBy as Starter, StoredRun},
        run::{RunState as State, StepState},
    },
    engine::RunView,
};

/// A run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Run {
    /// Its id.
    #[schema(format = Uuid)]
    pub id: String,
    /// Of which workflow it is.
    #[schema(example = "asset.publish")]
    pub workflow: String,
    /// Which version of that it keeps.
    pub version: u32,
    /// Where it stands.
    #[schema(value_type = RunState)]
    pub state: &'static str,
    /// Why it is as it is, in a sentence: why it waits, stops or failed. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What started it.
    pub started_by: StartedBy,
    /// Words to find it by.
    pub labels: BTreeMap<String, String>,
    /// What the runs have in common that are counted together, if the workflow's `concurrency` has a key.
    pub key: Option<String>,
    /// Where the chain of events, jobs and runs began: `event 17`, or `job` or `run` and its id.
    #[schema(example = "event 17")]
    pub root: String,
    /// How many jobs and runs of the chain made each other, this one included; 0 if somebody started it.
    pub depth: u32,
    /// Whether it is paused: nothing of it begins, and what runs goes on.
    pub paused: bool,
    /// Counts how often it began: from 1, and one more with each retry.
    pub generation: u32,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it had a place and began.
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// When it is stopped, if it is not over by then.
    #[schema(format = DateTime)]
    pub deadline_at: Option<String>,
    /// What `trigger.data` is. Not in lists, as what follows but for `steps`.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The event that it was made of, without its data.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Box<RawValue>>,
    /// What came out, if it completed and its workflow has `outputs`.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
    /// Why `outputs` have no value, if they have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs_error: Option<String>,
    /// Its steps, in the order of the document; in lists how many of them are in which state.
    pub steps: Steps,
}

/// The steps of a run.
// Nobody has to guess which of both it is: it is written, and never read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Steps {
    Each(Vec<RunStep>),
    Counted(StepCounts),
}

/// What started a run: somebody, an event, a tick of a schedule, or a step of another run.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct StartedBy {
    /// Who, as they call themselves.
    #[schema(example = "anna")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The event that it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<u64>,
    /// The consumer that made it; `workflow:` and a name for the triggers of that workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// Which time through the log it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<u64>,
    /// The run whose step it is.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The step. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The schedule that made it; `workflow:`, a name and a number for a trigger of that workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The tick of that: the moment that it stands for.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tick: Option<String>,
}

/// How many steps a run has, and what became of them.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct StepCounts {
    pub total: usize,
    pub completed: usize,
    pub failed: usize,
    pub skipped: usize,
    pub cancelled: usize,
    /// Those that are not over.
    pub open: usize,
}

/// Runs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunList {
    /// The runs of this page.
    pub runs: Vec<Run>,
    /// Pass it as `cursor` for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// The schema of a state, whose words are the domain's; never made as a value.
pub(crate) enum RunState {}

impl ToSchema for RunState {}

impl PartialSchema for RunState {
    fn schema() -> RefOr<Schema> {
        let words = State::ALL.map(State::as_str);
        let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
        schema.description(Some("Where a run stands.")).into()
    }
}

impl Run {
    /// A run with everything. `parent` is the name of the step that it is the work of.
    pub(crate) fn whole(view: &RunView, parent: Option<String>) -> Self {
        let (outputs, outputs_error) = match &view.outputs {
            Some(Ok(outputs)) => (Some(outputs.clone()), None),
            Some(Err(reason)) => (None, Some(reason.clone())),
            None => (None, None),
        };
        let entry = Self::entry(&view.stored);
        let steps = view.steps.iter().zip(&view.stored.run.steps);
        Self {
            reason: view.reason.clone(),
            started_by: StartedBy { step: parent, ..entry.started_by },
            data: Some(raw(&view.data.data)),
            event: view.data.event.as_deref().map(raw),
            outputs,
            outputs_error,
            steps: Steps::Each(steps.map(|(view, step)| RunStep::new(view, step)).collect()),
            ..entry
        }
    }

    /// A run as it stands in a list.
    pub(crate) fn entry(stored: &StoredRun) -> Self {
        let (info, run) = (&stored.info, &stored.run);
        Self {
            id: info.id.to_string(),
            workflow: info.version.name().to_string(),
            version: info.version.number,
            state: run.state.as_str(),
            reason: None,
            started_by: StartedBy::from(&info.started_by),
            labels: info.labels.clone(),
            key: info.key.clone(),
            root: info.root.to_string(),
            depth: info.depth,
            paused: run.is_paused,
            generation: run.generation.0,
            created_at: rfc3339(info.created_at),
            started_at: run.started_at.map(rfc3339),
            ended_at: run.ended_at.map(rfc3339),
            deadline_at: run.deadline_at.map(rfc3339),
            data: None,
            event: None,
            outputs: None,
            outputs_error: None,
            steps: Steps::Counted(run.steps.iter().map(|step| step.state).collect()),
        }
    }
}

impl From<&Starter> for StartedBy {
    fn from(starter: &Starter) -> Self {
        match starter {
            Starter::Person(by) => Self { by: Some(by.clone()), ..Self::default() },
            Starter::Event(made_of) => Self {
                event: Some(made_of.sequence.0),
                consumer: Some(made_of.consumer.to_string()),
                pass: Some(made_of.pass.0),
                ..Self::default()
            },
            Starter::Step(parent) => Self { run: Some(parent.run.to_string()), ..Self::default() },
            Starter::Schedule(by) => Self {
                schedule: Some(by.schedule.to_string()),
                tick: Some(rfc3339(by.tick.at)),
                ..Self::default()
            },
        }
    }
}

impl FromIterator<StepState> for StepCounts {
    fn from_iter<I: IntoIterator<Item = StepState>>(states: I) -> Self {
        let mut counts = Self::default();
        for state in states {
            counts.total += 1;
            *match state {
                StepState::Completed => &mut counts.completed,
                StepState::Failed => &mut counts.failed,
                StepState::Skipped => &mut counts.skipped,
                StepState::Cancelled => &mut counts.cancelled,
                StepState::Pending | StepState::Waiting | StepState::Running => &mut counts.open,
            } += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_counted_once() {
        let counts: StepCounts = StepState::ALL.into_iter().collect();
        let each = StepCounts { total: 7, completed: 1, failed: 1, skipped: 1, cancelled: 1, open: 3 };
        assert_eq!(counts, each);
    }
}
