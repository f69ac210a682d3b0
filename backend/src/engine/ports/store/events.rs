//! The log of published events, as a store keeps it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_proto::{Attempt, AttemptToken, JobId};

use super::{StoreError, Written};
use crate::domain::{NewEvent, PublishedEvent, Sequence};

/// Keeps what people publish. The store gives each event its [`Sequence`]: whoever has read up to one never sees a lower one
/// appear later, whatever was rolled back and however many write at once.
#[async_trait]
pub trait Events: Send + Sync {
    /// Records events in this order, in one transaction. One whose id is in the log already is not recorded again. Returns in
    /// the order of `events`.
    async fn append(&self, events: Vec<NewEvent>) -> Result<Written<Vec<Appended>>, StoreError>;

    /// Records events that the attempts of jobs publish while they run, in this order, in one transaction, as
    /// [`append`](Events::append) does. Returns in the order of `emissions`; `None` for one that no attempt of its job can have
    /// published: the job is not there, or its attempt never had this token.
    async fn append_emissions(
        &self,
        emissions: Vec<Emission>,
    ) -> Result<Written<Vec<Option<Appended>>>, StoreError>;

    /// Events after this place, oldest first: at most `limit`, and at most `bytes_max` of data, the last event aside.
    async fn events_after(
        &self,
        after: Sequence,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<PublishedEvent>, StoreError>;

    /// One event; `None` when there is none there, or not any more.
    async fn event(&self, sequence: Sequence) -> Result<Option<PublishedEvent>, StoreError>;

    /// From where to where the log goes.
    async fn log_bounds(&self) -> Result<LogBounds, StoreError>;

    /// Deletes up to `limit` of the oldest events, those that were recorded longer ago than `kept_for` and that every consumer has
    /// passed; or longer ago than `held_for`, passed or not. Returns how many.
    async fn delete_events(
        &self,
        kept_for: Duration,
        held_for: Duration,
        limit: usize,
    ) -> Result<usize, StoreError>;
}

/// An event that an attempt publishes while it runs.
#[derive(Debug, Clone)]
pub struct Emission {
    pub job_id: JobId,
    pub attempt: Attempt,
    /// That of the attempt's order: the right to publish in its name.
    pub token: AttemptToken,
    pub event: NewEvent,
}

/// What became of an event that was to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub enum Appended {
    Recorded(Arc<PublishedEvent>),
    /// It was recorded before, under the same id.
    Replayed(Arc<PublishedEvent>),
    /// Its id belongs to an event that says something else.
    IdReused(Sequence),
}

/// From where to where the log goes. Empty when `oldest` is above `head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// The oldest event that is kept, or the next one if none is.
    pub oldest: Sequence,
    /// The newest event; 0 before the first.
    pub head: Sequence,
}
