//! What the jobs of one answer wait for.

use std::collections::HashMap;

use crewcall_proto::JobType;

use crate::{
    dispatch::Jobs,
    domain::{Job, Waiting, waiting::Surroundings},
};

/// Tells what jobs wait for, looking at each type's workers only once: a page has up to 500 jobs, and there may
/// be thousands of workers.
pub(super) struct WaitingReader<'a> {
    jobs: &'a Jobs,
    broker_trouble: Option<String>,
    by_type: HashMap<JobType, Surroundings>,
}

impl<'a> WaitingReader<'a> {
    /// What is the case now.
    pub(super) fn new(jobs: &'a Jobs) -> Self {
        let broker_trouble = jobs.broker.status().borrow().trouble();
        Self { jobs, broker_trouble, by_type: HashMap::new() }
    }

    /// What a job waits for; `None` when it is over.
    pub(super) fn of(&mut self, job: &Job) -> Option<Waiting> {
        if job.life.state.is_terminal() {
            return None;
        }
        let around = self.by_type.entry(job.job_type.clone()).or_insert_with(|| Surroundings {
            broker_trouble: self.broker_trouble.clone(),
            queue_trouble: self.jobs.catalogue.queue_trouble(&job.job_type),
            workers: self.jobs.registry.capacity(&job.job_type).workers,
            type_known: self.jobs.catalogue.knows(&job.job_type),
            flow: self.jobs.flow.get(&job.job_type),
        });
        Waiting::of(&job.job_type, &job.life, around.clone())
    }
}
