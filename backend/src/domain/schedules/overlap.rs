//! What becomes of a tick that is to fire while an earlier one is not over.

use super::{known::Schedule, limits::QUEUE_MAX, settings::Overlap};
use crate::domain::TickKey;

/// What becomes of a tick that is to fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It fires at once.
    Fire,
    /// It waits; instead of this one, if there is one, which is skipped.
    Queue { instead_of: Option<TickKey> },
    /// Nothing is made.
    Skip(Obstacle),
}

/// Why nothing is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// An earlier one is not over.
    Open,
    /// One waits already.
    OneWaits,
    /// [`QUEUE_MAX`] wait already.
    ManyWait,
    /// A later one took its place.
    Replaced,
}

impl Obstacle {
    /// The sentence for people.
    #[must_use]
    pub fn sentence(self) -> String {
        match self {
            Self::Open => "an earlier one was not over".to_owned(),
            Self::OneWaits => "an earlier one was not over, and another waited for it already".to_owned(),
            Self::ManyWait => format!("{QUEUE_MAX} others waited already"),
            Self::Replaced => "a later one took its place".to_owned(),
        }
    }
}

/// What becomes of a tick of the calendar, or of somebody, that is to fire now. Those of a backfill make way: they were late anyway.
#[must_use]
pub fn admit(schedule: &Schedule) -> Admission {
    let overlap = schedule.settings.times.overlap;
    let waiting = schedule.waiting();
    let queue = Admission::Queue { instead_of: None };
    if overlap == Overlap::Allow || (schedule.open.is_empty() && waiting == 0) {
        return Admission::Fire;
    }
    match overlap {
        Overlap::Skip if schedule.only_makes_up() && waiting == 0 => queue,
        Overlap::Skip => Admission::Skip(Obstacle::Open),
        Overlap::QueueOne if waiting == 0 => queue,
        Overlap::QueueOne => Admission::Skip(Obstacle::OneWaits),
        Overlap::QueueAll if waiting < QUEUE_MAX => queue,
        Overlap::QueueAll => Admission::Skip(Obstacle::ManyWait),
        Overlap::CancelRunning => {
            let of_now = |key: &&TickKey| key.origin != crate::domain::TickOrigin::Backfill;
            Admission::Queue { instead_of: schedule.queue.keys().find(of_now).copied() }
        }
        Overlap::Allow => Admission::Fire,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use crewcall_proto::{JobId, Timestamp};

    use super::*;
    use crate::domain::{
        Pause, ScheduleId, TickOrigin,
        schedules::{known::Wait, settings::ScheduleSettings, tick::TickWork},
    };

    fn key(at: i64, origin: TickOrigin) -> TickKey {
        TickKey { at: Timestamp::from_millis(at), origin }
    }

    fn schedule(overlap: &str, open: &[TickKey], queue: &[TickKey]) -> Schedule {
        let document = format!(r#"{{"every_seconds": 1, "overlap": "{overlap}", "job": {{"type": "a"}}}}"#);
        let document: crewcall_expressions::Json = document.parse().unwrap();
        let now = Timestamp::from_millis(0);
        Schedule {
            id: ScheduleId(1),
            name: "a".parse().unwrap(),
            settings: Arc::new(ScheduleSettings::read(&document).unwrap()),
            document: "".into(),
            considered_until: now,
            fired_ahead: None,
            pause: None,
            failures: 0,
            last_completed: None,
            open: open.iter().map(|key| (*key, TickWork::Job(JobId::generate()))).collect(),
            queue: queue.iter().map(|key| (*key, Wait::Alone)).collect(),
            tail: None,
            created_at: now,
            changed_at: now,
            changed_by: "anna".to_owned(),
            revision: 1,
        }
    }

    #[test]
    fn what_becomes_of_a_tick_while_others_are_open() {
        let (one, two) = (key(1, TickOrigin::Clock), key(2, TickOrigin::Hand));
        let late = key(0, TickOrigin::Backfill);
        let queue = |instead_of| Admission::Queue { instead_of };
        let skip = Admission::Skip;
        for (overlap, open, waiting, becomes) in [
            ("skip", vec![], vec![], Admission::Fire),
            ("skip", vec![one], vec![], skip(Obstacle::Open)),
            ("skip", vec![late], vec![], queue(None)),
            ("skip", vec![late], vec![one], skip(Obstacle::Open)),
            ("skip", vec![], vec![late], Admission::Fire),
            ("queue_one", vec![one], vec![], queue(None)),
            ("queue_one", vec![one], vec![late], queue(None)),
            ("queue_one", vec![one], vec![two], skip(Obstacle::OneWaits)),
            ("queue_one", vec![], vec![two], skip(Obstacle::OneWaits)),
            ("queue_all", vec![one], vec![two], queue(None)),
            ("allow", vec![one], vec![two], Admission::Fire),
            ("cancel_running", vec![one], vec![], queue(None)),
            ("cancel_running", vec![one], vec![late, two], queue(Some(two))),
        ] {
            assert_eq!(admit(&schedule(overlap, &open, &waiting)), becomes, "{overlap} {open:?} {waiting:?}");
        }
        let many: Vec<TickKey> =
            (0..i64::try_from(QUEUE_MAX).unwrap()).map(|at| key(at, TickOrigin::Clock)).collect();
        assert_eq!(admit(&schedule("queue_all", &[one], &many)), skip(Obstacle::ManyWait));
    }

    #[test]
    fn what_is_due_now_begins_before_what_is_made_up_for() {
        let (early, late) = (key(1, TickOrigin::Backfill), key(9, TickOrigin::Clock));
        let waiting = schedule("skip", &[], &[early, late]);
        assert_eq!(waiting.next_to_begin(), Some(late));
        assert_eq!(schedule("skip", &[], &[early]).next_to_begin(), Some(early));
        assert_eq!(schedule("skip", &[late], &[early]).next_to_begin(), None);
        let at_once =
            Schedule { queue: BTreeMap::from([(early, Wait::None)]), ..schedule("skip", &[late], &[]) };
        assert_eq!(at_once.next_to_begin(), Some(early));
        let pause = Pause { by: "anna".to_owned(), reason: None, at: Timestamp::from_millis(0) };
        assert_eq!(Schedule { pause: Some(pause), ..at_once }.next_to_begin(), None);
    }
}
