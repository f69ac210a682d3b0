//! Waiting jobs become ready, or expire.

use crewcall_proto::{JobType, Timestamp};

use super::{Decide, Decision, Inconsistent, Loaded, Rules, Wanted};
use crate::domain::Event;

/// Releases scheduled jobs whose time has come. Returns when the next is due.
pub struct ReleaseDue {
    /// How many at most.
    pub limit: usize,
}

impl Decide for ReleaseDue {
    type Value = Option<Timestamp>;

    fn wants(&self, rules: &Rules) -> Wanted {
        Wanted::Scheduled { until: rules.now(), limit: self.limit }
    }

    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<Option<Timestamp>>, Inconsistent> {
        happen_to_all(loaded, rules, &Event::Due)
    }
}

/// Ends jobs that were not started in time. Returns when the next expires.
pub struct ExpireDue {
    /// How many at most.
    pub limit: usize,
}

impl Decide for ExpireDue {
    type Value = Option<Timestamp>;

    fn wants(&self, rules: &Rules) -> Wanted {
        Wanted::Expiring { until: rules.now(), limit: self.limit }
    }

    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<Option<Timestamp>>, Inconsistent> {
        happen_to_all(loaded, rules, &Event::Expired)
    }
}

/// Releases the unroutable jobs of a type that is served.
pub struct ReleaseUnroutable {
    pub job_type: JobType,
    /// How many at most.
    pub limit: usize,
}

impl Decide for ReleaseUnroutable {
    type Value = ();

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Unroutable { job_type: self.job_type.clone(), limit: self.limit }
    }

    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<()>, Inconsistent> {
        Ok(happen_to_all(loaded, rules, &Event::TypeServed)?.with(()))
    }
}

fn happen_to_all(
    loaded: Loaded,
    rules: &mut Rules,
    event: &Event,
) -> Result<Decision<Option<Timestamp>>, Inconsistent> {
    let mut decision = Decision::nothing(loaded.next_at);
    let now = rules.now();
    for found in loaded.waiting {
        let (status, policy) = (&found.job.status, &found.job.policy);
        let Ok(change) = rules.transition(status, policy, event.clone(), now) else {
            return Err(Inconsistent("a waiting job could not be released, or expire"));
        };
        decision.happen(rules, found, change);
    }
    Ok(decision)
}
