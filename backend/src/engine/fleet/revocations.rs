//! Attempts that are not wanted any more although their orders may still be queued: of jobs that were cancelled, or expired,
//! while they were with the broker.
//!
//! An order cannot be taken out of a queue. The workers that are there are told at once; those that come later are told with
//! their welcome.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use crewcall_proto::{Attempt, AttemptId, JobType};

use crate::{
    domain::State,
    engine::{
        changes::Observer,
        ports::{JobChanged, Standing, Store, StoreError},
    },
};

/// How many are remembered: as many jobs as one bulk request cancels. What is forgotten is run if its order comes, and its
/// result is refused.
pub(crate) const REVOCATIONS_MAX: usize = 10_000;

/// How many a welcome carries, the newest: no dispatch window is larger, and as JSON they are 200 KiB.
pub(crate) const WELCOME_REVOCATIONS_MAX: usize = 2_000;

/// The newest revocations, oldest first.
#[derive(Debug, Default)]
pub struct Revocations {
    newest: Mutex<VecDeque<(JobType, AttemptId)>>,
}

/// A job that is over before anybody reported its start leaves its order behind.
impl Observer for Revocations {
    fn after_commit(&self, changes: &[JobChanged]) {
        for change in changes.iter().filter(|change| change.was == Some(State::Dispatched)) {
            if let Some(status) = change.is.as_ref().filter(|status| status.state.is_terminal())
                && change.ended.is_none()
            {
                let attempt = AttemptId { job_id: change.job_id, attempt: status.attempt };
                self.add(change.job_type.clone(), attempt);
            }
        }
    }
}

impl Revocations {
    /// Takes over those that an earlier process recorded.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn restore(&self, store: &dyn Store) -> Result<(), StoreError> {
        for (job_type, attempt) in store.revoked(REVOCATIONS_MAX).await? {
            self.add(job_type, attempt);
        }
        Ok(())
    }

    /// Those of these types, of which there are any.
    #[must_use]
    pub fn types(&self, job_types: &[JobType]) -> Vec<JobType> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let revoked: HashSet<&JobType> = newest.iter().map(|(job_type, _)| job_type).collect();
        job_types.iter().filter(|job_type| revoked.contains(job_type)).cloned().collect()
    }

    /// The newest of these types, as many as a welcome carries.
    #[must_use]
    pub fn of(&self, job_types: &HashSet<JobType>) -> Vec<AttemptId> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let of_types = newest.iter().rev().filter(|(job_type, _)| job_types.contains(job_type));
        of_types.map(|(_, attempt)| *attempt).take(WELCOME_REVOCATIONS_MAX).collect()
    }

    fn add(&self, job_type: JobType, attempt: AttemptId) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.len() >= REVOCATIONS_MAX {
            newest.pop_front();
        }
        newest.push_back((job_type, attempt));
    }
}

impl Standing {
    /// Whether an order of this attempt is still to be run.
    #[must_use]
    pub fn wants(&self, attempt: Attempt) -> bool {
        !self.state.is_terminal() && !self.cancelled && attempt >= self.attempt
    }
}
