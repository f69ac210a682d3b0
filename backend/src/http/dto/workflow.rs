//! Workflows as the API shows them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

use super::{ConsumerNotes, Moved, job::ActorNote, raw, rfc3339, seconds};
use crate::{
    domain::{self, workflow::known::WorkflowVersion},
    engine::{Checked, ConsumerView, WorkflowView, ports::VersionLine},
    http::problem::FieldError,
};

/// What starts a run by hand. Any other field is refused by name.
// Only describes the request, as the shapes below: `fields` reads them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct NewRun {
    /// What `trigger.data` is: any JSON but null, as the workflow's `parameters` want it; `{}` if it is left out.
    #[schema(value_type = Option<Object>)]
    data: Option<Value>,
    /// Words of your own to find the run by, as for jobs.
    labels: Option<BTreeMap<String, String>>,
    /// As they call themselves; `anonymous` if they do not.
    by: Option<String>,
}

/// How a workflow is paused.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a request; never made as a value")]
pub(crate) struct WorkflowPause {
    /// Whether its open runs are paused as well.
    #[schema(default = false)]
    runs: Option<bool>,
    /// Who does it, as they call themselves.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// All workflows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkflowList {
    /// By name, without their documents.
    pub workflows: Vec<Workflow>,
}

/// A workflow.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Workflow {
    /// Its name.
    #[schema(example = "asset.publish")]
    pub name: String,
    /// The number of its newest version, from 1: what new runs are made of.
    pub version: u32,
    /// When it was made first.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When its newest version was made.
    #[schema(format = DateTime)]
    pub changed_at: String,
    /// Who made that.
    pub changed_by: String,
    /// Who paused it, if it is paused: no event starts a run then, and none that waits begins.
    pub pause: Option<ActorNote>,
    /// How many of its runs are in each state that is not terminal.
    pub open_runs: BTreeMap<&'static str, usize>,
    /// How the events come in that start its runs; `null` if none do.
    pub triggers: Option<WorkflowTriggers>,
    /// What does not fit any more, because workers announced other schemas since.
    pub problems: Vec<FieldError>,
    /// What may not work, such as types that nobody announced.
    pub warnings: Vec<FieldError>,
    /// The newest version, as it was put. Not in lists.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Box<RawValue>>,
    /// How its triggers moved in the log, in the answer to a resume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
}

/// How the events come in that start runs of a workflow.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkflowTriggers {
    /// Which subjects it selects.
    pub subjects: Vec<String>,
    /// As that of a consumer.
    pub state: &'static str,
    /// Why it is in that state: a sentence.
    pub reason: String,
    /// Everything up to here was looked at.
    pub cursor: u64,
    /// The newest event of the log.
    pub head: u64,
    /// How many events were not looked at.
    pub lag_events: u64,
    /// How long ago the first of them was recorded.
    #[schema(value_type = f64)]
    pub lag_seconds: serde_json::Number,
    /// How many of the runs that it started are not over.
    pub in_flight: u32,
    /// Events whose condition could not be evaluated, since the backend started: no run was made of them.
    pub condition_errors: ConsumerNotes,
    /// Events at the end of too long a chain, since the backend started: no run was made of them.
    pub refused: ConsumerNotes,
}

/// What was found about a document.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkflowCheck {
    /// What makes it no workflow; empty if it is one.
    pub problems: Vec<FieldError>,
    /// What may not work, such as types that nobody announced.
    pub warnings: Vec<FieldError>,
}

/// Versions of a workflow, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkflowVersionList {
    /// Those of this page, without their documents.
    pub versions: Vec<WorkflowVersionEntry>,
    /// Pass it as `cursor` for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// A version of a workflow. It never changes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkflowVersionEntry {
    /// Its number, from 1.
    pub version: u32,
    /// When it was made.
    #[schema(format = DateTime)]
    pub made_at: String,
    /// Who made it, as they call themselves.
    pub made_by: String,
    /// As it was put. Not in lists.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Box<RawValue>>,
}

impl From<&WorkflowView> for Workflow {
    /// A workflow as it stands in a list.
    fn from(view: &WorkflowView) -> Self {
        let newest = &view.known.newest;
        Self {
            name: newest.name().to_string(),
            version: newest.number,
            created_at: rfc3339(view.known.created_at),
            changed_at: rfc3339(newest.made_at),
            changed_by: newest.made_by.clone(),
            pause: ActorNote::of_pause(view.known.pause.as_ref()),
            open_runs: view.open_runs.iter().map(|(state, count)| (state.as_str(), *count)).collect(),
            triggers: view.triggers.as_ref().map(WorkflowTriggers::from),
            problems: all(&view.problems),
            warnings: all(&view.warnings),
            document: None,
            moved: None,
        }
    }
}

impl Workflow {
    /// A workflow with its document.
    pub(crate) fn with_document(view: &WorkflowView) -> Self {
        Self { document: Some(raw(&view.known.newest.document)), ..Self::from(view) }
    }
}

impl From<&ConsumerView> for WorkflowTriggers {
    fn from(view: &ConsumerView) -> Self {
        let subjects = &view.consumer.settings.subjects;
        Self {
            subjects: subjects.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            state: view.state.as_str(),
            reason: view.reason.clone(),
            cursor: view.place.0,
            head: view.head.0,
            lag_events: view.lag_events(),
            lag_seconds: seconds(view.lag),
            in_flight: view.consumer.in_flight,
            condition_errors: (&view.notes.unclear).into(),
            refused: (&view.notes.refused).into(),
        }
    }
}

impl From<&Checked> for WorkflowCheck {
    fn from(checked: &Checked) -> Self {
        Self { problems: all(&checked.problems), warnings: all(&checked.warnings) }
    }
}

impl From<&VersionLine> for WorkflowVersionEntry {
    fn from(line: &VersionLine) -> Self {
        Self {
            version: line.number,
            made_at: rfc3339(line.made_at),
            made_by: line.made_by.clone(),
            document: None,
        }
    }
}

impl From<&WorkflowVersion> for WorkflowVersionEntry {
    fn from(version: &WorkflowVersion) -> Self {
        Self {
            version: version.number,
            made_at: rfc3339(version.made_at),
            made_by: version.made_by.clone(),
            document: Some(raw(&version.document)),
        }
    }
}

fn all(problems: &[domain::Problem]) -> Vec<FieldError> {
    problems.iter().map(FieldError::from).collect()
}
