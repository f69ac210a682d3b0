//! Who is there, and who runs what.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use prometheus::{Counter, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Metrics, gauge, registrar::Registrar};

/// How many versions of workers get labels of their own, those with the most workers first; the rest share
/// [`OTHER_VERSIONS`]. Workers choose these words.
const VERSION_LABELS_MAX: usize = 50;

/// The labels of workers beyond [`VERSION_LABELS_MAX`].
const OTHER_VERSIONS: [&str; 3] = ["_other", "_other", "_other"];

/// Why leases end.
const LEASE_ENDS: [&str; 2] = ["overdue", "silent"];

/// The workers as they are now.
#[derive(Debug, Default)]
pub(crate) struct FleetFigures {
    /// How many have each status.
    pub(crate) by_status: Vec<(&'static str, usize)>,
    /// How many of those that are there are which program (name, version, SDK).
    pub(crate) versions: BTreeMap<[String; 3], usize>,
    /// How many slots those have.
    pub(crate) slots: usize,
    /// How many of them are taken.
    pub(crate) slots_busy: usize,
    /// How many attempts run that their workers hold.
    pub(crate) held: usize,
    /// How many run whose orders are with their workers.
    pub(crate) delivered: usize,
}

pub(super) struct FleetMetrics {
    workers: IntGaugeVec,
    versions: IntGaugeVec,
    slots: IntGauge,
    slots_busy: IntGauge,
    leases: IntGaugeVec,
    leases_ended: IntCounterVec,
    workers_lost: IntCounter,
    liveness: Counter,
}

impl FleetMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        let made = Self {
            workers: make.gauges("workers", "Workers by status: idle, busy, draining, lost.", &["status"]),
            versions: make.gauges(
                "worker_versions",
                "Workers that are there, by program, its version, and that of its SDK.",
                &["name", "version", "sdk"],
            ),
            slots: make.gauge("worker_slots", "Slots of the workers that are there."),
            slots_busy: make.gauge("worker_slots_busy", "Slots that are taken."),
            leases: make.gauges(
                "leases",
                "Attempts that run: delivered (their orders are with the workers) or held (without).",
                &["kind"],
            ),
            leases_ended: make.counters(
                "leases_ended_total",
                "Attempts that the backend ended: overdue (they ran too long) or silent (their worker is gone).",
                &["reason"],
            ),
            workers_lost: make.counter("workers_lost_total", "Workers that fell silent without a goodbye."),
            liveness: make.seconds_counter(
                "discovery_reachable_seconds_total",
                "For how long workers could be heard: less than one a second means trouble.",
            ),
        };
        for reason in LEASE_ENDS {
            made.leases_ended.with_label_values(&[reason]);
        }
        made
    }
}

impl Metrics {
    /// How the workers are; replaces what was told before.
    pub(crate) fn set_fleet(&self, figures: &FleetFigures) {
        let fleet = &self.fleet;
        for (status, workers) in &figures.by_status {
            fleet.workers.with_label_values(&[*status]).set(gauge(*workers));
        }
        fleet.slots.set(gauge(figures.slots));
        fleet.slots_busy.set(gauge(figures.slots_busy));
        fleet.leases.with_label_values(&["held"]).set(gauge(figures.held));
        fleet.leases.with_label_values(&["delivered"]).set(gauge(figures.delivered));
        fleet.versions.reset();
        let mut versions: Vec<_> = figures.versions.iter().collect();
        versions.sort_by_key(|(_, workers)| Reverse(**workers));
        for (place, (version, workers)) in versions.into_iter().enumerate() {
            let labels = match place {
                0..VERSION_LABELS_MAX => version.each_ref().map(String::as_str),
                _ => OTHER_VERSIONS,
            };
            fleet.versions.with_label_values(&labels).add(gauge(*workers));
        }
    }

    /// Workers fell silent.
    pub(crate) fn workers_lost(&self, workers: usize) {
        self.fleet.workers_lost.inc_by(u64::try_from(workers).unwrap_or(u64::MAX));
    }

    /// The backend ended an attempt, because its worker fell silent or because it ran too long.
    pub(crate) fn lease_ended(&self, is_silent: bool) {
        let [overdue, silent] = LEASE_ENDS;
        self.fleet.leases_ended.with_label_values(&[if is_silent { silent } else { overdue }]).inc();
    }

    /// Workers could be heard for another while.
    pub(crate) fn discovery_reachable(&self, another: Duration) {
        self.fleet.liveness.inc_by(another.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_labels_are_bounded_and_harmless() {
        let metrics = Metrics::default();
        let named = |number: usize| [format!("worker-{number:03}"), "1".to_owned(), "rust 1".to_owned()];
        let mut versions: BTreeMap<_, _> = (0..200).map(|number| (named(number), 1)).collect();
        versions.insert(["evil\"} 1\ncrewcall_up".to_owned(), "\\".to_owned(), String::new()], 7);
        metrics.set_fleet(&FleetFigures { versions, ..FleetFigures::default() });
        let text = metrics.render();
        let lines: Vec<&str> =
            text.lines().filter(|line| line.starts_with("crewcall_worker_versions{")).collect();
        assert_eq!(lines.len(), VERSION_LABELS_MAX + 1);
        let other = r#"crewcall_worker_versions{name="_other",sdk="_other",version="_other"} 151"#;
        assert!(lines.contains(&other), "{lines:#?}");
        let evil = r#"crewcall_worker_versions{name="evil\"} 1\ncrewcall_up",sdk="",version="\\"} 7"#;
        assert!(lines.contains(&evil), "{lines:#?}");
    }
}
