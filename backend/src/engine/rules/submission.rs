//! Accepted jobs come: those that were not submitted before under the same key, and at once to the broker where there is room.

use std::{collections::HashMap, sync::Arc};

use crewcall_proto::{AttemptToken, JobId, JobType};

use super::{
    CountedAs, Decide, Decision, FoundKey, Inconsistent, Loaded, NewRow, Rules, Wanted,
    followers::not_completed, forgotten_until, job_events::Ended,
};
use crate::{
    domain::{After, Blocked, Cause, Event, Fate, Job},
    engine::ports::{Accepted, IdempotencyKey, Inserted, JobChanged, LINKS_MAX, LinkWrite},
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
    after: Option<After>,
}

impl NewJob {
    /// Makes it ready.
    ///
    /// # Errors
    ///
    /// When its parameters cannot be written as JSON, which no accepted job's cannot.
    pub fn new(Accepted { job, window, idempotency, after }: Accepted) -> Result<Self, serde_json::Error> {
        let parameters = serde_json::to_string(&job.parameters)?;
        let labels = if job.labels.is_empty() { None } else { Some(serde_json::to_string(&job.labels)?) };
        Ok(Self { job, window, token: AttemptToken::generate(), parameters, labels, idempotency, after })
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
        let first =
            self.0.iter().filter_map(|new| new.after.as_ref()).flat_map(|after| after.jobs.iter().copied());
        let (names, jobs): (Vec<_>, Vec<_>) = (keys.collect(), first.collect());
        if names.is_empty() && jobs.is_empty() { Wanted::Nothing } else { Wanted::Keys { names, jobs } }
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
    let NewJob { mut job, window, token, parameters, labels, idempotency, after } = new;
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
    let blocked = match after.map(|after| block(&mut job, &after, loaded, rules)).transpose() {
        Ok(blocked) => blocked,
        Err(refused) => return refused,
    };
    // A job that is due later, or blocked, can be neither dispatched nor unroutable: the state machine says so.
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
    if let Some(blocked) = blocked {
        if blocked.fate().is_none() {
            rules.followers.set(job.id, Some(blocked.clone()));
        }
        decision.writes.links.push(LinkWrite::Follows { job_id: job.id, blocked });
    }
    if job.status.state.is_terminal() && cause.is_none() {
        let Job { id, job_type, created_at, status, .. } = job.as_ref();
        let ended = Ended { id: *id, job_type, created_at: *created_at, status };
        decision.record_end(rules, &ended, None);
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

/// A job is to come after others: it is blocked, unless those are over.
fn block(job: &mut Job, after: &After, loaded: &Loaded, rules: &Rules) -> Result<Blocked, Inserted> {
    let unknown: Vec<JobId> = after.jobs.iter().filter(|id| !loaded.jobs.contains_key(id)).copied().collect();
    if !unknown.is_empty() {
        return Err(Inserted::UnknownJobs(unknown));
    }
    let end = |id: &JobId| {
        let state = loaded.jobs.get(id).map(|found| found.job.status.state);
        (*id, state.filter(|state| state.is_terminal()))
    };
    let blocked = Blocked { on_failure: after.on_failure, jobs: after.jobs.iter().map(end).collect() };
    match blocked.fate() {
        Some(Fate::Begins) => {}
        Some(Fate::IsCancelled { because_of, end }) => {
            job.status.cancel_at_birth(not_completed(because_of, end, rules.now()));
        }
        None if rules.followers.links() + blocked.jobs.len() > LINKS_MAX => {
            return Err(Inserted::TooManyLinks);
        }
        None => job.status.block(),
    }
    Ok(blocked)
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
        Wanted::Keys { names: vec![self.0.key.clone()], jobs: Vec::new() }
    }

    fn decide(self, loaded: Loaded, _: &mut Rules) -> Result<Decision<Option<Inserted>>, Inconsistent> {
        Ok(Decision::nothing(earlier(&self.0, &loaded.keys)))
    }
}
