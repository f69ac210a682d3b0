//! A worker as the API shows it.

use serde::Serialize;
use utoipa::ToSchema;

use super::rfc3339;
use crate::engine::fleet::registry;

/// The workers that are there, and those that were lost in the last ten minutes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerList {
    /// By name, then by id.
    pub workers: Vec<Worker>,
}

/// A running worker process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Worker {
    /// Its id.
    pub id: String,
    /// The program's name.
    #[schema(example = "crewcall-workers")]
    pub name: String,
    /// The program's version.
    pub version: String,
    /// What it was built with.
    pub sdk: Sdk,
    /// The machine it runs on.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// `idle`, `busy`, `draining` (it finishes what runs) or `lost` (it fell silent).
    #[schema(example = "idle")]
    pub status: &'static str,
    /// How many attempts it runs at once.
    pub slots: u32,
    /// How many of its slots are taken.
    pub slots_busy: u32,
    /// The types it serves.
    pub types: Vec<String>,
    /// What it runs, by its last heartbeat.
    pub orders: Vec<RunningOrder>,
    /// When the process started, by its own clock.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// When it announced itself.
    #[schema(format = DateTime)]
    pub announced_at: String,
    /// When it was last heard of.
    #[schema(format = DateTime)]
    pub last_seen_at: String,
}

/// The library that a worker was built with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sdk {
    /// The language.
    #[schema(example = "rust")]
    pub language: String,
    /// The library's version.
    pub version: String,
}

/// An attempt that a worker runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunningOrder {
    /// The job.
    #[schema(format = Uuid)]
    pub job_id: String,
    /// The attempt.
    pub attempt: u32,
    /// Whether the worker's heartbeat alone keeps it: its order was acknowledged already.
    pub held: bool,
}

impl From<&registry::Worker> for Worker {
    fn from(worker: &registry::Worker) -> Self {
        let announced = &worker.announcement;
        let orders = worker.orders.iter().map(|order| RunningOrder {
            job_id: order.job_id.to_string(),
            attempt: order.attempt.get(),
            held: order.held,
        });
        Self {
            id: announced.worker_id.to_string(),
            name: announced.name.clone(),
            version: announced.version.clone(),
            sdk: Sdk { language: announced.sdk.language.clone(), version: announced.sdk.version.clone() },
            host: announced.host.clone(),
            pid: announced.pid,
            status: worker.status.as_str(),
            slots: announced.slots,
            slots_busy: worker.slots_busy,
            types: announced.types.iter().map(|announced| announced.job_type.to_string()).collect(),
            orders: orders.collect(),
            started_at: rfc3339(announced.started_at),
            announced_at: rfc3339(worker.announced_at),
            last_seen_at: rfc3339(worker.last_seen_at),
        }
    }
}
