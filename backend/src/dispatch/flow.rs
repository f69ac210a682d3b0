//! What operators set for types, applied: pauses, limits on attempts running at once, rate limits.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use crewcall_proto::JobType;
use dashmap::DashMap;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock as _, clock::DefaultClock};
use tokio::time::Instant;

use super::ports::{JobStore, StoreError};
use crate::domain::{Flow, FlowChange};

/// How many attempts a rate limit lets through in one step.
const PERMITS_PER_STEP_MAX: usize = 64;

/// The settings of all types.
pub struct FlowControl {
    store: Arc<dyn JobStore>,
    types: DashMap<JobType, Valve>,
    /// Changes are made one after the other, or one could be lost.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Valve {
    flow: Flow,
    limiter: Option<Limiter>,
}

/// A rate limit, and what was drawn from it and not used.
struct Limiter {
    inner: DefaultDirectRateLimiter,
    /// How long it takes for one permit to come.
    period: Duration,
    left: usize,
    left_at: Instant,
}

/// What may be dispatched now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Nothing, until somebody changes that.
    Closed,
    /// As many as fit the window.
    Window(usize),
    /// At most this many, and no more than fit the window.
    Permits {
        /// The window.
        window: usize,
        /// How many.
        permits: usize,
    },
    /// Nothing, for so long.
    Later(Duration),
}

impl FlowControl {
    /// The settings as the store remembers them.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn load(store: Arc<dyn JobStore>) -> Result<Self, StoreError> {
        let types = DashMap::new();
        for (job_type, flow) in store.flows().await? {
            types.insert(job_type, Valve::new(flow));
        }
        Ok(Self { store, types, changing: tokio::sync::Mutex::default() })
    }

    /// What is set for a type.
    #[must_use]
    pub fn get(&self, job_type: &JobType) -> Flow {
        self.types.get(job_type).map(|valve| valve.flow.clone()).unwrap_or_default()
    }

    /// Sets something for a type. Answers what is set now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it could not be kept; nothing changes then.
    pub async fn change(&self, job_type: &JobType, change: FlowChange) -> Result<Flow, StoreError> {
        let _turn = self.changing.lock().await;
        let flow = self.get(job_type).changed(change);
        self.store.put_flow(job_type, &flow).await?;
        self.types.insert(job_type.clone(), Valve::new(flow.clone()));
        Ok(flow)
    }

    /// Whether jobs of the type may be dispatched as they come in: nothing is set for it.
    #[must_use]
    pub fn is_free(&self, job_type: &JobType) -> bool {
        self.types.get(job_type).is_none_or(|valve| valve.flow == Flow::default())
    }

    /// What may be dispatched now, of a type with this window. `held` counts its attempts that run outside the
    /// window, and is asked only under a limit on attempts running at once.
    #[must_use]
    pub fn admission(&self, job_type: &JobType, window: usize, held: impl FnOnce() -> usize) -> Admission {
        let Some(mut valve) = self.types.get_mut(job_type) else { return Admission::Window(window) };
        if valve.flow.pause.is_some() {
            return Admission::Closed;
        }
        let window = valve.flow.running_max.map_or(window, |limit| {
            window.min(usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(held()))
        });
        if window == 0 {
            return Admission::Closed; // an attempt that ends opens it
        }
        valve.draw(window)
    }

    /// Gives back permits that were not used.
    pub fn give_back(&self, job_type: &JobType, permits: usize) {
        if let Some(mut valve) = self.types.get_mut(job_type)
            && let Some(limiter) = &mut valve.limiter
        {
            (limiter.left, limiter.left_at) = (permits, Instant::now());
        }
    }
}

impl Valve {
    fn new(flow: Flow) -> Self {
        let limiter = flow.rate_per_second.and_then(Limiter::new);
        Self { flow, limiter }
    }

    fn draw(&mut self, window: usize) -> Admission {
        self.limiter.as_mut().map_or(Admission::Window(window), |limiter| limiter.draw(window))
    }
}

impl Limiter {
    /// One attempt at a time, so that a rate is kept even over a short while.
    fn new(rate_per_second: f64) -> Option<Self> {
        let period = Duration::try_from_secs_f64(1.0 / rate_per_second).ok()?;
        let quota = Quota::with_period(period)?.allow_burst(NonZeroU32::MIN);
        Some(Self { inner: RateLimiter::direct(quota), period, left: 0, left_at: Instant::now() })
    }

    fn draw(&mut self, window: usize) -> Admission {
        // What was left over for longer has come back by itself meanwhile.
        let mut permits = if self.left_at.elapsed() < self.period { self.left } else { 0 };
        self.left = 0;
        while permits < PERMITS_PER_STEP_MAX {
            match self.inner.check() {
                Ok(()) => permits += 1,
                Err(not_until) if permits == 0 => {
                    return Admission::Later(not_until.wait_time_from(DefaultClock::default().now()));
                }
                Err(_) => break,
            }
        }
        Admission::Permits { window, permits }
    }
}
