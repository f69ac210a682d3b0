//! What happens to jobs, counted as it happens.

use std::time::Duration;

use crewcall_proto::{JobType, response::ErrorKind};
use prometheus::{HistogramVec, IntCounter, IntCounterVec};

use super::{Metrics, registrar::Registrar};

/// From a short job on an idle system to half a day.
const SECONDS_BUCKETS: [f64; 17] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0,
    43_200.0,
];

/// How an attempt that succeeded is counted.
const COMPLETED: &str = "completed";

/// How jobs and attempts end.
const OUTCOMES: [&str; 11] = [
    COMPLETED,
    ErrorKind::Cancelled.as_str(),
    ErrorKind::Handler.as_str(),
    ErrorKind::Panic.as_str(),
    ErrorKind::Timeout.as_str(),
    ErrorKind::InvalidParameters.as_str(),
    ErrorKind::WorkerLost.as_str(),
    ErrorKind::CrashLoop.as_str(),
    ErrorKind::Malformed.as_str(),
    ErrorKind::Expired.as_str(),
    ErrorKind::Unknown.as_str(),
];

/// What became of submissions that carried the idempotency key of an earlier one.
const REPETITIONS: [&str; 2] = ["replayed", "refused"];

pub(super) struct JobMetrics {
    submitted: IntCounterVec,
    repeated: IntCounterVec,
    finished: IntCounterVec,
    attempts: IntCounterVec,
    wait: HistogramVec,
    run: HistogramVec,
    events: IntCounter,
}

impl JobMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        let by_outcome = &["type", "outcome"];
        let made = Self {
            submitted: make.counters("jobs_submitted_total", "Jobs accepted.", &["type"]),
            repeated: make.counters(
                "submissions_repeated_total",
                "Submissions with the idempotency key of an earlier one: replayed (the same body) or refused (another).",
                &["outcome"],
            ),
            finished: make.counters(
                "jobs_finished_total",
                "Jobs that ended: completed, cancelled, or the kind of error.",
                by_outcome,
            ),
            attempts: make.counters("job_attempts_total", "Attempts that ended, like jobs.", by_outcome),
            wait: make.histograms(
                "job_wait_seconds",
                "From acceptance to the start of the first attempt.",
                &["type"],
                &SECONDS_BUCKETS,
            ),
            run: make.histograms("job_run_seconds", "How long attempts ran.", by_outcome, &SECONDS_BUCKETS),
            events: make.counter("events_published_total", "Events recorded in the log."),
        };
        for outcome in REPETITIONS {
            made.repeated.with_label_values(&[outcome]);
        }
        made
    }

    /// Makes the series of a type: one that begins above zero hides what came first from every rate.
    pub(super) fn begin(&self, label: &str) {
        self.submitted.with_label_values(&[label]);
        self.wait.with_label_values(&[label]);
        for outcome in OUTCOMES {
            self.finished.with_label_values(&[label, outcome]);
            self.attempts.with_label_values(&[label, outcome]);
        }
        // Those of the other outcomes come with the first: eleven histograms for each type would be most of a scrape.
        self.run.with_label_values(&[label, COMPLETED]);
    }
}

impl Metrics {
    /// So many events were recorded.
    pub(crate) fn events_recorded(&self, events: usize) {
        self.jobs.events.inc_by(u64::try_from(events).unwrap_or(u64::MAX));
    }

    /// A job was accepted.
    pub(crate) fn job_submitted(&self, job_type: &JobType) {
        self.jobs.submitted.with_label_values(&[self.labels.of(job_type)]).inc();
    }

    /// A submission had the idempotency key of an earlier one: with the same body, or with another.
    pub(crate) fn submission_repeated(&self, is_the_same: bool) {
        let [replayed, refused] = REPETITIONS;
        self.jobs.repeated.with_label_values(&[if is_the_same { replayed } else { refused }]).inc();
    }

    /// A job ended: `completed`, `cancelled`, or the kind of error.
    pub(crate) fn job_finished(&self, job_type: &JobType, outcome: &str) {
        self.jobs.finished.with_label_values(&[self.labels.of(job_type), outcome]).inc();
    }

    /// An attempt ended, after `ran` if it is known how long it ran.
    pub(crate) fn attempt_ended(&self, job_type: &JobType, outcome: &str, ran: Option<Duration>) {
        let labels = [self.labels.of(job_type), outcome];
        self.jobs.attempts.with_label_values(&labels).inc();
        if let Some(ran) = ran {
            self.jobs.run.with_label_values(&labels).observe(ran.as_secs_f64());
        }
    }

    /// The first attempt of a job began after `waited`.
    pub(crate) fn job_started(&self, job_type: &JobType, waited: Duration) {
        self.jobs.wait.with_label_values(&[self.labels.of(job_type)]).observe(waited.as_secs_f64());
    }
}
