//! Events change jobs, as the state machine says.

use std::{collections::HashMap, sync::Arc};

use crewcall_proto::JobId;

use super::{Decide, Decision, Inconsistent, Loaded, Rules, Wanted, schedules};
use crate::{
    domain::{Event, schedules::tick::TickWork},
    engine::ports::{Applied, JobEvent},
};

/// Runs the state machine over events, in order.
pub struct ApplyEvents(pub Vec<JobEvent>);

impl Decide for ApplyEvents {
    type Value = Vec<Applied>;

    fn wants(&self, _: &Rules) -> Wanted {
        let ids = self.0.iter().map(|event| event.job_id).collect();
        // Its consumer has to count a job again that is tried again.
        let reopens = |event: &JobEvent| matches!(event.event, Event::RetryRequested);
        if self.0.iter().any(reopens) { Wanted::JobsAndCauses(ids) } else { Wanted::Jobs(ids) }
    }

    fn decide(self, mut loaded: Loaded, rules: &mut Rules) -> Result<Decision<Vec<Applied>>, Inconsistent> {
        let mut decision = Decision::nothing(Vec::with_capacity(self.0.len()));
        // Where the jobs are among the updates that changed already.
        let mut changed = HashMap::<JobId, usize>::new();
        for JobEvent { job_id, event } in self.0 {
            let now = rules.now();
            let reopens = matches!(event, Event::RetryRequested);
            let of_run = loaded.causes.get(&job_id).filter(|_| reopens).and_then(|cause| cause.item());
            let applied = if let Some(key) = of_run {
                Applied::OfRun(key.run)
            } else if let Some(index) = changed.get(&job_id).copied()
                && let Some(update) = decision.writes.updates.get(index)
            {
                match rules.transition(&update.status, &update.found.job.policy, event, now) {
                    Err(stale) => Applied::Stale(stale),
                    Ok(change) => {
                        decision.happen_again(rules, index, change);
                        Applied::Changed
                    }
                }
            } else if let Some(found) = loaded.jobs.get(&job_id) {
                match rules.transition(&found.job.status, &found.job.policy, event, now) {
                    Err(stale) => Applied::Stale(stale),
                    Ok(change) => {
                        changed.insert(job_id, decision.writes.updates.len());
                        if let Some(found) = loaded.jobs.remove(&job_id) {
                            decision.happen(rules, found, change);
                        }
                        Applied::Changed
                    }
                }
            } else {
                Applied::UnknownJob
            };
            if reopens
                && applied == Applied::Changed
                && let Some(cause) = loaded.causes.get(&job_id)
            {
                rules.consumers.opened(job_id, Arc::clone(cause));
                if let Some(by) = cause.fired_by() {
                    schedules::reopened(by, TickWork::Job(job_id), rules, &mut decision);
                }
            }
            decision.value.push(applied);
        }
        Ok(decision)
    }
}
