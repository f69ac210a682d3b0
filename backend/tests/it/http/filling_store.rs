//! A store whose disk is small.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

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
        QuarantineEntry, QuarantinedMessage, Standing, Stepped, Store, StoreError, StoreUsage, StoredClaim,
        StoredType, Types, Written,
    },
};
use crewcall_proto::{AttemptId, JobId, JobType, Timestamp};

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

    async fn append_emissions(
        &self,
        emissions: Vec<Emission>,
    ) -> Result<Written<Vec<Option<Appended>>>, StoreError> {
        self.take(emissions.len())?;
        self.store.append_emissions(emissions).await
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
impl Followers for FillingStore {
    async fn comes_after(&self, id: JobId) -> Result<Option<Blocked>, StoreError> {
        self.store.comes_after(id).await
    }

    fn unblocked(&self) -> usize {
        self.store.unblocked()
    }

    async fn release_unblocked(&self, limit: usize) -> Result<Written<bool>, StoreError> {
        self.store.release_unblocked(limit).await
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
