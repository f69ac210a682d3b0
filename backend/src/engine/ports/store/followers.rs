//! Jobs that come after others.

use async_trait::async_trait;
use crewcall_proto::JobId;

use super::{StoreError, Written};
use crate::domain::{Blocked, State};

/// How many links there may be from blocked jobs to those that they come after: they stand in the memory of whoever writes, at some
/// 100 bytes each.
pub const LINKS_MAX: usize = 500_000;

/// What is kept of jobs that come after others. Such a job is blocked until those are over, and is moved on by the very commit
/// that ends the last of them, unless thousands are.
#[async_trait]
pub trait Followers: Send + Sync {
    /// What a job comes after, and how that stands; `None` when it comes after nothing. Also of a job that is not blocked any
    /// more: then as it was when it began.
    async fn comes_after(&self, id: JobId) -> Result<Option<Blocked>, StoreError>;

    /// How many blocked jobs nothing blocks any more, as committed last. Costs no query.
    fn unblocked(&self) -> usize;

    /// Moves on up to `limit` of those. Returns whether there are more.
    async fn release_unblocked(&self, limit: usize) -> Result<Written<bool>, StoreError>;
}

/// What is to be written of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkWrite {
    /// A job comes that comes after others. It is among the inserts of the same decision.
    Follows { job_id: JobId, blocked: Blocked },
    /// A job that others come after ended, or goes on after all (`None`).
    Stands { job_id: JobId, end: Option<State> },
}
