//! What the store is told of jobs, and what it tells.

use std::{sync::Arc, time::Duration};

use crewcall_proto::{Attempt, AttemptToken, JobId, JobType, Order, PROTOCOL_VERSION, RunId};

use crate::domain::{After, Event, Job, Stale, State};

/// How many attempts of a type are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InFlight {
    /// Those that occupy the dispatch window.
    pub with_broker: usize,
    /// All that are dispatched or run, held ones among them.
    pub all: usize,
}

/// A job to be stored.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The job, in state ready.
    pub job: Job,
    /// The dispatch window of its type at this moment; 0 keeps it from being dispatched at once.
    pub window: usize,
    /// Under which name the submitter may send it again without making another job.
    pub idempotency: Option<IdempotencyKey>,
    /// Which jobs have to be over before it begins, if any.
    pub after: Option<After>,
}

/// For how long an idempotency key is remembered.
pub const IDEMPOTENCY_KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A submitter's own name for a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub key: String,
    /// What the body was: its SHA-256.
    pub body_hash: [u8; 32],
}

/// What became of an [`Accepted`] job.
#[derive(Debug, Clone)]
pub enum Inserted {
    Stored {
        /// The job as it is stored.
        job: Arc<Job>,
    },
    /// A job with this key and body is stored already.
    Replayed {
        /// That job, as it is now.
        job: Arc<Job>,
    },
    /// A job with this key and another body is stored already.
    KeyReused,
    /// Nobody announced its type, and [`UNANNOUNCED_TYPES_MAX`](super::UNANNOUNCED_TYPES_MAX) others that nobody announced are there already.
    TooManyTypes,
    /// These jobs, which it is to come after, are not there.
    UnknownJobs(Vec<JobId>),
    /// Too many jobs come after others: [`LINKS_MAX`](super::LINKS_MAX).
    TooManyLinks,
}

/// An order that should be with the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchedOrder {
    pub job_id: JobId,
    pub attempt: Attempt,
    pub token: AttemptToken,
    /// Under which number it was dispatched.
    pub number: DispatchNumber,
}

/// Counts the dispatches of one store upwards, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DispatchNumber(pub u64);

/// How far dispatching got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DispatchMarks {
    /// Everything up to this number was confirmed by the broker or is over.
    pub confirmed: DispatchNumber,
    /// The newest number that was given.
    pub issued: DispatchNumber,
}

/// An attempt that has to be published.
#[derive(Debug, Clone)]
pub struct Dispatch {
    pub number: DispatchNumber,
    /// The job, in state dispatched or running, with a token.
    pub job: Arc<Job>,
    /// Whether an order of the job, of this attempt or another, may have been sent before.
    pub sent_before: bool,
}

impl Dispatch {
    /// The order for this attempt; `None` if the job has no token, which no dispatched job lacks.
    #[must_use]
    pub fn order(&self) -> Option<Order> {
        let status = &self.job.status;
        Some(Order {
            protocol: PROTOCOL_VERSION,
            job_id: self.job.id,
            job_type: self.job.job_type.clone(),
            attempt: status.attempt,
            attempt_token: status.token?,
            max_attempts: status.max_attempts,
            parameters: self.job.parameters.clone(),
            timeout_ms: self
                .job
                .policy
                .timeout
                .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            // Only a job that never started can expire.
            expires_at: self.job.policy.expires_at.filter(|_| status.attempt == Attempt::FIRST),
            created_at: self.job.created_at,
        })
    }
}

/// Something that happened to a job.
#[derive(Debug, Clone)]
pub struct JobEvent {
    pub job_id: JobId,
    pub event: Event,
}

/// What an event did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It changed the job.
    Changed,
    Stale(Stale),
    /// There is no such job.
    UnknownJob,
    /// It belongs to this run, which tries it again if anybody does.
    OfRun(RunId),
}

/// The claim of a running job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredClaim {
    pub job_id: JobId,
    pub job_type: JobType,
    pub attempt: Attempt,
    pub token: AttemptToken,
    pub claim: crate::domain::Claim,
    /// How long the attempt may run.
    pub timeout: Option<Duration>,
    /// Whether it was asked to stop.
    pub cancelled: bool,
}

/// How a job stands: what a worker asks before it runs an order that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub job_type: JobType,
    pub state: State,
    pub attempt: Attempt,
    pub token: Option<AttemptToken>,
    /// Whether somebody asked to cancel it.
    pub cancelled: bool,
}

/// How many jobs of a type are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    pub job_type: JobType,
    pub state: State,
    pub jobs: u64,
}
