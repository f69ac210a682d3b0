//! Waiting jobs become ready, or expire.

use std::collections::BTreeSet;

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
    apply::{change_job, write},
};
use crate::{
    domain::Event,
    engine::ports::{ExpiredJobs, Released},
};

/// Releases scheduled jobs whose time has come, those first that have been due for longest.
pub(in super::super) fn release_due(
    context: &mut WriteContext,
    limit: usize,
) -> Result<Released, TransactionError> {
    let now = context.now();
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled' AND due_at <= ? \
         ORDER BY due_at LIMIT ?",
        list::<FoundJob>()
    );
    let waiting = all(&context.connection, sql, params![now.as_millis(), to_limit(limit)])?;
    let mut released = release(context, waiting, &Event::Due, now)?;
    released.next_due_at =
        next(context, "SELECT min(due_at) FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled'")?;
    Ok(released)
}

/// Releases unroutable jobs of a type, the oldest first.
pub(in super::super) fn release_unroutable(
    context: &mut WriteContext,
    job_type: &JobType,
    limit: usize,
) -> Result<Released, TransactionError> {
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_by_state WHERE state = 'unroutable' AND type = ? \
         ORDER BY id LIMIT ?",
        list::<FoundJob>()
    );
    let waiting = all(&context.connection, sql, params![job_type.as_str(), to_limit(limit)])?;
    let now = context.now();
    release(context, waiting, &Event::TypeServed, now)
}

/// Which jobs can expire: the condition of the index, word for word.
const MAY_EXPIRE: &str = "jobs INDEXED BY jobs_expiring \
    WHERE expires_at IS NOT NULL AND attempt = 1 AND started_at IS NULL \
      AND state IN ('scheduled', 'ready', 'unroutable', 'dispatched')";

/// Ends jobs that were not started in time, those first that expired first.
pub(in super::super) fn expire_due(
    context: &mut WriteContext,
    limit: usize,
) -> Result<ExpiredJobs, TransactionError> {
    let now = context.now();
    let sql = sql!(
        "SELECT {} FROM {MAY_EXPIRE} AND expires_at <= ? ORDER BY expires_at LIMIT ?",
        list::<FoundJob>()
    );
    let expiring: Vec<FoundJob> = all(&context.connection, sql, params![now.as_millis(), to_limit(limit)])?;
    let mut expired = ExpiredJobs::default();
    for found in expiring {
        let (status, policy) = (&found.row.status, &found.row.policy);
        let Ok(change) = context.transition_at(status, policy, Event::Expired, now) else {
            return Err(TransactionError::Inconsistent(
                "a job that was not started in time could not expire",
            ));
        };
        expired.changes.push(change_job(context, found, change)?);
    }
    expired.next_expiry_at = next(context, sql!("SELECT min(expires_at) FROM {MAY_EXPIRE}"))?;
    Ok(expired)
}

/// The time that a query finds.
fn next(context: &WriteContext, sql: &str) -> Result<Option<Timestamp>, TransactionError> {
    let next: Option<Option<Timestamp>> = first(&context.connection, sql, ())?;
    Ok(next.flatten())
}

fn release(
    context: &mut WriteContext,
    waiting: Vec<FoundJob>,
    event: &Event,
    now: Timestamp,
) -> Result<Released, TransactionError> {
    let mut released = Released::default();
    let mut job_types = BTreeSet::new();
    for found in waiting {
        let (status, policy) = (&found.row.status, &found.row.policy);
        let Ok(change) = context.transition_at(status, policy, event.clone(), now) else {
            return Err(TransactionError::Inconsistent("a waiting job could not be released"));
        };
        write(context, &found, &change, None)?;
        job_types.insert(found.row.job_type.clone());
        released.jobs.push((found.row.id, found.row.job_type, change.status.version));
    }
    released.job_types = job_types.into_iter().collect();
    Ok(released)
}
