//! Who wants to know when a job changes.
//!
//! A watcher is woken with "changed" and then reads the job: it may skip steps, never the last one.
//! Register first, then read: a change between the two wakes the watcher at once.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use crewcall_proto::{JobId, JobType};
use dashmap::DashMap;
use tokio::sync::{broadcast, watch};

use crate::{
    domain::State,
    engine::{changes::Observer, ports::JobChanged},
};

/// How many changes are remembered for watchers that come back.
pub(crate) const CHANGES_REMEMBERED_MAX: usize = 4_096;

/// How many changes a slow watcher of everything may lag behind before it is told to start over.
pub(crate) const CHANGES_LAG_MAX: usize = 1_024;

/// A job changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Counts the changes of this process, from 1.
    pub sequence: u64,
    pub job_id: JobId,
    pub job_type: JobType,
    /// Where it stands now.
    pub state: State,
    pub version: u64,
}

/// Wakes watchers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WatchHub {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Tells this process's sequence numbers from those of the one before it.
    epoch: u64,
    recent: Mutex<VecDeque<Changed>>,
    everything: broadcast::Sender<Changed>,
    single: DashMap<JobId, watch::Sender<u64>>,
}

impl Default for WatchHub {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                epoch: rand::random(),
                recent: Mutex::new(VecDeque::new()),
                everything: broadcast::channel(CHANGES_LAG_MAX).0,
                single: DashMap::new(),
            }),
        }
    }
}

/// Everybody who watches is told, but not of deletions: what is over does not change any more.
impl Observer for WatchHub {
    fn after_commit(&self, changes: &[JobChanged]) {
        for change in changes {
            if let Some(status) = &change.is {
                self.changed(change.job_id, &change.job_type, status.state, status.version);
            }
        }
    }
}

impl WatchHub {
    /// Names this process's run: part of the event ids of [`WatchHub::watch_all`].
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    /// Tells everybody who watches that a job changed.
    pub fn changed(&self, job_id: JobId, job_type: &JobType, state: State, version: u64) {
        let mut recent = self.inner.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = recent.back().map_or(1, |last| last.sequence + 1);
        let changed = Changed { sequence, job_id, job_type: job_type.clone(), state, version };
        if recent.len() == CHANGES_REMEMBERED_MAX {
            recent.pop_front();
        }
        recent.push_back(changed.clone());
        // Sent under the lock, so that nobody subscribes between the two and misses it. No receiver is no error.
        let _ = self.inner.everything.send(changed);
        drop(recent);
        if let Some(waiting) = self.inner.single.get(&job_id) {
            waiting.send_modify(|count| *count += 1);
        }
    }

    /// Watches one job.
    #[must_use]
    pub fn watch_job(&self, job_id: JobId) -> JobWatch {
        let receiver = self.inner.single.entry(job_id).or_insert_with(|| watch::channel(0).0).subscribe();
        JobWatch { job_id, receiver: Some(receiver), inner: Arc::clone(&self.inner) }
    }

    /// Watches every job: first the remembered changes after `after` (all that come from now on, if `None`), then the new ones.
    ///
    /// # Errors
    ///
    /// [`TooOld`] when changes after `after` are no longer remembered.
    pub fn watch_all(&self, after: Option<u64>) -> Result<AllWatch, TooOld> {
        let recent = self.inner.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.inner.everything.subscribe();
        let newest = recent.back().map_or(0, |last| last.sequence);
        let oldest = recent.front().map_or(1, |first| first.sequence);
        let after = after.unwrap_or(newest);
        if after > newest || after + 1 < oldest {
            return Err(TooOld);
        }
        let missed = recent.iter().filter(|changed| changed.sequence > after).cloned().collect();
        Ok(AllWatch { missed, receiver })
    }
}

/// The changes asked for are no longer remembered: read the state anew and watch from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these changes are no longer remembered: list the jobs again, then watch from now on")]
pub struct TooOld;

/// Waits for changes of one job.
#[derive(Debug)]
pub struct JobWatch {
    job_id: JobId,
    /// Taken when the watch ends.
    receiver: Option<watch::Receiver<u64>>,
    inner: Arc<Inner>,
}

impl JobWatch {
    /// Returns when the job changed since the watch began or since the last call. Safe to cancel.
    pub async fn changed(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            // The sender lives in the map for as long as this watch does.
            let _ = receiver.changed().await;
        }
    }
}

impl Drop for JobWatch {
    fn drop(&mut self) {
        // Before the receivers are counted: of two that end at once, each would take the other for one that goes on.
        self.receiver.take();
        self.inner.single.remove_if(&self.job_id, |_, sender| sender.receiver_count() == 0);
    }
}

/// Waits for changes of any job.
#[derive(Debug)]
pub struct AllWatch {
    missed: VecDeque<Changed>,
    receiver: broadcast::Receiver<Changed>,
}

impl AllWatch {
    /// The next change. Safe to cancel.
    ///
    /// # Errors
    ///
    /// [`TooOld`] when the watcher was too slow.
    pub async fn next(&mut self) -> Result<Changed, TooOld> {
        if let Some(changed) = self.missed.pop_front() {
            return Ok(changed);
        }
        self.receiver.recv().await.map_err(|_| TooOld)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(hub: &WatchHub, version: u64) -> JobId {
        let id = JobId::generate();
        hub.changed(id, &JobType::new("a.b").unwrap(), State::Ready, version);
        id
    }

    #[tokio::test]
    async fn a_change_between_register_and_read_is_not_lost() {
        let hub = WatchHub::default();
        let id = JobId::generate();
        let mut watch = hub.watch_job(id);
        hub.changed(id, &JobType::new("a.b").unwrap(), State::Completed, 2);
        watch.changed().await;
        drop(watch);
        assert!(hub.inner.single.is_empty(), "a watch that ended leaves nothing behind");
    }

    #[test]
    fn watches_that_end_together_leave_nothing_behind() {
        let hub = WatchHub::default();
        let together = Arc::new(std::sync::Barrier::new(2));
        for _ in 0..2_000 {
            let id = JobId::generate();
            std::thread::scope(|threads| {
                for watch in [hub.watch_job(id), hub.watch_job(id)] {
                    let together = Arc::clone(&together);
                    threads.spawn(move || {
                        together.wait();
                        drop(watch);
                    });
                }
            });
        }
        assert!(hub.inner.single.is_empty(), "{} entries are left", hub.inner.single.len());
    }

    #[tokio::test]
    async fn a_watcher_that_comes_back_gets_what_it_missed_or_is_told() {
        let hub = WatchHub::default();
        for version in 1..=3 {
            change(&hub, version);
        }
        let mut watch = hub.watch_all(Some(1)).unwrap();
        assert_eq!(watch.next().await.unwrap().version, 2);
        assert_eq!(watch.next().await.unwrap().version, 3);
        change(&hub, 4);
        assert_eq!(watch.next().await.unwrap().version, 4);
        for version in 0..CHANGES_REMEMBERED_MAX as u64 {
            change(&hub, version);
        }
        assert_eq!(hub.watch_all(Some(3)).unwrap_err(), TooOld);
        assert_eq!(hub.watch_all(Some(1_000_000)).unwrap_err(), TooOld);
        assert!(hub.watch_all(None).is_ok());
    }
}
