//! Publishing attempts: the relay keeps each type's dispatch window full, and no fuller.
//!
//! What waits stays in the store, in order; only a bounded number of attempts of each type is with the
//! broker. That keeps the broker small with a million jobs waiting, and lets priority mean something.

mod mark;
mod wakes;

use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crewcall_proto::JobType;
use dashmap::DashMap;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::State,
    engine::{
        fleet::registry::Registry,
        ports::{
            Broker, BrokerError, BrokerStatus, Dispatch, DispatchNumber, DispatchedOrder, Due, Store,
            StoreError,
        },
        relay::{mark::Mark, wakes::Wakes},
        watch::WatchHub,
    },
    failpoints::Failpoint,
    metrics::Metrics,
    mutant::{die_at, mutant},
    tasks::Tasks,
};

/// The dispatch window of a type that is slow or has few slots: enough to keep a worker busy while the
/// backend restarts.
pub const WINDOW_MIN: usize = 64;

/// The largest dispatch window: what a type may have with the broker at once, however fast it is.
pub const WINDOW_MAX: usize = 2_000;

/// Orders per slot in the window: one runs, one is at the worker's door, the rest are on their way.
const WINDOW_PER_SLOT: usize = 4;

/// How many attempts are taken from the store in one step.
const BATCH_MAX: usize = 256;

/// How often the high-water mark is kept. After a crash, what was confirmed since is sent again.
const MARK_INTERVAL: Duration = Duration::from_millis(250);

/// What is said of an order on its way when it ends unexpectedly.
const PUBLICATION: &str = "the publication of an order";

/// How long to wait before asking a store again that could not answer.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// Publishes attempts. Cheap to clone.
#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    registry: Arc<Registry>,
    watch: WatchHub,
    metrics: Arc<Metrics>,
    tasks: Tasks,
    stop: CancellationToken,
    /// The types that may have ready jobs and room.
    dirty: Mutex<BTreeSet<JobType>>,
    wake: Notify,
    /// The types whose rate limit lets something through later.
    later: Mutex<Wakes>,
    rates: DashMap<JobType, Rate>,
    mark: Mutex<Mark>,
    unconfirmed: AtomicUsize,
}

/// What a [`Relay`] works with.
pub struct RelayParts {
    /// Where jobs are kept.
    pub store: Arc<dyn Store>,
    /// What carries orders.
    pub broker: Arc<dyn Broker>,
    /// Who is there: windows grow with slots.
    pub registry: Arc<Registry>,
    /// Who watches.
    pub watch: WatchHub,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where publications run.
    pub tasks: Tasks,
    /// When to stop.
    pub stop: CancellationToken,
}

impl Relay {
    /// A relay that publishes nothing yet; see [`Relay::run`].
    #[must_use]
    pub fn new(parts: RelayParts) -> Self {
        let RelayParts { store, broker, registry, watch, metrics, tasks, stop } = parts;
        let inner = Inner {
            store,
            broker,
            registry,
            watch,
            metrics,
            tasks,
            stop,
            dirty: Mutex::default(),
            wake: Notify::new(),
            later: Mutex::default(),
            rates: DashMap::new(),
            mark: Mutex::default(),
            unconfirmed: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Keeps the windows full until it is told to stop. Call [`Relay::recover`] first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails for good.
    pub async fn run(&self) -> Result<(), StoreError> {
        // Beside each other: under load there is always something to fill.
        tokio::try_join!(self.fill_windows(), self.keep_marks())?;
        Ok(())
    }

    async fn fill_windows(&self) -> Result<(), StoreError> {
        let mut status = self.inner.broker.status();
        let mut recovered = self.inner.broker.queues_recovered();
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => return Ok(()),
                () = self.inner.wake.notified() => self.retrying(|| self.fill_dirty()).await?,
                job_type = poll_fn(|context| self.lock_later().poll_next(context)) => self.wake(&job_type),
                changed = status.changed() => {
                    let up = *status.borrow_and_update() == BrokerStatus::Up;
                    if changed.is_ok() && up {
                        self.retrying(|| self.wake_ready()).await?;
                    }
                }
                Ok(()) = recovered.changed() => self.retrying(|| self.wake_ready()).await?,
            }
        }
    }

    async fn keep_marks(&self) -> Result<(), StoreError> {
        let mut ticks = tokio::time::interval(MARK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => return Ok(()),
                _ = ticks.tick() => self.retrying(|| self.keep_mark()).await?,
            }
            self.inner.rates.retain(|_, rate| rate.per_second() > 0);
        }
    }

    /// Whether jobs of the type are ready, and only its rate limit keeps them.
    #[must_use]
    pub fn waits_for_rate(&self, job_type: &JobType) -> bool {
        self.lock_later().is_set(job_type)
    }

    /// How many attempts of the type may be with the broker now; none while the broker, or the type's queue, takes
    /// nothing.
    #[must_use]
    pub fn window(&self, job_type: &JobType) -> usize {
        let broker = &self.inner.broker;
        if *broker.status().borrow() != BrokerStatus::Up || broker.queue_error(job_type).is_some() {
            return 0;
        }
        let slots = self.inner.registry.capacity(job_type).slots;
        let per_second = self.inner.rates.get(job_type).map_or(0, |rate| rate.per_second());
        (slots.saturating_mul(WINDOW_PER_SLOT)).max(per_second).clamp(WINDOW_MIN, WINDOW_MAX)
    }

    /// Whether the broker confirmed this dispatch, as far as this process knows.
    #[must_use]
    pub fn is_confirmed(&self, number: DispatchNumber) -> bool {
        self.lock_mark().is_confirmed(number)
    }

    /// Jobs of the type may be ready, or there may be room for them.
    pub fn wake(&self, job_type: &JobType) {
        self.lock_dirty().insert(job_type.clone());
        self.inner.wake.notify_one();
    }

    /// An attempt of the type left the window.
    pub fn finished(&self, job_type: &JobType) {
        self.inner.rates.entry(job_type.clone()).or_default().count();
        self.wake(job_type);
    }

    /// Publishes an attempt that the store holds as dispatched. Returns at once; the relay tries until the
    /// broker has confirmed it, or until the process stops, and then the next process does.
    pub fn publish(&self, dispatch: Dispatch) {
        let relay = self.clone();
        self.inner.tasks.errand(PUBLICATION, async move { relay.publish_until_confirmed(dispatch).await });
    }

    /// Publishes like [`Relay::publish`], but has the order on its way before it returns: those that are taken
    /// together leave in the order of their priority.
    async fn publish_in_turn(&self, dispatch: Dispatch) {
        let relay = self.clone();
        let mut publication = Box::pin(async move { relay.publish_until_confirmed(dispatch).await });
        if futures_util::poll!(publication.as_mut()).is_pending() {
            self.inner.tasks.errand(PUBLICATION, publication);
        }
    }

    async fn publish_until_confirmed(&self, dispatch: Dispatch) {
        let inner = &self.inner;
        let Some(order) = dispatch.order() else {
            tracing::error!(job.id = %dispatch.job.id, "A dispatched job has no attempt token; it is not published.");
            return;
        };
        inner.metrics.dispatch_unconfirmed(inner.unconfirmed.fetch_add(1, Ordering::Relaxed) + 1);
        if mutant("mark_early") {
            self.lock_mark().confirm(dispatch.number);
        }
        loop {
            die_at(Failpoint::OrderUnsent);
            match inner.broker.publish_order(&order, inner.registry.order_encoding(&order.job_type)).await {
                Ok(()) => {
                    die_at(Failpoint::OrderConfirmed);
                    self.lock_mark().confirm(dispatch.number);
                    break;
                }
                Err(BrokerError::Closed) => break,
                Err(error) => {
                    // While the broker is away this goes for every order under way, and the link said it once.
                    if matches!(error, BrokerError::Refused { .. }) {
                        tracing::warn!(
                            job.id = %order.job_id, job.r#type = %order.job_type, attempt = order.attempt.get(), %error,
                            "An order could not be published; it is tried again."
                        );
                    }
                    tokio::select! {
                        () = inner.stop.cancelled() => break,
                        () = tokio::time::sleep(STORE_RETRY) => {}
                    }
                }
            }
        }
        inner.metrics.dispatch_unconfirmed(inner.unconfirmed.fetch_sub(1, Ordering::Relaxed) - 1);
    }

    /// Publishes again what an earlier process may have left unsent, and finds the types that have ready
    /// jobs. To be called once, before any job is accepted.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub async fn recover(&self) -> Result<(), StoreError> {
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
        self.lock_mark().recover(marks.issued, unsent.iter().map(|dispatch| dispatch.number));
        if mutant("unsent_forgotten") {
            unsent.clear();
        }
        for dispatch in unsent {
            self.publish(dispatch);
        }
        self.wake_ready().await
    }

    /// The orders of a type that the broker has confirmed, and of which no worker said that it began.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub async fn confirmed(&self, job_type: &JobType) -> Result<Vec<DispatchedOrder>, StoreError> {
        let mut orders = self.inner.store.dispatched(job_type, WINDOW_MAX).await?;
        orders.retain(|order| self.is_confirmed(order.number));
        Ok(orders)
    }

    /// Publishes orders again that were lost with the type's queue: as the same attempts, with the same tokens. A worker that
    /// has one of them takes it for what it is. Answers how many.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub async fn send_again(&self, orders: Vec<DispatchedOrder>) -> Result<usize, StoreError> {
        let mut sent = 0;
        for order in orders {
            let Some((job, _)) = self.inner.store.get(order.job_id).await? else { continue };
            let is_open = job.status.state == State::Dispatched && job.status.attempt == order.attempt;
            if is_open && !mutant("replaced_unsent") {
                self.publish(Dispatch { number: order.number, job: Arc::new(job) });
                sent += 1;
            }
        }
        Ok(sent)
    }

    async fn wake_ready(&self) -> Result<(), StoreError> {
        for job_type in self.inner.store.ready_types().await? {
            self.wake(&job_type);
        }
        Ok(())
    }

    /// One batch of each type in turn: a flood of one type does not delay another. What is left wakes the relay again.
    async fn fill_dirty(&self) -> Result<(), StoreError> {
        let mut types = std::mem::take(&mut *self.lock_dirty()).into_iter();
        while let Some(job_type) = types.next() {
            if self.inner.stop.is_cancelled() {
                return Ok(());
            }
            if let Err(error) = self.fill(&job_type).await {
                self.lock_dirty().extend(std::iter::once(job_type).chain(types));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn fill(&self, job_type: &JobType) -> Result<(), StoreError> {
        let window = self.window(job_type);
        if window == 0 {
            return Ok(()); // the broker's return, or that of the queue, wakes every type
        }
        let Due { dispatches, rate_wait } =
            self.inner.store.dispatch_due(job_type, window, BATCH_MAX).await?;
        self.lock_later().set(job_type, rate_wait);
        if dispatches.len() == BATCH_MAX {
            self.wake(job_type);
        }
        for dispatch in dispatches {
            let job = &dispatch.job;
            self.inner.watch.changed(job.id, &job.job_type, job.status.state, job.status.version);
            self.publish_in_turn(dispatch).await;
        }
        Ok(())
    }

    /// Keeps the high-water mark, if it rose. Done in intervals by [`Relay::run`], and once more at the end.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it could not be kept; a restart then sends more orders again than it must.
    pub async fn keep_mark(&self) -> Result<(), StoreError> {
        let Some(up_to) = self.lock_mark().to_keep() else { return Ok(()) };
        self.inner.store.confirm_dispatches(up_to).await?;
        self.lock_mark().kept(up_to);
        Ok(())
    }

    /// Repeats `step` while the store is only unavailable.
    async fn retrying<F, Fut>(&self, step: F) -> Result<(), StoreError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<(), StoreError>>,
    {
        loop {
            match step().await {
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "The relay waits for the store.");
                    tokio::select! {
                        () = self.inner.stop.cancelled() => return Ok(()),
                        () = tokio::time::sleep(STORE_RETRY) => {}
                    }
                }
                Err(StoreError::Closed) if self.inner.stop.is_cancelled() => return Ok(()),
                other => return other,
            }
        }
    }

    fn lock_dirty(&self) -> std::sync::MutexGuard<'_, BTreeSet<JobType>> {
        self.inner.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_later(&self) -> std::sync::MutexGuard<'_, Wakes> {
        self.inner.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_mark(&self) -> std::sync::MutexGuard<'_, Mark> {
        self.inner.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many attempts of a type left the window in the last whole second.
#[derive(Debug)]
struct Rate {
    since: Instant,
    current: usize,
    previous: usize,
}

impl Default for Rate {
    fn default() -> Self {
        Self { since: Instant::now(), current: 0, previous: 0 }
    }
}

impl Rate {
    fn count(&mut self) {
        let elapsed = self.since.elapsed();
        if elapsed >= Duration::from_secs(1) {
            self.previous = if elapsed < Duration::from_secs(2) { self.current } else { 0 };
            self.current = 0;
            self.since = Instant::now();
        }
        self.current += 1;
    }

    fn per_second(&self) -> usize {
        if self.since.elapsed() < Duration::from_secs(2) { self.previous.max(self.current) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_that_of_the_last_second() {
        let mut rate = Rate::default();
        for _ in 0..300 {
            rate.count();
        }
        assert_eq!(rate.per_second(), 300);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        rate.count();
        assert_eq!(rate.per_second(), 300);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(rate.per_second(), 0);
    }
}
