//! What is counted and measured: the one place that names the metrics library.
//!
//! What happens is counted as it happens; how things are is told by whoever renders, right before. Names, types, labels and
//! meanings stand in docs/metrics.md; a label never holds an id, and the number of values of each is bounded.

mod registrar;

mod type_labels;

mod jobs;

mod types;

mod fleet;

mod broker;

mod store;

mod http;

mod process;

mod consumers;

mod schedules;

mod named_outcomes;

mod hooks;

mod workflows;

use crewcall_proto::JobType;

pub use self::hooks::WebhookTry;
pub use self::registrar::MetricDescription;
use self::{
    broker::BrokerMetrics,
    consumers::ConsumerMetrics,
    fleet::FleetMetrics,
    hooks::HookMetrics,
    http::HttpMetrics,
    jobs::JobMetrics,
    process::ProcessMetrics,
    registrar::{Registrar, Registries},
    schedules::ScheduleMetrics,
    store::StoreMetrics,
    type_labels::TypeLabels,
    types::TypeMetrics,
    workflows::WorkflowMetrics,
};
pub(crate) use self::{
    broker::{DeadLettered, EventRefused, UNKNOWN_JOB},
    consumers::ConsumerFigures,
    fleet::FleetFigures,
    hooks::HookOutcome,
    types::TypeFigures,
    workflows::WorkflowFigures,
};

/// Every metric of the backend.
pub struct Metrics {
    registries: Registries,
    labels: TypeLabels,
    jobs: JobMetrics,
    consumers: ConsumerMetrics,
    schedules: ScheduleMetrics,
    hooks: HookMetrics,
    workflows: WorkflowMetrics,
    types: TypeMetrics,
    fleet: FleetMetrics,
    broker: BrokerMetrics,
    store: StoreMetrics,
    http: HttpMetrics,
    process: ProcessMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut make = Registrar::new();
        Self {
            labels: TypeLabels::default(),
            jobs: JobMetrics::new(&mut make),
            consumers: ConsumerMetrics::new(&mut make),
            schedules: ScheduleMetrics::new(&mut make),
            hooks: HookMetrics::new(&mut make),
            workflows: WorkflowMetrics::new(&mut make),
            types: TypeMetrics::new(&mut make),
            fleet: FleetMetrics::new(&mut make),
            broker: BrokerMetrics::new(&mut make),
            store: StoreMetrics::new(&mut make),
            http: HttpMetrics::new(&mut make),
            process: ProcessMetrics::new(&mut make),
            registries: make.finish(),
        }
    }
}

impl Metrics {
    /// Every metric there is, whether it has a value or not.
    #[must_use]
    pub fn described(&self) -> &[MetricDescription] {
        &self.registries.described
    }

    /// A worker announced the type: it gets a label of its own, if there is one left.
    pub(crate) fn type_announced(&self, job_type: &JobType) {
        if self.labels.admit(job_type) {
            self.jobs.begin(job_type.as_str());
        }
    }

    /// Everything, in the Prometheus text format 0.0.4.
    #[must_use]
    pub(crate) fn render(&self) -> String {
        self.process.measure();
        let mut text = self.registries.render();
        self.types.render(&mut text);
        text
    }
}

/// The library's gauges are signed.
fn gauge(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{type_labels::TYPE_LABELS_MAX, *};

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

    #[test]
    fn the_series_of_a_type_begin_at_zero() {
        let metrics = Metrics::default();
        metrics.type_announced(&JobType::new("a.b").unwrap());
        let text = metrics.render();
        for line in [
            "crewcall_jobs_submitted_total{type=\"a.b\"} 0",
            "crewcall_jobs_finished_total{outcome=\"completed\",type=\"a.b\"} 0",
            "crewcall_jobs_finished_total{outcome=\"worker_lost\",type=\"a.b\"} 0",
            "crewcall_job_attempts_total{outcome=\"crash_loop\",type=\"a.b\"} 0",
            "crewcall_job_wait_seconds_count{type=\"a.b\"} 0",
            "crewcall_job_run_seconds_count{outcome=\"completed\",type=\"a.b\"} 0",
            "crewcall_responses_stale_total{reason=\"token\"} 0",
            "crewcall_orders_dead_lettered_total{reason=\"delivery_limit\"} 0",
            "crewcall_leases_ended_total{reason=\"silent\"} 0",
            "crewcall_submissions_repeated_total{outcome=\"replayed\"} 0",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} is not in\n{text}");
        }
    }
}
