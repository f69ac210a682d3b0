//! How consumers get on, and what they made.

use std::{collections::BTreeMap, time::Duration};

use dashmap::DashSet;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use super::{Metrics, gauge, registrar::Registrar};
use crate::domain::ConsumerName;

/// How many consumers get labels of their own; the rest share [`OTHERS`]. Each costs a dozen time series.
pub(super) const CONSUMER_LABELS_MAX: usize = 200;

/// The label of those beyond [`CONSUMER_LABELS_MAX`]. No consumer has this name.
const OTHERS: &str = "_other";

/// The label of jobs that were made and can run.
const MADE: &str = "made";

/// The label of jobs whose parameters could not be filled in, or that their type does not take.
const INVALID_PARAMETERS: &str = "invalid_parameters";

/// A consumer as it is now.
pub(crate) struct ConsumerFigures {
    pub(crate) name: ConsumerName,
    /// Each state, and whether it is in it.
    pub(crate) states: [(&'static str, bool); 5],
    pub(crate) lag_events: u64,
    pub(crate) lag: Duration,
    pub(crate) in_flight: u32,
}

/// What stands under one label.
#[derive(Default)]
struct Row {
    states: BTreeMap<&'static str, i64>,
    lag_events: u64,
    lag: Duration,
    in_flight: u64,
}

pub(super) struct ConsumerMetrics {
    own: DashSet<ConsumerName>,
    state: IntGaugeVec,
    lag_events: IntGaugeVec,
    lag_seconds: GaugeVec,
    in_flight: IntGaugeVec,
    jobs: IntCounterVec,
    condition_errors: IntCounterVec,
    refused: IntCounterVec,
}

impl ConsumerMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        let name = &["consumer"];
        Self {
            own: DashSet::new(),
            state: make.gauges(
                "consumer_state",
                "1 for the state that the consumer is in, 0 for the others.",
                &["consumer", "state"],
            ),
            lag_events: make.gauges("consumer_lag_events", "Events that the consumer has not seen.", name),
            lag_seconds: make.float_gauges(
                "consumer_lag_seconds",
                "Age of the oldest event that the consumer has not seen; 0 when there is none.",
                name,
            ),
            in_flight: make.gauges("consumer_in_flight", "Unfinished jobs that the consumer made.", name),
            jobs: make.counters(
                "consumer_jobs_total",
                "Jobs that the consumer made: those that can run (made), and those that failed at once (invalid_parameters).",
                &["consumer", "outcome"],
            ),
            condition_errors: make.counters(
                "consumer_condition_errors_total",
                "Events whose condition could not be evaluated: nothing was made of them.",
                name,
            ),
            refused: make.counters(
                "consumer_refused_total",
                "Events at the end of too long a chain of events and jobs: nothing was made of them.",
                name,
            ),
        }
    }

    /// The consumer's label.
    fn label<'a>(&self, name: &'a ConsumerName) -> &'a str {
        let is_own = self.own.contains(name)
            || (self.own.len() < CONSUMER_LABELS_MAX && self.own.insert(name.clone()));
        if is_own { name.as_str() } else { OTHERS }
    }
}

impl Metrics {
    /// A consumer made so many jobs that can run, and so many that failed at once.
    pub(crate) fn consumer_made(&self, name: &ConsumerName, made: usize, invalid: usize) {
        let label = self.consumers.label(name);
        let number = |jobs| u64::try_from(jobs).unwrap_or(u64::MAX);
        self.consumers.jobs.with_label_values(&[label, MADE]).inc_by(number(made));
        self.consumers.jobs.with_label_values(&[label, INVALID_PARAMETERS]).inc_by(number(invalid));
    }

    /// A consumer made nothing of events: their condition could not be evaluated, or their chain is too long.
    pub(crate) fn consumer_passed_over(&self, name: &ConsumerName, unclear: usize, refused: usize) {
        if unclear + refused == 0 {
            return;
        }
        let label = self.consumers.label(name);
        let number = |events| u64::try_from(events).unwrap_or(u64::MAX);
        self.consumers.condition_errors.with_label_values(&[label]).inc_by(number(unclear));
        self.consumers.refused.with_label_values(&[label]).inc_by(number(refused));
    }

    /// How all consumers are; replaces what was told before. What is told of those that are gone ends.
    pub(crate) fn set_consumers(&self, consumers: &[ConsumerFigures]) {
        let metrics = &self.consumers;
        metrics.own.retain(|name| {
            let stays = consumers.iter().any(|figures| figures.name == *name);
            if !stays {
                metrics.forget(name.as_str());
            }
            stays
        });
        let mut rows = BTreeMap::<&str, Row>::new();
        for figures in consumers {
            let row = rows.entry(metrics.label(&figures.name)).or_default();
            for (state, is) in figures.states {
                *row.states.entry(state).or_default() += i64::from(is);
            }
            row.lag_events = row.lag_events.max(figures.lag_events);
            row.lag = row.lag.max(figures.lag);
            row.in_flight += u64::from(figures.in_flight);
        }
        for gauges in [&metrics.state, &metrics.lag_events, &metrics.in_flight] {
            gauges.reset();
        }
        metrics.lag_seconds.reset();
        for (label, row) in rows {
            for (state, consumers) in row.states {
                metrics.state.with_label_values(&[label, state]).set(consumers);
            }
            metrics.lag_events.with_label_values(&[label]).set(gauge(row.lag_events));
            metrics.lag_seconds.with_label_values(&[label]).set(row.lag.as_secs_f64());
            metrics.in_flight.with_label_values(&[label]).set(gauge(row.in_flight));
            // The series of a known consumer begin at zero.
            metrics.jobs.with_label_values(&[label, MADE]);
            metrics.jobs.with_label_values(&[label, INVALID_PARAMETERS]);
            metrics.condition_errors.with_label_values(&[label]);
            metrics.refused.with_label_values(&[label]);
        }
    }
}

impl ConsumerMetrics {
    /// A consumer is gone: what was counted of it is not told any more.
    fn forget(&self, label: &str) {
        // An error means that there was nothing.
        let _ = self.jobs.remove_label_values(&[label, MADE]);
        let _ = self.jobs.remove_label_values(&[label, INVALID_PARAMETERS]);
        let _ = self.condition_errors.remove_label_values(&[label]);
        let _ = self.refused.remove_label_values(&[label]);
    }
}
