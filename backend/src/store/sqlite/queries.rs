//! What is read.

use crewcall_proto::{JobId, JobType};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    desk::{DISPATCHES_CONFIRMED, DISPATCHES_NUMBERED, mark},
    fault::Fault,
    rows::{Columns, id_bytes, job_columns, to_integer},
    tally::StateCounts,
};
use crate::{
    dispatch::ports::{Count, Dispatch, DispatchMarks, DispatchNumber, StoredClaim, StoredType},
    domain::{AttemptRecord, Job, State},
};

/// One job with its ended attempts, oldest first.
pub(super) fn get(connection: &Connection, id: JobId) -> Result<Option<(Job, Vec<AttemptRecord>)>, Fault> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT seq, ",
        job_columns!(),
        " FROM jobs JOIN job_payloads ON job_seq = seq WHERE id = ?"
    ))?;
    let found = statement
        .query_row([id_bytes(&id)], |row| {
            let mut columns = Columns::of(row);
            let seq: i64 = row.get(0)?;
            Ok((seq, columns.take::<i64>().and_then(|_| columns.job())))
        })
        .optional()?;
    let Some((seq, job)) = found else { return Ok(None) };
    let mut statement = connection.prepare_cached(
        "SELECT attempt, outcome, worker_id, started_at, finished_at, failure_kind, failure_code, \
           failure_message, failure_detail \
         FROM attempts WHERE job_seq = ? ORDER BY attempt",
    )?;
    let mut rows = statement.query([seq])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        attempts.push(Columns::of(row).attempt_record()?);
    }
    Ok(Some((job?, attempts)))
}

/// The in-flight dispatches above the mark and above `after`, but for those whose worker has acknowledged
/// the order: the broker had those.
pub(super) fn unconfirmed_dispatches(
    connection: &Connection,
    after: DispatchNumber,
    limit: usize,
) -> Result<Vec<Dispatch>, Fault> {
    let above = after.max(mark(connection, DISPATCHES_CONFIRMED)?);
    let mut statement = connection.prepare_cached(concat!(
        "SELECT dispatch_number, ",
        job_columns!(),
        " FROM jobs INDEXED BY jobs_by_state JOIN job_payloads ON job_seq = seq \
         WHERE state IN ('dispatched', 'running') AND dispatch_number > ? AND claim_held IS NOT 1 \
         ORDER BY dispatch_number LIMIT ?"
    ))?;
    let mut rows = statement.query(params![to_integer(above.0), to_limit(limit)])?;
    let mut dispatches = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        let number = columns.take::<i64>()?.cast_unsigned();
        dispatches.push(Dispatch { number: DispatchNumber(number), job: columns.job()?.into() });
    }
    Ok(dispatches)
}

/// The mark as it was last kept, and the newest number.
pub(super) fn dispatch_marks(connection: &Connection) -> Result<DispatchMarks, Fault> {
    Ok(DispatchMarks {
        confirmed: mark(connection, DISPATCHES_CONFIRMED)?,
        issued: mark(connection, DISPATCHES_NUMBERED)?,
    })
}

/// The claims of running jobs above `after`, by job id.
pub(super) fn claims(
    connection: &Connection,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<StoredClaim>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, type, attempt, token, claim_execution_id, claim_worker_id, claim_seq, claim_held \
         FROM jobs INDEXED BY jobs_running WHERE state = 'running' AND id > ? ORDER BY id LIMIT ?",
    )?;
    // Nothing is below the empty id.
    let after = after.as_ref().map_or(&[][..], id_bytes);
    let mut rows = statement.query(params![after, to_limit(limit)])?;
    let mut claims = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        let (job_id, job_type, attempt) = (columns.job_id()?, columns.job_type()?, columns.attempt()?);
        if let (Some(token), Some(claim)) = (columns.token()?, columns.claim()?) {
            claims.push(StoredClaim { job_id, job_type, attempt, token, claim });
        }
    }
    Ok(claims)
}

/// The counts of the tally, with the age of the oldest job where somebody waits. Ids grow with time, so the oldest is
/// the first of its index.
pub(super) fn counts(connection: &Connection, tally: &[(JobType, StateCounts)]) -> Result<Vec<Count>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT created_at FROM jobs INDEXED BY jobs_by_state WHERE state = ? AND type = ? ORDER BY id LIMIT 1",
    )?;
    let mut counts = Vec::new();
    for (job_type, jobs) in tally {
        for state in State::ALL {
            if jobs.get(state) == 0 {
                continue;
            }
            let oldest_created_at = if state.is_terminal() {
                None
            } else {
                statement
                    .query_row([state.as_str(), job_type.as_str()], |row| row.get(0))
                    .optional()?
                    .map(crewcall_proto::Timestamp::from_millis)
            };
            counts.push(Count {
                job_type: job_type.clone(),
                state,
                jobs: jobs.get(state),
                oldest_created_at,
            });
        }
    }
    Ok(counts)
}

/// The types ever announced, by name.
pub(super) fn types(connection: &Connection) -> Result<Vec<StoredType>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT type, description, version, parameters_schema, result_schema, first_announced_at, \
           last_announced_at \
         FROM types ORDER BY type",
    )?;
    let mut rows = statement.query(())?;
    let mut types = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        types.push(StoredType {
            job_type: columns.job_type()?,
            description: columns.take()?,
            version: columns.take()?,
            parameters_schema: columns.json("parameters_schema")?,
            result_schema: columns.json("result_schema")?,
            first_announced_at: columns.time()?,
            last_announced_at: columns.time()?,
        });
    }
    Ok(types)
}

/// A limit as SQLite takes it.
pub(super) fn to_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
