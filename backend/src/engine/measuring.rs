//! What is counted and measured of what happens to jobs.

use crate::{
    domain::{AttemptOutcome, State},
    engine::{
        changes::Observer,
        ports::{JobChanged, RunChanged},
    },
    metrics::Metrics,
};

impl Observer for Metrics {
    fn after_commit(&self, changes: &[JobChanged]) {
        changes.iter().for_each(|change| measure(self, change));
    }

    fn after_runs(&self, runs: &[RunChanged]) {
        for RunChanged { run, was } in runs {
            let state = run.run.state;
            if state.is_terminal() && was.is_some_and(|was| !was.is_terminal()) {
                self.run_ended(run.info.version.name(), state);
            }
        }
    }
}

fn measure(metrics: &Metrics, change: &JobChanged) {
    let JobChanged { job_type, was, ended, .. } = change;
    let Some(status) = &change.is else { return };
    let Some(was) = was else { return metrics.job_submitted(job_type) };
    // A short attempt reports its start together with its end.
    let (attempt, started_at) = match ended {
        Some(ended) => (ended.attempt, ended.started_at),
        None => (status.attempt, status.started_at),
    };
    let has_started = *was != State::Running && (ended.is_some() || status.state == State::Running);
    if let (true, 1, Some(at)) = (has_started, attempt.get(), started_at) {
        metrics.job_started(job_type, at.since(change.created_at));
    }
    if let Some(ended) = ended {
        let ran = ended.started_at.map(|started_at| ended.finished_at.since(started_at));
        metrics.attempt_ended(job_type, ended.outcome.as_str(), ran);
    }
    if status.state.is_terminal() && !was.is_terminal() {
        let outcome = match (ended, &status.error) {
            (Some(ended), _) => ended.outcome.as_str(),
            (None, Some(error)) if status.state == State::Failed => error.kind.as_str(),
            (None, _) => AttemptOutcome::Cancelled.as_str(),
        };
        metrics.job_finished(job_type, outcome);
    }
}
