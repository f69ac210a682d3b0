//! The worker that is measured: jobs that do nothing.

use std::{collections::BTreeMap, ops::Range, pin::pin};

use crewcall_worker::{JobContext, JobError, Worker};
use tokio_util::sync::CancellationToken;

use super::{JOB_TYPE, PAUSED_TYPE, WAITING_TYPE};
use crate::{
    exit::{Exit, Failure},
    signals::Signals,
};

/// Takes texts by name, which nobody looks at.
async fn noop(_job: JobContext, _parameters: BTreeMap<String, String>) -> Result<(), JobError> {
    Ok(())
}

/// Runs until it is cancelled.
async fn wait(job: JobContext, _parameters: BTreeMap<String, String>) -> Result<(), JobError> {
    job.cancelled().await;
    job.check_cancelled()
}

/// One of many types, whose jobs do nothing.
pub(super) fn many_type(index: usize) -> String {
    format!("bench.many.{index}")
}

/// Serves until it is told to stop: the types that each run has, or these of the many.
///
/// # Errors
///
/// When it cannot be a worker with the settings it has.
pub(crate) async fn run(many: Option<Range<usize>>) -> Result<Exit, Failure> {
    let (stop, mut signals) = (CancellationToken::new(), Signals::listen()?);
    let worker = Worker::from_env().map_err(Failure::part)?.name("bench");
    let worker = match many {
        None => worker.job(JOB_TYPE, noop).job(PAUSED_TYPE, noop).job(WAITING_TYPE, wait),
        Some(many) => many.fold(worker, |worker, index| worker.job(&many_type(index), noop)),
    };
    let mut served = pin!(worker.run_until(stop.clone()));
    tokio::select! {
        ended = &mut served => ended.map_err(Failure::part)?,
        () = signals.next() => {
            stop.cancel();
            served.await.map_err(Failure::part)?;
        }
    }
    Ok(Exit::Done)
}
