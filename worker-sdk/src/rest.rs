//! Types whose handlers gave their orders back: they rest here for a moment, so that another worker gets them.

use std::{collections::HashMap, time::Duration};

use crewcall_proto::JobType;
use tokio::time::Instant;

use crate::limits::REST_PAUSE;

/// The types that rest, or did a while ago.
#[derive(Debug, Default)]
pub(crate) struct Rests {
    rests: HashMap<JobType, Rest>,
}

#[derive(Debug)]
struct Rest {
    until: Instant,
    pause: Duration,
}

impl Rests {
    /// A handler of the type gave its order back. Returns for how long the type rests: twice as long as the last time. What
    /// ran beside it and gives back as well makes it no longer.
    pub(crate) fn begin(&mut self, job_type: &JobType, now: Instant) -> Duration {
        let pause = match self.rests.get(job_type) {
            None => REST_PAUSE.0,
            Some(rest) if now < rest.until => return rest.pause,
            Some(rest) => rest.pause.saturating_mul(2).min(REST_PAUSE.1),
        };
        self.rests.insert(job_type.clone(), Rest { until: now + pause, pause });
        pause
    }

    /// A handler of the type did its work: whatever was in the way is gone.
    pub(crate) fn end(&mut self, job_type: &JobType) {
        self.rests.remove(job_type);
    }

    pub(crate) fn is_resting(&self, job_type: &JobType, now: Instant) -> bool {
        self.rests.get(job_type).is_some_and(|rest| now < rest.until)
    }

    /// When the next of them has rested.
    pub(crate) fn due_at(&self, now: Instant) -> Option<Instant> {
        self.rests.values().map(|rest| rest.until).filter(|until| now < *until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_rests_longer_each_time_until_its_handler_succeeds() {
        let (mut rests, mut now) = (Rests::default(), Instant::now());
        let job_type = JobType::new("model.run").unwrap();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = rests.begin(&job_type, now);
            assert_eq!(rests.begin(&job_type, now), pause, "two at once count as one");
            assert!(rests.is_resting(&job_type, now));
            assert_eq!(rests.due_at(now), Some(now + pause));
            now += pause;
            assert!(!rests.is_resting(&job_type, now));
            assert_eq!(rests.due_at(now), None);
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        rests.end(&job_type);
        assert_eq!(rests.begin(&job_type, now), REST_PAUSE.0);
    }
}
