//! What commands want to know of runs, read row by row inside their transaction.

use crewcall_proto::{RunId, Timestamp};
use rusqlite::{Connection, params};

use super::{
    columns::{Columns, Parameters, Value, all, columns, first, list, names_of, sql},
    rows::OldRow,
    transaction_error::TransactionError,
    values::to_limit,
};
use crate::engine::rules::Loaded;

/// What a run was started with under a key.
struct KeyRow {
    body_hash: [u8; 32],
    id: RunId,
}

columns!(KeyRow { body_hash: "body_hash", id: "id" });

/// The run that was started under a key after that time.
pub(super) fn key(
    connection: &Connection,
    key: &str,
    forgotten: Timestamp,
) -> Result<Option<([u8; 32], RunId)>, TransactionError> {
    let sql = sql!("SELECT {} FROM runs WHERE idempotency_key = ? AND created_at > ?", list::<KeyRow>());
    let row: Option<KeyRow> = first(connection, sql, params![key, forgotten.as_millis()])?;
    Ok(row.map(|KeyRow { body_hash, id }| (body_hash, id)))
}

/// A run that goes.
struct OldRun {
    seq: i64,
    id: RunId,
}

columns!(OldRun { seq: "seq", id: "id" });

/// Runs that ended before that time, and so many of their jobs.
pub(super) fn finished(
    connection: &Connection,
    until: Timestamp,
    limit: usize,
) -> Result<Loaded, TransactionError> {
    let runs = sql!(
        "SELECT {} FROM runs INDEXED BY runs_ended \
         WHERE ended_at IS NOT NULL AND ended_at < ? AND NOT EXISTS (SELECT 1 FROM runs AS parents \
           WHERE parents.id = runs.parent_run_id AND parents.ended_at IS NULL) \
         ORDER BY ended_at LIMIT ?",
        list::<OldRun>()
    );
    let jobs = sql!(
        "SELECT {} FROM run_items JOIN jobs ON seq = run_items.job_seq \
         JOIN job_payloads ON job_payloads.job_seq = seq WHERE run_seq = ? LIMIT ?",
        list::<OldRow>()
    );
    let runs: Vec<OldRun> = all(connection, runs, params![until.as_millis(), to_limit(limit)])?;
    let mut loaded = Loaded::default();
    for OldRun { seq, id } in runs {
        let room = limit.saturating_sub(loaded.old.len());
        // One more than there is room for tells whether these are all.
        let of_run: Vec<OldRow> = all(connection, jobs, params![seq, to_limit(room + 1)])?;
        let is_whole = of_run.len() <= room;
        let old = of_run.into_iter().take(room).map(OldRow::job);
        loaded.old.extend(old.collect::<Result<Vec<_>, _>>()?);
        if !is_whole {
            break;
        }
        loaded.old_runs.push(id);
    }
    Ok(loaded)
}
