//! Dispatching: the relay keeps each type's dispatch window ([`window`]) full, and no fuller; what it dispatched is published
//! by the [`publisher`].
//!
//! What waits stays in the store, in order; only a bounded number of attempts of each type is with the
//! broker. That keeps the broker small with a million jobs waiting, and lets priority mean something.

mod bundles;

mod mark;

mod unconfirmed;

pub(crate) mod publisher;

mod wakes;

pub(crate) mod window;

use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crewcall_proto::JobType;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use self::{wakes::Wakes, window::Windows};
use crate::{
    domain::State,
    engine::{
        Ports,
        changes::{Changes, Observer},
        fleet::registry::Registry,
        ports::{Broker, BrokerStatus, JobChanged, Store, StoreError},
    },
};

/// How many attempts are taken from the store in one step.
const BATCH_MAX: usize = 256;

/// How long to wait before asking a store again that could not answer.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// How often types are forgotten that have been quiet.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// Dispatches what is ready.
pub(crate) struct Relay {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    windows: Windows,
    /// The types that may have ready jobs and room.
    dirty: Mutex<BTreeSet<JobType>>,
    wake: Notify,
    /// The types whose rate limit lets something through later.
    later: Mutex<Wakes>,
}

/// Where room came free, or somebody came to wait for it, the relay looks.
impl Observer for Relay {
    fn after_commit(&self, changes: &[JobChanged]) {
        let mut job_types = BTreeSet::new();
        for change in changes {
            if change.freed_window {
                self.windows.left(&change.job_type);
            }
            // A limit on attempts running at once counts held ones, too.
            let is_room = change.freed_window || change.ended.is_some();
            if (is_room || change.entered() == Some(State::Ready)) && !job_types.contains(&change.job_type) {
                job_types.insert(change.job_type.clone());
            }
        }
        if !job_types.is_empty() {
            self.dirty().append(&mut job_types);
            self.wake.notify_one();
        }
    }
}

impl Relay {
    pub(in crate::engine) fn new(ports: &Ports, registry: Arc<Registry>) -> Self {
        let (store, broker) = (Arc::clone(&ports.store), Arc::clone(&ports.broker));
        let windows = Windows::new(Arc::clone(&broker), registry);
        let (dirty, wake, later) = (Mutex::default(), Notify::new(), Mutex::default());
        Self { store, broker, windows, dirty, wake, later }
    }

    /// Keeps the windows full until `stop`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails for good.
    pub(in crate::engine) async fn run(
        &self,
        changes: &Changes,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let mut status = self.broker.status();
        let mut recovered = self.broker.queues_recovered();
        let mut ticks = interval(FORGET_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.wake.notified() => retrying(stop, || self.fill_dirty(changes, stop)).await?,
                job_type = poll_fn(|context| self.later().poll_next(context)) => self.wake(&job_type),
                changed = status.changed() => {
                    let up = *status.borrow_and_update() == BrokerStatus::Up;
                    if changed.is_ok() && up {
                        retrying(stop, || self.wake_ready()).await?;
                    }
                }
                Ok(()) = recovered.changed() => retrying(stop, || self.wake_ready()).await?,
                _ = ticks.tick() => self.windows.forget_quiet(),
            }
        }
    }

    /// Whether jobs of the type are ready, and only its rate limit keeps them: not any more when their time has come, whatever
    /// the relay waits for meanwhile.
    pub(in crate::engine) fn waits_for_rate(&self, job_type: &JobType) -> bool {
        self.later().is_ahead(job_type)
    }

    /// How many attempts of the type may be with the broker now; none while the broker, or the type's queue, takes
    /// nothing.
    pub(in crate::engine) fn window(&self, job_type: &JobType) -> usize {
        self.windows.of(job_type)
    }

    /// Jobs of the type may be ready, or there may be room for them.
    pub(in crate::engine) fn wake(&self, job_type: &JobType) {
        self.dirty().insert(job_type.clone());
        self.wake.notify_one();
    }

    /// Looks at every type that has ready jobs.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub(in crate::engine) async fn wake_ready(&self) -> Result<(), StoreError> {
        for job_type in self.store.ready_types().await? {
            self.wake(&job_type);
        }
        Ok(())
    }

    /// One batch of each type in turn: a flood of one type does not delay another. What is left wakes the relay again.
    async fn fill_dirty(&self, changes: &Changes, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut types = std::mem::take(&mut *self.dirty()).into_iter();
        while let Some(job_type) = types.next() {
            if stop.is_cancelled() {
                return Ok(());
            }
            if let Err(error) = self.fill(changes, &job_type).await {
                self.dirty().extend(std::iter::once(job_type).chain(types));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn fill(&self, changes: &Changes, job_type: &JobType) -> Result<(), StoreError> {
        let window = self.window(job_type);
        if window == 0 {
            return Ok(()); // the broker's return, or that of the queue, wakes every type
        }
        let (dispatched, rate_wait) = changes.dispatch_due(job_type, window, BATCH_MAX).await?;
        self.later().set(job_type, rate_wait);
        if dispatched == BATCH_MAX {
            self.wake(job_type);
        }
        Ok(())
    }

    fn dirty(&self) -> MutexGuard<'_, BTreeSet<JobType>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn later(&self) -> MutexGuard<'_, Wakes> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Repeats `step` while the store is only unavailable.
async fn retrying<F, Fut>(stop: &CancellationToken, step: F) -> Result<(), StoreError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), StoreError>>,
{
    loop {
        match step().await {
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "The relay waits for the store.");
                if stop.run_until_cancelled(sleep(STORE_RETRY)).await.is_none() {
                    return Ok(());
                }
            }
            Err(StoreError::Closed) if stop.is_cancelled() => return Ok(()),
            other => return other,
        }
    }
}
