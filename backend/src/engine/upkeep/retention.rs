//! Deletes jobs that have been over for long enough, and the beginning of the log of events, in small steps.

use std::time::Duration;

use super::Task;
use crate::{
    domain::{State, schedules::limits::TICKS_KEPT_FOR},
    engine::{Engine, ports::StoreError},
};

/// How often old jobs are looked for.
const INTERVAL: Duration = Duration::from_secs(60);

/// How many jobs are deleted in one step: a commit of some milliseconds, between which others get their turn.
const BATCH_MAX: usize = 200;

/// How long to rest between two steps, so that deleting a million jobs does not take the disk from those that run.
const REST: Duration = Duration::from_millis(50);

/// How many steps are taken each time for the records of ticks: half a minute.
const TICK_STEPS_MAX: usize = 600;

/// For how long jobs are kept after they ended, by state, and types after they were used. `None` keeps them for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub completed: Option<Duration>,
    pub failed: Option<Duration>,
    pub cancelled: Option<Duration>,
    /// Types that have no jobs, after a worker served them last.
    pub types: Option<Duration>,
    /// Events, after they were recorded; those that a consumer has not passed for [`Retention::EVENTS_HELD_MAX`].
    pub events: Option<Duration>,
}

impl Retention {
    /// For how long jobs and events are kept by default: 14 days.
    pub const DEFAULT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

    /// For how long events are kept that a consumer has not passed: 90 days. Without an end, one consumer that nobody looks
    /// after would fill the disk.
    pub const EVENTS_HELD_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);

    /// For how long types are kept by default after a worker served them last: 30 days, twice as long as jobs.
    pub const TYPES_DEFAULT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
}

impl Default for Retention {
    fn default() -> Self {
        let kept = Some(Self::DEFAULT);
        Self {
            completed: kept,
            failed: kept,
            cancelled: kept,
            types: Some(Self::TYPES_DEFAULT),
            events: kept,
        }
    }
}

impl Task for Retention {
    const PART: &'static str = "retention";
    const EVERY: Duration = INTERVAL;

    async fn step(&mut self, engine: &Engine) -> Result<(), StoreError> {
        self.delete_old(engine).await
    }
}

impl Retention {
    /// For how long runs are kept after they ended, with all their jobs: as long as any of these would be by itself.
    fn runs(&self) -> Option<Duration> {
        Some(self.completed?.max(self.failed?).max(self.cancelled?))
    }

    pub(super) async fn delete_old(&self, engine: &Engine) -> Result<(), StoreError> {
        let states = [
            (State::Completed, self.completed),
            (State::Failed, self.failed),
            (State::Cancelled, self.cancelled),
        ];
        for (state, kept_for) in states {
            let Some(kept_for) = kept_for else { continue };
            delete(engine, state, kept_for).await?;
        }
        if let Some(kept_for) = self.runs() {
            delete_runs(engine, kept_for).await?;
        }
        delete_ticks(engine).await?;
        match self.events {
            Some(kept_for) => delete_events(engine, kept_for).await,
            None => Ok(()),
        }
    }
}

/// Does steps, each of which says how much it deleted, until there is no more. Returns how much that was.
async fn in_steps<F>(engine: &Engine, step: impl Fn() -> F) -> Result<usize, StoreError>
where
    F: Future<Output = Result<usize, StoreError>>,
{
    let mut deleted = 0;
    loop {
        let step = step().await?;
        deleted += step;
        if step < BATCH_MAX || engine.tasks.stop().is_cancelled() {
            return Ok(deleted);
        }
        tokio::time::sleep(REST).await;
    }
}

/// Deletes what became of ticks long ago: as many as schedules can have made since the last time, at one a second each, as far as that does
/// not take half of the time.
async fn delete_ticks(engine: &Engine) -> Result<(), StoreError> {
    let seconds = usize::try_from(INTERVAL.as_secs()).unwrap_or(usize::MAX);
    let made = engine.store.schedules().len().saturating_mul(seconds);
    for step in 0..made.div_ceil(BATCH_MAX).clamp(1, TICK_STEPS_MAX) {
        if step > 0 {
            tokio::time::sleep(REST).await;
        }
        if engine.tasks.stop().is_cancelled() {
            break;
        }
        engine.store.delete_ticks(TICKS_KEPT_FOR, BATCH_MAX).await?;
    }
    Ok(())
}

/// Deletes the events that were recorded longer ago than this and that every consumer has passed.
async fn delete_events(engine: &Engine, kept_for: Duration) -> Result<(), StoreError> {
    let held_for = kept_for.max(Retention::EVENTS_HELD_MAX);
    let events = in_steps(engine, || engine.store.delete_events(kept_for, held_for, BATCH_MAX)).await?;
    if events > 0 {
        tracing::info!(events, "Events that were kept for long enough are deleted.");
    }
    Ok(())
}

/// Deletes the runs that have been over for longer than this, each with its jobs.
async fn delete_runs(engine: &Engine, kept_for: Duration) -> Result<(), StoreError> {
    let deleted = in_steps(engine, || engine.changes.delete_finished_runs(kept_for, BATCH_MAX)).await?;
    if deleted > 0 {
        tracing::info!(deleted, "Runs that were over for long enough are deleted, with their jobs.");
    }
    Ok(())
}

/// Deletes the jobs that have been over in this state for longer than this.
async fn delete(engine: &Engine, state: State, kept_for: Duration) -> Result<(), StoreError> {
    let deleted = in_steps(engine, || engine.changes.delete_finished(state, kept_for, BATCH_MAX)).await?;
    if deleted > 0 {
        tracing::info!(%state, jobs = deleted, "Jobs that were over for long enough are deleted.");
    }
    Ok(())
}
