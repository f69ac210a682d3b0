//! Publishes what was dispatched, in the order of the dispatches, until the broker has confirmed it; and keeps the mark up to
//! which it has.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crewcall_proto::JobType;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{
    BATCH_MAX, FORGET_EVERY,
    bundles::Bundles,
    mark::Mark,
    retrying,
    unconfirmed::{Batch, Unconfirmed},
    window::WINDOW_MAX,
};
use crate::{
    domain::State,
    engine::{
        Ports,
        changes::Observer,
        fleet::registry::Registry,
        ports::{
            Broker, BrokerError, Confirmations, Dispatch, DispatchNumber, DispatchedOrder, JobChanged,
            OutgoingOrder, Store, StoreError,
        },
        tasks::Tasks,
    },
    failpoints::Failpoint,
    metrics::Metrics,
    mutant::{die_at, mutant},
};

/// How often the high-water mark is kept. After a crash, what was confirmed since is sent again.
const MARK_INTERVAL: Duration = Duration::from_millis(250);

/// How long to wait before an order is published again that the broker did not take.
const PUBLISH_RETRY: Duration = Duration::from_millis(500);

/// What is said of orders on their way when that ends unexpectedly.
const PUBLICATION: &str = "the publication of orders";

/// How many confirmations are taken in one step.
const CONFIRMATIONS_MAX: usize = 64;

/// Publishes orders. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OrderPublisher {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    tasks: Tasks,
    bundles: Bundles,
    mark: Mutex<Mark>,
    unconfirmed: Unconfirmed,
}

/// What was dispatched is published.
impl Observer for OrderPublisher {
    fn after_commit(&self, changes: &[JobChanged]) {
        self.inner.bundles.observe(changes);
        let dispatches: Vec<Dispatch> = changes.iter().filter_map(|change| change.dispatch.clone()).collect();
        self.publish(dispatches);
    }
}

impl OrderPublisher {
    pub(in crate::engine) fn new(ports: &Ports, registry: Arc<Registry>) -> Self {
        let inner = Inner {
            store: Arc::clone(&ports.store),
            broker: Arc::clone(&ports.broker),
            bundles: Bundles::new(Arc::clone(&registry)),
            registry,
            metrics: Arc::clone(&ports.metrics),
            tasks: ports.tasks.clone(),
            mark: Mutex::default(),
            unconfirmed: Unconfirmed::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Keeps the mark until it is told to stop. Call [`OrderPublisher::recover`] first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails for good.
    pub(in crate::engine) async fn run(&self) -> Result<(), StoreError> {
        let stop = self.inner.tasks.stop();
        let (mut ticks, mut forgets) = (interval(MARK_INTERVAL), interval(FORGET_EVERY));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        forgets.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => retrying(stop, || self.keep_mark()).await?,
                _ = forgets.tick() => self.inner.bundles.forget_unserved(),
            }
        }
    }

    /// Publishes again what an earlier process may have left unsent. To be called once, before any job is accepted.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub(in crate::engine) async fn recover(&self) -> Result<(), StoreError> {
        let marks = self.inner.store.dispatch_marks().await?;
        let mut unsent = Vec::new();
        let mut after = marks.confirmed;
        loop {
            let page = self.inner.store.unconfirmed_dispatches(after, BATCH_MAX).await?;
            let Some(last) = page.last() else { break };
            after = last.number;
            unsent.extend(page);
        }
        if !unsent.is_empty() {
            tracing::info!(
                orders = unsent.len(),
                "Orders that may not have reached the broker are sent again."
            );
        }
        self.mark().recover(marks.issued, unsent.iter().map(|dispatch| dispatch.number));
        if !mutant("unsent_forgotten") {
            self.publish(unsent);
        }
        Ok(())
    }

    /// Publishes attempts that the store holds as dispatched, in this order. Returns at once; it is tried until the
    /// broker has confirmed them, or until the process stops, and then the next process does.
    fn publish(&self, dispatches: Vec<Dispatch>) {
        if dispatches.is_empty() {
            return;
        }
        if mutant("mark_early") {
            dispatches.iter().for_each(|dispatch| self.mark().confirm(dispatch.number));
        }
        let batch = self.inner.unconfirmed.begin(dispatches.len());
        self.enqueue(dispatches, batch);
    }

    fn enqueue(&self, dispatches: Vec<Dispatch>, batch: Batch) {
        die_at(Failpoint::OrderUnsent);
        let Inner { registry, bundles, broker, .. } = &*self.inner;
        let mut orders = Vec::with_capacity(dispatches.len());
        // Most batches are of one type.
        for of_type in dispatches.chunk_by(|one, next| one.job.job_type == next.job.job_type) {
            let Some(first) = of_type.first() else { continue };
            let content_type = registry.order_encoding(&first.job.job_type);
            let (orders_max, workers) = bundles.limits(&first.job.job_type);
            orders.extend(of_type.iter().map(|dispatch| {
                let shares = orders_max > 1 && Bundles::may_share(dispatch);
                let bundle_max = if shares { orders_max } else { 1 };
                OutgoingOrder { dispatch: dispatch.clone(), content_type, bundle_max, workers }
            }));
        }
        let confirmations = broker.publish_orders(orders);
        let publisher = self.clone();
        let confirmed = async move { publisher.wait_for(&dispatches, batch, confirmations).await };
        self.inner.tasks.errand(PUBLICATION, confirmed);
    }

    /// Waits until everything is confirmed, but for what has to be sent again.
    async fn wait_for(&self, dispatches: &[Dispatch], batch: Batch, mut confirmations: Confirmations) {
        let mut answers = Vec::new();
        while confirmations.recv_many(&mut answers, CONFIRMATIONS_MAX).await > 0 {
            let mut over = 0;
            for (place, answer) in answers.drain(..) {
                let Some(dispatch) = dispatches.get(place) else { continue };
                match answer {
                    Ok(()) => {
                        die_at(Failpoint::OrderConfirmed);
                        self.mark().confirm(dispatch.number);
                        self.inner.metrics.dispatch_confirmed(batch.since.elapsed());
                        over += 1;
                    }
                    Err(BrokerError::Closed) => over += 1,
                    Err(error) => self.publish_later(dispatch.clone(), batch, &error),
                }
            }
            self.inner.unconfirmed.end(batch, over);
        }
    }

    fn publish_later(&self, dispatch: Dispatch, batch: Batch, error: &BrokerError) {
        // While the broker is away this goes for every order under way, and the link said it once.
        if matches!(error, BrokerError::Refused { .. }) {
            let job = &dispatch.job;
            tracing::warn!(
                job.id = %job.id, job.r#type = %job.job_type, attempt = job.status.attempt.get(), %error,
                "An order could not be published; it is tried again."
            );
        }
        let publisher = self.clone();
        let later = async move {
            let stop = publisher.inner.tasks.stop();
            if stop.run_until_cancelled(sleep(PUBLISH_RETRY)).await.is_some() {
                publisher.enqueue(vec![dispatch], batch);
            }
        };
        self.inner.tasks.errand(PUBLICATION, later);
    }

    /// How many orders await their confirm, and for how long the oldest of them has.
    pub(in crate::engine) fn unconfirmed(&self) -> (usize, Duration) {
        self.inner.unconfirmed.look()
    }

    /// Whether the broker confirmed this dispatch, as far as this process knows.
    pub(in crate::engine) fn is_confirmed(&self, number: DispatchNumber) -> bool {
        self.mark().is_confirmed(number)
    }

    /// The orders of a type that the broker has confirmed, and of which no worker said that it began.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub(in crate::engine) async fn confirmed(
        &self,
        job_type: &JobType,
    ) -> Result<Vec<DispatchedOrder>, StoreError> {
        let mut orders = self.inner.store.dispatched(job_type, WINDOW_MAX).await?;
        orders.retain(|order| self.is_confirmed(order.number));
        Ok(orders)
    }

    /// Publishes orders again that were lost with the type's queue: as the same attempts, with the same tokens. A worker that
    /// has one of them takes it for what it is. Returns how many.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub(in crate::engine) async fn send_again(
        &self,
        orders: Vec<DispatchedOrder>,
    ) -> Result<usize, StoreError> {
        let mut open = Vec::new();
        for order in orders {
            let Some((job, _)) = self.inner.store.get(order.job_id).await? else { continue };
            let is_open = job.status.state == State::Dispatched && job.status.attempt == order.attempt;
            if is_open && !mutant("replaced_unsent") {
                open.push(Dispatch { number: order.number, job: Arc::new(job), sent_before: true });
            }
        }
        let sent = open.len();
        self.publish(open);
        Ok(sent)
    }

    /// Keeps the high-water mark, if it rose. Done in intervals by [`OrderPublisher::run`], and once more at the end.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it could not be kept; a restart then sends more orders again than it must.
    pub(in crate::engine) async fn keep_mark(&self) -> Result<(), StoreError> {
        let Some(up_to) = self.mark().to_keep() else { return Ok(()) };
        self.inner.store.confirm_dispatches(up_to).await?;
        self.mark().kept(up_to);
        Ok(())
    }

    fn mark(&self) -> MutexGuard<'_, Mark> {
        self.inner.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
