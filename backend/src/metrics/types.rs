//! How job types are, counted when somebody asks.

use std::time::Duration;

use crewcall_proto::JobType;
use prometheus::{GaugeVec, IntGaugeVec};

use super::{Metrics, gauge, registrar::Registrar};

/// A job type as it is now.
#[derive(Debug)]
pub(crate) struct TypeFigures {
    /// Its name.
    pub(crate) job_type: JobType,
    /// How many jobs are in each state.
    pub(crate) jobs: Vec<(&'static str, u64)>,
    /// How many jobs that are due and have not started wait for what.
    pub(crate) waiting: Vec<(&'static str, u64)>,
    /// How old the oldest of those is.
    pub(crate) oldest_waiting: Option<Duration>,
    /// How many slots its work would fill.
    pub(crate) slots_wanted: u64,
    /// How many attempts may be with the broker at once.
    pub(crate) window: usize,
    /// How many are.
    pub(crate) window_used: usize,
    /// How many workers serve it.
    pub(crate) workers: usize,
    /// How many slots they have.
    pub(crate) slots: usize,
    /// Whether it is paused.
    pub(crate) paused: bool,
    /// How many attempts may run at once, if that is limited.
    pub(crate) running_max: Option<u32>,
    /// How many attempts may begin in a second, if that is limited.
    pub(crate) rate_per_second: Option<f64>,
}

pub(super) struct TypeMetrics {
    jobs: IntGaugeVec,
    waiting: IntGaugeVec,
    oldest_waiting: GaugeVec,
    slots_wanted: IntGaugeVec,
    window: IntGaugeVec,
    window_used: IntGaugeVec,
    workers: IntGaugeVec,
    slots: IntGaugeVec,
    paused: IntGaugeVec,
    running_max: IntGaugeVec,
    rate_per_second: GaugeVec,
}

impl TypeMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        let by_type = &["type"];
        Self {
            jobs: make.gauges("jobs", "Jobs by state.", &["type", "state"]),
            waiting: make.gauges(
                "jobs_waiting",
                "Jobs that are due and have not started, by what they wait for; only reasons that apply.",
                &["type", "reason"],
            ),
            oldest_waiting: make.float_gauges(
                "job_oldest_waiting_seconds",
                "Age of the oldest job that is due and has not started; 0 when there is none.",
                by_type,
            ),
            slots_wanted: make.gauges(
                "job_slots_wanted",
                "Slots that the jobs that are due and the attempts that run would fill, as far as what is set for the type allows.",
                by_type,
            ),
            window: make.gauges(
                "dispatch_window",
                "How many attempts may be with the broker at once; 0 while it, or the type's queue, takes none.",
                by_type,
            ),
            window_used: make.gauges("dispatch_window_used", "How many attempts are with the broker.", by_type),
            workers: make.gauges("type_workers", "Workers that are there and serve the type.", by_type),
            slots: make.gauges("type_slots", "Slots of the workers that serve the type.", by_type),
            paused: make.gauges("type_paused", "1 while somebody paused the type.", by_type),
            running_max: make.gauges(
                "type_running_max",
                "How many attempts may run at once; only types with such a limit.",
                by_type,
            ),
            rate_per_second: make.float_gauges(
                "type_rate_per_second_max",
                "How many attempts may begin in a second; only types with such a limit.",
                by_type,
            ),
        }
    }

    fn reset(&self) {
        let whole = [
            &self.jobs,
            &self.waiting,
            &self.slots_wanted,
            &self.window,
            &self.window_used,
            &self.workers,
            &self.slots,
            &self.paused,
            &self.running_max,
        ];
        whole.into_iter().for_each(IntGaugeVec::reset);
        self.oldest_waiting.reset();
        self.rate_per_second.reset();
    }

    /// Adds what may be added up: several types share a label.
    fn add(&self, label: &str, figures: &TypeFigures) {
        for (state, jobs) in &figures.jobs {
            self.jobs.with_label_values(&[label, *state]).add(gauge(*jobs));
        }
        for (reason, jobs) in &figures.waiting {
            self.waiting.with_label_values(&[label, *reason]).add(gauge(*jobs));
        }
        let oldest = self.oldest_waiting.with_label_values(&[label]);
        oldest.set(oldest.get().max(figures.oldest_waiting.unwrap_or_default().as_secs_f64()));
        self.slots_wanted.with_label_values(&[label]).add(gauge(figures.slots_wanted));
        self.window_used.with_label_values(&[label]).add(gauge(figures.window_used));
    }

    /// Sets what is about one type alone.
    fn set(&self, label: &str, figures: &TypeFigures) {
        self.window.with_label_values(&[label]).set(gauge(figures.window));
        self.workers.with_label_values(&[label]).set(gauge(figures.workers));
        self.slots.with_label_values(&[label]).set(gauge(figures.slots));
        self.paused.with_label_values(&[label]).set(i64::from(figures.paused));
        if let Some(running_max) = figures.running_max {
            self.running_max.with_label_values(&[label]).set(i64::from(running_max));
        }
        if let Some(rate) = figures.rate_per_second {
            self.rate_per_second.with_label_values(&[label]).set(rate);
        }
    }
}

impl Metrics {
    /// How all types are; replaces what was told before.
    pub(crate) fn set_types(&self, types: &[TypeFigures]) {
        self.types.reset();
        for figures in types {
            let label = self.labels.of(&figures.job_type);
            self.types.add(label, figures);
            if self.labels.has(&figures.job_type) {
                self.types.set(label, figures);
            }
        }
    }
}
