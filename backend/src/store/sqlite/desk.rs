//! The writer's desk: the connection that writes, and the tally that goes with it.

use std::sync::Arc;

use crewcall_proto::{JobId, Timestamp};
use rusqlite::{Connection, params};

use super::{
    drift::Drift,
    fault::Fault,
    queries,
    rows::{Columns, to_integer, unreadable},
    setback,
    tally::Tally,
};
use crate::{
    clock::Clock,
    domain::{Change, Event, JobStatus, Policy, Stale, TransitionContext, transition},
    engine::ports::DispatchNumber,
};

/// How much of the time may be forgotten by a crash of a busy process.
const TIME_KEPT_EVERY_MS: i64 = 1_000;

/// What commands work with, inside the transaction that the writer opened.
pub(super) struct Desk {
    pub(super) connection: Connection,
    pub(super) tally: Tally,
    clock: Arc<dyn Clock>,
    /// The last dispatch number that stands in the database.
    number_kept: DispatchNumber,
    drift: Drift,
    /// What stands in the database of it.
    drift_kept: Drift,
    /// The time that stands in the database.
    time_kept: Timestamp,
}

impl Desk {
    /// A desk on an open database: counts what is in it.
    pub(super) fn new(connection: Connection, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let time_kept = setback::make_up(&connection, clock.now())?;
        let number = DispatchNumber(mark(&connection, DISPATCHES_NUMBERED)?);
        let mut tally = Tally::new(number);
        {
            // The index alone answers for all states but those in flight, of which there are few.
            let mut statement = connection.prepare(
                "SELECT type, state, count(*), \
                   sum(CASE WHEN state IN ('dispatched', 'running') THEN claim_held IS NOT 1 ELSE 0 END) \
                 FROM jobs INDEXED BY jobs_by_state GROUP BY state, type",
            )?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                let mut columns = Columns::of(row);
                let (job_type, state) = (columns.job_type()?, columns.state()?);
                let (jobs, occupying) = (columns.take::<i64>()?, columns.take::<i64>()?);
                tally.load(&job_type, state, jobs.cast_unsigned(), occupying.cast_unsigned());
            }
        }
        for (job_type, terms) in queries::terms(&connection)? {
            tally.load_terms(&job_type, terms);
        }
        let drift = Drift::read(&connection)?;
        Ok(Self { connection, tally, clock, number_kept: number, drift, drift_kept: drift, time_kept })
    }

    /// The time, by the backend's clock.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Runs the state machine, now.
    pub(super) fn transition(
        &self,
        status: &JobStatus,
        policy: &Policy,
        event: Event,
    ) -> Result<Change, Stale> {
        self.transition_at(status, policy, event, self.now())
    }

    /// Runs the state machine as of `now`.
    pub(super) fn transition_at(
        &self,
        status: &JobStatus,
        policy: &Policy,
        event: Event,
        now: Timestamp,
    ) -> Result<Change, Stale> {
        transition(status, policy, event, TransitionContext { now, jitter_sample: rand::random() })
    }

    /// Notes how far the time in the id of a new job is from that of its acceptance: lists by time are read in the
    /// order of ids. Never taken back, which does no harm.
    pub(super) fn note_drift(&mut self, id: &JobId, created_at: Timestamp) {
        self.drift = self.drift.with(id, created_at);
    }

    /// Runs a statement that is prepared once.
    pub(super) fn execute(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<usize, Fault> {
        Ok(self.connection.prepare_cached(sql)?.execute(parameters)?)
    }

    /// Writes what the tally knows and the database has to: part of every transaction, right before its end.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        let number = self.tally.number();
        if number != self.number_kept {
            raise_mark(self, DISPATCHES_NUMBERED, number.0)?;
        }
        if self.drift != self.drift_kept {
            self.drift.keep(self)?;
        }
        if self.now() >= self.time_kept.plus_millis(TIME_KEPT_EVERY_MS) {
            self.keep_time()?;
        }
        Ok(())
    }

    /// Keeps the time.
    pub(super) fn keep_time(&mut self) -> Result<(), Fault> {
        let now = self.now();
        setback::keep(&self.connection, now)?;
        // Not taken back with the transaction: the time is kept again a second later.
        self.time_kept = now;
        Ok(())
    }

    /// The transaction was committed.
    pub(super) fn committed(&mut self) {
        self.number_kept = self.tally.number();
        self.drift_kept = self.drift;
        self.tally.commit();
    }
}

/// The last dispatch number that was given out.
pub(super) const DISPATCHES_NUMBERED: &str = "dispatches_numbered";

/// Every dispatch up to this one is confirmed or over.
pub(super) const DISPATCHES_CONFIRMED: &str = "dispatches_confirmed";

/// A number that is kept.
pub(super) fn mark(connection: &Connection, name: &'static str) -> Result<u64, Fault> {
    let mut statement = connection.prepare_cached("SELECT value FROM marks WHERE name = ?")?;
    let value: i64 = statement.query_row([name], |row| row.get(0))?;
    u64::try_from(value).map_err(|_| unreadable("value", &value))
}

/// Keeps a number that only grows.
pub(super) fn raise_mark(desk: &Desk, name: &'static str, to: u64) -> Result<(), Fault> {
    desk.execute("UPDATE marks SET value = max(value, ?) WHERE name = ?", params![to_integer(to), name])?;
    Ok(())
}
