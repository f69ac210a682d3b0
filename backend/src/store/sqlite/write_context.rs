//! What the writer works with: the connection that writes, and the counts that go with it.

use std::sync::Arc;

use crewcall_proto::{JobId, Timestamp};
use rusqlite::Connection;

use super::{
    clock_rollback,
    columns::{Parameters, Value, all},
    consumers,
    counters::{self, DISPATCHES_NUMBERED, EVENTS_SEQUENCED, PASSES_BEGUN},
    followers, hooks,
    id_clock_skew::IdClockSkew,
    queries,
    rows::CountRow,
    runs::RunReader,
    schedules,
    shared::Shared,
    transaction_error::TransactionError,
    versions::Versions,
    webhooks,
};
use crate::{
    clock::Clock,
    domain::{Pass, Sequence},
    engine::{
        ports::DispatchNumber,
        rules::{JobCounts, Rules, Runs},
    },
    metrics::Metrics,
};

/// How much of the time may be forgotten by a crash of a busy process.
const TIME_KEPT_EVERY_MS: i64 = 1_000;

/// What commands work with, inside the transaction that the writer opened.
pub(super) struct WriteContext {
    pub(super) connection: Connection,
    pub(super) rules: Rules,
    /// For readers.
    pub(super) shared: Shared,
    pub(super) versions: Versions,
    /// The last dispatch number that stands in the database.
    number_kept: DispatchNumber,
    /// The last sequence of an event that stands in the database.
    sequence_kept: Sequence,
    /// The last pass that stands in the database.
    passes_kept: Pass,
    skew: IdClockSkew,
    /// What stands in the database of it.
    skew_kept: IdClockSkew,
    /// The time that stands in the database.
    time_kept: Timestamp,
}

impl WriteContext {
    /// On an open database: counts what is in it.
    pub(super) fn new(
        connection: Connection,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Result<Self, TransactionError> {
        let time_kept = clock_rollback::shift_waits(&connection, clock.now(), metrics)?;
        let number = DispatchNumber(counters::read(&connection, DISPATCHES_NUMBERED)?);
        let sequence = Sequence(counters::read(&connection, EVENTS_SEQUENCED)?);
        let mut counts = JobCounts::new(number, sequence);
        // The index alone knows of all states but those in flight, of which there are few.
        let counted: Vec<CountRow> = all(
            &connection,
            "SELECT type, state, count(*), \
               sum(CASE WHEN state IN ('dispatched', 'running') THEN claim_held IS NOT 1 ELSE 0 END) \
             FROM jobs INDEXED BY jobs_by_state GROUP BY state, type",
            (),
        )?;
        for CountRow { job_type, state, jobs, occupying } in counted {
            counts.load(&job_type, state, jobs, occupying);
        }
        for (job_type, terms) in queries::terms(&connection)? {
            counts.load_terms(&job_type, terms);
        }
        let skew = IdClockSkew::read(&connection)?;
        let versions = Versions::default();
        let known = versions.workflows(&connection)?;
        let runs = Runs::new(known, RunReader::new(&connection, &versions).open()?);
        let consumers = consumers::load(&connection, &runs, &versions)?;
        let passes_kept = consumers.passes();
        let rules = Rules {
            counts,
            followers: followers::load(&connection)?,
            consumers,
            runs,
            schedules: schedules::load(&connection)?,
            hooks: hooks::load(&connection)?,
            webhooks: webhooks::load(&connection)?,
            clock,
        };
        let shared = Shared::loaded(&rules, &connection)?;
        Ok(Self {
            connection,
            rules,
            shared,
            versions,
            passes_kept,
            number_kept: number,
            sequence_kept: sequence,
            skew,
            skew_kept: skew,
            time_kept,
        })
    }

    /// Notes how far the time in the id of a new job is from that of its acceptance: lists by time are read in the
    /// order of ids. Never taken back, which does no harm.
    pub(super) fn note_skew(&mut self, id: &JobId, created_at: Timestamp) {
        self.skew = self.skew.with(id, created_at);
    }

    /// Inserts a row, with a statement that is prepared once.
    pub(super) fn insert(&self, sql: &str, row: &impl Value) -> Result<(), TransactionError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut parameters = Parameters::of(&mut statement);
        parameters.value(row)?;
        parameters.execute()?;
        Ok(())
    }

    /// Runs a statement that is prepared once.
    pub(super) fn execute(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<usize, TransactionError> {
        Ok(self.connection.prepare_cached(sql)?.execute(parameters)?)
    }

    /// Writes what the counts know and the database has to: part of every transaction, right before its end.
    pub(super) fn finish(&mut self) -> Result<(), TransactionError> {
        let number = self.rules.counts.number();
        if number != self.number_kept {
            counters::raise(&self.connection, DISPATCHES_NUMBERED, number.0)?;
        }
        let sequence = self.rules.counts.sequence();
        if sequence != self.sequence_kept {
            counters::raise(&self.connection, EVENTS_SEQUENCED, sequence.0)?;
        }
        let passes = self.rules.consumers.passes();
        if passes != self.passes_kept {
            counters::raise(&self.connection, PASSES_BEGUN, passes.0)?;
        }
        if self.skew != self.skew_kept {
            self.skew.keep(&self.connection)?;
        }
        if self.rules.now() >= self.time_kept.plus_millis(TIME_KEPT_EVERY_MS) {
            self.keep_time()?;
        }
        Ok(())
    }

    /// Keeps the time.
    pub(super) fn keep_time(&mut self) -> Result<(), TransactionError> {
        let now = self.rules.now();
        clock_rollback::keep(&self.connection, now)?;
        // Not taken back with the transaction: the time is kept again a second later.
        self.time_kept = now;
        Ok(())
    }

    /// The transaction was committed.
    pub(super) fn committed(&mut self) {
        self.number_kept = self.rules.counts.number();
        self.sequence_kept = self.rules.counts.sequence();
        self.skew_kept = self.skew;
        self.passes_kept = self.rules.consumers.passes();
        self.shared.committed(&mut self.rules);
    }
}
