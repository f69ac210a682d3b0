//! Jobs, as a store keeps them.

use std::time::Duration;

use async_trait::async_trait;
use crewcall_proto::{AttemptId, JobId, JobType, Timestamp};

use super::{
    Accepted, Applied, Count, Dispatch, DispatchMarks, DispatchNumber, DispatchedOrder, IdempotencyKey,
    InFlight, Inserted, JobEvent, JobQuery, Standing, StoreError, StoredClaim, Written,
};
use crate::domain::{AttemptRecord, Job, State};

/// Keeps the truth about every job. Each write also tells what happened to jobs ([`Written::changes`]): a job is not told of
/// without a change, and no change is left out.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Stores accepted jobs. A job whose type has fewer than `window` attempts with the broker, nobody waiting in front
    /// of it and nothing set for it is dispatched in the same step (see [`Jobs::dispatch_due`]). A job with an
    /// idempotency key that is younger than [`IDEMPOTENCY_KEPT_FOR`](super::IDEMPOTENCY_KEPT_FOR) is not stored again, nor is one of a type beyond
    /// [`UNANNOUNCED_TYPES_MAX`](super::UNANNOUNCED_TYPES_MAX). Returns in the order of `jobs`.
    async fn insert(&self, jobs: Vec<Accepted>) -> Result<Written<Vec<Inserted>>, StoreError>;

    /// What became of an earlier submission with this key, if there was one: never [`Inserted::Stored`]. Whatever was
    /// sent to the store before is stored by then.
    async fn submitted_before(&self, key: &IdempotencyKey) -> Result<Option<Inserted>, StoreError>;

    /// Runs the state machine over `events`, in order, and keeps what it says. Returns in their order.
    async fn apply(&self, events: Vec<JobEvent>) -> Result<Written<Vec<Applied>>, StoreError>;

    /// Moves due jobs of the type from ready to dispatched, in the order of priority (highest first), due time and id, until
    /// `window` attempts of the type occupy the dispatch window, `limit` jobs were moved, or what is set for the type
    /// ([`super::Types::put_type_settings`]) allows no more. That is judged here, where nothing can come between: `running_max` counts
    /// what is dispatched or running, held attempts included. Each job gets the next dispatch number, and a token if its
    /// attempt has none. Returns for how long only the rate limit keeps others that are ready and fit, if it does.
    async fn dispatch_due(
        &self,
        job_type: &JobType,
        window: usize,
        limit: usize,
    ) -> Result<Written<Option<Duration>>, StoreError>;

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

    /// Makes up to `limit` scheduled jobs ready whose time has come. Returns when the next one is due, if there is one.
    async fn release_due(&self, limit: usize) -> Result<Written<Option<Timestamp>>, StoreError>;

    /// Runs the state machine with [`Event::Expired`](crate::domain::Event::Expired) over up to `limit` jobs that have not started and whose
    /// `expires_at` has come. Returns when the next one expires, if there is one.
    async fn expire_due(&self, limit: usize) -> Result<Written<Option<Timestamp>>, StoreError>;

    /// Makes up to `limit` unroutable jobs of the type ready.
    async fn release_unroutable(&self, job_type: &JobType, limit: usize) -> Result<Written<()>, StoreError>;

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

    /// One job with its ended attempts, oldest first.
    async fn get(&self, id: JobId) -> Result<Option<(Job, Vec<AttemptRecord>)>, StoreError>;

    /// Jobs, newest first.
    async fn list(&self, query: &JobQuery) -> Result<Vec<Job>, StoreError>;

    /// The ids of jobs, newest first.
    async fn list_ids(&self, query: &JobQuery) -> Result<Vec<JobId>, StoreError>;

    /// Deletes up to `limit` jobs in this terminal state that have been over for longer than `kept_for`, with everything
    /// about them.
    async fn delete_finished(
        &self,
        state: State,
        kept_for: Duration,
        limit: usize,
    ) -> Result<Written<()>, StoreError>;

    /// How many jobs there are, by type and state, in the order of the types. Costs no query: it is always known.
    async fn counts(&self) -> Result<Vec<Count>, StoreError>;

    /// How many attempts of a type are dispatched or run, as committed last.
    fn in_flight(&self, job_type: &JobType) -> InFlight;

    /// How many jobs of one type there are, by state. Costs less than [`Jobs::counts`].
    async fn counts_of(&self, job_type: &JobType) -> Result<Vec<Count>, StoreError>;

    /// When the oldest job of each of these types was accepted that is in one of these states, which are not terminal;
    /// only the types that have one. One read, with a look into an index for each type and state.
    async fn oldest(
        &self,
        job_types: Vec<JobType>,
        states: &'static [State],
    ) -> Result<Vec<(JobType, Timestamp)>, StoreError>;
}
