//! Attempts whose worker is gone, and jobs that lost their way: nothing is silently stuck.

use std::time::Duration;

use crewcall_proto::{Attempt, JobId, WorkerId};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Task, repeat};
use crate::{
    domain::{Event, State},
    engine::{
        Engine,
        discovery::{Discovery, TOLD_AT_ONCE},
        fleet::{
            leases::{Lease, LeaseEnd},
            liveness::{PROBE_EVERY, PROBE_JITTER},
        },
        ports::{Applied, JobEvent, StoreError},
    },
    failpoints::Failpoint,
    mutant::die_at,
};

/// How often it is looked whose time is up.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Every how many looks unroutable jobs of served types are looked for.
const UNROUTABLE_EVERY: u32 = 10;

/// How many leases end in one transaction: few enough that nobody waits for it, and so many that a rack of workers with ten
/// thousand attempts is concluded in some ten of them.
const BATCH_MAX: usize = 1_000;

/// How many workers wait to be told that an attempt of theirs was ended. One that is not told is told when it says that it
/// is still at it.
const UNTOLD_MAX: usize = 1_024;

/// A worker, and which of its attempts was ended.
pub(crate) type Overdue = (WorkerId, JobId, Attempt);

/// Runs until the engine's tasks are told to stop.
///
/// # Errors
///
/// [`StoreError`] when the store fails for good.
pub(super) async fn run(engine: &Engine) -> Result<(), StoreError> {
    let (untold, overdue) = mpsc::channel(UNTOLD_MAX);
    // Beside each other: neither a slow store nor a slow broker must silence the probes.
    tokio::select! {
        () = engine.tasks.stop().cancelled() => Ok(()),
        () = watch_workers(&engine.discovery) => Ok(()),
        () = send_cancels(&engine.discovery, overdue) => Ok(()),
        failed = repeat(Rescue { looks: 0, untold }, engine) => failed,
    }
}

/// Looks for attempts whose time is up, and for jobs that were left unroutable.
struct Rescue {
    looks: u32,
    untold: mpsc::Sender<Overdue>,
}

impl Task for Rescue {
    const PART: &'static str = "rescue";
    const EVERY: Duration = LOOK_EVERY;

    async fn step(&mut self, engine: &Engine) -> Result<(), StoreError> {
        self.looks = self.looks.wrapping_add(1);
        for overdue in end_leases(&engine.discovery).await? {
            // Full: they are told when they speak of it.
            let _ = self.untold.try_send(overdue);
        }
        if self.looks.is_multiple_of(UNROUTABLE_EVERY) {
            release_served(&engine.discovery).await
        } else {
            Ok(())
        }
    }
}

/// Sends probes, and gives up workers that are silent while these are heard.
async fn watch_workers(discovery: &Discovery) {
    loop {
        discovery.send_probe().await;
        discovery.mark_lost();
        tokio::time::sleep(PROBE_EVERY.mul_f64(rand::random_range(PROBE_JITTER))).await;
    }
}

async fn send_cancels(discovery: &Discovery, untold: mpsc::Receiver<Overdue>) {
    let send_cancel = |(worker_id, job_id, attempt): Overdue| async move {
        discovery.send_cancel(&worker_id, job_id, attempt).await;
    };
    ReceiverStream::new(untold).for_each_concurrent(TOLD_AT_ONCE, send_cancel).await;
}

/// Ends every attempt whose lease is over. Returns those whose worker may still be at it.
///
/// # Errors
///
/// [`StoreError`] when not all of them could be recorded; the others are still over at the next look.
pub(super) async fn end_leases(discovery: &Discovery) -> Result<Vec<Overdue>, StoreError> {
    let mut overdue = Vec::new();
    loop {
        // Asked anew for each batch: a worker may be heard while the batch before it is recorded.
        let batch = discovery.leases.ended(BATCH_MAX);
        if batch.is_empty() {
            return Ok(overdue);
        }
        die_at(Failpoint::LeasesEnded);
        let applied = discovery.changes.record(batch.iter().map(event_of).collect()).await?;
        for ((lease, end), answer) in batch.iter().zip(applied.value) {
            let Lease { job_id, job_type, attempt, worker_id, .. } = lease;
            if answer == Applied::Changed {
                discovery.metrics.lease_ended(*end == LeaseEnd::Silent);
            }
            match (end, answer) {
                (LeaseEnd::Overdue, Applied::Changed) => {
                    tracing::warn!(job.id = %job_id, job.r#type = %job_type, attempt = attempt.get(), worker.id = %worker_id, "An attempt ran too long, and its worker did not end it.");
                    overdue.push((worker_id.clone(), *job_id, *attempt));
                }
                (LeaseEnd::Silent, Applied::Changed) => {
                    tracing::warn!(job.id = %job_id, job.r#type = %job_type, attempt = attempt.get(), worker.id = %worker_id, "A held attempt is lost with its worker.");
                }
                // Its job has moved on, whatever is believed here.
                (_, Applied::Stale(_) | Applied::UnknownJob | Applied::OfRun(_)) => {
                    discovery.leases.forget(lease);
                }
            }
        }
    }
}

/// What the end of a lease means.
fn event_of((lease, end): &(Lease, LeaseEnd)) -> JobEvent {
    let (attempt, execution_id) = (lease.attempt, lease.execution_id);
    let event = match end {
        LeaseEnd::Overdue => Event::TimedOut { attempt, execution_id },
        LeaseEnd::Silent => Event::LeaseExpired { attempt, execution_id },
    };
    JobEvent { job_id: lease.job_id, event }
}

/// Unroutable jobs whose type is served after all: their release was missed.
async fn release_served(discovery: &Discovery) -> Result<(), StoreError> {
    discovery.retry_queue_declarations().await;
    for count in discovery.store.counts().await? {
        let served = discovery.catalogue.knows(&count.job_type);
        let unroutable = count.state == State::Unroutable && count.jobs > 0;
        if unroutable && served && discovery.declare(&count.job_type).await {
            discovery.release(&count.job_type).await?;
        }
    }
    Ok(())
}
