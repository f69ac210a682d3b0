//! What a job waits for, in one sentence: nothing is ever silently stuck.

use crewcall_proto::{Attempt, JobType, Timestamp, WorkerId};

use super::{Flow, Life, State};

/// What a job that is not over waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Waiting {
    /// The time of the next attempt.
    Due {
        /// Which attempt.
        attempt: Attempt,
        /// When.
        at: Timestamp,
        /// What went wrong with the one before.
        after: Option<String>,
    },
    /// Room in the dispatch window: earlier jobs of the type go first.
    Window(JobType),
    /// Somebody to end a pause of the type.
    Pause {
        /// The type.
        job_type: JobType,
        /// Who paused it.
        by: String,
    },
    /// An attempt of the type to end: as many run as may.
    Limit {
        /// The type.
        job_type: JobType,
        /// How many may run at once.
        running_max: u32,
    },
    /// The next moment at which the rate limit of the type lets an attempt begin.
    Rate {
        /// The type.
        job_type: JobType,
        /// How many may begin in a second.
        per_second: f64,
    },
    /// The broker.
    Broker(String),
    /// Somebody to mend the type's queue.
    Queue {
        /// The type.
        job_type: JobType,
        /// What is wrong with it.
        trouble: String,
    },
    /// Somebody who serves the type: nobody ever did.
    FirstWorker(JobType),
    /// Somebody who serves the type: those who did are gone.
    Worker(JobType),
    /// A free slot of one of the type's workers.
    Slot(JobType),
    /// The worker that runs it.
    Response(WorkerId),
    /// The worker that was told to stop.
    Cancellation(Option<WorkerId>),
}

/// What is known about the surroundings of a job.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Why the broker cannot be reached or takes nothing, if so.
    pub broker_trouble: Option<String>,
    /// Why the type has no queue, if so.
    pub queue_trouble: Option<String>,
    /// How many workers serve the type now.
    pub workers: usize,
    /// Whether any worker ever announced the type.
    pub type_known: bool,
    /// What was set for the type.
    pub flow: Flow,
}

impl Waiting {
    /// What a job of `job_type` waits for; `None` when it is over.
    #[must_use]
    pub fn of(job_type: &JobType, life: &Life, around: Surroundings) -> Option<Self> {
        let (job_type, ready) = (job_type.clone(), life.state == State::Ready);
        let waiting = match life.state {
            State::Completed | State::Failed | State::Cancelled => return None,
            State::Scheduled => Self::Due {
                attempt: life.attempt,
                at: life.due_at,
                after: life.failure.as_ref().map(|failure| failure.message.clone()),
            },
            State::Unroutable => match around.queue_trouble {
                Some(trouble) => Self::Queue { job_type, trouble },
                None => Self::FirstWorker(job_type),
            },
            State::Dispatched | State::Running if life.cancellation.is_some() => {
                Self::Cancellation(life.claim.as_ref().map(|claim| claim.worker_id.clone()))
            }
            State::Running => match &life.claim {
                Some(claim) => Self::Response(claim.worker_id.clone()),
                None => Self::Slot(job_type),
            },
            State::Ready if around.flow.pause.is_some() => {
                Self::Pause { job_type, by: around.flow.pause.map(|pause| pause.by).unwrap_or_default() }
            }
            State::Ready | State::Dispatched => match around {
                Surroundings { broker_trouble: Some(trouble), .. } => Self::Broker(trouble),
                Surroundings { queue_trouble: Some(trouble), .. } => Self::Queue { job_type, trouble },
                Surroundings { type_known: false, .. } => Self::FirstWorker(job_type),
                Surroundings { workers: 0, .. } => Self::Worker(job_type),
                Surroundings { flow: Flow { running_max: Some(running_max), .. }, .. } if ready => {
                    Self::Limit { job_type, running_max }
                }
                Surroundings { flow: Flow { rate_per_second: Some(per_second), .. }, .. } if ready => {
                    Self::Rate { job_type, per_second }
                }
                _ if ready => Self::Window(job_type),
                _ => Self::Slot(job_type),
            },
        };
        Some(waiting)
    }

    /// The sentence, without its subject. `time` writes a point in time for people.
    #[must_use]
    pub fn sentence(&self, time: impl Fn(Timestamp) -> String) -> String {
        match self {
            Self::Due { attempt, at, after: Some(after) } => {
                format!("waits until {} for attempt {attempt}, after: {after}", time(*at))
            }
            Self::Due { attempt, at, after: None } => {
                format!("waits until {} for attempt {attempt}", time(*at))
            }
            Self::Window(job_type) => {
                format!("waits its turn: earlier {job_type} jobs are with the broker")
            }
            Self::Pause { job_type, by } => {
                format!("waits for the type {job_type} to be resumed: paused by {by}")
            }
            Self::Limit { job_type, running_max } => {
                format!("waits for an attempt to end: at most {running_max} of type {job_type} run at once")
            }
            Self::Rate { job_type, per_second } => {
                format!("waits its turn: at most {per_second} attempts of type {job_type} begin in a second")
            }
            Self::Broker(trouble) => format!("waits for the broker: {trouble}"),
            Self::Queue { job_type, trouble } => {
                format!("waits for the queue of type {job_type} to be mended: {trouble}")
            }
            Self::FirstWorker(job_type) => {
                format!("waits for a worker of type {job_type}: none has ever announced it")
            }
            Self::Worker(job_type) => {
                format!("waits for a worker of type {job_type}: those that served it are gone")
            }
            Self::Slot(job_type) => format!("waits for a free slot of a worker of type {job_type}"),
            Self::Response(worker_id) => format!("runs on worker {worker_id}"),
            Self::Cancellation(Some(worker_id)) => {
                format!("waits for worker {worker_id} to stop: its cancellation was requested")
            }
            Self::Cancellation(None) => {
                "waits for its order to be revoked: its cancellation was requested".to_owned()
            }
        }
    }
}
