//! Orders that got lost: in no queue and with no worker, because a queue was purged or deleted, or the broker
//! lost its disk. They are sent again, as the same attempt.
//!
//! It decides on evidence, never on elapsed time alone: an order is lost when, at every look over a while, its
//! queue was empty, nothing was astray, and no worker that is there said that it has it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use crewcall_proto::{Attempt, JobId, JobType};
use tokio_util::sync::CancellationToken;

use super::{
    discovery::Discovery,
    ports::{BrokerStatus, DispatchedOrder, JobEvent, StoreError},
};
use crate::domain::{Event, State};

/// How often orders are looked for.
const INTERVAL: Duration = Duration::from_secs(10);

/// For how long an order has to be missing before it is lost. A worker that was cut off keeps its orders until
/// the broker notices, which takes up to three of its 10 s heartbeats, and every worker speaks within 5 s.
pub const MISSING_FOR: Duration = Duration::from_secs(45);

/// How many orders of a type are looked after: no dispatch window is larger.
const ORDERS_MAX: usize = 2_000;

/// Since when orders are missing, by the clock of hearing.
type Missing = HashMap<(JobId, Attempt), Duration>;

/// Runs until `stop`.
///
/// # Errors
///
/// [`StoreError`] when the store fails for good.
pub async fn run(discovery: Arc<Discovery>, stop: CancellationToken) -> Result<(), StoreError> {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut missing = Missing::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        if matches!(*discovery.broker.status().borrow(), BrokerStatus::Down { .. }) {
            missing.clear(); // nobody can be heard, so absence means nothing
            continue;
        }
        match look(&discovery, &mut missing).await {
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "The reconciler waits for the store.");
            }
            Err(StoreError::Closed) if stop.is_cancelled() => return Ok(()),
            other => other?,
        }
    }
}

async fn look(discovery: &Discovery, missing: &mut Missing) -> Result<(), StoreError> {
    let mut still_missing = HashSet::new();
    let mut lost = Vec::new();
    let (now, running) = (discovery.hearing.time(), discovery.registry.running());
    for count in discovery.ledger.store.counts().await? {
        if count.state != State::Dispatched || !empty(discovery, &count.job_type).await {
            continue;
        }
        for order in discovery.ledger.store.dispatched(&count.job_type, ORDERS_MAX).await? {
            let DispatchedOrder { job_id, attempt, token, number } = order;
            let key = (job_id, attempt);
            if running.contains(&key) || !discovery.ledger.relay.is_confirmed(number) {
                continue;
            }
            if now.saturating_sub(*missing.entry(key).or_insert(now)) < MISSING_FOR {
                still_missing.insert(key);
                continue;
            }
            tracing::warn!(job.id = %job_id, job.r#type = %count.job_type, attempt = attempt.get(), "An order is in no queue and with no worker; it is sent again.");
            lost.push(JobEvent { job_id, event: Event::OrderLost { attempt, token } });
        }
    }
    missing.retain(|key, _| still_missing.contains(key));
    discovery.ledger.record(lost).await.map(|_| ())
}

/// Whether no order of the type waits at the broker. A served type whose queue is gone gets a new one.
async fn empty(discovery: &Discovery, job_type: &JobType) -> bool {
    let Ok(waiting) = discovery.broker.orders_waiting(job_type).await else { return false };
    if waiting.is_empty() && waiting.jobs.is_none() && discovery.catalogue.knows(job_type) {
        discovery.declare(job_type).await;
    }
    waiting.is_empty()
}
