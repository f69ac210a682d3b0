//! Jobs that have been over for long enough go, with everything about them.

use std::collections::BTreeMap;

use crewcall_proto::{JobId, JobType, Timestamp};
use rusqlite::params;

use super::super::{
    desk::Desk,
    fault::Fault,
    rows::{Columns, id_bytes},
    tally::Place,
};
use crate::domain::State;

/// A job that goes.
struct Old {
    seq: i64,
    id: JobId,
    job_type: JobType,
    labels: BTreeMap<String, String>,
}

/// Deletes jobs in this terminal state that finished before a time, those first that finished first. Answers how
/// many.
pub(in super::super) fn delete_finished(
    desk: &mut Desk,
    state: State,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Fault> {
    let old = finished(desk, state, before, limit)?;
    for Old { seq, id, job_type, labels } in &old {
        for (name, value) in labels {
            desk.execute(
                "DELETE FROM job_labels WHERE name = ? AND value = ? AND job_id = ?",
                params![name, value, id_bytes(id)],
            )?;
        }
        // Its payload, attempts and idempotency key refer to it and go with it.
        desk.execute("DELETE FROM jobs WHERE seq = ?", [seq])?;
        // Nothing that is over occupies the dispatch window.
        desk.tally.step(job_type, Some(Place { state, occupies_window: false }), None);
    }
    Ok(old.len())
}

fn finished(desk: &Desk, state: State, before: Timestamp, limit: usize) -> Result<Vec<Old>, Fault> {
    let mut statement = desk.connection.prepare_cached(
        "SELECT seq, id, type, labels FROM jobs INDEXED BY jobs_finished JOIN job_payloads ON job_seq = seq \
         WHERE state = ? AND finished_at < ? ORDER BY finished_at LIMIT ?",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![state.as_str(), before.as_millis(), limit])?;
    let mut old = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        old.push(Old {
            seq: columns.take()?,
            id: columns.job_id()?,
            job_type: columns.job_type()?,
            labels: columns.labels()?,
        });
    }
    Ok(old)
}
