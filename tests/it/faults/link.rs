//! The line to the broker: half-open, slow, reset (F6–F10), forgotten (F97).
//!
//! Two fault proxies stand between a real installation and the broker: one before the backend, one before the workers.

use std::time::Duration;

use e2e::{
    broker,
    process::Process,
    proxy::{FaultProxy, Mode},
    stack::Stack,
    wait::until,
};
use tokio_util::task::TaskTracker;

mod broken;

mod half_open;

/// A lost link is noticed when the broker has not answered a question, asked at every heartbeat (10 s), within the
/// operation timeout (10 s). The rest is for a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(10 + 10 + 10);

/// An installation whose lines to the broker can be broken.
struct Site {
    stack: Stack,
    /// The backend's line.
    backend_line: FaultProxy,
    /// The workers' line.
    worker_line: FaultProxy,
    _tracker: TaskTracker,
}

impl Site {
    /// A backend behind a proxy; workers that are started will be behind another.
    async fn start(purpose: &str) -> Self {
        let tracker = TaskTracker::new();
        let vhost = broker::vhost(purpose).await.unwrap();
        let (backend_line, url) = FaultProxy::before(&vhost.url, &tracker).await.unwrap();
        let mut stack = Stack::start_on(url).await.unwrap();
        stack.api.ready().await.unwrap();
        let (worker_line, url) = FaultProxy::before(&vhost.url, &tracker).await.unwrap();
        stack.amqp_url = url;
        Self { stack, backend_line, worker_line, _tracker: tracker }
    }

    fn set_both(&self, mode: Mode) {
        self.backend_line.set(mode);
        self.worker_line.set(mode);
    }

    fn reset_both(&self) {
        self.backend_line.reset_all();
        self.worker_line.reset_all();
    }

    /// How many connections lead through the two proxies.
    fn connections(&self) -> usize {
        self.backend_line.open_connections() + self.worker_line.open_connections()
    }

    /// Waits until as many connections lead through the proxies as before a fault.
    async fn connections_are(&self, before: usize) {
        until("the connections are as many as before", NOTICED_WITHIN, async || self.connections() == before)
            .await
            .unwrap();
    }

    /// Waits until the backend knows of each of its links that it is lost. Returns how long that took.
    async fn backend_notices(&self) -> Duration {
        let gone = async || self.stack.api.metric("crewcall_amqp_connected", "").await.unwrap() == 0.0;
        until("the backend notices the loss of its links", NOTICED_WITHIN, gone).await.unwrap()
    }

    /// How many jobs are over.
    async fn done(&self) -> f64 {
        self.stack.api.metric("crewcall_jobs_finished_total", "").await.unwrap()
    }

    /// How many of the backend's and of a worker's links were lost so far.
    async fn reconnects(&self, worker: &Process) -> (f64, usize) {
        let backend = self.stack.api.metric("crewcall_amqp_reconnects_total", "").await.unwrap();
        (backend, losses(worker))
    }
}

/// How often a worker lost one of its two links so far.
fn losses(worker: &Process) -> usize {
    worker.log().matches("Lost the connection to the broker").count()
}

/// Waits until a worker, which lost its links `before` times, has lost both. Returns how long that took.
async fn worker_notices(worker: &Process, before: usize) -> Duration {
    let gone = async || losses(worker) >= before + 2;
    until("the worker notices the loss of its links", NOTICED_WITHIN, gone).await.unwrap()
}
