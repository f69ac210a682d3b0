//! What is read.

use crewcall_proto::{AttemptId, JobId, JobType, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    desk::{DISPATCHES_CONFIRMED, DISPATCHES_NUMBERED, mark},
    fault::Fault,
    rows::{Columns, id_bytes, job_columns, to_integer, unreadable},
    tally::Terms,
};
use crate::{
    domain::{AttemptRecord, Job, Slot, State, TypeSettings},
    engine::ports::{
        Dispatch, DispatchMarks, DispatchNumber, DispatchedOrder, QuarantineEntry, QuarantinedMessage,
        Standing, StoredClaim, StoredType,
    },
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
        "SELECT attempt, outcome, worker_id, started_at, finished_at, error_kind, error_code, \
           error_message, error_detail \
         FROM attempts WHERE job_seq = ? ORDER BY attempt",
    )?;
    let mut rows = statement.query([seq])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        attempts.push(Columns::of(row).attempt_record()?);
    }
    Ok(Some((job?, attempts)))
}

/// The job of a row that is there.
pub(super) fn job_of_row(connection: &Connection, seq: i64) -> Result<Job, Fault> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        job_columns!(),
        " FROM jobs JOIN job_payloads ON job_seq = seq WHERE seq = ?"
    ))?;
    statement.query_row([seq], |row| Ok(Columns::of(row).job()))?
}

/// The dispatches above the mark and above `after` that nobody reported to have started: the broker had those.
pub(super) fn unconfirmed_dispatches(
    connection: &Connection,
    after: DispatchNumber,
    limit: usize,
) -> Result<Vec<Dispatch>, Fault> {
    let above = after.0.max(mark(connection, DISPATCHES_CONFIRMED)?);
    let mut statement = connection.prepare_cached(concat!(
        "SELECT dispatch_number, ",
        job_columns!(),
        " FROM jobs INDEXED BY jobs_by_state JOIN job_payloads ON job_seq = seq \
         WHERE state = 'dispatched' AND dispatch_number > ? \
         ORDER BY dispatch_number LIMIT ?"
    ))?;
    let mut rows = statement.query(params![to_integer(above), to_limit(limit)])?;
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
        confirmed: DispatchNumber(mark(connection, DISPATCHES_CONFIRMED)?),
        issued: DispatchNumber(mark(connection, DISPATCHES_NUMBERED)?),
    })
}

/// What tells this database apart from every other.
pub(super) fn installation(connection: &Connection) -> Result<String, Fault> {
    mark(connection, "installation").map(|number| format!("{number:016x}"))
}

/// The claims of running jobs above `after`, by job id.
pub(super) fn claims(
    connection: &Connection,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<StoredClaim>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, type, attempt, token, claim_execution_id, claim_worker_id, claim_seq, claim_held, \
           timeout_ns, cancel_at IS NOT NULL \
         FROM jobs INDEXED BY jobs_running WHERE state = 'running' AND id > ? ORDER BY id LIMIT ?",
    )?;
    // Nothing is below the empty id.
    let after = after.as_ref().map_or(&[][..], id_bytes);
    let mut rows = statement.query(params![after, to_limit(limit)])?;
    let mut claims = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        let (job_id, job_type, attempt) = (columns.job_id()?, columns.job_type()?, columns.attempt()?);
        let (token, claim) = (columns.token()?, columns.claim()?);
        let (timeout, cancelled) = (columns.optional_duration()?, columns.take()?);
        if let (Some(token), Some(claim)) = (token, claim) {
            claims.push(StoredClaim { job_id, job_type, attempt, token, claim, timeout, cancelled });
        }
    }
    Ok(claims)
}

/// The orders of the type that are with the broker, in the order of their dispatch. There are as many as the
/// dispatch window lets be, so they can be sorted.
pub(super) fn dispatched(
    connection: &Connection,
    job_type: &JobType,
    limit: usize,
) -> Result<Vec<DispatchedOrder>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, attempt, token, dispatch_number FROM jobs INDEXED BY jobs_by_state \
         WHERE state = 'dispatched' AND type = ? ORDER BY dispatch_number LIMIT ?",
    )?;
    let mut rows = statement.query(params![job_type.as_str(), to_limit(limit)])?;
    let mut orders = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        let (job_id, attempt) = (columns.job_id()?, columns.attempt()?);
        let token = columns.token()?.ok_or_else(|| unreadable("token", "nothing"))?;
        let number = DispatchNumber(columns.take::<i64>()?.cast_unsigned());
        orders.push(DispatchedOrder { job_id, attempt, token, number });
    }
    Ok(orders)
}

/// How jobs stand, in the order of `jobs`.
pub(super) fn standings(connection: &Connection, jobs: &[JobId]) -> Result<Vec<Option<Standing>>, Fault> {
    let mut statement = connection
        .prepare_cached("SELECT state, attempt, token, cancel_at IS NOT NULL FROM jobs WHERE id = ?")?;
    let mut standing = |job: &JobId| -> Result<Option<Standing>, Fault> {
        let mut rows = statement.query([id_bytes(job)])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let mut columns = Columns::of(row);
        let (state, attempt) = (columns.state()?, columns.attempt()?);
        let (token, cancelled) = (columns.token()?, columns.take()?);
        Ok(Some(Standing { state, attempt, token, cancelled }))
    };
    jobs.iter().map(&mut standing).collect()
}

/// Attempts of the newest cancelled jobs that were dispatched, and that have no end of their own.
pub(super) fn revoked(connection: &Connection, limit: usize) -> Result<Vec<(JobType, AttemptId)>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT type, id, attempt FROM \
           (SELECT seq, type, id, attempt, token, finished_at FROM jobs INDEXED BY jobs_finished \
            WHERE state = 'cancelled' AND finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT ?) AS jobs \
         WHERE token IS NOT NULL \
           AND NOT EXISTS (SELECT 1 FROM attempts WHERE job_seq = seq AND attempts.attempt = jobs.attempt) \
         ORDER BY finished_at",
    )?;
    let mut rows = statement.query([to_limit(limit)])?;
    let mut revoked = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        let job_type = columns.job_type()?;
        revoked.push((job_type, AttemptId { job_id: columns.job_id()?, attempt: columns.attempt()? }));
    }
    Ok(revoked)
}

/// When the oldest job of each type in one of the states was accepted. Ids grow with time, so the oldest is the first
/// of its index.
pub(super) fn oldest(
    connection: &Connection,
    job_types: Vec<JobType>,
    states: &[State],
) -> Result<Vec<(JobType, Timestamp)>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT created_at FROM jobs INDEXED BY jobs_by_state WHERE state = ? AND type = ? ORDER BY id LIMIT 1",
    )?;
    let mut all = Vec::new();
    for job_type in job_types {
        let mut oldest = None;
        for state in states {
            let parameters = [state.as_str(), job_type.as_str()];
            let created_at: Option<i64> = statement.query_row(parameters, |row| row.get(0)).optional()?;
            oldest = oldest.into_iter().chain(created_at).min();
        }
        all.extend(oldest.map(|oldest| (job_type, Timestamp::from_millis(oldest))));
    }
    Ok(all)
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

/// What is set for types, by name.
pub(super) fn type_settings(connection: &Connection) -> Result<Vec<(JobType, TypeSettings)>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT type, paused_by, pause_reason, paused_at, running_max, rate_per_second FROM type_settings ORDER BY type",
    )?;
    let mut rows = statement.query(())?;
    let mut settings = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        settings.push((columns.job_type()?, columns.settings()?));
    }
    Ok(settings)
}

/// What is kept for types that were announced, or for which something is set.
pub(super) fn terms(connection: &Connection) -> Result<Vec<(JobType, Terms)>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT type, paused_by, pause_reason, paused_at, running_max, rate_per_second, rate_slot_ns, \
           types.type IS NOT NULL \
         FROM type_settings FULL JOIN types USING (type)",
    )?;
    let mut rows = statement.query(())?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        let (job_type, settings) = (columns.job_type()?, columns.settings()?);
        let slot = columns.take::<Option<i64>>()?.map(Slot);
        all.push((job_type, Terms { announced: columns.take()?, settings, slot }));
    }
    Ok(all)
}

/// The messages that were set aside, newest first; only those with numbers below `before`, if given.
pub(super) fn quarantined(
    connection: &Connection,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<QuarantineEntry>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, queue, routing_key, reason, detail, body, body_bytes, at FROM quarantine \
         WHERE seq < ? ORDER BY seq DESC LIMIT ?",
    )?;
    let mut rows = statement.query(params![to_integer(before.unwrap_or(u64::MAX)), to_limit(limit)])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        let number = columns.take::<i64>()?.cast_unsigned();
        let message = QuarantinedMessage {
            queue: columns.take()?,
            routing_key: columns.take()?,
            reason: columns.take()?,
            detail: columns.take()?,
            body: columns.take()?,
            body_bytes: usize::try_from(columns.take::<i64>()?).unwrap_or(usize::MAX),
            at: columns.time()?,
        };
        entries.push(QuarantineEntry { number, message });
    }
    Ok(entries)
}

/// A limit as SQLite takes it.
pub(super) fn to_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
