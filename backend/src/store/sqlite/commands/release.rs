//! Waiting jobs become ready, or expire.

use std::collections::BTreeSet;

use crewcall_proto::{JobId, JobType, Timestamp};
use rusqlite::{Params, params};

use super::{
    super::{desk::Desk, fault::Fault, rows::Columns},
    apply::{Found, change_job, found, found_columns, write},
};
use crate::{
    domain::Event,
    engine::ports::{ExpiredJobs, Released},
};

/// Releases scheduled jobs whose time has come, those first that have been due for longest.
pub(in super::super) fn release_due(
    desk: &mut Desk,
    now: Timestamp,
    limit: usize,
) -> Result<Released, Fault> {
    let waiting = waiting(
        desk,
        concat!(
            "SELECT id, ",
            found_columns!(),
            " FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled' AND due_at <= ? ORDER BY due_at LIMIT ?"
        ),
        params![now.as_millis(), i64::try_from(limit).unwrap_or(i64::MAX)],
    )?;
    let mut released = release(desk, waiting, &Event::Due, now)?;
    released.next_due_at = next_due_at(desk)?;
    Ok(released)
}

/// Releases unroutable jobs of a type, the oldest first.
pub(in super::super) fn release_unroutable(
    desk: &mut Desk,
    job_type: &JobType,
    limit: usize,
) -> Result<Released, Fault> {
    let waiting = waiting(
        desk,
        concat!(
            "SELECT id, ",
            found_columns!(),
            " FROM jobs INDEXED BY jobs_by_state WHERE state = 'unroutable' AND type = ? ORDER BY id LIMIT ?"
        ),
        params![job_type.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)],
    )?;
    let now = desk.now();
    release(desk, waiting, &Event::TypeServed, now)
}

/// Which jobs can expire: the condition of the index, word for word.
macro_rules! may_expire {
    () => {
        "jobs INDEXED BY jobs_expiring WHERE expires_at IS NOT NULL AND attempt = 1 AND started_at IS NULL \
           AND state IN ('scheduled', 'ready', 'unroutable', 'dispatched')"
    };
}

/// Ends jobs that were not started in time, those first that expired first.
pub(in super::super) fn expire_due(
    desk: &mut Desk,
    now: Timestamp,
    limit: usize,
) -> Result<ExpiredJobs, Fault> {
    let expired = waiting(
        desk,
        concat!(
            "SELECT id, ",
            found_columns!(),
            " FROM ",
            may_expire!(),
            " AND expires_at <= ? ORDER BY expires_at LIMIT ?"
        ),
        params![now.as_millis(), i64::try_from(limit).unwrap_or(i64::MAX)],
    )?;
    let mut answer = ExpiredJobs::default();
    for (id, found) in expired {
        let Ok(change) = desk.transition_at(&found.status, &found.policy, Event::Expired, now) else {
            return Err(Fault::Inconsistent("a job that was not started in time could not expire"));
        };
        answer.changes.push(change_job(desk, id, found, change)?);
    }
    let mut statement =
        desk.connection.prepare_cached(concat!("SELECT min(expires_at) FROM ", may_expire!()))?;
    let next: Option<i64> = statement.query_row((), |row| row.get(0))?;
    answer.next_expiry_at = next.map(Timestamp::from_millis);
    Ok(answer)
}

fn next_due_at(desk: &Desk) -> Result<Option<Timestamp>, Fault> {
    let mut statement = desk
        .connection
        .prepare_cached("SELECT min(due_at) FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled'")?;
    let next: Option<i64> = statement.query_row((), |row| row.get(0))?;
    Ok(next.map(Timestamp::from_millis))
}

fn waiting(desk: &Desk, sql: &str, parameters: impl Params) -> Result<Vec<(JobId, Found)>, Fault> {
    let mut statement = desk.connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut waiting = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        waiting.push((columns.job_id()?, found(&mut columns)?));
    }
    Ok(waiting)
}

fn release(
    desk: &mut Desk,
    waiting: Vec<(JobId, Found)>,
    event: &Event,
    now: Timestamp,
) -> Result<Released, Fault> {
    let mut released = Released::default();
    for (id, found) in waiting {
        let Ok(change) = desk.transition_at(&found.status, &found.policy, event.clone(), now) else {
            return Err(Fault::Inconsistent("a waiting job could not be released"));
        };
        write(desk, &found, &change, None)?;
        released.jobs.push((id, found.job_type, change.status.version));
    }
    let job_types: BTreeSet<_> = released.jobs.iter().map(|(_, job_type, _)| job_type.clone()).collect();
    released.job_types = job_types.into_iter().collect();
    Ok(released)
}
