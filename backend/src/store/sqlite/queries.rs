//! What is read.

use crewcall_proto::{AttemptId, JobId, JobType, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    columns::{Columns, all, first, list, sql, unreadable},
    counters::{self, DISPATCHES_CONFIRMED, DISPATCHES_NUMBERED},
    rows::{ClaimRow, SettingsRow, StandingRow, TermsRow, WholeJob},
    transaction_error::TransactionError,
    values::{id_bytes, to_integer, to_limit},
};
use crate::{
    domain::{AttemptRecord, Job, State, TypeSettings},
    engine::{
        ports::{
            Dispatch, DispatchMarks, DispatchNumber, DispatchedOrder, QuarantineEntry, Standing, StoredClaim,
            StoredType,
        },
        rules::Terms,
    },
};

/// One job with its ended attempts, oldest first.
pub(super) fn get(
    connection: &Connection,
    id: JobId,
) -> Result<Option<(Job, Vec<AttemptRecord>)>, TransactionError> {
    let job = sql!("SELECT {} FROM jobs JOIN job_payloads ON job_seq = seq WHERE id = ?", list::<WholeJob>());
    let Some(whole) = first::<WholeJob>(connection, job, [id_bytes(&id)])? else { return Ok(None) };
    let attempts =
        sql!("SELECT {} FROM attempts WHERE job_seq = ? ORDER BY attempt", list::<AttemptRecord>());
    let attempts = all(connection, attempts, [whole.found.row])?;
    Ok(Some((whole.job()?, attempts)))
}

/// The job of a row that is there.
pub(super) fn job_of_row(connection: &Connection, seq: i64) -> Result<Job, TransactionError> {
    let sql =
        sql!("SELECT {} FROM jobs JOIN job_payloads ON job_seq = seq WHERE seq = ?", list::<WholeJob>());
    let mut statement = connection.prepare_cached(sql)?;
    let whole: WholeJob = statement.query_row([seq], |row| Ok(Columns::of(row).value()))??;
    whole.job()
}

/// The dispatches above the mark and above `after` that nobody reported to have started: the broker had those.
pub(super) fn unconfirmed_dispatches(
    connection: &Connection,
    after: DispatchNumber,
    limit: usize,
) -> Result<Vec<Dispatch>, TransactionError> {
    let above = after.0.max(counters::read(connection, DISPATCHES_CONFIRMED)?);
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_by_state JOIN job_payloads ON job_seq = seq \
         WHERE state = 'dispatched' AND dispatch_number > ? ORDER BY dispatch_number LIMIT ?",
        list::<WholeJob>()
    );
    let unconfirmed: Vec<WholeJob> = all(connection, sql, params![to_integer(above), to_limit(limit)])?;
    let dispatch = |whole: WholeJob| {
        let number = whole.found.job.number.ok_or_else(|| unreadable("dispatch_number", "nothing"))?;
        Ok(Dispatch { number, job: whole.job()?.into(), sent_before: true })
    };
    unconfirmed.into_iter().map(dispatch).collect()
}

/// The mark as it was last kept, and the newest number.
pub(super) fn dispatch_marks(connection: &Connection) -> Result<DispatchMarks, TransactionError> {
    Ok(DispatchMarks {
        confirmed: DispatchNumber(counters::read(connection, DISPATCHES_CONFIRMED)?),
        issued: DispatchNumber(counters::read(connection, DISPATCHES_NUMBERED)?),
    })
}

/// What tells this database apart from every other.
pub(super) fn installation(connection: &Connection) -> Result<String, TransactionError> {
    counters::read(connection, "installation").map(|number| format!("{number:016x}"))
}

/// The claims of running jobs above `after`, by job id.
pub(super) fn claims(
    connection: &Connection,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<StoredClaim>, TransactionError> {
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_running WHERE state = 'running' AND id > ? ORDER BY id LIMIT ?",
        list::<ClaimRow>()
    );
    // Nothing is below the empty id.
    let after = after.as_ref().map_or(&[][..], id_bytes);
    let rows: Vec<ClaimRow> = all(connection, sql, params![after, to_limit(limit)])?;
    let claim = |row: ClaimRow| {
        let ClaimRow { id: job_id, job_type, attempt, token, claim, timeout, cancel_at } = row;
        let (token, claim, cancelled) = (token?, claim?, cancel_at.is_some());
        Some(StoredClaim { job_id, job_type, attempt, token, claim, timeout, cancelled })
    };
    Ok(rows.into_iter().filter_map(claim).collect())
}

/// The orders of the type that are with the broker, in the order of their dispatch. There are as many as the
/// dispatch window lets be, so they can be sorted.
pub(super) fn dispatched(
    connection: &Connection,
    job_type: &JobType,
    limit: usize,
) -> Result<Vec<DispatchedOrder>, TransactionError> {
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_by_state \
         WHERE state = 'dispatched' AND type = ? ORDER BY dispatch_number LIMIT ?",
        list::<StandingRow>()
    );
    let rows: Vec<StandingRow> = all(connection, sql, params![job_type.as_str(), to_limit(limit)])?;
    let order = |row: StandingRow| {
        let token = row.token.ok_or_else(|| unreadable("token", "nothing"))?;
        let number = row.number.ok_or_else(|| unreadable("dispatch_number", "nothing"))?;
        Ok(DispatchedOrder { job_id: row.id, attempt: row.attempt, token, number })
    };
    rows.into_iter().map(order).collect()
}

/// How jobs stand, in the order of `jobs`.
pub(super) fn standings(
    connection: &Connection,
    jobs: &[JobId],
) -> Result<Vec<Option<Standing>>, TransactionError> {
    let sql = sql!("SELECT {} FROM jobs WHERE id = ?", list::<StandingRow>());
    let standing = |job: &JobId| {
        let row = first::<StandingRow>(connection, sql, [id_bytes(job)])?;
        Ok(row.map(|StandingRow { job_type, state, attempt, token, cancel_at, .. }| Standing {
            job_type,
            state,
            attempt,
            token,
            cancelled: cancel_at.is_some(),
        }))
    };
    jobs.iter().map(standing).collect()
}

/// Attempts of the newest cancelled jobs that were dispatched, and that have no end of their own.
pub(super) fn revoked(
    connection: &Connection,
    limit: usize,
) -> Result<Vec<(JobType, AttemptId)>, TransactionError> {
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
        let job_type = columns.value()?;
        revoked.push((job_type, AttemptId { job_id: columns.value()?, attempt: columns.value()? }));
    }
    Ok(revoked)
}

/// When the oldest job of each type in one of the states was accepted. Ids grow with time, so the oldest is the first
/// of its index.
pub(super) fn oldest(
    connection: &Connection,
    job_types: Vec<JobType>,
    states: &[State],
) -> Result<Vec<(JobType, Timestamp)>, TransactionError> {
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
pub(super) fn types(connection: &Connection) -> Result<Vec<StoredType>, TransactionError> {
    all(connection, sql!("SELECT {} FROM types ORDER BY type", list::<StoredType>()), ())
}

/// What is set for types, by name.
pub(super) fn type_settings(
    connection: &Connection,
) -> Result<Vec<(JobType, TypeSettings)>, TransactionError> {
    let sql = sql!("SELECT {} FROM type_settings ORDER BY type", list::<SettingsRow>());
    let rows: Vec<SettingsRow> = all(connection, sql, ())?;
    Ok(rows.into_iter().map(|row| (row.job_type, row.settings)).collect())
}

/// What is kept for types that were announced, or for which something is set.
pub(super) fn terms(connection: &Connection) -> Result<Vec<(JobType, Terms)>, TransactionError> {
    let sql = sql!("SELECT {} FROM type_settings FULL JOIN types USING (type)", list::<TermsRow>());
    let rows: Vec<TermsRow> = all(connection, sql, ())?;
    let terms = |TermsRow { settings: SettingsRow { job_type, settings, slot }, announced }| {
        (job_type, Terms { announced, settings, slot })
    };
    Ok(rows.into_iter().map(terms).collect())
}

/// The messages that were quarantined, newest first; only those with numbers below `before`, if given.
pub(super) fn quarantined(
    connection: &Connection,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<QuarantineEntry>, TransactionError> {
    let sql =
        sql!("SELECT {} FROM quarantine WHERE seq < ? ORDER BY seq DESC LIMIT ?", list::<QuarantineEntry>());
    all(connection, sql, params![to_integer(before.unwrap_or(u64::MAX)), to_limit(limit)])
}
