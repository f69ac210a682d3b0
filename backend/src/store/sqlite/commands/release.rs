//! Waiting jobs become ready.

use std::collections::BTreeSet;

use crewcall_proto::{JobId, JobType, Timestamp};
use rusqlite::{Params, params};

use super::{
    super::{
        desk::Desk,
        fault::Fault,
        rows::{Columns, life_columns},
    },
    apply::{Found, found, write},
};
use crate::{dispatch::ports::Released, domain::Event};

/// Releases scheduled jobs whose time has come, those first that have been due for longest.
pub(in super::super) fn release_due(
    desk: &mut Desk,
    now: Timestamp,
    limit: usize,
) -> Result<Released, Fault> {
    let waiting = waiting(
        desk,
        concat!(
            "SELECT id, seq, type, created_at, ",
            life_columns!(),
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
            "SELECT id, seq, type, created_at, ",
            life_columns!(),
            " FROM jobs INDEXED BY jobs_by_state WHERE state = 'unroutable' AND type = ? ORDER BY id LIMIT ?"
        ),
        params![job_type.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)],
    )?;
    let now = desk.now();
    release(desk, waiting, &Event::TypeServed, now)
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
        let Ok(change) = desk.transition_at(&found.life, event.clone(), now) else {
            return Err(Fault::Inconsistent("a waiting job could not be released"));
        };
        write(desk, &found, &change, None)?;
        released.jobs.push((id, found.job_type, change.life.version));
    }
    let job_types: BTreeSet<_> = released.jobs.iter().map(|(_, job_type, _)| job_type.clone()).collect();
    released.job_types = job_types.into_iter().collect();
    Ok(released)
}
