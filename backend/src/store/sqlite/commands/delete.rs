//! Jobs that have been over for long enough go, with everything about them.

use std::time::Duration;

use crewcall_proto::{JobId, JobType, Timestamp};
use rusqlite::params;

use super::super::{
    columns::{Columns, Parameters, Value, all, columns, list, names_of, sql},
    rows::Payload,
    transaction_error::TransactionError,
    values::{id_bytes, to_limit},
    write_context::WriteContext,
};
use crate::{
    domain::State,
    engine::{
        ports::{JobChanged, Written},
        rules::{CountedAs, finished_until},
    },
};

/// A job that goes.
struct OldJob {
    seq: i64,
    id: JobId,
    job_type: JobType,
    created_at: Timestamp,
    payload: Payload,
}

columns!(OldJob { seq: "seq", id: "id", job_type: "type", created_at: "created_at", payload: "" });

/// Deletes jobs in this terminal state that have been over for longer than this, those first that finished first.
pub(in super::super) fn delete_finished(
    context: &mut WriteContext,
    state: State,
    kept_for: Duration,
    limit: usize,
) -> Result<Written<()>, TransactionError> {
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_finished JOIN job_payloads ON job_seq = seq \
         WHERE state = ? AND finished_at < ? ORDER BY finished_at LIMIT ?",
        list::<OldJob>()
    );
    let parameters =
        params![state.as_str(), finished_until(context.now(), kept_for).as_millis(), to_limit(limit)];
    let old: Vec<OldJob> = all(&context.connection, sql, parameters)?;
    let mut written = Written::default();
    for OldJob { seq, id, job_type, created_at, payload } in old {
        for (name, value) in payload.labels()? {
            context.execute(
                "DELETE FROM job_labels WHERE name = ? AND value = ? AND job_id = ?",
                params![name, value, id_bytes(&id)],
            )?;
        }
        // Its payload, attempts and idempotency key refer to it and go with it.
        context.execute("DELETE FROM jobs WHERE seq = ?", [seq])?;
        // Nothing that is over occupies the dispatch window.
        context.counts.step(&job_type, Some(CountedAs { state, occupies_window: false }), None);
        written.changes.push(JobChanged::deleted(id, job_type, created_at, state));
    }
    Ok(written)
}
