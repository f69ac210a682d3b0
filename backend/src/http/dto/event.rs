//! A job as the stream of all changes shows it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    JobError, JobState, Progress,
    job::{cancel_requested, worker_id},
    rfc3339,
};
use crate::domain;

/// A job that changed: the job without its parameters, its result and its attempts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobEvent {
    /// Its id.
    #[schema(format = Uuid)]
    pub id: String,
    /// What kind of work.
    #[schema(example = "image.thumbnail")]
    pub r#type: String,
    /// Where it stands.
    #[schema(value_type = JobState)]
    pub state: &'static str,
    /// Who goes first among the jobs of a type: 0 (last) to 9 (first).
    pub priority: u8,
    /// Words to find it by.
    pub labels: BTreeMap<String, String>,
    /// The attempt that runs, or the next one while the job waits.
    pub attempt: u32,
    /// How many attempts it has at most.
    pub max_attempts: u32,
    /// The latest news of the current attempt.
    pub progress: Option<Progress>,
    /// What went wrong last, if anything did.
    pub error: Option<JobError>,
    /// The worker that runs the current attempt, once it said so.
    pub worker_id: Option<String>,
    /// When it was accepted.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it may be dispatched.
    #[schema(format = DateTime)]
    pub due_at: String,
    /// When the current or last attempt began, by the worker's clock.
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    /// When the job ended.
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
    /// Whether somebody asked to cancel it, and it is not over.
    pub cancel_requested: bool,
    /// Counts the changes, from 1.
    pub version: u64,
}

impl From<&domain::Job> for JobEvent {
    fn from(job: &domain::Job) -> Self {
        let status = &job.status;
        Self {
            id: job.id.to_string(),
            r#type: job.job_type.to_string(),
            state: status.state.as_str(),
            priority: job.priority.get(),
            labels: job.labels.clone(),
            attempt: status.attempt.get(),
            max_attempts: status.max_attempts,
            progress: status.progress.as_ref().map(Progress::from),
            error: status.error.as_ref().map(JobError::from),
            worker_id: worker_id(status),
            created_at: rfc3339(job.created_at),
            due_at: rfc3339(status.due_at),
            started_at: status.started_at.map(rfc3339),
            finished_at: status.finished_at.map(rfc3339),
            cancel_requested: cancel_requested(status),
            version: status.version,
        }
    }
}
