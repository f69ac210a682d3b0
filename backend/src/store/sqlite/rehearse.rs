//! Whether the store can do its work: a job goes through its life, and nothing of it is kept.

use crewcall_proto::{AttemptToken, ExecutionId, JobId, WorkerId, response::Origin};

use super::{run::run, transaction_error::TransactionError, write_context::WriteContext};
use crate::{
    domain::{Event, Submission},
    engine::{
        ports::{Accepted, Applied, Inserted, JobEvent},
        rules::{ApplyEvents, NewJob, StoreJobs},
    },
};

/// The type of the job: no worker announces it, and nobody ever sees it.
const JOB_TYPE: &str = "rehearsal";

/// Keeps the time, and stores, dispatches and completes a job as for real. Fails as these would.
pub(super) fn rehearse(context: &mut WriteContext) -> Result<(), TransactionError> {
    context.keep_time()?;
    let savepoint = context.rules.savepoint();
    context.execute("SAVEPOINT rehearsal", ())?;
    // When it fails, it is taken back with the whole command.
    play(context)?;
    context.execute("ROLLBACK TO rehearsal", ())?;
    context.execute("RELEASE rehearsal", ())?;
    context.rules.roll_back_to(savepoint);
    Ok(())
}

fn play(context: &mut WriteContext) -> Result<(), TransactionError> {
    const NO_JOB: TransactionError = TransactionError::Inconsistent("a job that was rehearsed is none");
    let (now, job_id) = (context.rules.now(), JobId::generate());
    let submission = Submission { job_type: JOB_TYPE.to_owned(), ..Submission::default() };
    let job = submission.validate(now).map_err(|_| NO_JOB)?.accept(job_id, now);
    // Without a window: whatever is set for a type of this name, and whoever waits, it is dispatched below.
    let new = NewJob::new(Accepted { job, window: 0, idempotency: None, after: None }).map_err(|_| NO_JOB)?;
    let stored = run(context, StoreJobs(vec![new]))?;
    let Some(Inserted::Stored { job, .. }) = stored.value.first() else { return Err(NO_JOB) };
    let token = AttemptToken::generate();
    let origin = Origin {
        job_id,
        attempt: job.status.attempt,
        attempt_token: token,
        execution_id: ExecutionId::generate(),
        worker_id: WorkerId::generate(),
    };
    let completed = Event::Completed {
        origin,
        result: "{}".to_owned(),
        emitted: Vec::new(),
        started_at: now,
        finished_at: now,
    };
    let events = [Event::Dispatched { token }, completed];
    let applied = run(context, ApplyEvents(events.map(|event| JobEvent { job_id, event }).to_vec()))?;
    let changed = applied.value.iter().all(|applied| *applied == Applied::Changed);
    if changed { Ok(()) } else { Err(NO_JOB) }
}
