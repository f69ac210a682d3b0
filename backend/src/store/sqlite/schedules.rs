//! Schedules and their ticks, in the database.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_proto::{JobId, Timestamp};
use rusqlite::{Connection, params, params_from_iter, types::Value as Raw};

use super::{
    SqliteStore,
    columns::{Columns, all, first, list, sql},
    counters::SCHEDULES_DELETED,
    schedule_rows::{DocumentRow, FiredByRow, OpenTickRow, ScheduleRow, cause_of},
    transaction_error::TransactionError,
    values::{id_bytes, to_integer, to_limit},
};
use crate::{
    domain::{
        Cause, FiredBy, ScheduleId, ScheduleName,
        schedules::{
            known::Schedule,
            tick::{TickRecord, TickWork},
        },
    },
    engine::{
        ports::{
            ScheduleChange, ScheduleChanged, ScheduleStep, Schedules, StoreError, TickQuery, Ticked, Written,
        },
        rules::{self, ChangeSchedule, DeleteTicks, TickSchedule},
    },
};

/// Which ticks wait, or are not over: the condition of the index, word for word.
const OPEN: &str = "ticks INDEXED BY ticks_open WHERE state = 'queued' OR (state = 'fired' AND sequence IS NULL AND outcome IS NULL)";

#[async_trait]
impl Schedules for SqliteStore {
    fn schedules(&self) -> Vec<Arc<Schedule>> {
        self.known.schedules.all()
    }

    fn schedule(&self, name: &ScheduleName) -> Option<Arc<Schedule>> {
        self.known.schedules.get(name)
    }

    async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
    ) -> Result<Written<ScheduleChanged>, StoreError> {
        self.run(1, ChangeSchedule { name: name.clone(), change }).await
    }

    async fn tick(&self, step: ScheduleStep) -> Result<Written<Ticked>, StoreError> {
        // Encoded here, on the caller's thread: the writer's is the one that everybody waits for.
        let step =
            TickSchedule::new(step).map_err(|error| StoreError::Broken { reason: error.to_string() })?;
        self.run(step.rows(), step).await
    }

    async fn ticks(&self, query: TickQuery) -> Result<Vec<TickRecord>, StoreError> {
        self.readers.read(move |connection| ticks(connection, &query)).await
    }

    async fn last_result(&self, id: ScheduleId) -> Result<Option<Arc<str>>, StoreError> {
        let result: Option<String> = self
            .readers
            .read(move |connection| {
                let sql = "SELECT result FROM schedule_results WHERE schedule_id = ?";
                first(connection, sql, [to_integer(id.0)])
            })
            .await?;
        Ok(result.map(Into::into))
    }

    async fn delete_ticks(&self, kept_for: Duration, limit: usize) -> Result<(), StoreError> {
        self.run(limit, DeleteTicks { kept_for, limit }).await.map(|written| written.value)
    }
}

/// All schedules, with what waits and what is open; and the last id that was given.
pub(super) fn load(connection: &Connection) -> Result<rules::Schedules, TransactionError> {
    let rows: Vec<ScheduleRow> =
        all(connection, sql!("SELECT {} FROM schedules", list::<ScheduleRow>()), ())?;
    let mut documents = HashMap::<ScheduleId, String>::new();
    let sql = sql!("SELECT {} FROM schedule_documents", list::<DocumentRow>());
    for DocumentRow { schedule_id, document } in all(connection, sql, ())? {
        documents.insert(schedule_id, document);
    }
    let mut ticks = HashMap::<ScheduleId, Vec<OpenTickRow>>::new();
    for row in open(connection)? {
        ticks.entry(row.schedule_id).or_default().push(row);
    }
    let schedules = rows.into_iter().map(|row| {
        let document = documents.remove(&row.id).unwrap_or_default();
        let ticks = ticks.remove(&row.id).unwrap_or_default();
        row.schedule(document.into(), ticks)
    });
    let schedules = schedules.collect::<Result<Vec<_>, _>>()?;
    let last = "SELECT max(coalesce((SELECT max(id) FROM schedules), 0), \
         coalesce((SELECT value FROM counters WHERE name = ?), 0))";
    let last_id = first(connection, last, [SCHEDULES_DELETED])?.unwrap_or_default();
    Ok(rules::Schedules::new(schedules, last_id))
}

fn open(connection: &Connection) -> Result<Vec<OpenTickRow>, TransactionError> {
    all(connection, sql!("SELECT {} FROM {OPEN}", list::<OpenTickRow>()), ())
}

/// Why the jobs were made that ticks made, and that are not over.
pub(super) fn open_causes(connection: &Connection) -> Result<Vec<(JobId, Cause)>, TransactionError> {
    let causes = open(connection)?.into_iter().filter_map(|row| match row.work {
        Some(TickWork::Job(id)) => {
            let by = FiredBy { schedule: row.schedule, id: row.schedule_id, tick: row.key };
            Some((id, cause_of(id, by)))
        }
        _ => None,
    });
    Ok(causes.collect())
}

/// Why a job was made, if a tick made it.
pub(super) fn cause(connection: &Connection, job_id: JobId) -> Result<Option<Cause>, TransactionError> {
    let sql = sql!("SELECT {} FROM ticks WHERE job_id = ?", list::<FiredByRow>());
    let row: Option<FiredByRow> = first(connection, sql, [id_bytes(&job_id)])?;
    Ok(row.map(|row| cause_of(job_id, row.fired_by())))
}

/// The ticks of a calendar in (after, to] that fired, or wait to.
pub(super) fn fired(
    connection: &Connection,
    schedule: ScheduleId,
    after: Timestamp,
    to: Timestamp,
) -> Result<Vec<Timestamp>, TransactionError> {
    let sql = "SELECT tick FROM ticks INDEXED BY ticks_fired \
         WHERE schedule_id = ? AND tick > ? AND tick <= ? AND state IN ('fired', 'queued') AND origin <> 'hand' \
         ORDER BY tick";
    all(connection, sql, params![to_integer(schedule.0), after.as_millis(), to.as_millis()])
}

fn ticks(connection: &Connection, query: &TickQuery) -> Result<Vec<TickRecord>, TransactionError> {
    let mut sql = format!("SELECT {} FROM ticks WHERE schedule_id = ?", list::<TickRecord>());
    let mut parameters = vec![Raw::Integer(to_integer(query.schedule.0))];
    if let Some(before) = query.before {
        sql.push_str(" AND (tick, origin) < (?, ?)");
        parameters.push(Raw::Integer(before.at.as_millis()));
        parameters.push(Raw::Text(before.origin.as_str().to_owned()));
    }
    if let Some(from) = query.from {
        sql.push_str(" AND last_tick >= ?");
        parameters.push(Raw::Integer(from.as_millis()));
    }
    if !query.states.is_empty() {
        let places = vec!["?"; query.states.len()].join(", ");
        sql.push_str(&format!(" AND state IN ({places})"));
        parameters.extend(query.states.iter().map(|state| Raw::Text(state.as_str().to_owned())));
    }
    sql.push_str(" ORDER BY tick DESC, origin DESC LIMIT ?");
    parameters.push(Raw::Integer(to_limit(query.limit)));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(parameters))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Columns::of(row).value()?);
    }
    Ok(found)
}
