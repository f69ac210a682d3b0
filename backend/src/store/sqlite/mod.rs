//! The embedded store: one SQLite file.
//!
//! One thread writes and commits for everybody who came meanwhile ([`writer`]); a few connections read
//! ([`reader`]). The file is in write-ahead mode with `synchronous = FULL`, so what was committed survives the
//! loss of power, and reads and writes do not wait for each other.
//!
//! What is decided in a transaction is decided elsewhere ([`rules`](crate::engine::rules)): here it is read and written.
//!
//! Reading order: `open`, `writer`, `write_context`, `load` and `write` (transactions), `rows`, then `reader`, `queries` and
//! `list` (what is read). `backup` copies the whole file.

mod open;

mod backup;

mod open_error;

mod private;

mod migrations;

pub(crate) mod writer;

mod checkpoint;

mod write_context;

mod id_clock_skew;

mod clock_rollback;

mod shared;

mod shared_counts;

mod shared_named;

mod usage;

mod run;

mod load;

mod load_runs;

mod log;

mod consumers;

mod shared_consumers;

mod versions;

mod journal;

mod runs;

mod run_list;

mod shared_runs;

mod workflows;

mod followers;

mod schedules;

mod schedule_rows;

mod shared_schedules;

mod write_schedules;

mod hooks;

mod write_hooks;

mod webhooks;

mod write;

mod write_followers;

mod write_runs;

mod rehearse;

mod quarantine;

mod columns;

mod values;

mod rows;

mod run_values;

mod run_rows;

mod counters;

mod transaction_error;

pub(crate) mod reader;

mod queries;

mod list;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_proto::{AttemptId, JobId, JobType, Timestamp};

pub use self::{
    backup::{Copied, CopyError, back_up, restore},
    open_error::OpenError,
};
use self::{
    counters::DISPATCHES_CONFIRMED, open::Ownership, open_error::Refusal, reader::Readers, shared::Shared,
    transaction_error::TransactionError, versions::Versions, write_context::WriteContext, writer::Writer,
};
use crate::{
    clock::Clock,
    domain::{
        AttemptRecord, Blocked, Cause, Consumer, ConsumerName, Job, NewEvent, PublishedEvent, Sequence,
        State, TypeSettings,
    },
    engine::{
        ports::{
            Accepted, Appended, Applied, ConsumerChange, ConsumerChanged, ConsumerStep, Consumers, Count,
            Dispatch, DispatchMarks, DispatchNumber, DispatchedOrder, Emission, Events, Followers,
            IdempotencyKey, InFlight, Inserted, JobEvent, JobQuery, Jobs, Lifecycle, LogBounds, Quarantine,
            QuarantineEntry, QuarantinedMessage, Standing, Stepped, StoreError, StoreUsage, StoredClaim,
            StoredType, Types, Written,
        },
        rules::{
            AppendEmissions, AppendEvents, ApplyEvents, ChangeConsumer, Consume, Decide, DeleteEvents,
            DeleteFinished, DeleteType, DispatchDue, ExpireDue, NewJob, PutType, PutTypeSettings, ReleaseDue,
            ReleaseUnblocked, ReleaseUnroutable, StoreJobs, SubmittedBefore, counted,
        },
    },
    metrics::Metrics,
};

/// Jobs in a SQLite file.
///
/// Whoever stops waiting for a write does not stop the write: it may still happen.
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    /// What is known without a query.
    known: Shared,
    versions: Versions,
}

impl SqliteStore {
    /// Opens the database file, makes it if it does not exist, and brings an older one up to date. Blocks the thread:
    /// for milliseconds as a rule, for as long as `BUSY_WAIT` while another program locks the file.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what to do. The file is unchanged then.
    pub fn open(path: &Path, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        let (ownership, path) = Ownership::take(path)?;
        let connection = open::writer(&path).map_err(|refusal| refusal.at(&path))?;
        let context =
            WriteContext::new(connection, clock, &metrics).map_err(|error| refusal(error, &path))?;
        let readers = Readers::open(&path).map_err(|refusal| refusal.at(&path))?;
        let (known, versions) = (context.shared.clone(), context.versions.clone());
        let writer = Writer::start(context, ownership, metrics)
            .map_err(|error| OpenError::Other { path, source: error.into() })?;
        Ok(Self { writer, readers, known, versions })
    }

    /// Does something in a transaction, which is about so many rows.
    async fn run<D>(&self, rows: usize, command: D) -> Result<Written<D::Value>, StoreError>
    where
        D: Decide + Send + 'static,
        D::Value: Send + 'static,
    {
        self.writer.write(rows, move |context| run::run(context, command)).await
    }
}

fn refusal(error: TransactionError, path: &Path) -> OpenError {
    match error {
        TransactionError::Sqlite(error) => Refusal::Sqlite(error).at(path),
        TransactionError::Unreadable { .. } | TransactionError::Inconsistent(_) => {
            OpenError::Damaged { path: path.to_owned(), source: error.into() }
        }
    }
}

#[async_trait]
impl Jobs for SqliteStore {
    async fn insert(&self, jobs: Vec<Accepted>) -> Result<Written<Vec<Inserted>>, StoreError> {
        // Encoded here, on the caller's thread: the writer's is the one that everybody waits for.
        let new: Result<Vec<NewJob>, _> = jobs.into_iter().map(NewJob::new).collect();
        let new = new.map_err(|error| StoreError::Broken { reason: error.to_string() })?;
        self.run(new.len(), StoreJobs(new)).await
    }

    async fn submitted_before(&self, key: &IdempotencyKey) -> Result<Option<Inserted>, StoreError> {
        // The writer is asked: the first submission may still be on its way to it.
        let key = key.clone();
        self.run(1, SubmittedBefore(key)).await.map(|written| written.value)
    }

    async fn apply(&self, events: Vec<JobEvent>) -> Result<Written<Vec<Applied>>, StoreError> {
        self.run(events.len(), ApplyEvents(events)).await
    }

    async fn dispatch_due(
        &self,
        job_type: &JobType,
        window: usize,
        limit: usize,
    ) -> Result<Written<Option<Duration>>, StoreError> {
        let job_type = job_type.clone();
        self.run(limit, DispatchDue { job_type, window, limit }).await
    }

    async fn confirm_dispatches(&self, up_to: DispatchNumber) -> Result<(), StoreError> {
        let raise = move |context: &mut WriteContext| {
            counters::raise(&context.connection, DISPATCHES_CONFIRMED, up_to.0)
        };
        self.writer.write(1, raise).await
    }

    async fn unconfirmed_dispatches(
        &self,
        after: DispatchNumber,
        limit: usize,
    ) -> Result<Vec<Dispatch>, StoreError> {
        self.readers.read(move |connection| queries::unconfirmed_dispatches(connection, after, limit)).await
    }

    async fn dispatch_marks(&self) -> Result<DispatchMarks, StoreError> {
        self.readers.read(queries::dispatch_marks).await
    }

    async fn release_due(&self, limit: usize) -> Result<Written<Option<Timestamp>>, StoreError> {
        self.run(limit, ReleaseDue { limit }).await
    }

    async fn release_unroutable(&self, job_type: &JobType, limit: usize) -> Result<Written<()>, StoreError> {
        let job_type = job_type.clone();
        self.run(limit, ReleaseUnroutable { job_type, limit }).await
    }

    async fn expire_due(&self, limit: usize) -> Result<Written<Option<Timestamp>>, StoreError> {
        self.run(limit, ExpireDue { limit }).await
    }

    async fn ready_types(&self) -> Result<Vec<JobType>, StoreError> {
        let ready = self.known.counts.some(|_, jobs| jobs.get(State::Ready) > 0);
        Ok(ready.into_iter().map(|(job_type, _)| job_type).collect())
    }

    async fn claims(&self, after: Option<JobId>, limit: usize) -> Result<Vec<StoredClaim>, StoreError> {
        self.readers.read(move |connection| queries::claims(connection, after, limit)).await
    }

    async fn dispatched(&self, job_type: &JobType, limit: usize) -> Result<Vec<DispatchedOrder>, StoreError> {
        let job_type = job_type.clone();
        self.readers.read(move |connection| queries::dispatched(connection, &job_type, limit)).await
    }

    async fn standings(&self, jobs: Vec<JobId>) -> Result<Vec<Option<Standing>>, StoreError> {
        self.readers.read(move |connection| queries::standings(connection, &jobs)).await
    }

    async fn revoked(&self, limit: usize) -> Result<Vec<(JobType, AttemptId)>, StoreError> {
        self.readers.read(move |connection| queries::revoked(connection, limit)).await
    }

    async fn get(&self, id: JobId) -> Result<Option<(Job, Vec<AttemptRecord>)>, StoreError> {
        self.readers.read(move |connection| queries::get(connection, id)).await
    }

    async fn list(&self, query: &JobQuery) -> Result<Vec<Job>, StoreError> {
        let (query, counts) = (query.clone(), list::counts_for(query, &self.known.counts));
        self.readers.list(move |connection| list::list(connection, &query, &counts)).await
    }

    async fn list_ids(&self, query: &JobQuery) -> Result<Vec<JobId>, StoreError> {
        let (query, counts) = (query.clone(), list::counts_for(query, &self.known.counts));
        self.readers.list(move |connection| list::list_ids(connection, &query, &counts)).await
    }

    async fn delete_finished(
        &self,
        state: State,
        kept_for: Duration,
        limit: usize,
    ) -> Result<Written<()>, StoreError> {
        self.run(limit, DeleteFinished { state, kept_for, limit }).await
    }

    async fn counts(&self) -> Result<Vec<Count>, StoreError> {
        let types = self.known.counts.all();
        Ok(types.iter().flat_map(|(job_type, counts)| counted(job_type, *counts)).collect())
    }

    async fn counts_of(&self, job_type: &JobType) -> Result<Vec<Count>, StoreError> {
        Ok(counted(job_type, self.known.counts.of(job_type)).collect())
    }

    async fn oldest(
        &self,
        job_types: Vec<JobType>,
        states: &'static [State],
    ) -> Result<Vec<(JobType, Timestamp)>, StoreError> {
        self.readers.read(move |connection| queries::oldest(connection, job_types, states)).await
    }

    fn in_flight(&self, job_type: &JobType) -> InFlight {
        self.known.counts.of(job_type).in_flight()
    }
}

#[async_trait]
impl Followers for SqliteStore {
    async fn comes_after(&self, id: JobId) -> Result<Option<Blocked>, StoreError> {
        self.readers.read(move |connection| followers::comes_after(connection, id)).await
    }

    fn unblocked(&self) -> usize {
        self.known.followers.unblocked()
    }

    async fn release_unblocked(&self, limit: usize) -> Result<Written<bool>, StoreError> {
        self.run(limit, ReleaseUnblocked { limit }).await
    }
}

#[async_trait]
impl Events for SqliteStore {
    async fn append(&self, events: Vec<NewEvent>) -> Result<Written<Vec<Appended>>, StoreError> {
        self.run(events.len(), AppendEvents(events)).await
    }

    async fn append_emissions(
        &self,
        emissions: Vec<Emission>,
    ) -> Result<Written<Vec<Option<Appended>>>, StoreError> {
        self.run(emissions.len(), AppendEmissions(emissions)).await
    }

    async fn events_after(
        &self,
        after: Sequence,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<PublishedEvent>, StoreError> {
        self.readers.read(move |connection| log::after(connection, after, limit, bytes_max)).await
    }

    async fn event(&self, sequence: Sequence) -> Result<Option<PublishedEvent>, StoreError> {
        self.readers.read(move |connection| log::one(connection, sequence)).await
    }

    async fn log_bounds(&self) -> Result<LogBounds, StoreError> {
        self.readers.read(log::bounds).await
    }

    async fn delete_events(
        &self,
        kept_for: Duration,
        held_for: Duration,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.run(limit, DeleteEvents { kept_for, held_for, limit }).await.map(|written| written.value)
    }
}

#[async_trait]
impl Consumers for SqliteStore {
    fn consumers(&self) -> Vec<Arc<Consumer>> {
        self.known.consumers.all()
    }

    fn consumer(&self, name: &ConsumerName) -> Option<Arc<Consumer>> {
        self.known.consumers.get(name)
    }

    async fn change_consumer(
        &self,
        name: &ConsumerName,
        change: ConsumerChange,
    ) -> Result<ConsumerChanged, StoreError> {
        let command = ChangeConsumer { name: name.clone(), change };
        self.run(1, command).await.map(|written| written.value)
    }

    async fn consume(&self, step: ConsumerStep) -> Result<Written<Stepped>, StoreError> {
        // Encoded here, on the caller's thread, as those that are submitted.
        let step = Consume::new(step).map_err(|error| StoreError::Broken { reason: error.to_string() })?;
        self.run(step.rows(), step).await
    }

    async fn cause(&self, job_id: JobId) -> Result<Option<Cause>, StoreError> {
        if !self.known.consumers.any() && !self.known.runs.any() && !self.known.schedules.any() {
            return Ok(None);
        }
        let versions = self.versions.clone();
        self.readers.read(move |connection| consumers::cause(connection, &versions, job_id)).await
    }
}

#[async_trait]
impl Types for SqliteStore {
    async fn types(&self) -> Result<Vec<StoredType>, StoreError> {
        self.readers.read(queries::types).await
    }

    async fn put_type(&self, stored: StoredType) -> Result<(), StoreError> {
        self.run(1, PutType(stored)).await.map(|written| written.value)
    }

    async fn delete_type(&self, job_type: &JobType) -> Result<Option<usize>, StoreError> {
        self.run(1, DeleteType(job_type.clone())).await.map(|written| written.value)
    }

    async fn type_settings(&self) -> Result<Vec<(JobType, TypeSettings)>, StoreError> {
        self.readers.read(queries::type_settings).await
    }

    async fn put_type_settings(
        &self,
        job_type: &JobType,
        settings: &TypeSettings,
    ) -> Result<bool, StoreError> {
        let command = PutTypeSettings { job_type: job_type.clone(), settings: settings.clone() };
        self.run(1, command).await.map(|written| written.value)
    }
}

#[async_trait]
impl Quarantine for SqliteStore {
    async fn quarantined(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<QuarantineEntry>, StoreError> {
        self.readers.read(move |connection| queries::quarantined(connection, before, limit)).await
    }

    async fn delete_quarantined(&self, number: Option<u64>) -> Result<usize, StoreError> {
        self.writer.write(1, move |context| quarantine::delete(context, number)).await
    }

    async fn quarantine(&self, messages: Vec<QuarantinedMessage>) -> Result<(), StoreError> {
        self.writer.write(messages.len(), move |context| quarantine::keep(context, messages)).await
    }
}

#[async_trait]
impl Lifecycle for SqliteStore {
    async fn installation(&self) -> Result<String, StoreError> {
        self.readers.read(queries::installation).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.readers.read(queries::dispatch_marks).await?;
        self.writer.write(1, rehearse::rehearse).await
    }

    async fn usage(&self) -> Result<StoreUsage, StoreError> {
        self.readers.read(usage::usage).await
    }

    async fn failed(&self) -> String {
        self.writer.failed().await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
