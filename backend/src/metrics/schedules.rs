//! How schedules tick.

use std::{collections::BTreeMap, time::Duration};

use dashmap::DashSet;
use prometheus::{Histogram, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Metrics, gauge, registrar::Registrar};
use crate::domain::{ScheduleName, schedules::tick::TickState};

/// How many schedules get labels of their own; the rest share [`OTHERS`]. Each costs five time series.
const SCHEDULE_LABELS_MAX: usize = 200;

/// The label of those beyond [`SCHEDULE_LABELS_MAX`]. No schedule has this name.
const OTHERS: &str = "_other";

/// How late ticks fire: 150 ms is what they should stay below, and a tick that is 2 s late was missed.
const LATENESS_BUCKETS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.5, 1.0, 2.0];

pub(super) struct ScheduleMetrics {
    own: DashSet<ScheduleName>,
    schedules: IntGaugeVec,
    ticks: IntCounterVec,
    lateness: Histogram,
    held: IntGauge,
}

impl ScheduleMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        Self {
            own: DashSet::new(),
            schedules: make.gauges(
                "schedules",
                "Schedules, those of workflows included, by whether they are paused.",
                &["paused"],
            ),
            ticks: make.counters(
                "schedule_ticks_total",
                "Ticks, by what became of them; a tick that waited is counted again when it fires.",
                &["schedule", "state"],
            ),
            lateness: make.histogram(
                "schedule_lateness_seconds",
                "How long after its time, jitter included, a tick of the calendar fired that did not have to wait.",
                &LATENESS_BUCKETS,
            ),
            held: make.gauge(
                "schedules_held",
                "Schedules whose next tick could not be done when it was last tried; each is tried again every second.",
            ),
        }
    }

    /// The schedule's label.
    fn label<'a>(&self, name: &'a ScheduleName) -> &'a str {
        let is_own = self.own.contains(name)
            || (self.own.len() < SCHEDULE_LABELS_MAX && self.own.insert(name.clone()));
        if is_own { name.as_str() } else { OTHERS }
    }
}

impl Metrics {
    /// This became of ticks of a schedule.
    pub(crate) fn ticked(&self, schedule: &ScheduleName, state: TickState, count: u64) {
        let label = self.schedules.label(schedule);
        self.schedules.ticks.with_label_values(&[label, state.as_str()]).inc_by(count);
    }

    /// A tick fired so long after its time.
    pub(crate) fn tick_was_late(&self, lateness: Duration) {
        self.schedules.lateness.observe(lateness.as_secs_f64());
    }

    /// How all schedules are, each with whether it is paused, and how many do not get on; replaces what was told before. What is told
    /// of those that are gone ends.
    pub(crate) fn set_schedules(&self, schedules: &[(ScheduleName, bool)], held: usize) {
        let metrics = &self.schedules;
        let there: BTreeMap<&ScheduleName, bool> =
            schedules.iter().map(|(name, paused)| (name, *paused)).collect();
        metrics.own.retain(|name| {
            let stays = there.contains_key(name);
            if !stays {
                for state in TickState::ALL {
                    // An error means that there was nothing.
                    let _ = metrics.ticks.remove_label_values(&[name.as_str(), state.as_str()]);
                }
            }
            stays
        });
        for name in there.keys() {
            let label = metrics.label(name);
            for state in TickState::ALL {
                // The series of a known schedule begin at zero.
                metrics.ticks.with_label_values(&[label, state.as_str()]);
            }
        }
        let paused = there.values().filter(|paused| **paused).count();
        metrics.schedules.with_label_values(&["true"]).set(gauge(paused));
        metrics.schedules.with_label_values(&["false"]).set(gauge(there.len() - paused));
        metrics.held.set(gauge(held));
    }
}
