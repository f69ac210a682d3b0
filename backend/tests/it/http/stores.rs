//! A store that fails.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_backend::{
    domain::{
        AttemptRecord, Blocked, Cause, Consumer, ConsumerName, Job, NewEvent, PublishedEvent, Sequence,
        State, TypeSettings,
    },
    engine::ports::{
        Accepted, Appended, Applied, ConsumerChange, ConsumerChanged, ConsumerStep, Consumers, Count,
        Dispatch, DispatchMarks, DispatchNumber, DispatchedOrder, Emission, Events, Followers,
        IdempotencyKey, InFlight, Inserted, JobEvent, JobQuery, Jobs, Lifecycle, LogBounds, Quarantine,
        QuarantineEntry, QuarantinedMessage, Standing, Stepped, StoreError, StoreUsage, StoredClaim,
        StoredType, Types, Written,
    },
};
use crewcall_proto::{AttemptId, JobId, JobType, Timestamp};

/// A store that does nothing but fail, in whichever way its function does; but for what is read from it at the start.
pub(super) struct FailingStore(pub(super) fn() -> StoreError);

#[async_trait]
impl Jobs for FailingStore {
    async fn insert(&self, _: Vec<Accepted>) -> Result<Written<Vec<Inserted>>, StoreError> {
        Err((self.0)())
    }

    async fn submitted_before(&self, _: &IdempotencyKey) -> Result<Option<Inserted>, StoreError> {
        Err((self.0)())
    }

    async fn apply(&self, _: Vec<JobEvent>) -> Result<Written<Vec<Applied>>, StoreError> {
        Err((self.0)())
    }

    async fn dispatch_due(
        &self,
        _: &JobType,
        _: usize,
        _: usize,
    ) -> Result<Written<Option<Duration>>, StoreError> {
        Err((self.0)())
    }

    async fn confirm_dispatches(&self, _: DispatchNumber) -> Result<(), StoreError> {
        Err((self.0)())
    }

    async fn unconfirmed_dispatches(&self, _: DispatchNumber, _: usize) -> Result<Vec<Dispatch>, StoreError> {
        Err((self.0)())
    }

    async fn dispatch_marks(&self) -> Result<DispatchMarks, StoreError> {
        Err((self.0)())
    }

    async fn release_due(&self, _: usize) -> Result<Written<Option<Timestamp>>, StoreError> {
        Err((self.0)())
    }

    async fn expire_due(&self, _: usize) -> Result<Written<Option<Timestamp>>, StoreError> {
        Err((self.0)())
    }

    async fn release_unroutable(&self, _: &JobType, _: usize) -> Result<Written<()>, StoreError> {
        Err((self.0)())
    }

    async fn ready_types(&self) -> Result<Vec<JobType>, StoreError> {
        Err((self.0)())
    }

    async fn claims(&self, _: Option<JobId>, _: usize) -> Result<Vec<StoredClaim>, StoreError> {
        Ok(Vec::new())
    }

    async fn dispatched(&self, _: &JobType, _: usize) -> Result<Vec<DispatchedOrder>, StoreError> {
        Err((self.0)())
    }

    async fn standings(&self, _: Vec<JobId>) -> Result<Vec<Option<Standing>>, StoreError> {
        Err((self.0)())
    }

    async fn revoked(&self, _: usize) -> Result<Vec<(JobType, AttemptId)>, StoreError> {
        Ok(Vec::new())
    }

    async fn get(&self, _: JobId) -> Result<Option<(Job, Vec<AttemptRecord>)>, StoreError> {
        Err((self.0)())
    }

    async fn list(&self, _: &JobQuery) -> Result<Vec<Job>, StoreError> {
        Err((self.0)())
    }

    async fn list_ids(&self, _: &JobQuery) -> Result<Vec<JobId>, StoreError> {
        Err((self.0)())
    }

    async fn delete_finished(&self, _: State, _: Duration, _: usize) -> Result<Written<()>, StoreError> {
        Err((self.0)())
    }

    async fn counts(&self) -> Result<Vec<Count>, StoreError> {
        Err((self.0)())
    }

    async fn counts_of(&self, _: &JobType) -> Result<Vec<Count>, StoreError> {
        Err((self.0)())
    }

    async fn oldest(
        &self,
        _: Vec<JobType>,
        _: &'static [State],
    ) -> Result<Vec<(JobType, Timestamp)>, StoreError> {
        Err((self.0)())
    }

    fn in_flight(&self, _: &JobType) -> InFlight {
        InFlight::default()
    }
}

#[async_trait]
impl Events for FailingStore {
    async fn append(&self, _: Vec<NewEvent>) -> Result<Written<Vec<Appended>>, StoreError> {
        Err((self.0)())
    }

    async fn append_emissions(&self, _: Vec<Emission>) -> Result<Written<Vec<Option<Appended>>>, StoreError> {
        Err((self.0)())
    }

    async fn events_after(&self, _: Sequence, _: usize, _: usize) -> Result<Vec<PublishedEvent>, StoreError> {
        Err((self.0)())
    }

    async fn event(&self, _: Sequence) -> Result<Option<PublishedEvent>, StoreError> {
        Err((self.0)())
    }

    async fn log_bounds(&self) -> Result<LogBounds, StoreError> {
        Ok(LogBounds { oldest: Sequence(1), head: Sequence(0) })
    }

    async fn delete_events(&self, _: Duration, _: Duration, _: usize) -> Result<usize, StoreError> {
        Err((self.0)())
    }
}

#[async_trait]
impl Consumers for FailingStore {
    fn consumers(&self) -> Vec<Arc<Consumer>> {
        Vec::new()
    }

    fn consumer(&self, _: &ConsumerName) -> Option<Arc<Consumer>> {
        None
    }

    async fn change_consumer(
        &self,
        _: &ConsumerName,
        _: ConsumerChange,
    ) -> Result<ConsumerChanged, StoreError> {
        Err((self.0)())
    }

    async fn consume(&self, _: ConsumerStep) -> Result<Written<Stepped>, StoreError> {
        Err((self.0)())
    }

    async fn cause(&self, _: JobId) -> Result<Option<Cause>, StoreError> {
        Err((self.0)())
    }
}

#[async_trait]
impl Followers for FailingStore {
    async fn comes_after(&self, _: JobId) -> Result<Option<Blocked>, StoreError> {
        Err((self.0)())
    }

    fn unblocked(&self) -> usize {
        0
    }

    async fn release_unblocked(&self, _: usize) -> Result<Written<bool>, StoreError> {
        Err((self.0)())
    }
}

#[async_trait]
impl Types for FailingStore {
    async fn types(&self) -> Result<Vec<StoredType>, StoreError> {
        Ok(Vec::new())
    }

    async fn put_type(&self, _: StoredType) -> Result<(), StoreError> {
        Err((self.0)())
    }

    async fn delete_type(&self, _: &JobType) -> Result<Option<usize>, StoreError> {
        Err((self.0)())
    }

    async fn type_settings(&self) -> Result<Vec<(JobType, TypeSettings)>, StoreError> {
        Ok(Vec::new())
    }

    async fn put_type_settings(&self, _: &JobType, _: &TypeSettings) -> Result<bool, StoreError> {
        Err((self.0)())
    }
}

#[async_trait]
impl Quarantine for FailingStore {
    async fn quarantined(&self, _: Option<u64>, _: usize) -> Result<Vec<QuarantineEntry>, StoreError> {
        Err((self.0)())
    }

    async fn delete_quarantined(&self, _: Option<u64>) -> Result<usize, StoreError> {
        Err((self.0)())
    }

    async fn quarantine(&self, _: Vec<QuarantinedMessage>) -> Result<(), StoreError> {
        Err((self.0)())
    }
}

#[async_trait]
impl Lifecycle for FailingStore {
    async fn installation(&self) -> Result<String, StoreError> {
        Err((self.0)())
    }

    async fn usage(&self) -> Result<StoreUsage, StoreError> {
        Err((self.0)())
    }

    async fn failed(&self) -> String {
        std::future::pending().await
    }

    async fn close(&self) {}

    async fn check(&self) -> Result<(), StoreError> {
        Err((self.0)())
    }
}
