//! The jobs that are blocked, and by what, kept in memory by whoever writes: while there is none, nothing is asked at the end of
//! a job. What follows from the end of a job for those that come after it is decided in the same transaction.
//!
//! It moves with the transaction: each step can be taken back until the transaction is committed.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use crewcall_proto::JobId;

use super::{Decide, Decision, FoundJob, Inconsistent, Loaded, Rules, Wanted};
use crate::{
    domain::{Blocked, Cancellation, Event, Fate, State},
    engine::ports::LinkWrite,
    mutant::mutant,
};

/// How many blocked jobs one commit moves on at most; the others follow in commits of their own, at once. What ends in a commit
/// keeps others waiting, and a job that thousands come after would do so for a second.
pub const FOLLOWED_AT_ONCE: usize = 256;

/// Who cancels a job because one that it comes after did not complete.
const BY: &str = "crewcall";

/// A blocked job that came, changed or went, with how it was before.
#[derive(Debug)]
struct Step {
    job_id: JobId,
    before: Option<Arc<Blocked>>,
}

/// What the table can be rolled back to.
#[derive(Debug, Clone, Copy)]
pub struct FollowersSavepoint(usize);

/// The blocked jobs, with what the open transaction changed.
#[derive(Debug, Default)]
pub struct Followers {
    blocked: HashMap<JobId, Arc<Blocked>>,
    /// Each blocked job behind each job that it comes after.
    links: BTreeSet<(JobId, JobId)>,
    /// Those that nothing blocks any more.
    free: BTreeSet<JobId>,
    /// What the open transaction did, in order.
    steps: Vec<Step>,
}

impl Followers {
    /// What the store held when it was opened.
    pub fn new(blocked: impl IntoIterator<Item = (JobId, Blocked)>) -> Self {
        let mut followers = Self::default();
        for (job_id, blocked) in blocked {
            followers.put(job_id, Some(&Arc::new(blocked)));
        }
        followers
    }

    /// How many links there are: each blocked job has one to each job that it comes after.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// How many blocked jobs nothing blocks any more: the next commits move them on.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    pub fn get(&self, job_id: JobId) -> Option<&Arc<Blocked>> {
        self.blocked.get(&job_id)
    }

    /// Those that come after these jobs, and after those in turn, the nearest first: what may have to be known when these end. At
    /// most [`FOLLOWED_AT_ONCE`].
    pub fn of<'a>(&self, jobs: impl IntoIterator<Item = &'a JobId>) -> Vec<JobId> {
        if self.links.is_empty() {
            return Vec::new();
        }
        let mut nearest: VecDeque<JobId> = jobs.into_iter().copied().collect();
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        while let Some(job_id) = nearest.pop_front() {
            for follower in self.behind(job_id).filter(|follower| seen.insert(*follower)) {
                if found.len() == FOLLOWED_AT_ONCE {
                    return found;
                }
                found.push(follower);
                nearest.push_back(follower);
            }
        }
        found
    }

    /// A job is blocked like this from now on; `None` when it is no more.
    pub fn set(&mut self, job_id: JobId, blocked: Option<Blocked>) {
        let before = self.put(job_id, blocked.map(Arc::new).as_ref());
        self.steps.push(Step { job_id, before });
    }

    pub const fn savepoint(&self) -> FollowersSavepoint {
        FollowersSavepoint(self.steps.len())
    }

    /// Takes back every step since `savepoint`.
    pub fn roll_back_to(&mut self, FollowersSavepoint(steps): FollowersSavepoint) {
        while self.steps.len() > steps
            && let Some(Step { job_id, before }) = self.steps.pop()
        {
            self.put(job_id, before.as_ref());
        }
    }

    /// The transaction was committed: its steps are final.
    pub fn commit(&mut self) {
        self.steps.clear();
    }

    /// The blocked jobs that come after this one.
    fn behind(&self, job_id: JobId) -> impl Iterator<Item = JobId> {
        let (first, last) = (JobId::from_uuid(uuid::Uuid::nil()), JobId::from_uuid(uuid::Uuid::max()));
        self.links.range((job_id, first)..=(job_id, last)).map(|(_, follower)| *follower)
    }

    fn put(&mut self, job_id: JobId, blocked: Option<&Arc<Blocked>>) -> Option<Arc<Blocked>> {
        let is_free = blocked.is_some_and(|blocked| blocked.fate().is_some());
        if is_free {
            self.free.insert(job_id)
        } else {
            self.free.remove(&job_id)
        };
        let before = match blocked {
            Some(blocked) => self.blocked.insert(job_id, Arc::clone(blocked)),
            None => self.blocked.remove(&job_id),
        };
        // What a job comes after never changes, only how that stands.
        if before.is_some() != blocked.is_some() {
            for (first, _) in blocked.into_iter().chain(&before).flat_map(|blocked| &blocked.jobs) {
                let link = (*first, job_id);
                if blocked.is_some() {
                    self.links.insert(link)
                } else {
                    self.links.remove(&link)
                };
            }
        }
        before
    }

    /// A job ended, or goes on after all (`None`). Returns whether anything comes after it.
    fn stands(&mut self, job_id: JobId, end: Option<State>) -> bool {
        let behind: Vec<JobId> = self.behind(job_id).collect();
        for follower in &behind {
            let Some(blocked) = self.blocked.get(follower) else { continue };
            let mut blocked = blocked.as_ref().clone();
            blocked.jobs.iter_mut().filter(|(id, _)| *id == job_id).for_each(|(_, known)| *known = end);
            self.set(*follower, Some(blocked));
        }
        !behind.is_empty()
    }
}

/// What follows from what a decision does, for jobs that come after others. `found` are the blocked jobs that were loaded for it;
/// those that are not among them are moved on by [`ReleaseUnblocked`].
pub(super) fn follow<T>(rules: &mut Rules, decision: &mut Decision<T>, mut found: HashMap<JobId, FoundJob>) {
    if rules.followers.links.is_empty() || mutant("follower_unheard") {
        return;
    }
    // First of all: a job that somebody cancels is not cancelled again.
    for change in &decision.changes {
        if change.was == Some(State::Blocked) {
            rules.followers.set(change.job_id, None);
        }
    }
    let mut told = 0;
    while told < decision.changes.len() {
        // All of it before anybody is moved on: who ended and is tried again in one transaction has not ended.
        let mut behind = Vec::new();
        for change in &decision.changes[told..] {
            let (job_id, Some(is)) = (change.job_id, change.is.as_ref()) else { continue };
            let end = Some(is.state).filter(|state| state.is_terminal());
            let is_news = change.was.is_some() && end.is_some() != change.was_over();
            if is_news && rules.followers.stands(job_id, end) {
                decision.writes.links.push(LinkWrite::Stands { job_id, end });
                behind.extend(rules.followers.behind(job_id));
            }
        }
        told = decision.changes.len();
        for follower in behind {
            if rules.followers.free.contains(&follower)
                && let Some(found) = found.remove(&follower)
            {
                release(rules, decision, found);
            }
        }
    }
}

/// Nothing blocks a job any more: it begins, or is cancelled.
fn release<T>(rules: &mut Rules, decision: &mut Decision<T>, found: FoundJob) {
    let id = found.job.id;
    let Some(fate) = rules.followers.get(id).and_then(|blocked| blocked.fate()) else { return };
    let now = rules.now();
    let event = match fate {
        Fate::Begins => Event::Unblocked,
        Fate::IsCancelled { because_of, end } => Event::CancelRequested(not_completed(because_of, end, now)),
    };
    rules.followers.set(id, None);
    if let Ok(change) = rules.transition(&found.job.status, &found.job.policy, event, now) {
        decision.happen(rules, found, change);
    }
}

/// Why a job is cancelled that comes after one that did not complete.
pub(super) fn not_completed(because_of: JobId, end: State, at: crewcall_proto::Timestamp) -> Cancellation {
    let what = if end == State::Cancelled { "was cancelled" } else { "failed" };
    Cancellation {
        by: BY.to_owned(),
        reason: Some(format!("job {because_of}, which it comes after, {what}")),
        at,
    }
}

/// Moves on jobs that nothing blocks any more, and that were too many for the commit that let them go. Returns whether there are
/// more.
pub struct ReleaseUnblocked {
    /// How many at most.
    pub limit: usize,
}

impl Decide for ReleaseUnblocked {
    type Value = bool;

    fn wants(&self, rules: &Rules) -> Wanted {
        Wanted::Jobs(rules.followers.free.iter().take(self.limit).copied().collect())
    }

    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<bool>, Inconsistent> {
        let mut decision = Decision::nothing(false);
        for found in loaded.jobs.into_values() {
            release(rules, &mut decision, found);
        }
        decision.value = rules.followers.free() > 0;
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AfterFailure;

    fn after(jobs: &[JobId]) -> Blocked {
        Blocked { on_failure: AfterFailure::Cancel, jobs: jobs.iter().map(|id| (*id, None)).collect() }
    }

    #[test]
    fn those_that_come_after_a_job_are_found_through_each_other_and_steps_are_taken_back() {
        let [a, b, c, d] = std::array::from_fn(|_| JobId::generate());
        let mut followers = Followers::new([(b, after(&[a])), (c, after(&[b, a]))]);
        assert_eq!(followers.links(), 3);
        let found: HashSet<JobId> = followers.of([&a]).into_iter().collect();
        assert_eq!(found, HashSet::from([b, c]));
        assert_eq!(followers.of([&b]), [c]);

        let savepoint = followers.savepoint();
        assert!(followers.stands(a, Some(State::Completed)) && !followers.stands(d, Some(State::Failed)));
        assert_eq!(followers.free(), 1, "one comes after another, too");
        followers.set(b, None);
        assert_eq!((followers.links(), followers.free()), (2, 0));
        followers.roll_back_to(savepoint);
        assert_eq!((followers.links(), followers.free()), (3, 0));

        followers.stands(a, Some(State::Failed));
        followers.stands(a, None);
        assert_eq!(followers.free(), 0, "it is tried again");
    }

    #[test]
    fn no_more_are_looked_for_than_one_commit_moves_on() {
        let first = JobId::generate();
        let many = (0..=FOLLOWED_AT_ONCE).map(|_| (JobId::generate(), after(&[first])));
        assert_eq!(Followers::new(many).of([&first]).len(), FOLLOWED_AT_ONCE);
    }
}
