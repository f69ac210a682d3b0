//! Consumers, read from the database.

use std::collections::HashMap;

use crewcall_proto::JobId;
use rusqlite::Connection;

use super::{
    columns::{all, first, list, sql},
    counters::{self, PASSES_BEGUN},
    rows::{ConsumerRow, OpenCauseRow, ReplayRow},
    transaction_error::TransactionError,
    values::id_bytes,
};
use crate::{
    domain::{Cause, ConsumerName, Pass, Replay},
    engine::rules::Consumers,
};

/// All of them, with the unfinished jobs that they made.
pub(super) fn load(connection: &Connection) -> Result<Consumers, TransactionError> {
    let rows: Vec<ConsumerRow> =
        all(connection, sql!("SELECT {} FROM consumers", list::<ConsumerRow>()), ())?;
    let mut replays = HashMap::<ConsumerName, Vec<Replay>>::new();
    let sql = sql!("SELECT {} FROM replays ORDER BY pass", list::<ReplayRow>());
    for ReplayRow { consumer, replay } in all(connection, sql, ())? {
        replays.entry(consumer).or_default().push(replay);
    }
    let consumers = rows.into_iter().map(|row| {
        let replays = replays.remove(&row.name).unwrap_or_default();
        row.consumer(replays)
    });
    let passes = Pass(counters::read(connection, PASSES_BEGUN)?);
    Ok(Consumers::new(consumers, open_causes(connection)?, passes))
}

/// Why the jobs were made that are not over.
fn open_causes(connection: &Connection) -> Result<Vec<(JobId, Cause)>, TransactionError> {
    // Most installations have none, and may have many jobs that wait.
    let any: Option<i64> = first(connection, "SELECT job_seq FROM job_causes LIMIT 1", ())?;
    if any.is_none() {
        return Ok(Vec::new());
    }
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_by_state JOIN job_causes ON job_seq = seq \
         WHERE state IN ('scheduled', 'ready', 'unroutable', 'dispatched', 'running')",
        list::<OpenCauseRow>()
    );
    let rows: Vec<OpenCauseRow> = all(connection, sql, ())?;
    Ok(rows.into_iter().map(|row| (row.id, row.cause)).collect())
}

/// Why a job was made, if a consumer made it.
pub(super) fn cause(connection: &Connection, job_id: JobId) -> Result<Option<Cause>, TransactionError> {
    let sql = sql!("SELECT {} FROM job_causes JOIN jobs ON seq = job_seq WHERE id = ?", list::<Cause>());
    first(connection, sql, [id_bytes(&job_id)])
}
