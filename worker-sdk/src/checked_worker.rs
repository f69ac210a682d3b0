//! A worker whose description holds together.

use crewcall_amqp::LinkConfig;
use crewcall_proto::JobType;

use crate::{handler::ServedType, settings::Settings, worker_error::WorkerError};

/// A worker that can be run.
pub(crate) struct CheckedWorker {
    pub(crate) settings: Settings,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) slots: u32,
    pub(crate) types: Vec<ServedType>,
    pub(crate) unavailable: Vec<UnavailableType>,
}

impl CheckedWorker {
    /// Checks that there is something to serve, and a URL to reach the broker by.
    pub(crate) fn ready(&self) -> Result<(), WorkerError> {
        LinkConfig::new(&self.settings.amqp_url, &self.name).validate()?;
        if !self.types.is_empty() {
            return Ok(());
        }
        let reason =
            |unavailable: &UnavailableType| format!("{}: {}", unavailable.job_type, unavailable.reason);
        let reasons: Vec<String> = self.unavailable.iter().map(reason).collect();
        Err(WorkerError::NothingToServe(if reasons.is_empty() {
            "give it at least one job type with .job(…)".to_owned()
        } else {
            reasons.join("; ")
        }))
    }

    pub(crate) fn served(&self, job_type: &JobType) -> Option<&ServedType> {
        self.types.iter().find(|served| served.job_type() == job_type)
    }
}

/// A job type that this worker knows but cannot serve here.
#[derive(Debug, Clone)]
pub(crate) struct UnavailableType {
    pub(crate) job_type: JobType,
    pub(crate) reason: String,
}
