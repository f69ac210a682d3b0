//! Events change jobs: read, ask the state machine, write what it says.

use crewcall_proto::{JobId, JobType, Timestamp};
use rusqlite::{OptionalExtension as _, params};

use super::super::{
    desk::Desk,
    fault::Fault,
    rows::{
        Binder, Columns, id_bytes, outcome_error, outcome_word, status_columns, steady_columns,
        steady_values, to_integer,
    },
    tally::Place,
};
use crate::{
    domain::{AttemptRecord, Change, JobStatus, Policy, State},
    engine::ports::{Applied, DispatchNumber, JobChange, JobEvent},
};

/// Runs the state machine over events, in order.
pub(in super::super) fn apply(desk: &mut Desk, events: Vec<JobEvent>) -> Result<Vec<Applied>, Fault> {
    events.into_iter().map(|event| apply_one(desk, event)).collect()
}

fn apply_one(desk: &mut Desk, JobEvent { job_id, event }: JobEvent) -> Result<Applied, Fault> {
    let Some(found) = find(desk, &job_id)? else { return Ok(Applied::UnknownJob) };
    let change = match desk.transition(&found.status, &found.policy, event) {
        Ok(change) => change,
        Err(stale) => return Ok(Applied::Stale(stale)),
    };
    Ok(Applied::Changed(Box::new(change_job(desk, job_id, found, change)?)))
}

/// Writes what the state machine said of a job, and tells.
pub(super) fn change_job(
    desk: &mut Desk,
    job_id: JobId,
    found: Found,
    change: Change,
) -> Result<JobChange, Fault> {
    write(desk, &found, &change, None)?;
    let Change { status, ended } = change;
    let is_first_word = found.status.state == State::Dispatched
        && (status.state == State::Running || ended.as_ref().is_some_and(|ended| ended.worker_id.is_some()));
    Ok(JobChange {
        job_id,
        job_type: found.job_type,
        created_at: found.created_at,
        timeout: found.policy.timeout,
        from: found.status.state,
        freed_window: found.status.occupies_window() && !status.occupies_window(),
        delivered: found.number.filter(|_| is_first_word && found.status.resends == 0),
        status,
        ended,
    })
}

/// A job as the transaction finds it, without what never changes and nobody asked for.
pub(super) struct Found {
    pub(super) seq: i64,
    pub(super) job_type: JobType,
    pub(super) created_at: Timestamp,
    /// Which dispatch the current attempt was last sent with.
    pub(super) number: Option<DispatchNumber>,
    pub(super) policy: Policy,
    pub(super) status: JobStatus,
}

/// The columns of a [`Found`], in the order in which [`found`] reads them.
macro_rules! found_columns {
    () => {
        concat!(
            "seq, type, created_at, dispatch_number, ",
            $crate::store::sqlite::rows::policy_columns!(),
            ", ",
            $crate::store::sqlite::rows::status_columns!()
        )
    };
}

pub(super) use found_columns;

fn find(desk: &Desk, id: &JobId) -> Result<Option<Found>, Fault> {
    let mut statement =
        desk.connection.prepare_cached(concat!("SELECT ", found_columns!(), " FROM jobs WHERE id = ?"))?;
    let found = statement
        .query_row([id_bytes(id)], |row| {
            let mut columns = Columns::of(row);
            Ok(found(&mut columns))
        })
        .optional()?;
    found.transpose()
}

/// Reads a [`Found`]: [`found_columns`].
pub(super) fn found(columns: &mut Columns<'_>) -> Result<Found, Fault> {
    Ok(Found {
        seq: columns.take()?,
        job_type: columns.job_type()?,
        created_at: columns.time()?,
        number: columns.take::<Option<i64>>()?.map(|number| DispatchNumber(number.cast_unsigned())),
        policy: columns.policy()?,
        status: columns.status()?,
    })
}

/// Writes what the state machine said of a job; `number` if that was a dispatch.
pub(super) fn write(
    desk: &mut Desk,
    found: &Found,
    change: &Change,
    number: Option<DispatchNumber>,
) -> Result<(), Fault> {
    let (before, after) = (&found.status, &change.status);
    let steady =
        (before.state, before.due_at, before.finished_at) == (after.state, after.due_at, after.finished_at);
    let changed =
        if steady { update_steady(desk, found, after)? } else { update_moved(desk, found, after, number)? };
    if changed != 1 {
        return Err(Fault::Inconsistent("a job changed while its transaction had the only right to write"));
    }
    if let Some(ended) = &change.ended {
        insert_attempt(desk, found.seq, ended)?;
    }
    desk.tally.step(&found.job_type, Some(Place::of(before)), Some(Place::of(after)));
    Ok(())
}

/// Writes a status whose state, due time and end are as they were.
fn update_steady(desk: &Desk, found: &Found, status: &JobStatus) -> Result<usize, Fault> {
    let mut statement = desk.connection.prepare_cached(concat!(
        "UPDATE jobs SET (",
        steady_columns!(),
        ") = (",
        steady_values!(),
        ") WHERE seq = ? AND version = ?"
    ))?;
    let mut binder = Binder::of(&mut statement);
    binder.put_steady(status)?;
    binder.put(found.seq)?;
    binder.put(to_integer(found.status.version))?;
    binder.execute()
}

/// Writes a whole status.
fn update_moved(
    desk: &Desk,
    found: &Found,
    status: &JobStatus,
    number: Option<DispatchNumber>,
) -> Result<usize, Fault> {
    let mut statement = desk.connection.prepare_cached(concat!(
        "UPDATE jobs SET dispatch_number = coalesce(?, dispatch_number), (",
        status_columns!(),
        ") = (?, ?, ?, ",
        steady_values!(),
        ") WHERE seq = ? AND version = ?"
    ))?;
    let mut binder = Binder::of(&mut statement);
    binder.put(number.map(|number| to_integer(number.0)))?;
    binder.put_status(status)?;
    binder.put(found.seq)?;
    binder.put(to_integer(found.status.version))?;
    binder.execute()
}

fn insert_attempt(desk: &Desk, seq: i64, ended: &AttemptRecord) -> Result<(), Fault> {
    let error = outcome_error(&ended.outcome);
    desk.execute(
        "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            seq,
            ended.attempt.get(),
            outcome_word(&ended.outcome),
            ended.worker_id.as_ref().map(|worker_id| worker_id.as_str()),
            ended.started_at.map(Timestamp::as_millis),
            ended.finished_at.as_millis(),
            error.map(|error| error.kind.as_str()),
            error.and_then(|error| error.code.as_deref()),
            error.map(|error| error.message.as_str()),
            error.and_then(|error| error.detail.as_deref()),
        ],
    )?;
    Ok(())
}
