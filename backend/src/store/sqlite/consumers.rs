//! Consumers, read from the database, and why jobs were made.

use std::{collections::HashMap, sync::Arc};

use crewcall_proto::JobId;
use rusqlite::Connection;

use super::{
    columns::{all, first, list, sql},
    counters::{self, PASSES_BEGUN},
    rows::{ConsumerRow, MadeRow, OpenCauseRow, ReplayRow},
    runs::RunReader,
    schedules,
    transaction_error::TransactionError,
    values::id_bytes,
    versions::Versions,
};
use crate::{
    domain::{Cause, ConsumerName, Pass, Replay, workflow::known::StartedBy},
    engine::rules::{Consumers, Runs},
};

/// All of them, with the unfinished jobs and runs that they made, and why all jobs were made that nobody submitted and that are
/// not over.
pub(super) fn load(
    connection: &Connection,
    runs: &Runs,
    versions: &Versions,
) -> Result<Consumers, TransactionError> {
    let rows: Vec<ConsumerRow> =
        all(connection, sql!("SELECT {} FROM consumers", list::<ConsumerRow>()), ())?;
    let mut replays = HashMap::<ConsumerName, Vec<Replay>>::new();
    let sql = sql!("SELECT {} FROM replays ORDER BY pass", list::<ReplayRow>());
    for ReplayRow { consumer, replay } in all(connection, sql, ())? {
        replays.entry(consumer).or_default().push(replay);
    }
    let consumers = rows.into_iter().map(|row| {
        let replays = replays.remove(&row.name).unwrap_or_default();
        let triggers = row.name.workflow().and_then(|name| runs.workflow(&name));
        row.consumer(replays, triggers.map(|workflow| Arc::clone(&workflow.newest)))
    });
    let passes = Pass(counters::read(connection, PASSES_BEGUN)?);
    let mut open = open_causes(connection)?;
    open.extend(RunReader::new(connection, versions).open_causes()?);
    open.extend(schedules::open_causes(connection)?);
    let mut consumers = Consumers::new(consumers, open, passes);
    for run in runs.open() {
        if let StartedBy::Event(made_of) = &run.info.started_by {
            consumers.count_made(made_of, 1);
        }
    }
    // This is how it is, and nothing that a transaction could take back.
    consumers.commit();
    Ok(consumers)
}

/// Why the jobs were made that a consumer made, and that are not over.
fn open_causes(connection: &Connection) -> Result<Vec<(JobId, Cause)>, TransactionError> {
    // Most installations have none, and may have many jobs that wait.
    let any: Option<i64> = first(connection, "SELECT job_seq FROM job_causes LIMIT 1", ())?;
    if any.is_none() {
        return Ok(Vec::new());
    }
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_by_state JOIN job_causes ON job_seq = seq \
         WHERE state IN ('blocked', 'scheduled', 'ready', 'unroutable', 'dispatched', 'running')",
        list::<OpenCauseRow>()
    );
    let rows: Vec<OpenCauseRow> = all(connection, sql, ())?;
    Ok(rows.into_iter().map(|row| (row.id, row.made.cause())).collect())
}

/// Why a job was made that nobody submitted.
pub(super) fn cause(
    connection: &Connection,
    versions: &Versions,
    job_id: JobId,
) -> Result<Option<Cause>, TransactionError> {
    let sql = sql!("SELECT {} FROM job_causes JOIN jobs ON seq = job_seq WHERE id = ?", list::<MadeRow>());
    let made: Option<MadeRow> = first(connection, sql, [id_bytes(&job_id)])?;
    match made {
        Some(made) => Ok(Some(made.cause())),
        None => match RunReader::new(connection, versions).cause_of(job_id)? {
            Some(cause) => Ok(Some(cause)),
            None => schedules::cause(connection, job_id),
        },
    }
}
