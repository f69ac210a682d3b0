//! What goes on by itself, so that nothing is silently stuck and nothing grows without end: due times ([`timers`]), blocked jobs ([`unblock`]), ended
//! leases ([`rescue`]), lost orders ([`reconcile`]), runs that stand still ([`standstills`]), old jobs ([`retention`]) and unused types ([`forget`]).

pub(crate) mod due_times;

pub(crate) mod forget;

pub mod reconcile;

pub(crate) mod rescue;

pub mod retention;

mod standstills;

pub(crate) mod timers;

mod unblock;

use std::time::Duration;

use crewcall_proto::JobType;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{
    Engine,
    ports::StoreError,
    tasks::{Fallen, watched},
};

/// Does everything until the engine's tasks are told to stop.
///
/// # Errors
///
/// [`Fallen`] with the first part that cannot go on.
pub(super) async fn run(engine: &Engine) -> Result<(), Fallen> {
    let stop = engine.tasks.stop();
    tokio::select! {
        ended = watched("the timers", stop, repeat(timers::Timers, engine)) => ended,
        ended = watched("unblocking", stop, repeat(unblock::Unblock, engine)) => ended,
        ended = watched("the rescue", stop, rescue::run(engine)) => ended,
        ended = watched("the reconciler", stop, repeat(reconcile::Reconciler::default(), engine)) => ended,
        ended = watched("the look for standstills", stop, repeat(standstills::Standstills, engine)) => ended,
        ended = watched("retention", stop, repeat(engine.retention, engine)) => ended,
        ended = watched("forgetting", stop, forget::run(engine)) => ended,
    }
}

/// The steps of upkeep, for whoever wants to take one now. [`Engine::run`] takes them over and over.
impl Engine {
    /// Has the relay look whether jobs of the type can be dispatched.
    pub fn wake(&self, job_type: &JobType) {
        self.relay.wake(job_type);
    }

    /// Ends every attempt whose lease is over. Returns those whose worker may still be at it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when not all of them could be recorded; the others are still over at the next look.
    pub async fn end_leases(&self) -> Result<Vec<rescue::Overdue>, StoreError> {
        rescue::end_leases(&self.discovery).await
    }

    /// Looks once for orders that got lost, and has them sent again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be asked.
    pub async fn look_for_lost_orders(
        &self,
        reconciler: &mut reconcile::Reconciler,
    ) -> Result<(), StoreError> {
        reconciler.look(&self.discovery).await
    }

    /// Deletes jobs that have been over for long enough.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they could not be deleted; some may be.
    pub async fn delete_old_jobs(&self) -> Result<(), StoreError> {
        self.retention.delete_old(self).await
    }

    /// Says something to itself by way of the broker, to learn whether anybody can be heard.
    pub async fn send_probe(&self) {
        self.discovery.send_probe().await;
    }

    /// Takes silent workers as lost.
    pub fn mark_lost_workers(&self) {
        self.discovery.mark_lost();
    }
}

/// Something that is done again and again, without being asked.
trait Task: Send {
    /// What the log calls it.
    const PART: &'static str;

    /// How often it is done.
    const EVERY: Duration;

    /// For how long it is left undone after the start.
    const FIRST_AFTER: Duration = Duration::ZERO;

    /// Does it once.
    fn step(&mut self, engine: &Engine) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Does a task until the engine's tasks are told to stop. A store that is only unavailable does not end it: the next step does what this one could not.
///
/// # Errors
///
/// [`StoreError`] when the store fails for good.
async fn repeat<T: Task>(mut task: T, engine: &Engine) -> Result<(), StoreError> {
    let stop = engine.tasks.stop();
    let mut ticks = interval_at(Instant::now() + T::FIRST_AFTER, T::EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        match task.step(engine).await {
            Ok(()) => {}
            Err(error) if error.is_retryable() => {
                tracing::warn!(part = T::PART, %error, "Upkeep waits for the store.");
            }
            Err(StoreError::Closed) if stop.is_cancelled() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
