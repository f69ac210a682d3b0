//! What is counted and measured: the one place that names the metrics library.
//!
//! Names, units and labels are those of the operator's guide; a label never holds an id, and the number
//! of distinct job types in labels is bounded.

use std::time::Duration;

use crewcall_proto::JobType;
use dashmap::DashSet;
use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// How many job types get labels of their own, and only such as a worker announced; the rest share [`OTHER_TYPES`].
/// Submitters choose type names, and each costs a dozen time series.
const TYPE_LABELS_MAX: usize = 500;

/// The label of types that nobody announced, and of those beyond [`TYPE_LABELS_MAX`]. No job type has this name.
const OTHER_TYPES: &str = "_other";

/// From a short job on an idle system to an hour.
const SECONDS_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 900.0, 3_600.0];

/// From one fsync on a fast disk to a stall.
const COMMIT_BUCKETS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];

/// From a read of one job to a long poll of a minute.
const HTTP_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0];

/// Every metric of the backend.
pub struct Metrics {
    registry: Registry,
    type_labels: DashSet<JobType>,
    jobs_submitted: IntCounterVec,
    jobs_finished: IntCounterVec,
    job_attempts: IntCounterVec,
    jobs: IntGaugeVec,
    job_wait: HistogramVec,
    job_run: HistogramVec,
    job_oldest_waiting: GaugeVec,
    workers: IntGaugeVec,
    worker_slots: IntGauge,
    worker_slots_busy: IntGauge,
    amqp_connected: IntGaugeVec,
    amqp_blocked: IntGauge,
    amqp_reconnects: IntCounterVec,
    liveness: Counter,
    dispatch_unconfirmed: IntGauge,
    responses_stale: IntCounterVec,
    messages_malformed: IntCounterVec,
    store_commit: Histogram,
    store_batch_size: Histogram,
    http_request_duration: HistogramVec,
    start_time: Gauge,
}

/// Makes metrics and registers them.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn register<C: prometheus::core::Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("the names and labels are constants of the right form");
        self.0.register(Box::new(collector.clone())).expect("every name is registered once");
        collector
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new_custom(Some("crewcall".to_owned()), None)
            .expect("the prefix is a constant of the right form");
        let make = Maker(&registry);
        let seconds = &SECONDS_BUCKETS;
        Self {
            type_labels: DashSet::new(),
            jobs_submitted: make.counters("jobs_submitted_total", "Jobs accepted.", &["type"]),
            jobs_finished: make.counters("jobs_finished_total", "Jobs that ended.", &["type", "outcome"]),
            job_attempts: make.counters("job_attempts_total", "Attempts that ended.", &["type", "outcome"]),
            jobs: make.gauges("jobs", "Jobs by state.", &["type", "state"]),
            job_wait: make.histograms(
                "job_wait_seconds",
                "From acceptance to the start of the first attempt.",
                &["type"],
                seconds,
            ),
            job_run: make.histograms(
                "job_run_seconds",
                "How long attempts ran.",
                &["type", "outcome"],
                seconds,
            ),
            job_oldest_waiting: make.register(GaugeVec::new(
                Opts::new("job_oldest_waiting_seconds", "Age of the oldest job that has not started."),
                &["type"],
            )),
            workers: make.gauges("workers", "Workers by status.", &["status"]),
            worker_slots: make.gauge("worker_slots", "Slots of the workers that are there."),
            worker_slots_busy: make.gauge("worker_slots_busy", "Slots that are taken."),
            amqp_connected: make.gauges("amqp_connected", "Whether a link to the broker is up.", &["link"]),
            amqp_blocked: make.gauge("amqp_blocked", "Whether the broker takes no messages."),
            amqp_reconnects: make.counters("amqp_reconnects_total", "Links that were made again.", &["link"]),
            liveness: make.register(Counter::new(
                "discovery_reachable_seconds_total",
                "For how long workers could be heard: less than one a second means trouble.",
            )),
            dispatch_unconfirmed: make.gauge("dispatch_unconfirmed", "Orders whose confirm is awaited."),
            responses_stale: make.counters(
                "responses_stale_total",
                "Messages that changed nothing: late, repeated, or not entitled.",
                &["reason"],
            ),
            messages_malformed: make.counters(
                "messages_malformed_total",
                "Messages that could not be read and were quarantined.",
                &["queue", "reason"],
            ),
            store_commit: make.histogram("store_commit_seconds", "Duration of a commit.", &COMMIT_BUCKETS),
            store_batch_size: make.histogram(
                "store_batch_size",
                "Commands in one commit.",
                &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0],
            ),
            http_request_duration: make.histograms(
                "http_request_duration_seconds",
                "Duration of requests; a stream counts until its head is sent.",
                &["route", "method", "status"],
                &HTTP_BUCKETS,
            ),
            start_time: make.register(Gauge::new(
                "start_time_seconds",
                "When the process started, in seconds since 1970-01-01.",
            )),
            registry,
        }
    }
}

impl Metrics {
    /// The process started, in milliseconds since the epoch.
    pub(crate) fn started(&self, at: crewcall_proto::Timestamp) {
        self.start_time.set(Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(0)).as_secs_f64());
    }

    /// A worker announced the type: it gets a label of its own, if there is one left.
    pub(crate) fn type_announced(&self, job_type: &JobType) {
        if self.type_labels.len() < TYPE_LABELS_MAX && !self.type_labels.contains(job_type) {
            self.type_labels.insert(job_type.clone());
        }
    }

    /// A job was accepted.
    pub(crate) fn job_submitted(&self, job_type: &JobType) {
        self.jobs_submitted.with_label_values(&[self.label(job_type)]).inc();
    }

    /// A job ended: `completed`, `cancelled`, or the kind of error.
    pub(crate) fn job_finished(&self, job_type: &JobType, outcome: &str) {
        self.jobs_finished.with_label_values(&[self.label(job_type), outcome]).inc();
    }

    /// An attempt ended, after `ran` if it is known how long it ran.
    pub(crate) fn attempt_ended(&self, job_type: &JobType, outcome: &str, ran: Option<Duration>) {
        let labels = [self.label(job_type), outcome];
        self.job_attempts.with_label_values(&labels).inc();
        if let Some(ran) = ran {
            self.job_run.with_label_values(&labels).observe(ran.as_secs_f64());
        }
    }

    /// The first attempt of a job began after `waited`.
    pub(crate) fn job_started(&self, job_type: &JobType, waited: Duration) {
        self.job_wait.with_label_values(&[self.label(job_type)]).observe(waited.as_secs_f64());
    }

    /// How many jobs there are, by type and state; replaces what was told before.
    pub(crate) fn set_jobs<'a>(&self, counts: impl IntoIterator<Item = (&'a JobType, &'static str, u64)>) {
        self.jobs.reset();
        for (job_type, state, jobs) in counts {
            let jobs = i64::try_from(jobs).unwrap_or(i64::MAX);
            self.jobs.with_label_values(&[self.label(job_type), state]).add(jobs);
        }
    }

    /// How old the oldest job of each type is that has not started; replaces what was told before.
    pub(crate) fn set_oldest_waiting<'a>(&self, ages: impl IntoIterator<Item = (&'a JobType, Duration)>) {
        self.job_oldest_waiting.reset();
        for (job_type, age) in ages {
            let gauge = self.job_oldest_waiting.with_label_values(&[self.label(job_type)]);
            gauge.set(gauge.get().max(age.as_secs_f64()));
        }
    }

    /// How many workers have each status; replaces what was told before.
    pub(crate) fn set_workers(
        &self,
        counts: impl IntoIterator<Item = (&'static str, usize)>,
        slots: u64,
        slots_busy: u64,
    ) {
        self.workers.reset();
        for (status, workers) in counts {
            self.workers.with_label_values(&[status]).set(i64::try_from(workers).unwrap_or(i64::MAX));
        }
        self.worker_slots.set(i64::try_from(slots).unwrap_or(i64::MAX));
        self.worker_slots_busy.set(i64::try_from(slots_busy).unwrap_or(i64::MAX));
    }

    /// A link to the broker came up or went down.
    pub(crate) fn amqp_link(&self, link: &str, up: bool) {
        self.amqp_connected.with_label_values(&[link]).set(i64::from(up));
    }

    /// A link to the broker was made again.
    pub(crate) fn amqp_reconnected(&self, link: &str) {
        self.amqp_reconnects.with_label_values(&[link]).inc();
    }

    /// Workers could be heard for another while.
    pub(crate) fn discovery_reachable(&self, another: Duration) {
        self.liveness.inc_by(another.as_secs_f64());
    }

    /// The broker began or ceased to refuse messages.
    pub(crate) fn amqp_blocked(&self, blocked: bool) {
        self.amqp_blocked.set(i64::from(blocked));
    }

    /// How many orders await their confirm.
    pub(crate) fn dispatch_unconfirmed(&self, orders: usize) {
        self.dispatch_unconfirmed.set(i64::try_from(orders).unwrap_or(i64::MAX));
    }

    /// A message changed nothing.
    pub(crate) fn response_stale(&self, reason: &str) {
        self.responses_stale.with_label_values(&[reason]).inc();
    }

    /// A message could not be read.
    pub(crate) fn message_malformed(&self, queue: &str, reason: &str) {
        self.messages_malformed.with_label_values(&[queue, reason]).inc();
    }

    /// The store committed `commands` together.
    pub(crate) fn store_committed(&self, commands: usize, elapsed: Duration) {
        self.store_commit.observe(elapsed.as_secs_f64());
        self.store_batch_size.observe(f64::from(u32::try_from(commands).unwrap_or(u32::MAX)));
    }

    /// A request was answered. `route` is the matched pattern, never the path.
    pub(crate) fn http_request(&self, route: &str, method: &str, status: u16, elapsed: Duration) {
        self.http_request_duration
            .with_label_values(&[route, method, status.to_string().as_str()])
            .observe(elapsed.as_secs_f64());
    }

    /// Everything, in the Prometheus text format 0.0.4.
    #[must_use]
    pub(crate) fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "The metrics cannot be written.");
            String::new()
        })
    }

    fn label<'a>(&self, job_type: &'a JobType) -> &'a str {
        if self.type_labels.contains(job_type) { job_type.as_str() } else { OTHER_TYPES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_types_in_labels_are_bounded() {
        let metrics = Metrics::default();
        let named = |number| JobType::new(&format!("type.{number}")).unwrap();
        for number in 0..TYPE_LABELS_MAX {
            metrics.job_submitted(&named(number)); // an invented name takes nobody's place
        }
        for number in TYPE_LABELS_MAX..2 * TYPE_LABELS_MAX + 10 {
            metrics.type_announced(&named(number));
            metrics.job_submitted(&named(number));
        }
        let text = metrics.render();
        assert_eq!(text.matches("crewcall_jobs_submitted_total{").count(), TYPE_LABELS_MAX + 1);
        assert!(text.contains("crewcall_jobs_submitted_total{type=\"_other\"} 510"));
    }
}
