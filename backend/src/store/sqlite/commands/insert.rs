//! Accepted jobs become rows.

use std::sync::Arc;

use crewcall_proto::AttemptToken;

use super::{
    super::{
        columns::{sql, values},
        rows::{LabelRow, Payload, PayloadRow},
        transaction_error::TransactionError,
        write_context::WriteContext,
    },
    idempotency,
};
use crate::{
    domain::{Event, Job},
    engine::{
        ports::{Accepted, DispatchNumber, IdempotencyKey, Inserted, JobChanged, StoredJob, Written},
        rules::CountedAs,
    },
};

/// An accepted job, and everything about it that can be made ready before the writer has it.
pub(in super::super) struct NewRow {
    job: Job,
    window: usize,
    /// Used if the job is dispatched at once.
    token: AttemptToken,
    payload: Payload,
    idempotency: Option<IdempotencyKey>,
}

impl NewRow {
    pub(in super::super) fn new(Accepted { job, window, idempotency }: Accepted) -> Self {
        let payload = Payload::of(&job);
        Self { job, window, token: AttemptToken::generate(), payload, idempotency }
    }
}

/// Stores jobs, and dispatches those for which there is room.
pub(in super::super) fn insert(
    context: &mut WriteContext,
    rows: Vec<NewRow>,
) -> Result<Written<Vec<Inserted>>, TransactionError> {
    let mut changes = Vec::with_capacity(rows.len());
    let inserted = rows.into_iter().map(|row| insert_one(context, row, &mut changes));
    Ok(Written { value: inserted.collect::<Result<_, _>>()?, changes })
}

fn insert_one(
    context: &mut WriteContext,
    row: NewRow,
    changes: &mut Vec<JobChanged>,
) -> Result<Inserted, TransactionError> {
    let NewRow { mut job, window, token, payload, idempotency } = row;
    if let Some(key) = &idempotency
        && let Some(inserted) = idempotency::earlier(context, key)?
    {
        return Ok(inserted);
    }
    if !context.counts.takes(&job.job_type) {
        return Ok(Inserted::TooManyTypes);
    }
    let mut number = None;
    // A job that is due later cannot be dispatched: the state machine says so.
    if context.counts.has_room(&job.job_type, window)
        && let Ok(change) = context.transition(&job.status, &job.policy, Event::Dispatched { token })
    {
        job.status = change.status;
        number = Some(context.counts.next_number());
    }
    let seq = insert_rows(context, &job, number, payload)?;
    if let Some(key) = idempotency {
        idempotency::remember(context, key, seq)?;
    }
    context.note_skew(&job.id, job.created_at);
    context.counts.step(&job.job_type, None, Some(CountedAs::of(&job.status)));
    let job = Arc::new(job);
    changes.push(JobChanged::stored(&job, number));
    Ok(Inserted::Stored { job })
}

/// Returns the number of the job's row.
fn insert_rows(
    context: &WriteContext,
    job: &Job,
    number: Option<DispatchNumber>,
    payload: Payload,
) -> Result<i64, TransactionError> {
    let row = StoredJob {
        id: job.id,
        job_type: job.job_type.clone(),
        priority: job.priority,
        created_at: job.created_at,
        number,
        policy: job.policy,
        status: job.status.clone(),
    };
    context.insert(sql!("INSERT INTO jobs {}", values::<StoredJob>()), &row)?;
    let job_seq = context.connection.last_insert_rowid();
    let payload = PayloadRow { job_seq, payload };
    context.insert(sql!("INSERT INTO job_payloads {}", values::<PayloadRow>()), &payload)?;
    for (name, value) in &job.labels {
        let label = LabelRow { name: name.clone(), value: value.clone(), job_id: job.id };
        context.insert(sql!("INSERT INTO job_labels {}", values::<LabelRow>()), &label)?;
    }
    Ok(job_seq)
}
