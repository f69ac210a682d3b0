//! Accepted jobs come: those that were not submitted before under the same key, and at once to the broker where there is room.

use std::{collections::HashMap, sync::Arc};

use crewcall_proto::{AttemptToken, JobId, JobType};

use super::{
    CountedAs, Decide, Decision, FoundKey, Inconsistent, Loaded, NewRow, Rules, Wanted, forgotten_until,
    job_events::Ended,
};
use crate::{
    domain::{Cause, Event, Job},
    engine::ports::{Accepted, IdempotencyKey, Inserted, JobChanged},
    mutant::mutant,
};

/// How many keys that are too old are deleted for each one that is used: more than come, so that their number
/// falls again after a crowd, and few enough that nobody waits for it.
const PURGED_PER_KEY: usize = 4;

/// Stores jobs, and dispatches those for which there is room.
pub struct StoreJobs(pub Vec<NewJob>);

/// An accepted job, and everything about it that can be made ready before its transaction.
pub struct NewJob {
    job: Job,
    window: usize,
    /// Used if the job is dispatched at once.
    token: AttemptToken,
    parameters: String,
    labels: Option<String>,
    idempotency: Option<IdempotencyKey>,
}

impl NewJob {
    /// Makes it ready.
    ///
    /// # Errors
    ///
    /// When its parameters cannot be written as JSON, which no accepted job's cannot.
    pub fn new(Accepted { job, window, idempotency }: Accepted) -> Result<Self, serde_json::Error> {
        let parameters = serde_json::to_string(&job.parameters)?;
        let labels = if job.labels.is_empty() { None } else { Some(serde_json::to_string(&job.labels)?) };
        Ok(Self { job, window, token: AttemptToken::generate(), parameters, labels, idempotency })
    }

    pub(super) const fn id(&self) -> JobId {
        self.job.id
    }

    pub(super) const fn job_type(&self) -> &JobType {
        &self.job.job_type
    }

    /// Whether it is over from its beginning.
    pub(super) fn is_over(&self) -> bool {
        self.job.status.state.is_terminal()
    }
}

impl Decide for StoreJobs {
    type Value = Vec<Inserted>;

    fn wants(&self, _: &Rules) -> Wanted {
        let keys = self.0.iter().filter_map(|new| new.idempotency.as_ref()).map(|key| key.key.clone());
        match keys.collect::<Vec<_>>() {
            none if none.is_empty() => Wanted::Nothing,
            keys => Wanted::Keys(keys),
        }
    }

    fn decide(self, mut loaded: Loaded, rules: &mut Rules) -> Result<Decision<Vec<Inserted>>, Inconsistent> {
        let mut decision = Decision::nothing(Vec::with_capacity(self.0.len()));
        for new in self.0 {
            let inserted = store(new, None, &mut loaded, rules, &mut decision);
            decision.value.push(inserted);
        }
        let keys = decision.writes.inserts.iter().filter(|row| row.key.is_some()).count();
        decision.writes.forget_keys =
            (keys > 0).then(|| (forgotten_until(rules.now()), keys * PURGED_PER_KEY));
        Ok(decision)
    }
}

/// Stores a job, unless it was submitted before: one that somebody submitted, or that a consumer makes for this cause.
pub(super) fn store<T>(
    new: NewJob,
    cause: Option<Arc<Cause>>,
    loaded: &mut Loaded,
    rules: &mut Rules,
    decision: &mut Decision<T>,
) -> Inserted {
    let NewJob { mut job, window, token, parameters, labels, idempotency } = new;
    if let Some(key) = &idempotency
        && let Some(inserted) = earlier(key, &loaded.keys)
    {
        return inserted;
    }
    if !rules.counts.takes(&job.job_type) {
        return Inserted::TooManyTypes;
    }
    let at = rules.now();
    let mut number = None;
    // A job that is due later can be neither dispatched nor unroutable: the state machine says so.
    if rules.counts.is_unserved(&job.job_type) {
        if let Ok(change) = rules.transition(&job.status, &job.policy, Event::TypeUnserved, at) {
            job.status = change.status;
        }
    } else if rules.counts.has_room(&job.job_type, window)
        && let Ok(change) = rules.transition(&job.status, &job.policy, Event::Dispatched { token }, at)
    {
        job.status = change.status;
        number = Some(rules.counts.next_number());
    }
    rules.counts.step(&job.job_type, None, Some(CountedAs::of(&job.status)));
    let job = Arc::new(job);
    if let Some(cause) = &cause {
        made(&job, cause, rules, decision);
    }
    let key = idempotency.filter(|_| !mutant("key_forgotten"));
    if let Some(IdempotencyKey { key, body_hash }) = key.clone() {
        loaded.keys.insert(key, FoundKey { body_hash, job: Arc::clone(&job) });
    }
    decision.changes.push(JobChanged::stored(&job, number));
    decision.writes.inserts.push(NewRow {
        job: Arc::clone(&job),
        parameters,
        labels,
        number,
        key,
        cause,
        at,
    });
    Inserted::Stored { job }
}

/// A consumer made a job. One whose parameters could not be filled in is over already.
fn made<T>(job: &Job, cause: &Arc<Cause>, rules: &mut Rules, decision: &mut Decision<T>) {
    let Job { id, job_type, created_at, status, .. } = job;
    if status.state.is_terminal() {
        let ended = Ended { id: *id, job_type, created_at: *created_at, status };
        decision.record_end(rules, &ended, Some(cause.as_ref()));
    } else {
        rules.consumers.opened(*id, Arc::clone(cause));
    }
}

/// What became of an earlier submission with this key, if there was one.
fn earlier(key: &IdempotencyKey, keys: &HashMap<String, FoundKey>) -> Option<Inserted> {
    let found = keys.get(&key.key)?;
    if found.body_hash != key.body_hash {
        return Some(Inserted::KeyReused);
    }
    Some(Inserted::Replayed { job: Arc::clone(&found.job) })
}

/// Looks whether a job was submitted before.
pub struct SubmittedBefore(pub IdempotencyKey);

impl Decide for SubmittedBefore {
    type Value = Option<Inserted>;

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Keys(vec![self.0.key.clone()])
    }

    fn decide(self, loaded: Loaded, _: &mut Rules) -> Result<Decision<Option<Inserted>>, Inconsistent> {
        Ok(Decision::nothing(earlier(&self.0, &loaded.keys)))
    }
}
