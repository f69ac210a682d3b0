//! What the HTTP API answers, as far as this program looks inside.
//!
//! Every answer is kept twice: as the JSON that came (printed by `-o json`, so that fields of a newer
//! backend are not lost) and as a view with the fields that tables and progress bars show. The views are
//! lenient: a field that is missing or new is never an error.

use std::{collections::BTreeMap, ops::Deref};

use serde::{
    Deserialize,
    de::{DeserializeOwned, Deserializer, Error},
};
use serde_json::Value;

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
    /// What it waits for.
    #[serde(default)]
    pub(crate) waiting_for: Option<WaitingFor>,
    /// Grows with every change.
    #[serde(default)]
    pub(crate) version: u64,
    /// The attempts that ended, oldest first.
    #[serde(default)]
    pub(crate) attempts: Vec<AttemptRecord>,
}

/// Where a job is in its life; the words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
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
}

impl JobError {
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

/// One worker.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Worker {
    /// Its id.
    pub(crate) id: String,
    /// The name of its program.
    #[serde(default)]
    pub(crate) name: String,
    /// The version of its program.
    #[serde(default)]
    pub(crate) version: String,
    /// The SDK that it was written with.
    #[serde(default)]
    pub(crate) sdk: Option<Sdk>,
    /// Where it runs.
    #[serde(default)]
    pub(crate) host: String,
    /// Its process there.
    #[serde(default)]
    pub(crate) pid: Option<u64>,
    /// `idle`, `busy`, `draining` or `lost`.
    pub(crate) status: String,
    /// How many attempts it runs at once.
    #[serde(default)]
    pub(crate) slots: u32,
    /// How many it runs now.
    #[serde(default)]
    pub(crate) slots_busy: u32,
    /// What it serves.
    #[serde(default)]
    pub(crate) types: Vec<String>,
    /// What it runs.
    #[serde(default)]
    pub(crate) orders: Vec<RunningOrder>,
    /// When it started.
    #[serde(default)]
    pub(crate) started_at: Option<String>,
    /// When it was last heard of.
    #[serde(default)]
    pub(crate) last_seen_at: Option<String>,
}

/// The SDK of a worker.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Sdk {
    /// Its programming language.
    pub(crate) language: String,
    /// Its version.
    pub(crate) version: String,
}

/// An attempt that a worker runs.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RunningOrder {
    /// The job.
    pub(crate) job_id: String,
    /// The number of the attempt.
    pub(crate) attempt: u32,
    /// Whether the worker has taken it over from the broker.
    #[serde(default)]
    pub(crate) held: bool,
}

/// All workers.
#[derive(Debug, Deserialize)]
pub(crate) struct WorkerList {
    /// The workers.
    pub(crate) workers: Vec<Document<Worker>>,
}

/// One job type.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct JobType {
    /// Its name.
    #[serde(rename = "type")]
    pub(crate) name: String,
    /// What its worker says about it.
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// The version that its worker announced.
    #[serde(default)]
    pub(crate) version: Option<String>,
    /// JSON Schema of the parameters.
    #[serde(default)]
    pub(crate) parameters_schema: Value,
    /// JSON Schema of the result.
    #[serde(default)]
    pub(crate) result_schema: Value,
    /// Whether a worker ever announced it; jobs may name a type that nobody serves.
    #[serde(default = "announced_by_default")]
    pub(crate) announced: bool,
    /// How many live workers serve it.
    #[serde(default)]
    pub(crate) workers: u32,
    /// How many attempts they run at once.
    #[serde(default)]
    pub(crate) slots: u32,
    /// How many jobs are in each state.
    #[serde(default)]
    pub(crate) jobs: BTreeMap<String, u64>,
    /// How long the oldest waiting job has waited.
    #[serde(default)]
    pub(crate) oldest_waiting_at: Option<String>,
}

/// All job types.
#[derive(Debug, Deserialize)]
pub(crate) struct TypeList {
    /// The types.
    pub(crate) types: Vec<Document<JobType>>,
}

fn announced_by_default() -> bool {
    true
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
