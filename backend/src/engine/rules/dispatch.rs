//! Ready jobs go to the broker, as far as there is room and what is set for their type allows. Those of a type whose orders
//! come back do not go there and back each by itself.

use std::{sync::Arc, time::Duration};

use crewcall_proto::{AttemptToken, JobType};

use super::{
    CountedAs, Decide, Decision, FoundJob, FoundReady, Inconsistent, Loaded, Rules, Terms, Update, Wanted,
};
use crate::{
    domain::{Event, State},
    engine::ports::{Dispatch, JobChanged, StoredJob},
};

/// Dispatches the ready jobs of a type whose turn it is; if orders of the type come back, they become unroutable.
pub struct DispatchDue {
    pub job_type: JobType,
    /// How many of its attempts may be with the broker at once.
    pub window: usize,
    /// How many go at most.
    pub limit: usize,
}

impl Decide for DispatchDue {
    type Value = Option<Duration>;

    fn wants(&self, rules: &Rules) -> Wanted {
        let Self { job_type, window, limit } = self;
        let room = if rules.counts.is_unserved(job_type) {
            *limit
        } else {
            rules.counts.room(job_type, *window).open(rules.now()).min(*limit)
        };
        match room {
            0 => Wanted::Nothing,
            limit => Wanted::Ready { job_type: job_type.clone(), limit },
        }
    }

    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<Option<Duration>>, Inconsistent> {
        let Self { job_type, window, limit } = self;
        let (now, room) = (rules.now(), rules.counts.room(&job_type, window));
        let mut decision = Decision::nothing(None);
        if rules.counts.is_unserved(&job_type) {
            for found in loaded.ready.into_iter().take(limit) {
                park(found, rules, &mut decision)?;
            }
            return Ok(decision);
        }
        for found in loaded.ready.into_iter().take(room.open(now).min(limit)) {
            dispatch(found, rules, &mut decision)?;
        }
        let dispatched = decision.changes.len();
        if let Some(slot) = room.slot_after(now, dispatched) {
            let terms = Terms { slot: Some(slot), ..rules.counts.terms(&job_type) };
            decision.put_terms(rules, &job_type, terms);
        }
        decision.value = rules.counts.rate_wait(&job_type, room, dispatched, now);
        Ok(decision)
    }
}

/// Orders of its type come back: this job becomes unroutable without going there.
fn park(
    FoundReady { row, number, job }: FoundReady,
    rules: &mut Rules,
    decision: &mut Decision<Option<Duration>>,
) -> Result<(), Inconsistent> {
    let Ok(change) = rules.transition(&job.status, &job.policy, Event::TypeUnserved, rules.now()) else {
        return Err(Inconsistent("a ready job could not become unroutable"));
    };
    decision.happen(rules, FoundJob { row, job: StoredJob::of(&job, number, job.status.clone()) }, change);
    Ok(())
}

fn dispatch(
    found: FoundReady,
    rules: &mut Rules,
    decision: &mut Decision<Option<Duration>>,
) -> Result<(), Inconsistent> {
    let FoundReady { row, number: before, mut job } = found;
    let event = Event::Dispatched { token: AttemptToken::generate() };
    let Ok(change) = rules.transition(&job.status, &job.policy, event, rules.now()) else {
        return Err(Inconsistent("a ready job could not be dispatched"));
    };
    let (counted, counted_now) = (CountedAs::of(&job.status), CountedAs::of(&change.status));
    rules.counts.step(&job.job_type, Some(counted), Some(counted_now));
    let number = rules.counts.next_number();
    let status = std::mem::replace(&mut job.status, change.status);
    let stored = StoredJob::of(&job, before, status);
    let dispatch = Dispatch { number, job: Arc::new(job), sent_before: before.is_some() };
    let change = JobChanged::dispatched(State::Ready, dispatch);
    if let Some(status) = change.is.clone() {
        let found = FoundJob { row, job: stored };
        decision.writes.updates.push(Update { found, status, number: Some(number) });
    }
    decision.changes.push(change);
    Ok(())
}
