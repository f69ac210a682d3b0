//! What the backend says of itself, over all its lives.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{interval, timeout};

use crate::api::Api;

/// How often the backend is asked.
const EVERY: Duration = Duration::from_secs(1);

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The states of jobs that are not over.
const OPEN_STATES: [&str; 6] = ["blocked", "scheduled", "ready", "unroutable", "dispatched", "running"];

/// Numbers that were read from time to time.
#[derive(Default)]
pub(super) struct Counters {
    stale: Mutex<Lives>,
    bundled: Mutex<Lives>,
    open: AtomicU64,
    watched: AtomicU64,
}

/// A number that begins anew with every life of the backend.
#[derive(Default)]
struct Lives {
    earlier: f64,
    current: f64,
}

impl Lives {
    fn read(lives: &Mutex<Self>, current: f64) {
        let mut lives = lives.lock().unwrap_or_else(PoisonError::into_inner);
        if current < lives.current {
            lives.earlier += lives.current;
        }
        lives.current = current;
    }

    fn sum(lives: &Mutex<Self>) -> f64 {
        let lives = lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.earlier + lives.current
    }
}

impl Counters {
    /// Reads them for as long as it is polled.
    pub(super) async fn run(&self, api: &Api) {
        let mut ticks = interval(EVERY);
        loop {
            ticks.tick().await;
            self.sample(api).await;
        }
    }

    /// Reads them now: whoever ends the backend does so before. Does nothing when there is no answer.
    pub(super) async fn sample(&self, api: &Api) {
        if let Ok(Ok(stale)) = timeout(PATIENCE, api.stale("")).await {
            Lives::read(&self.stale, stale);
        }
        if let Ok(Ok(bundled)) = timeout(PATIENCE, api.metric("crewcall_orders_bundled_total", "")).await {
            Lives::read(&self.bundled, bundled);
        }
        if let Ok(Ok(answer)) = timeout(PATIENCE, api.json("/v1/types")).await {
            let types = answer["types"].as_array().into_iter().flatten();
            let open = types.flat_map(|known| OPEN_STATES.map(|state| known["jobs"][state].as_u64()));
            self.open.store(open.flatten().sum(), Ordering::Relaxed);
        }
    }

    /// How many messages changed nothing, as far as it is known.
    #[must_use]
    pub(super) fn stale(&self) -> f64 {
        Lives::sum(&self.stale)
    }

    /// How many orders travelled in bundles, as far as it is known.
    #[must_use]
    pub(super) fn bundled(&self) -> f64 {
        Lives::sum(&self.bundled)
    }

    /// A watcher was told of a change.
    pub(super) fn watched_one(&self) {
        self.watched.fetch_add(1, Ordering::Relaxed);
    }

    /// How many changes a watcher was told of.
    #[must_use]
    pub(super) fn watched(&self) -> u64 {
        self.watched.load(Ordering::Relaxed)
    }

    /// How many jobs were not over a moment ago.
    #[must_use]
    pub(super) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}
