//! What the HTTP API answers, as far as this program looks inside.
//!
//! Every answer is kept twice: as the JSON that came (printed by `-o json`, so that fields of a newer
//! backend are not lost) and as a view with the fields that tables and progress bars show. The views are
//! lenient: a field that is missing or new is never an error.

mod consumers;
mod event_log;
mod fleet;
mod health;
mod hooks;
mod metrics;
mod operations;
mod problem;
mod schedules;
mod webhooks;
mod workflows;

use std::{collections::BTreeMap, ops::Deref};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, Deserializer, Error},
};
use serde_json::Value;

pub(crate) use self::{
    consumers::{Cause, Consumer, ConsumerList, EventNote, Moved, Remarks, Replay},
    event_log::{EventPage, PublishedEvent},
    fleet::{JobType, TypeList, Worker, WorkerList},
    health::{Readiness, http_time},
    hooks::{BodyCheck, Hook, HookList, HookVerify, Retiring},
    metrics::Metrics,
    operations::{BatchOutcome, BulkOutcome, Deleted, QuarantinePage, QuarantinedMessage},
    problem::{Mistake, Problem},
    schedules::{Backfill, OpenTick, Schedule, ScheduleList, SchedulePreview, Tick, TickPage, UpcomingTick},
    webhooks::{Webhook, WebhookList},
    workflows::{
        ItemCounts, JournalLine, JournalPage, Run, RunItem, RunItemPage, RunPage, RunState, RunStep,
        StartedBy, Workflow, WorkflowCheck, WorkflowList, WorkflowVersion, WorkflowVersionPage,
    },
};

/// An answer: the JSON that came, and our view of it.
#[derive(Debug, Clone)]
pub(crate) struct Document<T> {
    /// The JSON as it came.
    pub(crate) raw: Value,
    view: T,
}

impl<T> Deref for Document<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.view
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Document<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Value::deserialize(deserializer)?;
        let view = T::deserialize(&raw).map_err(D::Error::custom)?;
        Ok(Self { raw, view })
    }
}

/// One job; in lists and in the stream of all jobs some fields are absent.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Job {
    /// Its id.
    pub(crate) id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub(crate) job_type: String,
    /// Where it is in its life.
    pub(crate) state: JobState,
    /// 0 to 9, 9 first.
    #[serde(default)]
    pub(crate) priority: Option<u8>,
    /// Its parameters.
    #[serde(default)]
    pub(crate) parameters: Value,
    /// Its labels.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// The current attempt, 0 before the first.
    #[serde(default)]
    pub(crate) attempt: u32,
    /// How many attempts it may take.
    #[serde(default)]
    pub(crate) max_attempts: u32,
    /// How far the current attempt is.
    #[serde(default)]
    pub(crate) progress: Option<Progress>,
    /// What the worker answered.
    #[serde(default)]
    pub(crate) result: Value,
    /// Why it failed, or why its last attempt did.
    #[serde(default)]
    pub(crate) error: Option<JobError>,
    /// Who runs it.
    #[serde(default)]
    pub(crate) worker_id: Option<String>,
    /// When it was accepted.
    #[serde(default)]
    pub(crate) created_at: Option<String>,
    /// When it was or is due.
    #[serde(default)]
    pub(crate) due_at: Option<String>,
    /// When the current attempt started.
    #[serde(default)]
    pub(crate) started_at: Option<String>,
    /// When it ended.
    #[serde(default)]
    pub(crate) finished_at: Option<String>,
    /// How long one attempt may take.
    #[serde(default)]
    pub(crate) timeout_seconds: Option<f64>,
    /// When it is not worth beginning any more.
    #[serde(default)]
    pub(crate) expires_at: Option<String>,
    /// How long it waits between attempts.
    #[serde(default)]
    pub(crate) backoff: Option<Backoff>,
    /// Whether somebody wants it to stop.
    #[serde(default)]
    pub(crate) cancel_requested: bool,
    /// Who wants it to stop, or stopped it.
    #[serde(default)]
    pub(crate) cancellation: Option<ActorNote>,
    /// The jobs that it comes after.
    #[serde(default)]
    pub(crate) after: Vec<Predecessor>,
    /// What becomes of it when one of those fails: `cancel` or `run`.
    #[serde(default)]
    pub(crate) after_failure: Option<String>,
    /// What it waits for.
    #[serde(default)]
    pub(crate) waiting_for: Option<WaitingFor>,
    /// Grows with every change.
    #[serde(default)]
    pub(crate) version: u64,
    /// The attempts that ended, oldest first.
    #[serde(default)]
    pub(crate) attempts: Vec<AttemptRecord>,
    /// What made it, a consumer, a run or a schedule; none if somebody submitted it.
    #[serde(default)]
    pub(crate) cause: Option<Cause>,
}

/// How long a job waits between attempts.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Backoff {
    /// The first wait.
    pub(crate) initial_seconds: f64,
    /// How many times longer each further wait is.
    pub(crate) factor: f64,
    /// The longest wait.
    pub(crate) max_seconds: f64,
    /// How far waits are spread, 0 to 1.
    pub(crate) jitter: f64,
}

impl Default for Backoff {
    /// No wait at all: what a backend that does not say it is taken to mean.
    fn default() -> Self {
        Self { initial_seconds: 0.0, factor: 1.0, max_seconds: 0.0, jitter: 0.0 }
    }
}

/// What somebody did to a job or a type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct ActorNote {
    /// Who.
    pub(crate) by: String,
    /// Why.
    pub(crate) reason: Option<String>,
    /// When.
    pub(crate) at: Option<String>,
}

/// A job that another one comes after.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Predecessor {
    pub(crate) id: String,
    /// How it ended; nothing while it has not.
    #[serde(default)]
    pub(crate) end: Option<String>,
}

/// Where a job is in its life; the words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    /// Waits for the end of other jobs.
    Blocked,
    /// Due later.
    Scheduled,
    /// Due; waits for room.
    Ready,
    /// No worker has ever served the type.
    Unroutable,
    /// With the broker.
    Dispatched,
    /// A worker runs it.
    Running,
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

impl JobState {
    /// The word of the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Scheduled => "scheduled",
            Self::Ready => "ready",
            Self::Unroutable => "unroutable",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a job in this state never leaves it by itself.
    pub(crate) fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Progress {
    #[serde(default)]
    percent: Option<f64>,
    /// What the worker is doing.
    #[serde(default)]
    pub(crate) message: Option<String>,
}

impl Progress {
    /// The percentage as whole steps from 0 to 100, rounded down: 100 is only shown when it is reached.
    pub(crate) fn percent(&self) -> Option<u64> {
        let percent = self.percent?.clamp(0.0, 100.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
        let percent = percent as u64;
        Some(percent)
    }
}

/// Why a job or an attempt failed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct JobError {
    /// One of the closed set of kinds.
    pub(crate) kind: String,
    /// The worker's own code.
    #[serde(default)]
    pub(crate) code: Option<String>,
    /// A sentence.
    #[serde(default)]
    pub(crate) message: String,
    /// What lies below the message: the causes of an error, the place of a panic.
    #[serde(default)]
    pub(crate) detail: Option<String>,
}

impl JobError {
    /// What lies below the message, unless it says the same.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.detail.as_deref().map(str::trim).filter(|detail| !detail.is_empty() && *detail != self.message)
    }

    /// What stands before it: the place of a panic is no reason.
    pub(crate) fn cause_word(&self) -> &'static str {
        if self.kind == "panic" { "it panicked" } else { "because" }
    }

    /// Kind, code and message in one line.
    pub(crate) fn line(&self) -> String {
        match &self.code {
            Some(code) => format!("{} ({code}): {}", self.kind, self.message),
            None => format!("{}: {}", self.kind, self.message),
        }
    }
}

/// What a job waits for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct WaitingFor {
    /// A stable word.
    #[serde(default)]
    pub(crate) reason: String,
    /// A sentence.
    pub(crate) message: String,
}

/// An attempt that ended.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AttemptRecord {
    /// Its number, from 1.
    pub(crate) attempt: u32,
    /// `completed`, `cancelled` or an error kind.
    pub(crate) outcome: String,
    /// Who ran it.
    #[serde(default)]
    pub(crate) worker_id: Option<String>,
    /// When it started.
    #[serde(default)]
    pub(crate) started_at: Option<String>,
    /// When it ended.
    #[serde(default)]
    pub(crate) finished_at: Option<String>,
    /// Why it failed.
    #[serde(default)]
    pub(crate) error: Option<JobError>,
}

/// One page of jobs.
#[derive(Debug, Deserialize)]
pub(crate) struct JobPage {
    /// The jobs, newest first.
    pub(crate) jobs: Vec<Document<Job>>,
    /// Where the next page starts.
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_newer_backend_is_understood() {
        let job: Document<Job> =
            serde_json::from_value(json!({"id": "j", "type": "t", "state": "paused", "mood": "fine"}))
                .unwrap();
        assert_eq!(job.state, JobState::Unknown);
        assert!(!job.state.is_terminal());
        assert_eq!(job.raw["mood"], "fine");
    }
}
