//! Ready jobs go to the broker.

use std::{sync::Arc, time::Duration};

use crewcall_proto::{AttemptToken, JobType};
use rusqlite::params;

use super::{
    super::{
        columns::{all, list, sql},
        counters::{self, DISPATCHES_CONFIRMED},
        rows::WholeJob,
        transaction_error::TransactionError,
        values::to_limit,
        write_context::WriteContext,
    },
    apply::write,
    types::put_terms,
};
use crate::{
    domain::{Event, State},
    engine::{
        ports::{Dispatch, DispatchNumber, JobChanged, Written},
        rules::Terms,
    },
};

/// Dispatches the ready jobs whose turn it is, as far as there is room and what is set for the type allows.
pub(in super::super) fn dispatch_due(
    context: &mut WriteContext,
    job_type: &JobType,
    window: usize,
    limit: usize,
) -> Result<Written<Option<Duration>>, TransactionError> {
    let (now, room) = (context.now(), context.counts.room(job_type, window));
    let changes = dispatch(context, job_type, room.open(now).min(limit))?;
    if let Some(slot) = room.slot_after(now, changes.len()) {
        let terms = Terms { slot: Some(slot), ..context.counts.terms(job_type) };
        put_terms(context, job_type, terms)?;
    }
    let value = context.counts.rate_wait(job_type, room, changes.len(), now);
    Ok(Written { value, changes })
}

/// Dispatches the next `limit` ready jobs.
fn dispatch(
    context: &mut WriteContext,
    job_type: &JobType,
    limit: usize,
) -> Result<Vec<JobChanged>, TransactionError> {
    let mut changes = Vec::new();
    for mut whole in next_ready(context, job_type, limit)? {
        let job = &whole.found.job;
        let event = Event::Dispatched { token: AttemptToken::generate() };
        let Ok(change) = context.transition(&job.status, &job.policy, event) else {
            return Err(TransactionError::Inconsistent("a ready job could not be dispatched"));
        };
        let number = context.counts.next_number();
        write(context, &whole.found, &change, Some(number))?;
        whole.found.job.status = change.status;
        let dispatch = Dispatch { number, job: Arc::new(whole.job()?) };
        changes.push(JobChanged::dispatched(State::Ready, dispatch));
    }
    Ok(changes)
}

/// The ready jobs whose turn it is.
fn next_ready(
    context: &WriteContext,
    job_type: &JobType,
    limit: usize,
) -> Result<Vec<WholeJob>, TransactionError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_ready JOIN job_payloads ON job_seq = seq \
         WHERE type = ? AND state = 'ready' ORDER BY priority DESC, due_at, id LIMIT ?",
        list::<WholeJob>()
    );
    all(&context.connection, sql, params![job_type.as_str(), to_limit(limit)])
}

/// Keeps the high-water mark of confirmed dispatches.
pub(in super::super) fn confirm_dispatches(
    context: &WriteContext,
    up_to: DispatchNumber,
) -> Result<(), TransactionError> {
    counters::raise(&context.connection, DISPATCHES_CONFIRMED, up_to.0)
}
