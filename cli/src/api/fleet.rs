//! Workers and job types as the API shows them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{ActorNote, Document};

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
    /// Whether the worker holds it: its order is acknowledged.
    #[serde(default)]
    pub(crate) held: bool,
}

/// All workers.
#[derive(Debug, Deserialize)]
pub(crate) struct WorkerList {
    /// The workers.
    pub(crate) workers: Vec<Document<Worker>>,
}

/// An event that the jobs of a type publish.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct EmittedEvent {
    /// What it is about.
    pub(crate) subject: String,
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
    /// Which events its jobs publish.
    #[serde(default)]
    pub(crate) emits: Vec<EmittedEvent>,
    /// Whether a worker ever announced it; jobs may name a type that nobody serves.
    #[serde(default = "announced_by_default")]
    pub(crate) announced: bool,
    /// Why it is not served with its schemas, if it is not.
    #[serde(default)]
    pub(crate) schema_error: Option<String>,
    /// Why it was not taken from a worker, if it was not.
    #[serde(default)]
    pub(crate) refused: Option<String>,
    /// How many live workers serve it.
    #[serde(default)]
    pub(crate) workers: u32,
    /// How many attempts they run at once.
    #[serde(default)]
    pub(crate) slots: u32,
    /// Why its workers get no jobs, if its queue is not as it should be.
    #[serde(default)]
    pub(crate) queue_error: Option<String>,
    /// How many jobs are in each state.
    #[serde(default)]
    pub(crate) jobs: BTreeMap<String, u64>,
    /// How long the oldest waiting job has waited.
    #[serde(default)]
    pub(crate) oldest_waiting_at: Option<String>,
    /// Who lets its jobs wait.
    #[serde(default)]
    pub(crate) paused: Option<ActorNote>,
    /// How many attempts may run at once.
    #[serde(default)]
    pub(crate) running_max: Option<u32>,
    /// How many attempts may begin in a second.
    #[serde(default)]
    pub(crate) rate_per_second: Option<f64>,
}

/// All job types.
#[derive(Debug, Deserialize)]
pub(crate) struct TypeList {
    /// The types.
    pub(crate) types: Vec<Document<JobType>>,
    /// What the next page begins after.
    pub(crate) next_cursor: Option<String>,
}

fn announced_by_default() -> bool {
    true
}
