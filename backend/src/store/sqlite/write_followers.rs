//! What becomes of jobs that come after others, written row by row.

use rusqlite::params;

use super::{
    columns::{sql, values},
    followers::LinkRow,
    transaction_error::TransactionError,
    values::id_bytes,
    write_context::WriteContext,
};
use crate::{
    domain::{Blocked, State},
    engine::ports::LinkWrite,
};

/// Keeps what becomes of jobs that come after others.
pub(super) fn write(context: &WriteContext, write: LinkWrite) -> Result<(), TransactionError> {
    match write {
        LinkWrite::Follows { job_id, blocked: Blocked { on_failure, jobs } } => {
            let job_seq: i64 = context
                .connection
                .prepare_cached("SELECT seq FROM jobs WHERE id = ?")?
                .query_row([id_bytes(&job_id)], |row| row.get(0))?;
            for (place, (first, end)) in (0..).zip(jobs) {
                let row = LinkRow { job_seq, place, first, end, on_failure };
                context.insert(sql!("INSERT INTO job_links {}", values::<LinkRow>()), &row)?;
            }
        }
        LinkWrite::Stands { job_id, end } => {
            // Of a job that began, it stays as it was then.
            context.execute(
                "UPDATE job_links SET first_end = ? WHERE first = ? \
                   AND (SELECT state FROM jobs WHERE seq = job_seq) = 'blocked'",
                params![end.map(State::as_str), id_bytes(&job_id)],
            )?;
        }
    }
    Ok(())
}
