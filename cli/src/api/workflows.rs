//! What the API answers about workflows and their runs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{ActorNote, Document, JobError, Mistake, Moved, Remarks};

/// A workflow.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Workflow {
    /// Its name.
    pub(crate) name: String,
    /// Its newest version.
    pub(crate) version: u32,
    /// When it was made.
    #[serde(default)]
    pub(crate) created_at: Option<String>,
    /// When its newest version was made.
    #[serde(default)]
    pub(crate) changed_at: Option<String>,
    /// Who made that.
    #[serde(default)]
    pub(crate) changed_by: Option<String>,
    /// Who paused it, and why.
    #[serde(default)]
    pub(crate) pause: Option<ActorNote>,
    /// How many of its runs are in each state that is not terminal.
    #[serde(default)]
    pub(crate) open_runs: BTreeMap<String, u64>,
    /// How events come in that start its runs.
    #[serde(default)]
    pub(crate) triggers: Option<Triggers>,
    /// What does not fit any more.
    #[serde(default)]
    pub(crate) problems: Vec<Mistake>,
    /// What may not work.
    #[serde(default)]
    pub(crate) warnings: Vec<Mistake>,
    /// How its triggers moved; only in the answer to a resume.
    #[serde(default)]
    pub(crate) moved: Option<Moved>,
}

/// How events come in that start runs of a workflow.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Triggers {
    /// The patterns of the subjects that it looks at.
    pub(crate) subjects: Vec<String>,
    /// How it is, in one of the words of the API.
    pub(crate) state: String,
    /// Why, in a sentence.
    pub(crate) reason: String,
    /// How many events it has yet to see.
    pub(crate) lag_events: u64,
    /// Events whose condition could not be evaluated.
    pub(crate) condition_errors: Remarks,
    /// Events that started no run, because their chain is too long.
    pub(crate) refused: Remarks,
}

/// All workflows.
#[derive(Debug, Deserialize)]
pub(crate) struct WorkflowList {
    /// By name.
    pub(crate) workflows: Vec<Document<Workflow>>,
}

/// What was found about the document of a workflow.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WorkflowCheck {
    /// What makes it none.
    pub(crate) problems: Vec<Mistake>,
    /// What may not work.
    pub(crate) warnings: Vec<Mistake>,
}

/// A version of a workflow.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct WorkflowVersion {
    /// Its number.
    pub(crate) version: u32,
    /// When it was made.
    #[serde(default)]
    pub(crate) made_at: Option<String>,
    /// Who made it.
    #[serde(default)]
    pub(crate) made_by: Option<String>,
    /// Its document; not in lists.
    #[serde(default)]
    pub(crate) document: Value,
}

/// One page of versions.
#[derive(Debug, Deserialize)]
pub(crate) struct WorkflowVersionPage {
    /// Newest first.
    pub(crate) versions: Vec<Document<WorkflowVersion>>,
    /// Where the next page starts.
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

/// Where a run is in its life; the words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunState {
    /// Waits for a place, or for the end of a pause.
    Queued,
    /// Its steps begin and end.
    Running,
    /// What ran was told to stop.
    Stopping,
    /// What completed is undone.
    Compensating,
    /// Done.
    Completed,
    /// Ended with an error.
    Failed,
    /// Stopped by someone.
    Cancelled,
    /// A state that this program does not know: a newer backend.
    #[serde(other)]
    #[value(skip)]
    Unknown,
}

impl RunState {
    /// The word of the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a run in this state never leaves it by itself.
    pub(crate) fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A run; in lists some fields are absent.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Run {
    /// Its id.
    pub(crate) id: String,
    /// Of which workflow.
    pub(crate) workflow: String,
    /// Which version of that.
    #[serde(default)]
    pub(crate) version: u32,
    /// Where it is in its life.
    pub(crate) state: RunState,
    /// Why it is as it is.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// What started it.
    #[serde(default)]
    pub(crate) started_by: StartedBy,
    /// Its labels.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// What the runs have in common that are counted together.
    #[serde(default)]
    pub(crate) key: Option<String>,
    /// Whether nothing of it begins.
    #[serde(default)]
    pub(crate) paused: bool,
    /// How often it began.
    #[serde(default)]
    pub(crate) generation: u32,
    /// When it was made.
    #[serde(default)]
    pub(crate) created_at: Option<String>,
    /// When it began.
    #[serde(default)]
    pub(crate) started_at: Option<String>,
    /// When it ended.
    #[serde(default)]
    pub(crate) ended_at: Option<String>,
    /// When it is stopped.
    #[serde(default)]
    pub(crate) deadline_at: Option<String>,
    /// What it was started with.
    #[serde(default)]
    pub(crate) data: Value,
    /// What came out.
    #[serde(default)]
    pub(crate) outputs: Value,
    /// Why nothing came out.
    #[serde(default)]
    pub(crate) outputs_error: Option<String>,
    /// Its steps; in lists how many there are.
    #[serde(default)]
    steps: Value,
}

impl Run {
    /// Its steps, in the order of the document; none in lists.
    pub(crate) fn steps(&self) -> Vec<RunStep> {
        let steps = self.steps.as_array().into_iter().flatten();
        steps.filter_map(|step| RunStep::deserialize(step).ok()).collect()
    }

    /// How many of its steps are over, and how many there are.
    pub(crate) fn steps_over(&self) -> (u64, u64) {
        if let Value::Array(steps) = &self.steps {
            let over = self.steps().iter().filter(|step| step.is_over()).count();
            return (over as u64, steps.len() as u64);
        }
        let count = |name: &str| self.steps.get(name).and_then(Value::as_u64).unwrap_or_default();
        let total = count("total");
        (total.saturating_sub(count("open")), total)
    }
}

/// What started a run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StartedBy {
    /// Somebody.
    pub(crate) by: Option<String>,
    /// An event.
    pub(crate) event: Option<u64>,
    /// The consumer that made it of that.
    pub(crate) consumer: Option<String>,
    /// Another run.
    pub(crate) run: Option<String>,
    /// The step of that.
    pub(crate) step: Option<String>,
    /// A schedule.
    pub(crate) schedule: Option<String>,
    /// The tick of that.
    pub(crate) tick: Option<String>,
}

/// A step of a run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RunStep {
    /// Its name.
    pub(crate) name: String,
    /// What it does.
    pub(crate) kind: String,
    /// Where it stands, in one of the words of the API.
    pub(crate) state: String,
    /// Why, in a sentence.
    pub(crate) reason: Option<String>,
    /// What it waits for, in a sentence.
    pub(crate) waiting: Option<String>,
    /// When it began.
    pub(crate) began_at: Option<String>,
    /// When it ended.
    pub(crate) ended_at: Option<String>,
    /// The job that is its work.
    pub(crate) job: Option<String>,
    /// The run that is its work.
    pub(crate) run: Option<String>,
    /// Its items, if it has a job for each.
    pub(crate) items: Option<ItemCounts>,
    /// Those that undo it.
    pub(crate) compensation: Option<ItemCounts>,
    /// What somebody decided.
    pub(crate) decision: Option<Decision>,
    /// The event that it waited for.
    pub(crate) event: Option<u64>,
}

impl RunStep {
    /// Whether it ended.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "failed" | "skipped" | "cancelled")
    }
}

/// How many items there are, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct ItemCounts {
    /// How many there are to be.
    pub(crate) total: u64,
    /// How many completed.
    pub(crate) completed: u64,
    /// How many failed.
    pub(crate) failed: u64,
    /// How many were cancelled.
    pub(crate) cancelled: u64,
}

/// What somebody decided about an approval.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Decision {
    /// Whether they approved.
    pub(crate) approved: bool,
    /// Who.
    pub(crate) by: String,
    /// What they said of it.
    pub(crate) comment: Option<String>,
}

/// One page of runs.
#[derive(Debug, Deserialize)]
pub(crate) struct RunPage {
    /// Newest first.
    pub(crate) runs: Vec<Document<Run>>,
    /// Where the next page starts.
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

/// An item of a step.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RunItem {
    /// Its number, from 0.
    pub(crate) index: u32,
    /// The job that is its work.
    #[serde(default)]
    pub(crate) job: Option<String>,
    /// The run that is its work.
    #[serde(default)]
    pub(crate) run: Option<String>,
    /// Where that stands.
    #[serde(default)]
    pub(crate) state: String,
    /// What came out.
    #[serde(default)]
    pub(crate) result: Value,
    /// What went wrong.
    #[serde(default)]
    pub(crate) error: Option<JobError>,
}

/// One page of items.
#[derive(Debug, Deserialize)]
pub(crate) struct RunItemPage {
    /// By their index.
    pub(crate) items: Vec<Document<RunItem>>,
    /// After which one the next page starts.
    #[serde(default)]
    pub(crate) next_after: Option<u32>,
}

/// A line of the journal of a run.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct JournalLine {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// When.
    #[serde(default)]
    pub(crate) at: Option<String>,
    /// What happened, as a word.
    #[serde(default)]
    pub(crate) what: String,
    /// The step that it is about.
    #[serde(default)]
    pub(crate) step: Option<String>,
    /// The same in a sentence.
    #[serde(default)]
    pub(crate) message: String,
}

/// One page of a journal.
#[derive(Debug, Deserialize)]
pub(crate) struct JournalPage {
    /// Oldest first.
    pub(crate) lines: Vec<Document<JournalLine>>,
    /// After which one the next page starts.
    #[serde(default)]
    pub(crate) next_after: Option<u64>,
}
