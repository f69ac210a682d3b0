//! Ready jobs go to the broker.

use std::sync::Arc;

use crewcall_proto::{AttemptToken, JobType};
use rusqlite::params;

use super::{
    super::{
        desk::{DISPATCHES_CONFIRMED, Desk, raise_mark},
        fault::Fault,
        rows::{Columns, job_columns},
    },
    apply::{Found, write},
};
use crate::{
    dispatch::ports::{Dispatch, DispatchNumber},
    domain::{Event, Job},
};

/// Dispatches the ready jobs whose turn it is, as far as there is room.
pub(in super::super) fn dispatch_due(
    desk: &mut Desk,
    job_type: &JobType,
    window: usize,
    limit: usize,
) -> Result<Vec<Dispatch>, Fault> {
    let room = window.saturating_sub(desk.tally.occupying(job_type)).min(limit);
    let mut dispatches = Vec::new();
    for (seq, mut job) in next_ready(desk, job_type, room)? {
        let event = Event::Dispatched { token: AttemptToken::generate() };
        let Ok(change) = desk.transition(&job.life, &job.policy, event) else {
            return Err(Fault::Inconsistent("a ready job could not be dispatched"));
        };
        let number = desk.tally.next_number();
        let Job { job_type, created_at, policy, life, .. } = job;
        let found = Found { seq, job_type, created_at, policy, life };
        write(desk, &found, &change, Some(number))?;
        job = Job { job_type: found.job_type, life: change.life, ..job };
        dispatches.push(Dispatch { number, job: Arc::new(job) });
    }
    Ok(dispatches)
}

/// The ready jobs whose turn it is, with the numbers of their rows.
fn next_ready(desk: &Desk, job_type: &JobType, limit: usize) -> Result<Vec<(i64, Job)>, Fault> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut statement = desk.connection.prepare_cached(concat!(
        "SELECT seq, ",
        job_columns!(),
        " FROM jobs INDEXED BY jobs_ready JOIN job_payloads ON job_seq = seq \
         WHERE type = ? AND state = 'ready' ORDER BY priority DESC, due_at, id LIMIT ?"
    ))?;
    let mut rows = statement.query(params![job_type.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut ready = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        ready.push((columns.take()?, columns.job()?));
    }
    Ok(ready)
}

/// Keeps the high-water mark of confirmed dispatches.
pub(in super::super) fn confirm_dispatches(desk: &Desk, up_to: DispatchNumber) -> Result<(), Fault> {
    raise_mark(desk, DISPATCHES_CONFIRMED, up_to.0)
}
