//! What the writer works with: the connection that writes, and the counts that go with it.

use std::sync::Arc;

use crewcall_proto::{JobId, Timestamp};
use rusqlite::Connection;

use super::{
    clock_rollback,
    columns::{Parameters, Value, all},
    consumers,
    counters::{self, DISPATCHES_NUMBERED, EVENTS_SEQUENCED, PASSES_BEGUN},
    followers::{self, SharedFollowers},
    hooks,
    id_clock_skew::IdClockSkew,
    queries,
    rows::CountRow,
    runs::{self, RunReader},
    schedules,
    shared_consumers::SharedConsumers,
    shared_counts::SharedCounts,
    shared_hooks::SharedHooks,
    shared_runs::SharedRuns,
    shared_schedules::SharedSchedules,
    transaction_error::TransactionError,
    versions::Versions,
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
    shared: SharedCounts,
    shared_followers: SharedFollowers,
    shared_consumers: SharedConsumers,
    shared_runs: SharedRuns,
    shared_schedules: SharedSchedules,
    shared_hooks: SharedHooks,
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
        let shared = SharedCounts::loaded(&counts);
        let (followers, shared_followers) = (followers::load(&connection)?, SharedFollowers::default());
        shared_followers.set(&followers);
        let skew = IdClockSkew::read(&connection)?;
        let versions = Versions::default();
        let known = versions.workflows(&connection)?;
        let runs = Runs::new(known, RunReader::new(&connection, &versions).open()?);
        let shared_runs = SharedRuns::loaded(&runs, runs::any(&connection)?);
        let schedules = schedules::load(&connection)?;
        let shared_schedules = SharedSchedules::loaded(&schedules);
        let consumers = consumers::load(&connection, &runs, &versions)?;
        let (shared_consumers, passes_kept) = (SharedConsumers::loaded(&consumers), consumers.passes());
        let hooks = hooks::load(&connection)?;
        let shared_hooks = SharedHooks::loaded(&hooks);
        let rules = Rules::new((counts, followers), consumers, (runs, schedules, hooks), clock);
        Ok(Self {
            connection,
            rules,
            shared,
            shared_followers,
            shared_consumers,
            shared_runs,
            shared_schedules,
            shared_hooks,
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

    /// The committed counts, for readers.
    pub(super) fn shared(&self) -> SharedCounts {
        self.shared.clone()
    }

    /// How many blocked jobs nothing blocks any more, for readers.
    pub(super) fn shared_followers(&self) -> SharedFollowers {
        self.shared_followers.clone()
    }

    /// The committed consumers, for readers.
    pub(super) fn shared_consumers(&self) -> SharedConsumers {
        self.shared_consumers.clone()
    }

    /// The committed workflows and open runs, for readers.
    pub(super) fn shared_runs(&self) -> SharedRuns {
        self.shared_runs.clone()
    }

    /// The committed schedules, for readers.
    pub(super) fn shared_schedules(&self) -> SharedSchedules {
        self.shared_schedules.clone()
    }

    /// The committed hooks, for readers.
    pub(super) fn shared_hooks(&self) -> SharedHooks {
        self.shared_hooks.clone()
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
        self.shared.add(self.rules.counts.commit());
        self.rules.followers.commit();
        self.shared_followers.set(&self.rules.followers);
        self.shared_consumers.add(self.rules.consumers.commit());
        self.shared_runs.add(self.rules.runs.commit());
        self.shared_schedules.add(self.rules.schedules.commit());
        self.shared_hooks.add(self.rules.hooks.commit());
    }
}
