//! How runs of workflows get on.

use std::{collections::BTreeMap, time::Duration};

use dashmap::DashSet;
use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Metrics, gauge, registrar::Registrar};
use crate::domain::workflow::{definition::WorkflowName, run::RunState};

/// How many workflows get labels of their own; the rest share [`OTHERS`]. Each costs a dozen time series.
const WORKFLOW_LABELS_MAX: usize = 200;

/// The label of those beyond [`WORKFLOW_LABELS_MAX`]. No workflow has this name.
const OTHERS: &str = "_other";

/// A workflow as it is now.
pub(crate) struct WorkflowFigures {
    pub(crate) name: WorkflowName,
    /// How many of its runs are in each state that is not terminal.
    pub(crate) open: BTreeMap<RunState, usize>,
    /// For how long nothing has happened in the one of them that has stood still the longest.
    pub(crate) standstill: Duration,
    /// What of it does not fit any more.
    pub(crate) problems: usize,
}

pub(super) struct WorkflowMetrics {
    own: DashSet<WorkflowName>,
    runs: IntGaugeVec,
    ended: IntCounterVec,
    standstill: GaugeVec,
    problems: IntGaugeVec,
    held: IntGauge,
}

impl WorkflowMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        Self {
            own: DashSet::new(),
            runs: make.gauges(
                "workflow_runs",
                "Runs that are not over, by state.",
                &["workflow", "state"],
            ),
            ended: make.counters(
                "workflow_runs_ended_total",
                "Runs that ended, by how they did.",
                &["workflow", "outcome"],
            ),
            standstill: make.float_gauges(
                "workflow_run_standstill_seconds",
                "For how long nothing has happened in the run that has stood still the longest; 0 while none does.",
                &["workflow"],
            ),
            problems: make.gauges(
                "workflow_problems",
                "Places of the workflow that do not fit what workers announce.",
                &["workflow"],
            ),
            held: make.gauge(
                "workflow_runs_held",
                "Runs whose next jobs could not be made when it was last tried; each is tried again every second.",
            ),
        }
    }

    /// The workflow's label.
    fn label<'a>(&self, name: &'a WorkflowName) -> &'a str {
        let is_own = self.own.contains(name)
            || (self.own.len() < WORKFLOW_LABELS_MAX && self.own.insert(name.clone()));
        if is_own { name.as_str() } else { OTHERS }
    }
}

impl Metrics {
    /// A run came to its end.
    pub(crate) fn run_ended(&self, workflow: &WorkflowName, outcome: RunState) {
        let label = self.workflows.label(workflow);
        self.workflows.ended.with_label_values(&[label, outcome.as_str()]).inc();
    }

    /// How many runs do not get on.
    pub(crate) fn set_runs_held(&self, runs: usize) {
        self.workflows.held.set(gauge(runs));
    }

    /// How all workflows are; replaces what was told before. What is told of those that are gone ends.
    pub(crate) fn set_workflows(&self, workflows: &[WorkflowFigures]) {
        let metrics = &self.workflows;
        metrics.own.retain(|name| {
            let stays = workflows.iter().any(|figures| figures.name == *name);
            if !stays {
                for outcome in RunState::ALL.into_iter().filter(|state| state.is_terminal()) {
                    // An error means that there was nothing.
                    let _ = metrics.ended.remove_label_values(&[name.as_str(), outcome.as_str()]);
                }
            }
            stays
        });
        let (mut runs, mut problems) =
            (BTreeMap::<(&str, RunState), usize>::new(), BTreeMap::<&str, usize>::new());
        let mut standstill = BTreeMap::<&str, Duration>::new();
        for figures in workflows {
            let label = metrics.label(&figures.name);
            for state in RunState::ALL.into_iter().filter(|state| !state.is_terminal()) {
                *runs.entry((label, state)).or_default() += figures.open.get(&state).copied().unwrap_or(0);
            }
            *problems.entry(label).or_default() += figures.problems;
            let longest = standstill.entry(label).or_default();
            *longest = figures.standstill.max(*longest);
            for outcome in RunState::ALL.into_iter().filter(|state| state.is_terminal()) {
                // The series of a known workflow begin at zero.
                metrics.ended.with_label_values(&[label, outcome.as_str()]);
            }
        }
        metrics.runs.reset();
        metrics.problems.reset();
        metrics.standstill.reset();
        for ((label, state), open) in runs {
            metrics.runs.with_label_values(&[label, state.as_str()]).set(gauge(open));
        }
        for (label, found) in problems {
            metrics.problems.with_label_values(&[label]).set(gauge(found));
        }
        for (label, longest) in standstill {
            metrics.standstill.with_label_values(&[label]).set(longest.as_secs_f64());
        }
    }
}
