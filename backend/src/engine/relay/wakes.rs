//! Which types to look at again, and when: at most one time for each.

use std::{
    collections::HashMap,
    task::{Context, Poll},
    time::Duration,
};

use crewcall_proto::JobType;
use tokio::time::Instant;
use tokio_util::time::{DelayQueue, delay_queue::Key};

/// The longest wait that is taken: that of the lowest rate limit, one attempt in a day. Looking too early does no harm.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Types that are to be looked at again after a while.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    queue: DelayQueue<JobType>,
    keys: HashMap<JobType, Key>,
}

impl Wakes {
    /// Looks at the type after `wait`, or not at all for `None`, whatever was said before.
    pub(super) fn set(&mut self, job_type: &JobType, wait: Option<Duration>) {
        match (self.keys.get(job_type), wait.map(|wait| wait.min(WAIT_MAX))) {
            (Some(key), Some(wait)) => self.queue.reset(key, wait),
            (None, Some(wait)) => {
                let key = self.queue.insert(job_type.clone(), wait);
                self.keys.insert(job_type.clone(), key);
            }
            (Some(_), None) => {
                if let Some(key) = self.keys.remove(job_type) {
                    self.queue.remove(&key);
                }
            }
            (None, None) => {}
        }
    }

    /// Whether the type is to be looked at later. Its time may have come while nobody asked which is next.
    pub(super) fn is_ahead(&self, job_type: &JobType) -> bool {
        self.keys.get(job_type).is_some_and(|key| self.queue.deadline(key) > Instant::now())
    }

    /// The next type whose time has come. Of an empty queue nobody is woken: whoever sets a time asks again.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<JobType> {
        match self.queue.poll_expired(context) {
            Poll::Ready(Some(expired)) => {
                let job_type = expired.into_inner();
                self.keys.remove(&job_type);
                Poll::Ready(job_type)
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_type_has_one_time_which_the_last_word_sets() {
        let (a, b) = (JobType::new("a").unwrap(), JobType::new("b").unwrap());
        let mut wakes = Wakes::default();
        for seconds in 1..1_000 {
            wakes.set(&a, Some(Duration::from_secs(seconds)));
        }
        assert_eq!((wakes.queue.len(), wakes.keys.len()), (1, 1));
        wakes.set(&b, Some(Duration::from_secs(7)));
        wakes.set(&a, Some(Duration::from_secs(5)));
        let start = Instant::now();
        for (expected, seconds) in [(&a, 5), (&b, 7)] {
            assert_eq!(poll_fn(|context| wakes.poll_next(context)).await, *expected);
            assert_eq!(start.elapsed().as_secs(), seconds);
        }
        wakes.set(&a, Some(Duration::from_secs(5)));
        assert!(wakes.is_ahead(&a) && !wakes.is_ahead(&b));
        advance(Duration::from_secs(6)).await;
        assert!(!wakes.is_ahead(&a), "its time has come, and nobody asked yet");
        wakes.set(&a, Some(Duration::MAX));
        wakes.set(&a, None);
        wakes.set(&b, None);
        assert!(wakes.queue.is_empty() && wakes.keys.is_empty());
    }
}
