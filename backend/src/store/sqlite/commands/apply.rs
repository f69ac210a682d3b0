//! Events change jobs: read, ask the state machine, write what it says.

use crewcall_proto::JobId;

use super::super::{
    columns::{Parameters, PartlyIndexed as _, Value, assignments, first, list, sql, values},
    rows::{AttemptRow, FoundJob, JobRow},
    transaction_error::TransactionError,
    values::{id_bytes, to_integer},
    write_context::WriteContext,
};
use crate::{
    domain::{AttemptRecord, Change, JobStatus, State},
    engine::{
        ports::{Applied, DispatchNumber, JobChange, JobEvent},
        rules::CountedAs,
    },
};

/// Runs the state machine over events, in order.
pub(in super::super) fn apply(
    context: &mut WriteContext,
    events: Vec<JobEvent>,
) -> Result<Vec<Applied>, TransactionError> {
    events.into_iter().map(|event| apply_one(context, event)).collect()
}

fn apply_one(
    context: &mut WriteContext,
    JobEvent { job_id, event }: JobEvent,
) -> Result<Applied, TransactionError> {
    let Some(found) = find(context, &job_id)? else { return Ok(Applied::UnknownJob) };
    let change = match context.transition(&found.row.status, &found.row.policy, event) {
        Ok(change) => change,
        Err(stale) => return Ok(Applied::Stale(stale)),
    };
    Ok(Applied::Changed(Box::new(change_job(context, found, change)?)))
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
) -> Result<JobChange, TransactionError> {
    write(context, &found, &change, None)?;
    let (JobRow { id, job_type, created_at, number, policy, status: before, .. }, Change { status, ended }) =
        (found.row, change);
    let is_first_word = before.state == State::Dispatched
        && (status.state == State::Running || ended.as_ref().is_some_and(|ended| ended.worker_id.is_some()));
    Ok(JobChange {
        job_id: id,
        job_type,
        created_at,
        timeout: policy.timeout,
        from: before.state,
        freed_window: before.occupies_window() && !status.occupies_window(),
        delivered: number.filter(|_| is_first_word && before.resends == 0),
        status,
        ended,
    })
}

/// Writes what the state machine said of a job; `number` if that was a dispatch.
pub(super) fn write(
    context: &mut WriteContext,
    found: &FoundJob,
    change: &Change,
    number: Option<DispatchNumber>,
) -> Result<(), TransactionError> {
    let (before, after) = (&found.row.status, &change.status);
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
    context.counts.step(&found.row.job_type, Some(CountedAs::of(before)), Some(CountedAs::of(after)));
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
    parameters.raw(to_integer(found.row.status.version))?;
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
    parameters.raw(to_integer(found.row.status.version))?;
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
