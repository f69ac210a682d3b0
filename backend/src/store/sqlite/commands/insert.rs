//! Accepted jobs become rows.

use std::sync::Arc;

use crewcall_proto::AttemptToken;
use rusqlite::params;

use super::{
    super::{
        desk::Desk,
        fault::Fault,
        rows::{Binder, id_bytes, policy_columns, status_columns, steady_values, to_integer, to_json},
        tally::Place,
    },
    idempotency,
};
use crate::{
    domain::{Event, Job},
    engine::ports::{Accepted, DispatchNumber, IdempotencyKey, Inserted},
};

/// An accepted job, and everything about it that can be made ready before the writer has it.
pub(in super::super) struct NewRow {
    job: Job,
    window: usize,
    /// Used if the job is dispatched at once.
    token: AttemptToken,
    parameters: String,
    labels: Option<String>,
    idempotency: Option<IdempotencyKey>,
}

impl NewRow {
    pub(in super::super) fn new(Accepted { job, window, idempotency }: Accepted) -> Self {
        let parameters = to_json(&job.parameters);
        let labels = (!job.labels.is_empty()).then(|| to_json(&job.labels));
        Self { job, window, token: AttemptToken::generate(), parameters, labels, idempotency }
    }
}

/// Stores jobs, and dispatches those for which there is room.
pub(in super::super) fn insert(desk: &mut Desk, rows: Vec<NewRow>) -> Result<Vec<Inserted>, Fault> {
    rows.into_iter().map(|row| insert_one(desk, row)).collect()
}

fn insert_one(desk: &mut Desk, row: NewRow) -> Result<Inserted, Fault> {
    let NewRow { mut job, window, token, parameters, labels, idempotency } = row;
    if let Some(key) = &idempotency
        && let Some(inserted) = idempotency::earlier(desk, key)?
    {
        return Ok(inserted);
    }
    if !desk.tally.takes(&job.job_type) {
        return Ok(Inserted::TooManyTypes);
    }
    let mut dispatched = None;
    // A job that is due later cannot be dispatched: the state machine says so.
    if desk.tally.has_room(&job.job_type, window)
        && let Ok(change) = desk.transition(&job.status, &job.policy, Event::Dispatched { token })
    {
        job.status = change.status;
        dispatched = Some(desk.tally.next_number());
    }
    let seq = insert_job(desk, &job, dispatched)?;
    desk.execute("INSERT INTO job_payloads VALUES (?, ?, ?)", params![seq, parameters, labels])?;
    for (name, value) in &job.labels {
        desk.execute("INSERT INTO job_labels VALUES (?, ?, ?)", params![name, value, id_bytes(&job.id)])?;
    }
    if let Some(key) = &idempotency {
        idempotency::remember(desk, key, seq)?;
    }
    desk.note_drift(&job.id, job.created_at);
    desk.tally.step(&job.job_type, None, Some(Place::of(&job.status)));
    Ok(Inserted::Stored { job: Arc::new(job), dispatched })
}

/// Answers the row's number.
fn insert_job(desk: &Desk, job: &Job, dispatched: Option<DispatchNumber>) -> Result<i64, Fault> {
    let mut statement = desk.connection.prepare_cached(concat!(
        "INSERT INTO jobs (id, type, priority, created_at, dispatch_number, ",
        policy_columns!(),
        ", ",
        status_columns!(),
        ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ",
        steady_values!(),
        ")"
    ))?;
    let mut binder = Binder::of(&mut statement);
    binder.put(id_bytes(&job.id))?;
    binder.put(job.job_type.as_str())?;
    binder.put(job.priority.get())?;
    binder.put(job.created_at.as_millis())?;
    binder.put(dispatched.map(|number| to_integer(number.0)))?;
    binder.put_policy(&job.policy)?;
    binder.put_status(&job.status)?;
    binder.execute()?;
    Ok(desk.connection.last_insert_rowid())
}
