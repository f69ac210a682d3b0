//! Jobs that come after others, in a store in memory.

use std::collections::HashMap;

use async_trait::async_trait;
use crewcall_backend::{
    domain::{Blocked, State},
    engine::{
        ports::{Followers, LinkWrite, StoreError, Written},
        rules::{self, FoundJob, ReleaseUnblocked},
    },
};
use crewcall_proto::JobId;

use super::{
    MemoryStore,
    disk::{Disk, Overlay, found},
};

impl Disk {
    /// The blocked jobs.
    pub(super) fn followers(&self) -> rules::Followers {
        let is_blocked =
            |id: &JobId| self.jobs.get(id).is_some_and(|kept| kept.job.status.state == State::Blocked);
        let blocked = self.links.iter().filter(|(id, _)| is_blocked(id));
        rules::Followers::new(blocked.map(|(id, blocked)| (*id, blocked.clone())))
    }

    /// Keeps what becomes of jobs that come after others. To be called while they are as they were.
    pub(super) fn write_link(&mut self, write: LinkWrite) {
        match write {
            LinkWrite::Follows { job_id, blocked } => drop(self.links.insert(job_id, blocked)),
            LinkWrite::Stands { job_id, end } => {
                for (follower, blocked) in &mut self.links {
                    if self.jobs.get(follower).is_some_and(|kept| kept.job.status.state == State::Blocked) {
                        let links = blocked.jobs.iter_mut().filter(|(first, _)| *first == job_id);
                        links.for_each(|(_, known)| *known = end);
                    }
                }
            }
        }
    }
}

impl Overlay {
    /// These jobs, as they are now.
    pub(super) fn found(&self, ids: Vec<JobId>, disk: &Disk) -> HashMap<JobId, FoundJob> {
        let now = |id: JobId| match self.jobs.get(&id) {
            Some(job) => Some((id, FoundJob { row: 0, job: job.clone() })),
            None => disk.jobs.get(&id).map(|kept| (id, found(kept))),
        };
        ids.into_iter().filter_map(now).collect()
    }
}

#[async_trait]
impl Followers for MemoryStore {
    async fn comes_after(&self, id: JobId) -> Result<Option<Blocked>, StoreError> {
        self.read(|disk, _| disk.links.get(&id).cloned())
    }

    fn unblocked(&self) -> usize {
        self.read(|_, rules| rules.followers.free()).unwrap_or_default()
    }

    async fn release_unblocked(&self, limit: usize) -> Result<Written<bool>, StoreError> {
        self.run(ReleaseUnblocked { limit }).await
    }
}
