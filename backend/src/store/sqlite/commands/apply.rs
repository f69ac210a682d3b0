//! Events change jobs: read, ask the state machine, write what it says.

use crewcall_proto::JobId;

use super::super::{
    columns::{Parameters, PartlyIndexed as _, Value, assignments, first, list, sql, values},
    rows::{AttemptRow, FoundJob},
    transaction_error::TransactionError,
    values::{id_bytes, to_integer},
    write_context::WriteContext,
};
use crate::{
    domain::{AttemptRecord, Change, JobStatus},
    engine::{
        ports::{Applied, DispatchNumber, JobChanged, JobEvent, Written},
        rules::CountedAs,
    },
};

/// Runs the state machine over events, in order.
pub(in super::super) fn apply(
    context: &mut WriteContext,
    events: Vec<JobEvent>,
) -> Result<Written<Vec<Applied>>, TransactionError> {
    let mut written = Written { value: Vec::with_capacity(events.len()), changes: Vec::new() };
    for JobEvent { job_id, event } in events {
        let applied = match find(context, &job_id)? {
            None => Applied::UnknownJob,
            Some(found) => match context.transition(&found.job.status, &found.job.policy, event) {
                Err(stale) => Applied::Stale(stale),
                Ok(change) => {
                    written.changes.push(change_job(context, found, change)?);
                    Applied::Changed
                }
            },
        };
        written.value.push(applied);
    }
    Ok(written)
}

fn find(context: &WriteContext, id: &JobId) -> Result<Option<FoundJob>, TransactionError> {
    let sql = sql!("SELECT {} FROM jobs WHERE id = ?", list::<FoundJob>());
    first(&context.connection, sql, [id_bytes(id)])
}

/// Writes what the state machine said of a job, and tells.
pub(super) fn change_job(
    context: &mut WriteContext,
    found: FoundJob,
    change: Change,
) -> Result<JobChanged, TransactionError> {
    write(context, &found, &change, None)?;
    Ok(JobChanged::happened(found.job, change))
}

/// Writes what the state machine said of a job; `number` if that was a dispatch.
pub(super) fn write(
    context: &mut WriteContext,
    found: &FoundJob,
    change: &Change,
    number: Option<DispatchNumber>,
) -> Result<(), TransactionError> {
    let (before, after) = (&found.job.status, &change.status);
    let indexed = |status: &JobStatus| (status.state, status.due_at, status.finished_at);
    let changed = if indexed(before) == indexed(after) {
        update_unindexed(context, found, after)?
    } else {
        update_all(context, found, after, number)?
    };
    if changed != 1 {
        return Err(TransactionError::Inconsistent(
            "a job changed while its transaction had the only right to write",
        ));
    }
    if let Some(ended) = &change.ended {
        insert_attempt(context, found.seq, ended)?;
    }
    context.counts.step(&found.job.job_type, Some(CountedAs::of(before)), Some(CountedAs::of(after)));
    Ok(())
}

/// Writes a status whose state, due time and end are as they were: no index has to be maintained for it.
fn update_unindexed(
    context: &WriteContext,
    found: &FoundJob,
    status: &JobStatus,
) -> Result<usize, TransactionError> {
    let sql =
        sql!("UPDATE jobs SET {} WHERE seq = ? AND version = ?", assignments(&JobStatus::unindexed_names()));
    let mut statement = context.connection.prepare_cached(sql)?;
    let mut parameters = Parameters::of(&mut statement);
    status.bind_unindexed(&mut parameters)?;
    parameters.raw(found.seq)?;
    parameters.raw(to_integer(found.job.status.version))?;
    parameters.execute()
}

/// Writes a whole status.
fn update_all(
    context: &WriteContext,
    found: &FoundJob,
    status: &JobStatus,
    number: Option<DispatchNumber>,
) -> Result<usize, TransactionError> {
    let sql = sql!(
        "UPDATE jobs SET dispatch_number = coalesce(?, dispatch_number), {} WHERE seq = ? AND version = ?",
        assignments(&JobStatus::names(""))
    );
    let mut statement = context.connection.prepare_cached(sql)?;
    let mut parameters = Parameters::of(&mut statement);
    parameters.value(&number)?;
    parameters.value(status)?;
    parameters.raw(found.seq)?;
    parameters.raw(to_integer(found.job.status.version))?;
    parameters.execute()
}

fn insert_attempt(
    context: &WriteContext,
    job_seq: i64,
    ended: &AttemptRecord,
) -> Result<(), TransactionError> {
    let row = AttemptRow { job_seq, record: ended.clone() };
    context.insert(sql!("INSERT INTO attempts {}", values::<AttemptRow>()), &row)
}
