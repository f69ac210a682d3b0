//! Stores that fail.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use crewcall_backend::{
    domain::{
        AttemptRecord, Cause, Consumer, ConsumerName, Job, NewEvent, PublishedEvent, Sequence, State,
        TypeSettings,
    },
    engine::ports::{
        Accepted, Appended, Applied, ConsumerChange, ConsumerChanged, ConsumerStep, Consumers, Count,
        Dispatch, DispatchMarks, DispatchNumber, DispatchedOrder, Events, IdempotencyKey, InFlight, Inserted,
        JobEvent, JobQuery, Jobs, Lifecycle, LogBounds, Quarantine, QuarantineEntry, QuarantinedMessage,
        Standing, Stepped, Store, StoreError, StoreUsage, StoredClaim, StoredType, Types, Written,
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

/// A store whose disk has room for only so many jobs.
pub(super) struct FillingStore {
    pub(super) store: Arc<dyn Store>,
    pub(super) room: Mutex<usize>,
}

impl FillingStore {
    fn take(&self, jobs: usize) -> Result<(), StoreError> {
        let mut room = self.room.lock().unwrap();
        *room = room
            .checked_sub(jobs)
            .ok_or_else(|| StoreError::Unavailable { reason: "the disk is full".to_owned() })?;
        Ok(())
    }
}

#[async_trait]
impl Jobs for FillingStore {
    async fn insert(&self, jobs: Vec<Accepted>) -> Result<Written<Vec<Inserted>>, StoreError> {
        self.take(jobs.len())?;
        self.store.insert(jobs).await
    }

    async fn submitted_before(&self, key: &IdempotencyKey) -> Result<Option<Inserted>, StoreError> {
        self.store.submitted_before(key).await
    }

    async fn apply(&self, events: Vec<JobEvent>) -> Result<Written<Vec<Applied>>, StoreError> {
        self.store.apply(events).await
    }

    async fn dispatch_due(
        &self,
        job_type: &JobType,
        window: usize,
        limit: usize,
    ) -> Result<Written<Option<Duration>>, StoreError> {
        self.store.dispatch_due(job_type, window, limit).await
    }

    async fn confirm_dispatches(&self, up_to: DispatchNumber) -> Result<(), StoreError> {
        self.store.confirm_dispatches(up_to).await
    }

    async fn unconfirmed_dispatches(
        &self,
        after: DispatchNumber,
        limit: usize,
    ) -> Result<Vec<Dispatch>, StoreError> {
        self.store.unconfirmed_dispatches(after, limit).await
    }

    async fn dispatch_marks(&self) -> Result<DispatchMarks, StoreError> {
        self.store.dispatch_marks().await
    }

    async fn release_due(&self, limit: usize) -> Result<Written<Option<Timestamp>>, StoreError> {
        self.store.release_due(limit).await
    }

    async fn expire_due(&self, limit: usize) -> Result<Written<Option<Timestamp>>, StoreError> {
        self.store.expire_due(limit).await
    }

    async fn release_unroutable(&self, job_type: &JobType, limit: usize) -> Result<Written<()>, StoreError> {
        self.store.release_unroutable(job_type, limit).await
    }

    async fn ready_types(&self) -> Result<Vec<JobType>, StoreError> {
        self.store.ready_types().await
    }

    async fn claims(&self, after: Option<JobId>, limit: usize) -> Result<Vec<StoredClaim>, StoreError> {
        self.store.claims(after, limit).await
    }

    async fn dispatched(&self, job_type: &JobType, limit: usize) -> Result<Vec<DispatchedOrder>, StoreError> {
        self.store.dispatched(job_type, limit).await
    }

    async fn standings(&self, jobs: Vec<JobId>) -> Result<Vec<Option<Standing>>, StoreError> {
        self.store.standings(jobs).await
    }

    async fn revoked(&self, limit: usize) -> Result<Vec<(JobType, AttemptId)>, StoreError> {
        self.store.revoked(limit).await
    }

    async fn get(&self, id: JobId) -> Result<Option<(Job, Vec<AttemptRecord>)>, StoreError> {
        self.store.get(id).await
    }

    async fn list(&self, query: &JobQuery) -> Result<Vec<Job>, StoreError> {
        self.store.list(query).await
    }

    async fn list_ids(&self, query: &JobQuery) -> Result<Vec<JobId>, StoreError> {
        self.store.list_ids(query).await
    }

    async fn delete_finished(
        &self,
        state: State,
        kept_for: Duration,
        limit: usize,
    ) -> Result<Written<()>, StoreError> {
        self.store.delete_finished(state, kept_for, limit).await
    }

    async fn counts(&self) -> Result<Vec<Count>, StoreError> {
        self.store.counts().await
    }

    async fn counts_of(&self, job_type: &JobType) -> Result<Vec<Count>, StoreError> {
        self.store.counts_of(job_type).await
    }

    async fn oldest(
        &self,
        job_types: Vec<JobType>,
        states: &'static [State],
    ) -> Result<Vec<(JobType, Timestamp)>, StoreError> {
        self.store.oldest(job_types, states).await
    }

    fn in_flight(&self, job_type: &JobType) -> InFlight {
        self.store.in_flight(job_type)
    }
}

#[async_trait]
impl Events for FillingStore {
    async fn append(&self, events: Vec<NewEvent>) -> Result<Written<Vec<Appended>>, StoreError> {
        self.take(events.len())?;
        self.store.append(events).await
    }

    async fn events_after(
        &self,
        after: Sequence,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<PublishedEvent>, StoreError> {
        self.store.events_after(after, limit, bytes_max).await
    }

    async fn event(&self, sequence: Sequence) -> Result<Option<PublishedEvent>, StoreError> {
        self.store.event(sequence).await
    }

    async fn log_bounds(&self) -> Result<LogBounds, StoreError> {
        self.store.log_bounds().await
    }

    async fn delete_events(
        &self,
        kept_for: Duration,
        held_for: Duration,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.store.delete_events(kept_for, held_for, limit).await
    }
}

#[async_trait]
impl Consumers for FillingStore {
    fn consumers(&self) -> Vec<Arc<Consumer>> {
        self.store.consumers()
    }

    fn consumer(&self, name: &ConsumerName) -> Option<Arc<Consumer>> {
        self.store.consumer(name)
    }

    async fn change_consumer(
        &self,
        name: &ConsumerName,
        change: ConsumerChange,
    ) -> Result<ConsumerChanged, StoreError> {
        self.store.change_consumer(name, change).await
    }

    async fn consume(&self, step: ConsumerStep) -> Result<Written<Stepped>, StoreError> {
        self.store.consume(step).await
    }

    async fn cause(&self, job_id: JobId) -> Result<Option<Cause>, StoreError> {
        self.store.cause(job_id).await
    }
}

#[async_trait]
impl Types for FillingStore {
    async fn types(&self) -> Result<Vec<StoredType>, StoreError> {
        self.store.types().await
    }

    async fn put_type(&self, stored: StoredType) -> Result<(), StoreError> {
        self.store.put_type(stored).await
    }

    async fn delete_type(&self, job_type: &JobType) -> Result<Option<usize>, StoreError> {
        self.store.delete_type(job_type).await
    }

    async fn type_settings(&self) -> Result<Vec<(JobType, TypeSettings)>, StoreError> {
        self.store.type_settings().await
    }

    async fn put_type_settings(&self, job_type: &JobType, flow: &TypeSettings) -> Result<bool, StoreError> {
        self.store.put_type_settings(job_type, flow).await
    }
}

#[async_trait]
impl Quarantine for FillingStore {
    async fn quarantined(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<QuarantineEntry>, StoreError> {
        self.store.quarantined(before, limit).await
    }

    async fn delete_quarantined(&self, number: Option<u64>) -> Result<usize, StoreError> {
        self.store.delete_quarantined(number).await
    }

    async fn quarantine(&self, messages: Vec<QuarantinedMessage>) -> Result<(), StoreError> {
        self.store.quarantine(messages).await
    }
}

#[async_trait]
impl Lifecycle for FillingStore {
    async fn installation(&self) -> Result<String, StoreError> {
        self.store.installation().await
    }

    async fn usage(&self) -> Result<StoreUsage, StoreError> {
        self.store.usage().await
    }

    async fn failed(&self) -> String {
        self.store.failed().await
    }

    async fn close(&self) {
        self.store.close().await;
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }
}
