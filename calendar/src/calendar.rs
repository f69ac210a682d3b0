use std::{fmt, sync::Arc, time::Duration};

use crate::{InvalidPattern, LocalTick, Oddity, Zone, cron::Cron, interval::Interval, local, walls};

const SECOND_MS: i64 = 1000;

/// All the ticks of a schedule: when it has something to do.
///
/// Ticks follow each other strictly, and are the same whichever way they are asked for. A calendar does not change, and
/// is cheap to clone. Nothing that it is asked fails: a schedule never stops because of its calendar.
///
/// Times are milliseconds since 1970 UTC; those of ticks are whole seconds. Those of a pattern are whole minutes of the
/// local time, in the years from [`YEAR_MIN`](crate::YEAR_MIN) to [`YEAR_MAX`](crate::YEAR_MAX); those of an interval are as
/// far as such times reach.
#[derive(Clone)]
pub struct Calendar {
    inner: Arc<Inner>,
}

struct Inner {
    ticks: Ticks,
    zone: Zone,
}

enum Ticks {
    Cron(Box<Cron>),
    Every(Interval),
}

impl Calendar {
    /// The ticks of a pattern of cron: minute, hour, day of month, month, day of week; or `@hourly`, `@daily`, `@midnight`,
    /// `@weekly`, `@monthly`, `@yearly`, `@annually`. Upper and lower case do not matter.
    ///
    /// A field is `*`, a number, a range (`8-17`), a step (`*/15`, `8-17/3`), or a list of those (`0,30`). Months and days of
    /// the week have names (`JAN`, `MON`); 0 and 7 are Sunday. Where both the day of month and the day of week are given,
    /// one of them is enough. Extensions: for the day of month `L` (the last), `LW` (the last weekday) and `15W` (the weekday
    /// nearest the 15th); for the day of week `FRI#2` (the second Friday of the month), `FRIL` (the last) and `+FRI` (the day
    /// of month has to be right as well).
    ///
    /// # Errors
    ///
    /// If the pattern is not of this form, has seconds or a year, is longer than
    /// [`PATTERN_BYTES_MAX`](crate::PATTERN_BYTES_MAX), or never ticks, as on 30 February.
    pub fn cron(pattern: &str, zone: Zone) -> Result<Self, InvalidPattern> {
        Ok(Self::of(Ticks::Cron(Box::new(Cron::parse(pattern)?)), zone))
    }

    /// A tick every so many seconds, from `anchor_ms` in both directions. An anchor within a second counts as its beginning.
    /// The zone only says how ticks are shown.
    ///
    /// # Errors
    ///
    /// If it is not 1 to [`INTERVAL_SECONDS_MAX`](crate::INTERVAL_SECONDS_MAX) seconds.
    pub fn every(seconds: u32, anchor_ms: i64, zone: Zone) -> Result<Self, InvalidPattern> {
        Ok(Self::of(Ticks::Every(Interval::new(seconds, second(anchor_ms))?), zone))
    }

    /// The first tick after this moment, which itself does not count. `None` if that would be beyond the end of time.
    #[must_use]
    pub fn next_after(&self, after_ms: i64) -> Option<i64> {
        let tick = match &self.inner.ticks {
            Ticks::Cron(cron) => cron.next_after(second(after_ms), &self.inner.zone),
            Ticks::Every(interval) => interval.next_after(second(after_ms)),
        };
        tick?.checked_mul(SECOND_MS)
    }

    /// The last tick up to this moment, which itself counts. `None` if that would be before the beginning of time.
    #[must_use]
    pub fn last_until(&self, until_ms: i64) -> Option<i64> {
        let tick = match &self.inner.ticks {
            Ticks::Cron(cron) => cron.last_until(second(until_ms), &self.inner.zone),
            Ticks::Every(interval) => interval.last_until(second(until_ms)),
        };
        tick?.checked_mul(SECOND_MS)
    }

    /// How many ticks are after the first moment, up to and with the second; `max` if there are more. Those of a pattern are
    /// found one by one, a few microseconds each, so `max` limits the time as well.
    #[must_use]
    pub fn count(&self, after_ms: i64, until_ms: i64, max: u64) -> u64 {
        if let Ticks::Every(interval) = &self.inner.ticks {
            return interval.count(second(after_ms), second(until_ms)).min(max);
        }
        let (mut count, mut last) = (0, after_ms);
        while count < max {
            match self.next_after(last).filter(|tick| *tick <= until_ms) {
                Some(tick) => (count, last) = (count + 1, tick),
                None => break,
            }
        }
        count
    }

    /// The least distance of two ticks in a row, which a jitter has to stay below. It is exact for intervals. For a pattern
    /// it is the least of some thousand ticks and of those around the changes of the clock in thirty years; so it does not
    /// know of a day that a zone leaves out once and for all. Found at the first call, and kept.
    #[must_use]
    pub fn shortest_gap(&self) -> Duration {
        match &self.inner.ticks {
            Ticks::Cron(cron) => cron.gap(&self.inner.zone),
            Ticks::Every(interval) => interval.gap(),
        }
    }

    /// The calendar in words: `At 02:30, on weekdays (Europe/Athens)`, or `every 90 seconds`.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.inner.ticks {
            Ticks::Cron(cron) => format!("{} ({})", cron.words(), self.inner.zone.name()),
            Ticks::Every(interval) => interval.words(),
        }
    }

    /// The zone whose clocks count.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.inner.zone
    }

    /// How a tick looks on the clocks of the zone, and what is odd about it. A moment that is no tick is shown as well.
    #[must_use]
    pub fn local(&self, tick_ms: i64) -> LocalTick {
        let (tick, zone) = (second(tick_ms), &self.inner.zone);
        let stretch = zone.stretch(tick);
        let missed = match &self.inner.ticks {
            Ticks::Cron(cron) => cron.wall_in_gap(tick, zone),
            Ticks::Every(_) => None,
        };
        let after_gap = missed.map(|wall| Oddity::AfterGap { wall: walls::read(wall, stretch.wall(tick)) });
        let oddity = after_gap.or_else(|| local::repetition(tick, &stretch, zone));
        LocalTick { text: local::text(tick_ms, &stretch), oddity }
    }

    fn of(ticks: Ticks, zone: Zone) -> Self {
        Self { inner: Arc::new(Inner { ticks, zone }) }
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calendar({})", self.words())
    }
}

/// The second that a moment is in: as ticks are whole seconds, a moment is before, at or after them as its second is.
fn second(moment_ms: i64) -> i64 {
    moment_ms.div_euclid(SECOND_MS)
}
