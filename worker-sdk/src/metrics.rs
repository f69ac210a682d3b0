//! What a worker counts and measures: the one place of the library that names metrics.
//!
//! Names, types, labels and meanings stand in docs/metrics.md. All begin with `crewcall_sdk_`, so that none is taken for what
//! the backend says of all workers together. The types in labels are those that the worker serves.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crewcall_proto::{JobType, response::ErrorKind};
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};
use tokio::time::Instant;

use crate::{checked_worker::CheckedWorker, execution::Ending};

/// What every name begins with.
const PREFIX: &str = "crewcall_sdk";

/// From a short handler to half a day, as in the backend.
const SECONDS_BUCKETS: [f64; 17] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0,
    43_200.0,
];

/// From a runtime with nothing else to do to one that is blocked for a minute.
const DELAY_BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 3.0, 10.0, 60.0];

/// How an attempt that succeeded is counted.
const COMPLETED: &str = "completed";

/// How else an attempt can end here.
const FAILURES: [&str; 5] = [
    ErrorKind::Handler.as_str(),
    ErrorKind::Panic.as_str(),
    ErrorKind::Timeout.as_str(),
    ErrorKind::InvalidParameters.as_str(),
    ErrorKind::Cancelled.as_str(),
];

/// Every metric of a worker.
pub(crate) struct WorkerMetrics {
    registry: Registry,
    attempts: IntCounterVec,
    attempt_seconds: HistogramVec,
    events: IntCounterVec,
    slots_busy: IntGauge,
    connected: IntGaugeVec,
    reconnects: IntCounterVec,
    runtime_delay: Histogram,
    runtime_delay_now: Gauge,
    /// What the handlers' runtime said last, or since when it is asked.
    runtime: Mutex<RuntimeDelay>,
}

/// How late the handlers' runtime is.
#[derive(Debug, Clone, Copy)]
enum RuntimeDelay {
    /// So late it was, the last time.
    Was(Duration),
    /// It has been asked, and has not answered.
    AskedAt(Instant),
}

impl WorkerMetrics {
    pub(crate) fn new(worker: &CheckedWorker) -> Self {
        let make = Maker(
            Registry::new_custom(Some(PREFIX.to_owned()), None)
                .expect("the prefix is a constant of the right form"),
        );
        let by_outcome = &["type", "outcome"];
        let made = Self {
            attempts: make.counters(
                "attempts_total",
                "Attempts that ended in this worker: completed, cancelled, or the kind of error.",
                by_outcome,
            ),
            attempt_seconds: make.registered(HistogramVec::new(
                HistogramOpts::new("attempt_seconds", "How long their handlers ran.")
                    .buckets(SECONDS_BUCKETS.to_vec()),
                by_outcome,
            )),
            events: make.counters(
                "events_emitted_total",
                "Events of handlers that the broker has, with a result or by themselves.",
                &["type"],
            ),
            slots_busy: make.gauge("slots_busy", "Slots that are taken."),
            connected: make.gauges("amqp_connected", "Whether a link to the broker is up.", &["link"]),
            reconnects: make.counters("amqp_reconnects_total", "Links that were made again.", &["link"]),
            runtime_delay: make.registered(Histogram::with_opts(
                HistogramOpts::new(
                    "runtime_delay_seconds",
                    "How late the runtime of the handlers begins with a task that it is given, once a second.",
                )
                .buckets(DELAY_BUCKETS.to_vec()),
            )),
            runtime_delay_now: make.registered(Gauge::new(
                "runtime_delay_now_seconds",
                "The last such delay; while the runtime begins with nothing, it grows.",
            )),
            runtime: Mutex::new(RuntimeDelay::Was(Duration::ZERO)),
            registry: make.0.clone(),
        };
        for served in &worker.types {
            made.begin(served.job_type().as_str());
        }
        make.gauge("slots", "How many attempts may run at once.").set(worker.slots.into());
        let build = make.gauges(
            "build_info",
            "1, with the worker's program, its version, and that of the library.",
            &["name", "version", "sdk"],
        );
        build.with_label_values(&[&worker.name, &worker.version, env!("CARGO_PKG_VERSION")]).set(1);
        made
    }

    /// Makes the series of a type: one that begins above zero hides what came first from every rate.
    fn begin(&self, job_type: &str) {
        for outcome in FAILURES.into_iter().chain([COMPLETED]) {
            self.attempts.with_label_values(&[job_type, outcome]);
        }
        self.attempt_seconds.with_label_values(&[job_type, COMPLETED]);
        self.events.with_label_values(&[job_type]);
    }

    /// A handler ended, or was stopped.
    pub(crate) fn attempt_ended(&self, job_type: &JobType, ending: &Ending, ran: Duration) {
        let outcome = ending.as_ref().map_or_else(|failure| failure.kind.as_str(), |_| COMPLETED);
        let labels = [job_type.as_str(), outcome];
        self.attempts.with_label_values(&labels).inc();
        self.attempt_seconds.with_label_values(&labels).observe(ran.as_secs_f64());
    }

    /// The broker has so many events more.
    pub(crate) fn events_emitted(&self, job_type: &JobType, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.events.with_label_values(&[job_type.as_str()]).inc_by(events);
    }

    /// How many slots are taken.
    pub(crate) fn set_slots_busy(&self, slots: usize) {
        self.slots_busy.set(i64::try_from(slots).unwrap_or(i64::MAX));
    }

    /// How a link to the broker is, and how often it was made again.
    pub(crate) fn set_link(&self, link: &str, is_up: bool, reconnects: u64) {
        self.connected.with_label_values(&[link]).set(i64::from(is_up));
        let counted = self.reconnects.with_label_values(&[link]);
        counted.inc_by(reconnects.saturating_sub(counted.get()));
    }

    /// The handlers' runtime is given a task.
    pub(crate) fn runtime_asked(&self, at: Instant) {
        self.set_runtime(RuntimeDelay::AskedAt(at));
    }

    /// It has begun with the task, after so long.
    pub(crate) fn runtime_answered(&self, after: Duration) {
        self.runtime_delay.observe(after.as_secs_f64());
        self.set_runtime(RuntimeDelay::Was(after));
    }

    fn set_runtime(&self, delay: RuntimeDelay) {
        *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }

    /// Everything, in the Prometheus text format 0.0.4.
    pub(crate) fn render(&self) -> String {
        let delay = match *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) {
            RuntimeDelay::Was(delay) => delay,
            RuntimeDelay::AskedAt(at) => at.elapsed(),
        };
        self.runtime_delay_now.set(delay.as_secs_f64());
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "The metrics cannot be written.");
        }
        text
    }
}

/// Makes and registers metrics.
struct Maker(Registry);

impl Maker {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.registered(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.registered(IntGauge::new(name, help))
    }

    fn registered<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("the names and labels are constants of the right form");
        self.0.register(Box::new(collector.clone())).expect("every name is registered once");
        collector
    }
}
