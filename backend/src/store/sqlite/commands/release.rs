//! Waiting jobs become ready, or expire.

use crewcall_proto::{JobType, Timestamp};
use rusqlite::params;

use super::{
    super::{
        columns::{all, first, list, sql},
        rows::FoundJob,
        transaction_error::TransactionError,
        values::to_limit,
        write_context::WriteContext,
    },
    apply::change_job,
};
use crate::{
    domain::Event,
    engine::ports::{JobChanged, Written},
};

/// Releases scheduled jobs whose time has come, those first that have been due for longest.
pub(in super::super) fn release_due(
    context: &mut WriteContext,
    limit: usize,
) -> Result<Written<Option<Timestamp>>, TransactionError> {
    let now = context.now();
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled' AND due_at <= ? \
         ORDER BY due_at LIMIT ?",
        list::<FoundJob>()
    );
    let waiting = all(&context.connection, sql, params![now.as_millis(), to_limit(limit)])?;
    let changes = happen(context, waiting, &Event::Due, now)?;
    let next_due_at =
        next(context, "SELECT min(due_at) FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled'")?;
    Ok(Written { value: next_due_at, changes })
}

/// Releases unroutable jobs of a type, the oldest first.
pub(in super::super) fn release_unroutable(
    context: &mut WriteContext,
    job_type: &JobType,
    limit: usize,
) -> Result<Written<()>, TransactionError> {
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_by_state WHERE state = 'unroutable' AND type = ? \
         ORDER BY id LIMIT ?",
        list::<FoundJob>()
    );
    let waiting = all(&context.connection, sql, params![job_type.as_str(), to_limit(limit)])?;
    let now = context.now();
    Ok(Written { value: (), changes: happen(context, waiting, &Event::TypeServed, now)? })
}

/// Which jobs can expire: the condition of the index, word for word.
const MAY_EXPIRE: &str = "jobs INDEXED BY jobs_expiring \
    WHERE expires_at IS NOT NULL AND attempt = 1 AND started_at IS NULL \
      AND state IN ('scheduled', 'ready', 'unroutable', 'dispatched')";

/// Ends jobs that were not started in time, those first that expired first.
pub(in super::super) fn expire_due(
    context: &mut WriteContext,
    limit: usize,
) -> Result<Written<Option<Timestamp>>, TransactionError> {
    let now = context.now();
    let sql = sql!(
        "SELECT {} FROM {MAY_EXPIRE} AND expires_at <= ? ORDER BY expires_at LIMIT ?",
        list::<FoundJob>()
    );
    let expiring = all(&context.connection, sql, params![now.as_millis(), to_limit(limit)])?;
    let changes = happen(context, expiring, &Event::Expired, now)?;
    let next_expiry_at = next(context, sql!("SELECT min(expires_at) FROM {MAY_EXPIRE}"))?;
    Ok(Written { value: next_expiry_at, changes })
}

/// The time that a query finds.
fn next(context: &WriteContext, sql: &str) -> Result<Option<Timestamp>, TransactionError> {
    let next: Option<Option<Timestamp>> = first(&context.connection, sql, ())?;
    Ok(next.flatten())
}

/// The same happens to jobs that were found because it can.
fn happen(
    context: &mut WriteContext,
    waiting: Vec<FoundJob>,
    event: &Event,
    now: Timestamp,
) -> Result<Vec<JobChanged>, TransactionError> {
    let mut changes = Vec::with_capacity(waiting.len());
    for found in waiting {
        let (status, policy) = (&found.job.status, &found.job.policy);
        let Ok(change) = context.transition_at(status, policy, event.clone(), now) else {
            return Err(TransactionError::Inconsistent("a job that waits could not be released, or expire"));
        };
        changes.push(change_job(context, found, change)?);
    }
    Ok(changes)
}
