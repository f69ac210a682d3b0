//! Orders that got lost: in no queue and with no worker, because a queue was purged or deleted, the broker lost its disk, or
//! somebody acknowledged what they did not answer. They are sent again, as the same attempt.
//!
//! It decides on evidence, never on elapsed time alone. An order is lost when for a while no worker that is there said that
//! it has it, and then it is in no queue: its own was empty at every look, or it was overtaken by later ones
//! ([`crate::engine::fleet::overtaking`]); and it is not on its way to us.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crewcall_proto::{Attempt, AttemptToken, JobId, JobType};

use super::Task;
use crate::{
    domain::{Event, State},
    engine::{
        Engine,
        discovery::Discovery,
        ports::{Applied, BrokerStatus, JobEvent, StoreError},
    },
};

/// How often orders are looked for.
const INTERVAL: Duration = Duration::from_secs(5);

/// For how long no worker must have listed an order, before it can be lost. A worker that was cut off keeps its orders until
/// the broker notices, which takes up to three of its 10 s heartbeats, and every worker speaks within 5 s.
pub const MISSING_FOR: Duration = Duration::from_secs(45);

/// For how long messages in the queues of the unroutable and of the dead may stand for orders that are on their way to us.
/// We read them at once, so one that stays for longer is not read at all, and must not hide everything that is lost.
pub const UNROUTABLE_OR_DEAD_FOR: Duration = Duration::from_secs(120);

/// How many orders of a type are looked after: no dispatch window is larger.
const ORDERS_MAX: usize = 2_000;

/// Which attempt.
type Key = (JobId, Attempt);

/// An order that no worker lists.
struct Unlisted {
    key: Key,
    token: AttemptToken,
    /// Since when, by the liveness clock.
    since: Duration,
}

/// What is remembered from look to look. All times are by the liveness clock.
#[derive(Default)]
pub struct Reconciler {
    /// Since when no worker lists an order.
    unlisted: HashMap<Key, Duration>,
    /// Since when a type's queue was empty at every look.
    empty: HashMap<JobType, Duration>,
    /// Since when something was unroutable or dead at every look.
    unroutable_or_dead: Option<Duration>,
}

impl Task for Reconciler {
    const PART: &'static str = "reconciler";
    const EVERY: Duration = INTERVAL;

    async fn step(&mut self, engine: &Engine) -> Result<(), StoreError> {
        let Engine { discovery, tasks, .. } = engine;
        if tasks.stop().run_until_cancelled(discovery.replace_stuck_queues()).await.is_none() {
            return Ok(());
        }
        self.look(discovery).await
    }
}

/// Has orders sent again that are lost, and forgets the leases on what turns out to be over: news that were recorded one
/// after the other may have been followed the other way round.
async fn send_again(discovery: &Discovery, lost: &[(JobType, Unlisted)]) -> Result<(), StoreError> {
    let event = |(_, order): &(JobType, Unlisted)| {
        let (job_id, attempt) = order.key;
        JobEvent { job_id, event: Event::OrderLost { attempt, token: order.token } }
    };
    let applied = discovery.changes.record(lost.iter().map(event).collect()).await?;
    for ((job_type, order), answer) in lost.iter().zip(applied.value) {
        let (job_id, attempt) = order.key;
        match answer {
            Applied::Changed => {
                discovery.metrics.order_lost();
                tracing::warn!(job.id = %job_id, job.r#type = %job_type, attempt = attempt.get(), "An order is in no queue and with no worker; it is sent again.");
            }
            Applied::Stale(_) | Applied::UnknownJob | Applied::OfRun(_) => {
                discovery.leases.forget_attempt(job_id, attempt);
            }
        }
    }
    Ok(())
}

impl Reconciler {
    /// Looks once at all orders that should be with the broker or a worker, and has those sent again that are lost.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be asked.
    pub async fn look(&mut self, discovery: &Discovery) -> Result<(), StoreError> {
        if matches!(*discovery.broker.status().borrow(), BrokerStatus::Down { .. }) {
            *self = Self::default(); // nobody can be heard, so absence means nothing
            discovery.leases.overtaking.keep(|_| false);
            return Ok(());
        }
        let newest = discovery.store.dispatch_marks().await?.issued;
        let now = discovery.liveness.time();
        let unlisted = self.unlisted(discovery, now).await?;
        self.empty.retain(|job_type, _| unlisted.contains_key(job_type));
        discovery.leases.overtaking.keep(|job_type| unlisted.contains_key(job_type));
        let mut lost = Vec::new();
        for (job_type, orders) in unlisted {
            let gone_since = self.gone_since(discovery, &job_type, now).await;
            let overtaken_since = discovery.leases.overtaking.look(&job_type, newest, now);
            let is_lost = |order: &Unlisted| {
                let missing = order.since + MISSING_FOR;
                // Emptiness counts while it is missing, what overtakes it only afterwards: until then the broker may
                // still take it for delivered to a worker that is gone.
                gone_since.is_some_and(|since| missing.max(since + MISSING_FOR) <= now)
                    || overtaken_since.is_some_and(|began| missing <= began)
            };
            if self.may_be_on_its_way(now) {
                continue;
            }
            lost.extend(orders.into_iter().filter(is_lost).map(|order| (job_type.clone(), order)));
        }
        send_again(discovery, &lost).await
    }

    /// The orders that no worker lists, whether somebody said that they began with them or not.
    async fn unlisted(
        &mut self,
        discovery: &Discovery,
        now: Duration,
    ) -> Result<HashMap<JobType, Vec<Unlisted>>, StoreError> {
        let (mut all, mut still) = (HashMap::<JobType, Vec<Unlisted>>::new(), HashSet::new());
        let running = discovery.registry.running();
        let mut add = |job_type: &JobType, key: Key, token: AttemptToken, heard: Duration| {
            if !running.contains(&key) {
                let since = (*self.unlisted.entry(key).or_insert(now)).max(heard);
                still.insert(key);
                all.entry(job_type.clone()).or_default().push(Unlisted { key, token, since });
            }
        };
        for lease in discovery.leases.delivered() {
            add(&lease.job_type, (lease.job_id, lease.attempt), lease.token, lease.renewed());
        }
        for count in discovery.store.counts().await? {
            if count.state != State::Dispatched || count.jobs == 0 {
                continue;
            }
            for order in discovery.store.dispatched(&count.job_type, ORDERS_MAX).await? {
                if discovery.publisher.is_confirmed(order.number) {
                    add(&count.job_type, (order.job_id, order.attempt), order.token, Duration::ZERO);
                }
            }
        }
        self.unlisted.retain(|key, _| still.contains(key));
        Ok(all)
    }

    /// Since when the type's queue was empty, or not there, at every look. A served type whose queue is gone gets a new one.
    async fn gone_since(
        &mut self,
        discovery: &Discovery,
        job_type: &JobType,
        now: Duration,
    ) -> Option<Duration> {
        let waiting = discovery.broker.orders_waiting(job_type).await.ok();
        match waiting {
            Some(waiting) if waiting.unroutable_or_dead > 0 => _ = self.unroutable_or_dead.get_or_insert(now),
            Some(_) => self.unroutable_or_dead = None,
            None => {}
        }
        let Some(jobs) = waiting.map(|waiting| waiting.jobs).filter(|jobs| jobs.unwrap_or(0) == 0) else {
            self.empty.remove(job_type);
            return None;
        };
        if jobs.is_none() && discovery.catalogue.knows(job_type) {
            discovery.declare(job_type).await;
        }
        Some(*self.empty.entry(job_type.clone()).or_insert(now))
    }

    /// Whether an order may be on its way to us, in the queue of the unroutable or of the dead.
    fn may_be_on_its_way(&self, now: Duration) -> bool {
        self.unroutable_or_dead.is_some_and(|since| now.saturating_sub(since) < UNROUTABLE_OR_DEAD_FOR)
    }
}
