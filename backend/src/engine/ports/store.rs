//! The store as the use-cases see it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_proto::{
    Attempt, AttemptId, AttemptToken, JobId, JobType, JsonObject, Order, PROTOCOL_VERSION, Timestamp,
};

use crate::domain::{AttemptRecord, Event, Job, Stale, State, TypeSettings};

/// Keeps the truth about every job.
///
/// Every method is one transaction: it has happened durably when it returns, or not at all. Writes are
/// serialised; a store may commit several of them together.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Stores accepted jobs. A job whose type has fewer than `window` attempts with the broker, nobody waiting in front
    /// of it and nothing set for it is dispatched in the same step (see [`JobStore::dispatch_due`]). A job with an
    /// idempotency key that is younger than [`IDEMPOTENCY_KEPT_FOR`] is not stored again, nor is one of a type beyond
    /// [`UNANNOUNCED_TYPES_MAX`]. Answers in the order of `jobs`.
    async fn insert(&self, jobs: Vec<Accepted>) -> Result<Vec<Inserted>, StoreError>;

    /// What became of an earlier submission with this key, if there was one: never [`Inserted::Stored`]. Whatever was
    /// sent to the store before is stored by then.
    async fn submitted_before(&self, key: &IdempotencyKey) -> Result<Option<Inserted>, StoreError>;

    /// Runs the state machine over `events`, in order, and keeps what it says. Answers in their order.
    async fn apply(&self, events: Vec<JobEvent>) -> Result<Vec<Applied>, StoreError>;

    /// Moves due jobs of the type from ready to dispatched, in the order of priority (highest first), due time and id, until
    /// `window` attempts of the type occupy the dispatch window, `limit` jobs were moved, or what is set for the type
    /// ([`JobStore::put_type_settings`]) allows no more. That is judged here, where nothing can come between: `running_max` counts
    /// what is dispatched or running, held attempts included. Each job gets the next dispatch number, and a token if its
    /// attempt has none.
    async fn dispatch_due(&self, job_type: &JobType, window: usize, limit: usize) -> Result<Due, StoreError>;

    /// Keeps the high-water mark: every dispatch up to and including this number was confirmed by the
    /// broker or is over.
    async fn confirm_dispatches(&self, up_to: DispatchNumber) -> Result<(), StoreError>;

    /// The jobs in state dispatched above the mark and above `after`, in the order of their numbers: what a new process has to publish again.
    async fn unconfirmed_dispatches(
        &self,
        after: DispatchNumber,
        limit: usize,
    ) -> Result<Vec<Dispatch>, StoreError>;

    /// The mark as it was last kept, and the newest number. Numbers have no gaps: one that was rolled back is
    /// used again.
    async fn dispatch_marks(&self) -> Result<DispatchMarks, StoreError>;

    /// Makes up to `limit` scheduled jobs ready whose time has come.
    async fn release_due(&self, now: Timestamp, limit: usize) -> Result<Released, StoreError>;

    /// Runs the state machine with [`Event::Expired`] over up to `limit` jobs that have not started and whose
    /// `expires_at` has come.
    async fn expire_due(&self, now: Timestamp, limit: usize) -> Result<ExpiredJobs, StoreError>;

    /// Makes up to `limit` unroutable jobs of the type ready.
    async fn release_unroutable(&self, job_type: &JobType, limit: usize) -> Result<Released, StoreError>;

    /// The types with jobs in state ready.
    async fn ready_types(&self) -> Result<Vec<JobType>, StoreError>;

    /// Every running job's claim, above `after` by job id: what leases are rebuilt from.
    async fn claims(&self, after: Option<JobId>, limit: usize) -> Result<Vec<StoredClaim>, StoreError>;

    /// The jobs of the type in state dispatched, the longest dispatched first: what the reconciler looks after.
    async fn dispatched(&self, job_type: &JobType, limit: usize) -> Result<Vec<DispatchedOrder>, StoreError>;

    /// How the jobs stand, in the order of `jobs`; `None` for one that there is not.
    async fn standings(&self, jobs: Vec<JobId>) -> Result<Vec<Option<Standing>>, StoreError>;

    /// Of the `limit` jobs that were cancelled last: the attempts that were dispatched and that nobody reported to have
    /// ended, oldest first.
    async fn revoked(&self, limit: usize) -> Result<Vec<(JobType, AttemptId)>, StoreError>;

    /// Whether it can do its work now: reads a little, and takes a job through its life, of which nothing is kept.
    async fn check(&self) -> Result<(), StoreError>;

    /// One job with its ended attempts, oldest first.
    async fn get(&self, id: JobId) -> Result<Option<(Job, Vec<AttemptRecord>)>, StoreError>;

    /// Jobs, newest first.
    async fn list(&self, query: &JobQuery) -> Result<Vec<Job>, StoreError>;

    /// The ids of jobs, newest first.
    async fn list_ids(&self, query: &JobQuery) -> Result<Vec<JobId>, StoreError>;

    /// Deletes up to `limit` jobs in this terminal state that finished before `before`, with everything about
    /// them. Answers how many.
    async fn delete_finished(
        &self,
        state: State,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError>;

    /// How many jobs there are, by type and state, in the order of the types. Costs no query: it is always known.
    async fn counts(&self) -> Result<Vec<Count>, StoreError>;

    /// How many attempts of a type are dispatched or run, as committed last.
    fn in_flight(&self, job_type: &JobType) -> InFlight;
    /// How many jobs of one type there are, by state. Costs less than [`JobStore::counts`].
    async fn counts_of(&self, job_type: &JobType) -> Result<Vec<Count>, StoreError>;

    /// When the oldest job of each of these types was accepted that is in one of these states, which are not terminal;
    /// only the types that have one. One read, with a look into an index for each type and state.
    async fn oldest(
        &self,
        job_types: Vec<JobType>,
        states: &'static [State],
    ) -> Result<Vec<(JobType, Timestamp)>, StoreError>;

    /// The types ever announced, by name.
    async fn types(&self) -> Result<Vec<StoredType>, StoreError>;

    /// Keeps a type as it was last announced.
    async fn put_type(&self, stored: StoredType) -> Result<(), StoreError>;

    /// Deletes a type as it was announced, and what was set for it. Answers how much there was of it; `None`, if it has
    /// jobs: nothing is deleted then.
    async fn delete_type(&self, job_type: &JobType) -> Result<Option<usize>, StoreError>;

    /// What was set for types; a type that is not named has the default.
    async fn type_settings(&self) -> Result<Vec<(JobType, TypeSettings)>, StoreError>;

    /// Keeps what was set for a type, and answers whether it did: not for one more type beyond [`UNANNOUNCED_TYPES_MAX`].
    /// A rate limit remembers what began under it, also over a change of what is set, until it is removed.
    async fn put_type_settings(
        &self,
        job_type: &JobType,
        settings: &TypeSettings,
    ) -> Result<bool, StoreError>;

    /// The messages that were set aside, newest first; only those older than `before`, if given.
    async fn quarantined(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<QuarantineEntry>, StoreError>;

    /// Deletes one message that was set aside; or all, for `None`. Answers how many.
    async fn delete_quarantined(&self, number: Option<u64>) -> Result<usize, StoreError>;

    /// Sets messages aside that could not be read, keeping the newest [`QUARANTINE_MESSAGES_MAX`].
    async fn quarantine(&self, messages: Vec<QuarantinedMessage>) -> Result<(), StoreError>;
}

/// How many attempts of a type are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InFlight {
    /// Those that occupy the dispatch window.
    pub with_broker: usize,
    /// All that are dispatched or run, held ones among them.
    pub all: usize,
}

/// How many unreadable messages are kept; older ones make room.
pub const QUARANTINE_MESSAGES_MAX: u32 = 10_000;

/// How much of an unreadable message is kept, in bytes.
pub const QUARANTINE_BODY_BYTES_MAX: usize = 4 * 1024;

/// How many types that nobody ever announced may have jobs or settings. Who submits chooses the names, each costs memory
/// and a place in every list, and its jobs wait until somebody serves it; a mistyped name is one, a thousand are a mistake
/// in a program. Types that were announced have a limit of their own and do not count.
pub const UNANNOUNCED_TYPES_MAX: usize = 1_000;

/// A job to be stored.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The job, in state ready.
    pub job: Job,
    /// The dispatch window of its type at this moment; 0 keeps it from being dispatched at once.
    pub window: usize,
    /// Under which name the submitter may send it again without making another job.
    pub idempotency: Option<IdempotencyKey>,
}

/// For how long an idempotency key is remembered.
pub const IDEMPOTENCY_KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A submitter's own name for a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The name.
    pub key: String,
    /// What the body was: its SHA-256.
    pub body_hash: [u8; 32],
}

/// What became of an [`Accepted`] job.
#[derive(Debug, Clone)]
pub enum Inserted {
    /// It is stored.
    Stored {
        /// The job as it is stored.
        job: Arc<Job>,
        /// Its dispatch number, when it was dispatched at once.
        dispatched: Option<DispatchNumber>,
    },
    /// A job with this key and body is stored already.
    Replayed {
        /// That job, as it is now.
        job: Arc<Job>,
    },
    /// A job with this key and another body is stored already.
    KeyReused,
    /// Nobody announced its type, and [`UNANNOUNCED_TYPES_MAX`] others that nobody announced are there already.
    TooManyTypes,
}

/// Jobs that expired.
#[derive(Debug, Clone, Default)]
pub struct ExpiredJobs {
    /// What it changed.
    pub changes: Vec<JobChange>,
    /// When the next one expires, if there is one.
    pub next_expiry_at: Option<Timestamp>,
}

/// An order that should be with the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchedOrder {
    /// The job.
    pub job_id: JobId,
    /// Its current attempt.
    pub attempt: Attempt,
    /// The attempt's token.
    pub token: AttemptToken,
    /// Under which number it was dispatched.
    pub number: DispatchNumber,
}

/// A message that was set aside, with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// Counts the messages, upwards.
    pub number: u64,
    /// The message.
    pub message: QuarantinedMessage,
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
    /// Its number.
    pub number: DispatchNumber,
    /// The job, in state dispatched or running, with a token.
    pub job: Arc<Job>,
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

/// What was dispatched of a type.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// The attempts, in their order.
    pub dispatches: Vec<Dispatch>,
    /// When more are ready and fit, and only the rate limit keeps them: for how long.
    pub rate_wait: Option<Duration>,
}

/// Something that happened to a job.
#[derive(Debug, Clone)]
pub struct JobEvent {
    /// Which job.
    pub job_id: JobId,
    /// What.
    pub event: Event,
}

/// What an event did.
#[derive(Debug, Clone)]
pub enum Applied {
    /// It changed the job.
    Changed(Box<JobChange>),
    /// It changed nothing.
    Stale(Stale),
    /// There is no such job.
    UnknownJob,
}

/// How an event changed a job.
#[derive(Debug, Clone)]
pub struct JobChange {
    /// Which job.
    pub job_id: JobId,
    /// Its type.
    pub job_type: JobType,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// How long its attempts may run.
    pub timeout: Option<Duration>,
    /// Where it stood.
    pub from: State,
    /// Its status now.
    pub status: crate::domain::JobStatus,
    /// The attempt that ended, if one did.
    pub ended: Option<AttemptRecord>,
    /// Whether the change made room in the dispatch window.
    pub freed_window: bool,
    /// The dispatch that a worker was seen to have by this, if it was the first word of it. Left out when the attempt was
    /// sent again, because nobody knows which of its orders the worker has.
    pub delivered: Option<DispatchNumber>,
}

/// Jobs that became ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Released {
    /// Which, with their types and new versions, for those who watch.
    pub jobs: Vec<(JobId, JobType, u64)>,
    /// Of which types.
    pub job_types: Vec<JobType>,
    /// When the next scheduled job is due, if there is one; only [`JobStore::release_due`] says so.
    pub next_due_at: Option<Timestamp>,
}

/// The claim of a running job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredClaim {
    /// The job.
    pub job_id: JobId,
    /// Its type.
    pub job_type: JobType,
    /// Its current attempt.
    pub attempt: Attempt,
    /// The attempt's token.
    pub token: AttemptToken,
    /// Who runs it.
    pub claim: crate::domain::Claim,
    /// How long the attempt may run.
    pub timeout: Option<Duration>,
    /// Whether it was asked to stop.
    pub cancelled: bool,
}

/// How a job stands: what a worker asks before it runs an order that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its state.
    pub state: State,
    /// Its current attempt.
    pub attempt: Attempt,
    /// The attempt's token.
    pub token: Option<AttemptToken>,
    /// Whether somebody asked to cancel it.
    pub cancelled: bool,
}

/// Which jobs to list. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// In one of these states; empty for any.
    pub states: Vec<State>,
    /// Of this type; `*` stands for any characters. `None` for any.
    pub job_type: Option<String>,
    /// With these labels.
    pub labels: BTreeMap<String, String>,
    /// Accepted at or after this time.
    pub created_after: Option<Timestamp>,
    /// Accepted before this time.
    pub created_before: Option<Timestamp>,
    /// Only jobs older than this one: where the last page ended.
    pub before: Option<JobId>,
    /// How many at most.
    pub limit: usize,
    /// After how many bytes of parameters and results a list of whole jobs ends early, with the job that reaches
    /// them. `None` for never.
    pub bytes_max: Option<usize>,
}

/// How many jobs of a type are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The type.
    pub job_type: JobType,
    /// The state.
    pub state: State,
    /// How many.
    pub jobs: u64,
}

/// A type as it was last announced.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredType {
    /// The type.
    pub job_type: JobType,
    /// One sentence.
    pub description: String,
    /// The version of the handler.
    pub version: String,
    /// JSON Schema of the parameters.
    pub parameters_schema: JsonObject,
    /// JSON Schema of the result.
    pub result_schema: JsonObject,
    /// When it was first announced.
    pub first_announced_at: Timestamp,
    /// When it was last announced.
    pub last_announced_at: Timestamp,
}

/// A message that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedMessage {
    /// The queue that it came from.
    pub queue: String,
    /// Its routing key.
    pub routing_key: String,
    /// A stable word: why.
    pub reason: String,
    /// A sentence: why.
    pub detail: String,
    /// Its first [`QUARANTINE_BODY_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
    /// How long it was, in bytes.
    pub body_bytes: usize,
    /// When it was set aside.
    pub at: Timestamp,
}

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot work now: locked, full, or an I/O error. May work later.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What it says.
        reason: String,
    },
    /// What it was to read takes too long, and was given up.
    #[error("the read took longer than {} s", .after.as_secs_f64())]
    TooSlow {
        /// After which time.
        after: Duration,
    },
    /// It cannot do this one thing: a row cannot be read, or a statement is refused, by an error in the program or a
    /// file that was edited. Whether it can do others, [`JobStore::check`] tells.
    #[error("the store refused: {reason}")]
    Broken {
        /// What it says.
        reason: String,
    },
    /// It will never work again in this process, and nobody knows what of the last things it was asked is on disk.
    #[error("the store failed: {reason}")]
    Failed {
        /// What it says.
        reason: String,
    },
    /// It has been closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TooSlow { .. })
    }
}
