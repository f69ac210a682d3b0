//! Consumers come, change and go, and move in the log.

use std::sync::Arc;

use crewcall_proto::Timestamp;

use super::{Decide, Decision, Inconsistent, Loaded, Rules, Wanted};
use crate::{
    domain::{Consumer, ConsumerName, ConsumerSettings, Pause, Replay, Sequence, Start},
    engine::ports::{
        CONSUMERS_MAX, ConsumerChange, ConsumerChanged, ConsumerWrite, REPLAYS_KEPT, REPLAYS_OPEN_MAX,
        ReplayRequest,
    },
};

/// Does something to one consumer.
pub struct ChangeConsumer {
    pub name: ConsumerName,
    pub change: ConsumerChange,
}

impl Decide for ChangeConsumer {
    type Value = ConsumerChanged;

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Nothing
    }

    fn decide(self, _: Loaded, rules: &mut Rules) -> Result<Decision<ConsumerChanged>, Inconsistent> {
        let Self { name, change } = self;
        let known = rules.consumers.get(&name).map(|known| known.as_ref().clone());
        let is_new = known.is_none();
        let decided = match (known, change) {
            (None, ConsumerChange::Put { settings, start, begin }) => {
                create(&name, settings, (start, begin), rules).map(Some)
            }
            (None, _) => Err(ConsumerChanged::Unknown),
            (Some(_), ConsumerChange::Delete) => Ok(None),
            (Some(known), change) => changed(known, change, rules).map(Some),
        };
        let consumer = match decided {
            Err(unchanged) => return Ok(Decision::nothing(unchanged)),
            Ok(consumer) => rules.consumers.set(&name, consumer),
        };
        let (value, write) = match consumer {
            Some(consumer) if is_new => {
                (ConsumerChanged::Created(Arc::clone(&consumer)), ConsumerWrite::Put(consumer))
            }
            Some(consumer) => (ConsumerChanged::Changed(Arc::clone(&consumer)), ConsumerWrite::Put(consumer)),
            None => (ConsumerChanged::Deleted, ConsumerWrite::Deleted(name)),
        };
        let mut decision = Decision::nothing(value);
        decision.writes.consumers.push(write);
        Ok(decision)
    }
}

fn create(
    name: &ConsumerName,
    settings: Arc<ConsumerSettings>,
    (start, begin): (Option<Start>, Option<Sequence>),
    rules: &mut Rules,
) -> Result<Consumer, ConsumerChanged> {
    // Those that belong to something else are limited with that.
    if rules.consumers.all().filter(|known| !known.name.belongs()).count() >= CONSUMERS_MAX {
        return Err(ConsumerChanged::TooMany);
    }
    let cursor = within_the_log(begin, rules)?;
    let (now, pass) = (rules.now(), rules.consumers.next_pass());
    Ok(Consumer {
        name: name.clone(),
        settings,
        start: start.unwrap_or_default(),
        cursor,
        first_pass: pass,
        pass,
        pause: None,
        in_flight: 0,
        replays: Vec::new(),
        created_at: now,
        changed_at: now,
        revision: 1,
    })
}

fn changed(known: Consumer, change: ConsumerChange, rules: &mut Rules) -> Result<Consumer, ConsumerChanged> {
    let now = rules.now();
    match change {
        ConsumerChange::Put { start: Some(other), .. } if other != known.start => {
            Err(ConsumerChanged::OtherStart(known.start))
        }
        ConsumerChange::Put { settings, .. } if settings == known.settings => {
            Err(ConsumerChanged::Unchanged(Arc::new(known)))
        }
        ConsumerChange::Put { settings, .. } => {
            Ok(Consumer { settings, changed_at: now, revision: known.revision + 1, ..known })
        }
        ConsumerChange::Pause(_) if known.pause.is_some() => Err(ConsumerChanged::Unchanged(Arc::new(known))),
        ConsumerChange::Pause(pause) => Ok(pausing(known, Some(pause))),
        ConsumerChange::Resume { from_now: false } if known.pause.is_none() => {
            Err(ConsumerChanged::Unchanged(Arc::new(known)))
        }
        ConsumerChange::Resume { from_now: false } => Ok(pausing(known, None)),
        ConsumerChange::Resume { from_now: true } => sought(pausing(known, None), None, rules),
        ConsumerChange::Seek(to) => sought(known, to, rules),
        ConsumerChange::Replay(request) => replayed(known, request, now, rules),
        ConsumerChange::Delete => Err(ConsumerChanged::Deleted),
    }
}

fn pausing(known: Consumer, pause: Option<Pause>) -> Consumer {
    Consumer { pause, ..known }
}

/// It goes on somewhere else. Another pass, if it comes to events again that it was at: each pass makes one job of an event.
fn sought(known: Consumer, to: Option<Sequence>, rules: &mut Rules) -> Result<Consumer, ConsumerChanged> {
    let cursor = within_the_log(to, rules)?;
    let pass = if cursor < known.cursor { rules.consumers.next_pass() } else { known.pass };
    Ok(Consumer { cursor, pass, ..known })
}

fn replayed(
    mut known: Consumer,
    ReplayRequest { after, to, by, reason, key }: ReplayRequest,
    now: Timestamp,
    rules: &mut Rules,
) -> Result<Consumer, ConsumerChanged> {
    if let Some(earlier) = known.replays.iter().find(|earlier| key.is_some() && earlier.key == key) {
        let same = (earlier.after, earlier.to) == (after, to);
        let earlier = earlier.clone();
        return Err(if same {
            ConsumerChanged::Repeated(Box::new(earlier))
        } else {
            ConsumerChanged::KeyReused
        });
    }
    within_the_log(Some(to), rules)?;
    if known.open_replays().count() >= REPLAYS_OPEN_MAX {
        return Err(ConsumerChanged::TooManyReplays);
    }
    let pass = rules.consumers.next_pass();
    known.replays.push(Replay {
        pass,
        after,
        to,
        cursor: after,
        by,
        reason,
        requested_at: now,
        finished_at: None,
        key,
    });
    let mut ended = known.replays.iter().filter(|replay| replay.finished_at.is_some()).count();
    known.replays.retain(|replay| {
        let goes = replay.finished_at.is_some() && ended > REPLAYS_KEPT;
        ended -= usize::from(goes);
        !goes
    });
    Ok(known)
}

/// A place that the log has reached; its end, if none is given.
fn within_the_log(place: Option<Sequence>, rules: &Rules) -> Result<Sequence, ConsumerChanged> {
    let head = rules.counts.sequence();
    let place = place.unwrap_or(head);
    if place > head { Err(ConsumerChanged::Beyond { place, head }) } else { Ok(place) }
}
