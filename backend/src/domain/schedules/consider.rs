//! Which ticks have come since the last look, and what becomes of each.

use std::{collections::BTreeSet, time::Duration};

use crewcall_calendar::Calendar;
use crewcall_proto::Timestamp;
use sha2::{Digest, Sha256};

use super::{
    limits::{CATCH_UP_MAX, LATE_AFTER, STEP_FIRES_MAX, STEP_TICKS_MAX},
    settings::{CatchUp, Times, Timing},
};
use crate::domain::ScheduleName;

/// What a look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Considered {
    /// What becomes of the ticks, in their order.
    pub fates: Vec<Fate>,
    /// Whether there are more to look at.
    pub more: bool,
}

/// What becomes of a tick, or of several in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is to fire.
    Due(Timestamp),
    Passed {
        first: Timestamp,
        last: Timestamp,
        count: u64,
        why: Passed,
    },
}

/// Why a tick does not fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// Nobody was there, and the schedule does not make up for it.
    Missed,
    /// The schedule is paused.
    Paused,
}

impl Fate {
    /// The last tick that it is about.
    #[must_use]
    pub const fn last(&self) -> Timestamp {
        match self {
            Self::Due(tick) => *tick,
            Self::Passed { last, .. } => *last,
        }
    }
}

/// The ticks of a schedule.
#[derive(Debug, Clone, Copy)]
pub struct Ticks<'a> {
    pub calendar: &'a Calendar,
    pub times: &'a Times,
    pub name: &'a ScheduleName,
}

impl Ticks<'_> {
    /// The first tick after this moment.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let begin = self.times.from.map_or(after, |from| after.max(from.plus_millis(-1)));
        let next = Timestamp::from_millis(self.calendar.next_after(begin.as_millis())?);
        self.times.until.is_none_or(|until| next <= until).then_some(next)
    }

    /// When a tick comes: a part of the jitter later, which is a function of the schedule's name and the tick alone, the same after a
    /// restart and wherever it is asked for.
    #[must_use]
    pub fn due(&self, tick: Timestamp) -> Timestamp {
        let jitter = millis(self.times.jitter).unsigned_abs();
        if jitter == 0 {
            return tick;
        }
        let hash = Sha256::new()
            .chain_update(self.name.as_str())
            .chain_update(tick.as_millis().to_be_bytes())
            .finalize();
        let sample = hash.iter().take(8).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        tick.plus_millis((sample % jitter).cast_signed())
    }

    /// The last tick that has come at this moment, and is after `mark`.
    fn last_come(&self, mark: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let end = self.times.until.map_or(now, |until| now.min(until));
        let mut last = self.last_until(end)?;
        // A tick is never late by more than the distance to the next.
        if self.due(last) > now {
            last = self.last_until(last.plus_millis(-1))?;
        }
        (last > mark && self.times.from.is_none_or(|from| last >= from)).then_some(last)
    }

    fn last_until(&self, until: Timestamp) -> Option<Timestamp> {
        self.calendar.last_until(until.as_millis()).map(Timestamp::from_millis)
    }

    /// From which moment on ticks fire: what came before it is missed.
    fn fires_from(&self, last: Timestamp, now: Timestamp) -> Timestamp {
        let on_time = self.on_time_from(now);
        let oldest = now.plus_millis(-millis(self.times.catch_up_window));
        on_time.min(match self.times.catch_up {
            CatchUp::None => on_time,
            CatchUp::Last if last < oldest => on_time,
            CatchUp::Last => last,
            CatchUp::All => self.newest(last, oldest),
        })
    }

    /// From which moment on ticks are on time: jitter is no lateness.
    fn on_time_from(&self, now: Timestamp) -> Timestamp {
        let late_before = now.plus_millis(-millis(LATE_AFTER));
        let mut from = late_before.plus_millis(-millis(self.times.jitter));
        // As the jitter is below the distance of ticks, this is one or none.
        while let Some(tick) = self.next_after(from.plus_millis(-1)).filter(|tick| *tick < late_before)
            && self.due(tick) < late_before
        {
            from = tick.plus_millis(1);
        }
        from
    }

    /// The first of the newest [`CATCH_UP_MAX`] ticks up to `last` that are not before `oldest`.
    fn newest(&self, last: Timestamp, oldest: Timestamp) -> Timestamp {
        let mut first = last;
        for _ in 1..CATCH_UP_MAX {
            match self.last_until(first.plus_millis(-1)) {
                Some(before) if before >= oldest => first = before,
                _ => break,
            }
        }
        first.max(oldest)
    }

    /// The ticks in a row after `mark` that are before `end`: the first and the last of them, and how many; of a pattern no more than
    /// [`STEP_TICKS_MAX`].
    fn before(&self, mark: Timestamp, end: Timestamp) -> Option<(Timestamp, Timestamp, u64)> {
        let first = self.next_after(mark).filter(|first| *first < end)?;
        if let Timing::Every(_) = self.times.timing {
            let last = self.last_until(end.plus_millis(-1))?;
            let more = self.calendar.count(first.as_millis(), last.as_millis(), u64::MAX);
            return Some((first, last, more + 1));
        }
        let (mut last, mut count) = (first, 1);
        while count < STEP_TICKS_MAX as u64
            && let Some(next) = self.next_after(last).filter(|next| *next < end)
        {
            (last, count) = (next, count + 1);
        }
        Some((first, last, count))
    }

    /// A fate without the ticks that fired before, because the clock was ahead once: they have records of their own.
    #[must_use]
    pub fn apart(&self, fate: Fate, fired: &BTreeSet<Timestamp>) -> Vec<Fate> {
        let Fate::Passed { first, last, why, .. } = fate else { return vec![fate] };
        let mut parts = Vec::new();
        let mut begin = first;
        for end in fired.range(first..=last).copied().chain([last.plus_millis(1)]) {
            if let Some(before) = self.last_until(end.plus_millis(-1)).filter(|before| *before >= begin) {
                let more = self.calendar.count(begin.as_millis(), before.as_millis(), u64::MAX);
                parts.push(Fate::Passed { first: begin, last: before, count: more + 1, why });
            }
            match self.next_after(end) {
                Some(next) => begin = next,
                None => break,
            }
        }
        parts
    }

    /// What becomes of the ticks after `mark` that have come at this moment, by the wall clock. At most [`STEP_TICKS_MAX`] of those that
    /// pass are looked at, and [`STEP_FIRES_MAX`] fire.
    #[must_use]
    pub fn consider(&self, mark: Timestamp, now: Timestamp, paused: bool) -> Considered {
        let Some(last) = self.last_come(mark, now) else { return Considered::default() };
        let after_last = last.plus_millis(1);
        let (why, end) = if paused {
            (Passed::Paused, after_last)
        } else {
            (Passed::Missed, self.fires_from(last, now).min(after_last))
        };
        let (mut fates, mut at) = (Vec::new(), mark);
        if let Some((first, last, count)) = self.before(mark, end) {
            fates.push(Fate::Passed { first, last, count, why });
            at = last;
        }
        // What is cut off at the end of a step is looked at in the next.
        while let Some(tick) = self.next_after(at).filter(|tick| *tick <= last) {
            if tick < end || fates.len() > STEP_FIRES_MAX {
                return Considered { fates, more: true };
            }
            fates.push(Fate::Due(tick));
            at = tick;
        }
        Considered { fates, more: false }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
