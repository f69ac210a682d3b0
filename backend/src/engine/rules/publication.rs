//! Events come into the log, each in the next place, unless they are there already.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    Decide, Decision, FoundEvent, Inconsistent, Loaded, NewLogRow, OldEvents, Rules, Wanted, Writes,
};
use crate::{
    domain::{EventId, NewEvent, Origin},
    engine::ports::{Appended, Emission},
};

/// Records events.
pub struct AppendEvents(pub Vec<NewEvent>);

impl Decide for AppendEvents {
    type Value = Vec<Appended>;

    fn wants(&self, _: &Rules) -> Wanted {
        let ids = self.0.iter().filter_map(|event| event.id.as_ref()).map(|id| id.text.clone());
        match ids.collect::<Vec<_>>() {
            none if none.is_empty() => Wanted::Nothing,
            ids => Wanted::Events(ids),
        }
    }

    fn decide(self, mut loaded: Loaded, rules: &mut Rules) -> Result<Decision<Vec<Appended>>, Inconsistent> {
        let mut decision = Decision::nothing(Vec::with_capacity(self.0.len()));
        for event in self.0 {
            let appended = append(event, &mut loaded.events, rules, &mut decision.writes);
            decision.value.push(appended);
        }
        Ok(decision)
    }
}

/// Records events that the attempts of jobs publish while they run. Returns what became of them, in their order; `None` for
/// one that no attempt of its job can have published.
pub struct AppendEmissions(pub Vec<Emission>);

impl Decide for AppendEmissions {
    type Value = Vec<Option<Appended>>;

    fn wants(&self, _: &Rules) -> Wanted {
        let ids = self.0.iter().filter_map(|emission| emission.event.id.as_ref()).map(|id| id.text.clone());
        Wanted::Emissions {
            jobs: self.0.iter().map(|emission| emission.job_id).collect(),
            ids: ids.collect(),
        }
    }

    fn decide(
        self,
        mut loaded: Loaded,
        rules: &mut Rules,
    ) -> Result<Decision<Vec<Option<Appended>>>, Inconsistent> {
        let mut decision = Decision::nothing(Vec::with_capacity(self.0.len()));
        for Emission { job_id, attempt, token, event } in self.0 {
            let is_current = loaded.jobs.get(&job_id).is_some_and(|found| {
                let status = &found.job.status;
                (status.attempt, status.token) == (attempt, Some(token))
            });
            // It may have been overtaken by the end of its attempt, which travels on another queue.
            let is_known = is_current || loaded.tokens.contains(&(job_id, attempt, token));
            let appended = is_known.then(|| {
                let origin = Some(Origin::of(job_id, loaded.causes.get(&job_id).map(AsRef::as_ref)));
                append(NewEvent { origin, ..event }, &mut loaded.events, rules, &mut decision.writes)
            });
            decision.value.push(appended);
        }
        Ok(decision)
    }
}

fn append(
    new: NewEvent,
    known: &mut HashMap<String, FoundEvent>,
    rules: &mut Rules,
    writes: &mut Writes,
) -> Appended {
    if let Some(EventId { text, content_hash }) = &new.id
        && let Some(found) = known.get(text)
    {
        return if found.content_hash == *content_hash {
            Appended::Replayed(Arc::clone(&found.event))
        } else {
            Appended::IdReused(found.event.sequence)
        };
    }
    let content_hash = new.id.as_ref().map(|id| id.content_hash);
    let event = Arc::new(new.record(rules.counts.next_sequence(), rules.now()));
    if let (Some(id), Some(content_hash)) = (&event.id, content_hash) {
        known.insert(id.clone(), FoundEvent { content_hash, event: Arc::clone(&event) });
    }
    writes.events.push(NewLogRow { event: Arc::clone(&event), content_hash });
    Appended::Recorded(event)
}

/// Deletes the oldest events, those that were recorded before a time and that every consumer has passed: always a beginning of the log.
pub struct DeleteEvents {
    pub kept_for: Duration,
    /// For how long those are kept besides that a consumer has not passed.
    pub held_for: Duration,
    /// How many at most.
    pub limit: usize,
}

impl Decide for DeleteEvents {
    type Value = usize;

    fn wants(&self, rules: &Rules) -> Wanted {
        let Self { kept_for, held_for, limit } = *self;
        Wanted::OldEvents { kept_for, held_for, passed: rules.need_after(), limit }
    }

    fn decide(self, loaded: Loaded, _: &mut Rules) -> Result<Decision<usize>, Inconsistent> {
        let OldEvents { count, up_to } = loaded.old_events;
        let mut decision = Decision::nothing(count);
        decision.writes.delete_events = Some(up_to).filter(|_| count > 0);
        Ok(decision)
    }
}
