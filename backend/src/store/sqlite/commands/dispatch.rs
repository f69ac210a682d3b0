//! Ready jobs go to the broker.

use std::sync::Arc;

use crewcall_proto::{AttemptToken, JobType};
use rusqlite::params;

use super::{
    super::{
        desk::{DISPATCHES_CONFIRMED, Desk, raise_mark},
        fault::Fault,
        rows::{Columns, job_columns},
        tally::Terms,
    },
    apply::{Found, write},
    keep::put_terms,
};
use crate::{
    domain::{Event, Job},
    engine::ports::{Dispatch, DispatchNumber, Due},
};

/// Dispatches the ready jobs whose turn it is, as far as there is room and what is set for the type allows.
pub(in super::super) fn dispatch_due(
    desk: &mut Desk,
    job_type: &JobType,
    window: usize,
    limit: usize,
) -> Result<Due, Fault> {
    let (now, room) = (desk.now(), desk.tally.room(job_type, window));
    let open = room.pace.map_or(room.jobs, |pace| room.jobs.min(pace.open(now)));
    let mut due = Due { dispatches: dispatch(desk, job_type, open.min(limit))?, rate_wait: None };
    let Some(pace) = room.pace else { return Ok(due) };
    let dispatched = due.dispatches.len();
    if dispatched > 0 {
        let slot = pace.taken(now, dispatched);
        let terms = Terms { slot, ..desk.tally.terms(job_type) };
        put_terms(desk, job_type, terms)?;
    }
    if dispatched < room.jobs && desk.tally.ready(job_type) > 0 {
        due.rate_wait = desk.tally.room(job_type, window).pace.map(|pace| pace.wait(now));
    }
    Ok(due)
}

/// Dispatches the next `limit` ready jobs.
fn dispatch(desk: &mut Desk, job_type: &JobType, limit: usize) -> Result<Vec<Dispatch>, Fault> {
    let mut dispatches = Vec::new();
    for (seq, mut job) in next_ready(desk, job_type, limit)? {
        let event = Event::Dispatched { token: AttemptToken::generate() };
        let Ok(change) = desk.transition(&job.status, &job.policy, event) else {
            return Err(Fault::Inconsistent("a ready job could not be dispatched"));
        };
        let number = desk.tally.next_number();
        let Job { job_type, created_at, policy, status, .. } = job;
        let found = Found { seq, job_type, created_at, number: None, policy, status };
        write(desk, &found, &change, Some(number))?;
        job = Job { job_type: found.job_type, status: change.status, ..job };
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
