//! Which schedule is due when.

use std::collections::{BTreeSet, HashMap};

use crewcall_proto::Timestamp;

use crate::domain::ScheduleName;

/// When each schedule is looked at next, by the machine's clock.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    of: HashMap<ScheduleName, Timestamp>,
    by_time: BTreeSet<(Timestamp, ScheduleName)>,
}

impl Agenda {
    pub(super) fn set(&mut self, name: &ScheduleName, at: Option<Timestamp>) {
        let before = match at {
            Some(at) => self.of.insert(name.clone(), at),
            None => self.of.remove(name),
        };
        if let Some(before) = before {
            self.by_time.remove(&(before, name.clone()));
        }
        self.by_time.extend(at.map(|at| (at, name.clone())));
    }

    /// Those whose time has come.
    pub(super) fn due(&self, now: Timestamp) -> Vec<ScheduleName> {
        self.by_time.iter().take_while(|(at, _)| *at <= now).map(|(_, name)| name.clone()).collect()
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_schedule_is_due_when_it_was_set_last() {
        let mut agenda = Agenda::default();
        let (one, other): (ScheduleName, ScheduleName) = ("one".parse().unwrap(), "other".parse().unwrap());
        let at = Timestamp::from_millis;
        agenda.set(&one, Some(at(5)));
        agenda.set(&other, Some(at(3)));
        agenda.set(&one, Some(at(2)));
        assert_eq!((agenda.next(), agenda.due(at(2))), (Some(at(2)), vec![one.clone()]));
        agenda.set(&one, None);
        assert_eq!((agenda.next(), agenda.due(at(9))), (Some(at(3)), vec![other]));
    }
}
