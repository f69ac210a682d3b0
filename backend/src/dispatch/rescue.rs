//! Attempts whose worker is gone, and jobs that lost their way: nothing is silently stuck.

use std::{collections::HashSet, sync::Arc};

use crewcall_proto::{Attempt, JobId};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{
    discovery::Discovery,
    hearing::PULSE_EVERY,
    leases::{Lease, LeaseEnd},
    ports::{JobEvent, StoreError},
};
use crate::domain::{Event, State};

/// Every how many looks parked jobs of served types are looked for.
const PARKED_EVERY: u32 = 10;

/// How many leases end in one step.
const BATCH_MAX: usize = 256;

/// Runs until `stop`.
///
/// # Errors
///
/// [`StoreError`] when the store fails for good.
pub async fn run(discovery: Arc<Discovery>, stop: CancellationToken) -> Result<(), StoreError> {
    let mut ticks = tokio::time::interval(PULSE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0_u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => count = count.wrapping_add(1),
        }
        discovery.listen().await;
        discovery.give_up_silent();
        let step = async {
            end_leases(&discovery).await?;
            if count.is_multiple_of(PARKED_EVERY) { release_served(&discovery).await } else { Ok(()) }
        };
        match step.await {
            Err(error) if error.is_retryable() => tracing::warn!(%error, "The rescue waits for the store."),
            Err(StoreError::Closed) if stop.is_cancelled() => return Ok(()),
            other => other?,
        }
    }
}

async fn end_leases(discovery: &Discovery) -> Result<(), StoreError> {
    let mut events = Vec::new();
    let mut undecided = HashSet::new();
    let ended = discovery.ledger.leases.ended();
    if ended.is_empty() {
        return Ok(());
    }
    let running = discovery.registry.running();
    for (lease, end) in ended.into_iter().take(BATCH_MAX) {
        let job_id = lease.job_id;
        match verdict(discovery, &running, lease, end).await {
            Some(event) => events.push(JobEvent { job_id, event }),
            None => {
                undecided.insert(job_id);
            }
        }
    }
    discovery.ledger.leases.postpone(&undecided);
    #[cfg(feature = "failpoints")]
    fail::fail_point!("leases_ended", !events.is_empty(), |_| std::process::abort());
    discovery.ledger.record(events).await.map(|_| ())
}

/// What the end of a lease means. An attempt that is not held has an order: it is sent again only on the
/// evidence that no worker runs it and that its queue is empty.
async fn verdict(
    discovery: &Discovery,
    running: &HashSet<(JobId, Attempt)>,
    lease: Lease,
    end: LeaseEnd,
) -> Option<Event> {
    let Lease { job_id, job_type, attempt, token, execution_id, worker_id, held, .. } = lease;
    if end == LeaseEnd::Overdue {
        tracing::warn!(job.id = %job_id, job.r#type = %job_type, attempt = attempt.get(), worker.id = %worker_id, "An attempt ran too long, and its worker did not end it.");
        discovery.tell_to_cancel(&worker_id, job_id, attempt).await;
        return Some(Event::TimedOut { attempt, execution_id });
    }
    if held {
        tracing::warn!(job.id = %job_id, job.r#type = %job_type, attempt = attempt.get(), worker.id = %worker_id, "A held attempt is lost with its worker.");
        return Some(Event::LeaseExpired { attempt, execution_id });
    }
    if running.contains(&(job_id, attempt)) {
        return None;
    }
    let lost = discovery.broker.orders_waiting(&job_type).await.is_ok_and(|waiting| waiting.is_empty());
    if !lost {
        return None;
    }
    tracing::warn!(job.id = %job_id, job.r#type = %job_type, attempt = attempt.get(), worker.id = %worker_id, "An order is in no queue and with no worker; it is sent again.");
    Some(Event::OrderLost { attempt, token })
}

/// Parked jobs whose type is served after all: their release was missed.
async fn release_served(discovery: &Discovery) -> Result<(), StoreError> {
    discovery.mend_queues().await;
    for count in discovery.ledger.store.counts().await? {
        let served = discovery.catalogue.knows(&count.job_type);
        let parked = count.state == State::Unroutable && count.jobs > 0;
        if parked && served && discovery.declare(&count.job_type).await {
            discovery.release(&count.job_type).await?;
        }
    }
    Ok(())
}
