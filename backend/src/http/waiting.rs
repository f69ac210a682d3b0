//! What the jobs of one answer wait for.

use std::collections::HashMap;

use crewcall_proto::JobType;

use crate::{
    domain::{Job, Waiting, waiting::WaitingContext},
    engine::Jobs,
};

/// Tells what jobs wait for, looking at each type's workers only once: a page has up to 500 jobs, and there may
/// be thousands of workers.
pub(super) struct WaitingReader<'a> {
    jobs: &'a Jobs,
    by_type: HashMap<JobType, WaitingContext>,
}

impl<'a> WaitingReader<'a> {
    /// What is the case now.
    pub(super) fn new(jobs: &'a Jobs) -> Self {
        Self { jobs, by_type: HashMap::new() }
    }

    /// What a job waits for; `None` when it is over.
    pub(super) fn of(&mut self, job: &Job) -> Option<Waiting> {
        if job.status.state.is_terminal() {
            return None;
        }
        let jobs = self.jobs;
        let around =
            self.by_type.entry(job.job_type.clone()).or_insert_with(|| jobs.waiting_context(&job.job_type));
        Waiting::of(&job.job_type, &job.status, around, |worker_id| jobs.claimant(worker_id))
    }
}
