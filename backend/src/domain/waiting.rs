//! What a job waits for, in one sentence: nothing is ever silently stuck. Each is true at the moment it is said; where
//! not enough is known for a sentence, there is one that says less.

use std::time::Duration;

use crewcall_proto::{Attempt, JobId, JobType, Timestamp, WorkerId};

use super::{Claim, JobStatus, State, TypeSettings};

/// What a job that is not over waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Waiting {
    /// The end of jobs that it comes after.
    Others {
        /// How many are not over, and one of them; `None` when that is not known here.
        open: Option<(usize, JobId)>,
    },
    /// The time of the next attempt.
    Due {
        attempt: Attempt,
        at: Timestamp,
        /// What went wrong with the one before.
        after: Option<String>,
    },
    /// Nothing: it is sent as soon as the backend gets round to it.
    Turn(JobType),
    /// Room in the dispatch window: as many attempts of the type are with the broker as may be.
    Window {
        job_type: JobType,
        /// How many may be.
        window: usize,
    },
    /// Somebody to end a pause of the type.
    Pause {
        job_type: JobType,
        by: String,
    },
    /// An attempt of the type to end: as many run as may.
    Limit {
        job_type: JobType,
        /// How many may run at once.
        running_max: u32,
    },
    /// The next moment at which the rate limit of the type lets an attempt begin.
    Rate {
        job_type: JobType,
        /// How many may begin in a second.
        per_second: f64,
    },
    Broker(String),
    /// Somebody to mend the type's queue.
    Queue {
        job_type: JobType,
        /// What is wrong with it.
        error: String,
    },
    /// The type to be taken: workers announced it, and it was refused.
    Refused {
        job_type: JobType,
        reason: String,
    },
    /// Somebody who serves the type: nobody ever did.
    FirstWorker(JobType),
    /// Somebody who serves the type: nobody is there now.
    Worker(JobType),
    /// Somebody who takes orders: those who serve the type are draining.
    Draining(JobType),
    /// A free slot of one of the type's workers.
    Slot {
        job_type: JobType,
        /// How many slots there are, all of them taken.
        slots: usize,
    },
    /// A worker to report that it began.
    Start(JobType),
    /// The worker that runs it.
    Response(WorkerId),
    /// The broker to deliver its order again: the worker that ran it is gone.
    Redelivery(Absent),
    /// The worker that holds it to be heard again, or to be given up.
    Lease(Absent),
    /// The worker that was told to stop.
    Cancellation {
        /// Who, if somebody reported that it began.
        worker_id: Option<WorkerId>,
        /// Set when that worker is not there.
        absent: Option<Absent>,
    },
}

/// A worker that runs an attempt and is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    pub worker_id: WorkerId,
    /// For how long it has said nothing; `None` when nothing is known of it: it said goodbye, or this backend is new.
    pub silent_for: Option<Duration>,
}

/// What is known around a job: the same for every job of its type.
#[derive(Debug, Clone, Default)]
pub struct WaitingContext {
    /// Why the broker cannot be reached or takes nothing, if so.
    pub broker_unavailable: Option<String>,
    /// Why the type has no queue, if so.
    pub queue_error: Option<String>,
    /// Why the type was not taken when it was announced last, if so.
    pub refusal: Option<String>,
    /// Who serves the type now.
    pub staff: Staff,
    /// Whether any worker ever announced the type.
    pub type_known: bool,
    /// What was set for the type.
    pub settings: TypeSettings,
    /// Whether its rate limit keeps the next attempt now.
    pub rate_wait: bool,
    /// How many attempts of the type may be with the broker at once.
    pub window: usize,
    pub with_broker: usize,
    /// How many are dispatched or run: those with the broker, and those that workers hold.
    pub in_flight: usize,
}

/// Who serves a type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Staff {
    /// How many workers are there.
    pub workers: usize,
    /// How many of them drain: they take no more orders.
    pub draining: usize,
    /// How many slots the others have.
    pub slots: usize,
    /// How many of those were taken when the workers were last heard.
    pub slots_busy: usize,
}

/// How the worker is that runs an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimant {
    There,
    /// It has said nothing for so long, and counts as lost.
    Silent(Duration),
    /// Nothing is known of it.
    Unknown,
}

/// What keeps the jobs of a type that is served from its queue.
const ROUTE_MISSING: &str = "the binding through which its orders get there was removed; it is declared again within some ten seconds";

impl Waiting {
    /// What a job of `job_type` waits for; `None` when it is over.
    #[must_use]
    pub fn of(
        job_type: &JobType,
        status: &JobStatus,
        context: &WaitingContext,
        claimant: impl FnOnce(&WorkerId) -> Claimant,
    ) -> Option<Self> {
        let job_type = job_type.clone();
        let waiting = match status.state {
            State::Completed | State::Failed | State::Cancelled => return None,
            State::Blocked => Self::Others { open: None },
            State::Scheduled => Self::Due {
                attempt: status.attempt,
                at: status.due_at,
                after: status.error.as_ref().map(|error| error.message.clone()),
            },
            State::Unroutable => context.route(job_type),
            State::Dispatched | State::Running => match &status.claim {
                _ if status.cancellation.is_some() => Self::cancellation(status.claim.as_ref(), claimant),
                Some(claim) => Self::response(claim, claimant),
                None => context.start(job_type),
            },
            State::Ready => context.dispatch(job_type),
        };
        Some(waiting)
    }

    /// What jobs of `job_type` wait for that are due and of which nobody reported that they began; `None` for a state that
    /// has no such jobs.
    #[must_use]
    pub fn of_due(job_type: &JobType, state: State, context: &WaitingContext) -> Option<Self> {
        let job_type = job_type.clone();
        match state {
            State::Ready => Some(context.dispatch(job_type)),
            State::Unroutable => Some(context.route(job_type)),
            State::Dispatched => Some(context.start(job_type)),
            State::Blocked
            | State::Scheduled
            | State::Running
            | State::Completed
            | State::Failed
            | State::Cancelled => None,
        }
    }

    fn response(claim: &Claim, claimant: impl FnOnce(&WorkerId) -> Claimant) -> Self {
        match absent(claim, claimant) {
            None => Self::Response(claim.worker_id.clone()),
            Some(absent) if claim.held => Self::Lease(absent),
            Some(absent) => Self::Redelivery(absent),
        }
    }

    fn cancellation(claim: Option<&Claim>, claimant: impl FnOnce(&WorkerId) -> Claimant) -> Self {
        Self::Cancellation {
            worker_id: claim.map(|claim| claim.worker_id.clone()),
            absent: claim.and_then(|claim| absent(claim, claimant)),
        }
    }

    /// The stable word for programs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Others { .. } => "jobs",
            Self::Due { .. } => "due",
            Self::Turn(_) => "turn",
            Self::Window { .. } => "window",
            Self::Pause { .. } => "pause",
            Self::Limit { .. } => "limit",
            Self::Rate { .. } => "rate",
            Self::Broker(_) => "broker",
            Self::Queue { .. } => "queue",
            Self::Refused { .. } => "refused",
            Self::FirstWorker(_) => "first_worker",
            Self::Worker(_) => "worker",
            Self::Draining(_) => "draining",
            Self::Slot { .. } => "slot",
            Self::Start(_) => "start",
            Self::Response(_) => "response",
            Self::Redelivery(_) => "redelivery",
            Self::Lease(_) => "lease",
            Self::Cancellation { .. } => "cancellation",
        }
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
            Self::Others { open: None } => "waits for the end of jobs that it comes after".to_owned(),
            Self::Others { open: Some((1, id)) } => format!("waits for the end of job {id}"),
            Self::Others { open: Some((jobs, id)) } => {
                format!("waits for the end of {jobs} jobs, job {id} among them")
            }
            Self::Turn(_) => "is about to be sent".to_owned(),
            Self::Window { job_type, window } => {
                format!("waits its turn: {window} {job_type} jobs are with the broker, and no more may be")
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
            Self::Queue { job_type, error } => {
                format!("waits for the queue of type {job_type} to be repaired: {error}")
            }
            Self::Refused { job_type, reason } => {
                format!("waits for a worker of type {job_type}: one announced it and was refused: {reason}")
            }
            Self::FirstWorker(job_type) => {
                format!("waits for a worker of type {job_type}: none has ever announced it")
            }
            Self::Worker(job_type) => {
                format!("waits for a worker of type {job_type}: none is known to be there")
            }
            Self::Draining(job_type) => {
                format!("waits for a worker of type {job_type}: all that are there take no more orders")
            }
            Self::Slot { job_type, slots } => {
                format!("waits for a free slot of a worker of type {job_type}: all {slots} are taken")
            }
            Self::Start(job_type) => {
                format!("is with the broker: no worker of type {job_type} has reported yet that it began")
            }
            Self::Response(worker_id) => format!("runs on worker {worker_id}"),
            Self::Redelivery(absent) => {
                format!("{}: the broker delivers the order again when it misses it, too", absent.sentence())
            }
            Self::Lease(absent) => {
                format!("{}: the attempt is given up unless it is heard again", absent.sentence())
            }
            Self::Cancellation { worker_id: _, absent: Some(absent) } => {
                format!("waits for its cancellation, which was requested: {}", absent.sentence())
            }
            Self::Cancellation { worker_id: Some(worker_id), absent: None } => {
                format!("waits for worker {worker_id} to stop: its cancellation was requested")
            }
            Self::Cancellation { worker_id: None, absent: None } => {
                "waits for its order to be revoked: its cancellation was requested".to_owned()
            }
        }
    }
}

impl Absent {
    fn sentence(&self) -> String {
        match self.silent_for {
            Some(silent_for) => {
                format!("its worker {} fell silent {} s ago", self.worker_id, silent_for.as_secs())
            }
            None => format!("its worker {} is not known to be there", self.worker_id),
        }
    }
}

fn absent(claim: &Claim, claimant: impl FnOnce(&WorkerId) -> Claimant) -> Option<Absent> {
    let silent_for = match claimant(&claim.worker_id) {
        Claimant::There => return None,
        Claimant::Silent(silent_for) => Some(silent_for),
        Claimant::Unknown => None,
    };
    Some(Absent { worker_id: claim.worker_id.clone(), silent_for })
}

impl WaitingContext {
    /// What keeps orders of the type from every worker, if anything does.
    fn obstacle(&self, job_type: &JobType) -> Option<Waiting> {
        let job_type = job_type.clone();
        match self {
            Self { broker_unavailable: Some(trouble), .. } => Some(Waiting::Broker(trouble.clone())),
            Self { queue_error: Some(error), .. } => Some(Waiting::Queue { job_type, error: error.clone() }),
            Self { refusal: Some(reason), type_known: false, .. } => {
                Some(Waiting::Refused { job_type, reason: reason.clone() })
            }
            Self { type_known: false, .. } => Some(Waiting::FirstWorker(job_type)),
            Self { staff: Staff { workers: 0, .. }, .. } => Some(Waiting::Worker(job_type)),
            Self { staff: Staff { workers, draining, .. }, .. } if draining >= workers => {
                Some(Waiting::Draining(job_type))
            }
            Self { .. } => None,
        }
    }

    /// What a job waits for whose order came back.
    fn route(&self, job_type: JobType) -> Waiting {
        self.obstacle(&job_type)
            .unwrap_or_else(|| Waiting::Queue { job_type, error: ROUTE_MISSING.to_owned() })
    }

    /// What an order waits for that was sent, and of which no worker reported that it began.
    fn start(&self, job_type: JobType) -> Waiting {
        let Staff { slots, slots_busy, .. } = self.staff;
        match self.obstacle(&job_type) {
            Some(obstacle) => obstacle,
            None if slots_busy >= slots => Waiting::Slot { job_type, slots },
            None => Waiting::Start(job_type),
        }
    }

    /// What a job waits for that is due.
    fn dispatch(&self, job_type: JobType) -> Waiting {
        if let Some(pause) = &self.settings.pause {
            return Waiting::Pause { job_type, by: pause.by.clone() };
        }
        if let Some(obstacle) = self.obstacle(&job_type) {
            return obstacle;
        }
        let is_reached = |limit: &u32| self.in_flight >= usize::try_from(*limit).unwrap_or(usize::MAX);
        let rate = self.settings.rate_per_second.filter(|_| self.rate_wait);
        match (self.settings.running_max.filter(is_reached), rate) {
            (Some(running_max), _) => Waiting::Limit { job_type, running_max },
            (None, _) if self.with_broker >= self.window => Waiting::Window { job_type, window: self.window },
            (None, Some(per_second)) => Waiting::Rate { job_type, per_second },
            (None, None) => Waiting::Turn(job_type),
        }
    }
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
