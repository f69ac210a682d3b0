use std::{sync::OnceLock, time::Duration};

use crate::{
    InvalidPattern, Zone,
    limits::{GAP_TICKS_MAX, GAP_YEARS, OFFSET_SECONDS_MAX, YEAR_MAX, YEAR_MIN},
    stretch::Stretch,
    walls::{Walls, wall},
    zone::first_reaching,
};

/// The shortest gap that two walls can have: there is no need to look further once it is found.
const MINUTE_SECONDS: i64 = 60;

/// When a pattern ticks in a zone. All in seconds since 1970.
pub(crate) struct Cron {
    walls: Walls,
    fixed_time: bool,
    /// Before the first and after the last of these moments there is no tick in any zone: no need to search there.
    reach: (i64, i64),
    /// It takes thousands of searches, and only those who have a jitter want to know.
    gap: OnceLock<Duration>,
}

impl Cron {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let walls = Walls::parse(text)?;
        let reach = (wall(YEAR_MIN) - OFFSET_SECONDS_MAX, wall(YEAR_MAX + 1) + OFFSET_SECONDS_MAX);
        Ok(Self { fixed_time: walls.is_fixed_time(), walls, reach, gap: OnceLock::new() })
    }

    pub(crate) fn next_after(&self, second: i64, zone: &Zone) -> Option<i64> {
        let second = second.max(self.reach.0);
        if self.fixed_time { self.next_fixed(second, zone) } else { self.next_cadence(second, zone) }
    }

    pub(crate) fn last_until(&self, second: i64, zone: &Zone) -> Option<i64> {
        let second = second.min(self.reach.1);
        if self.fixed_time { self.last_fixed(second, zone) } else { self.last_cadence(second, zone) }
    }

    pub(crate) fn words(&self) -> String {
        self.walls.words()
    }

    /// The wall for which a fixed time ticks at this moment although the clock shows another one, since there was a gap.
    pub(crate) fn wall_in_gap(&self, second: i64, zone: &Zone) -> Option<i64> {
        let stretch = zone.stretch(second);
        let shown = stretch.wall(second);
        if !self.fixed_time || second != stretch.start || self.walls.at_or_after(shown) == Some(shown) {
            return None;
        }
        let gap_start = stretch.before(zone)?.end_wall();
        self.walls.at_or_before(shown).filter(|missed| *missed >= gap_start)
    }

    /// The least distance of two ticks in a row, in what was looked at.
    pub(crate) fn gap(&self, zone: &Zone) -> Duration {
        let find = || self.gap_of_walls().min(self.gap_at_changes(zone));
        *self.gap.get_or_init(|| Duration::from_secs(find().unsigned_abs()))
    }

    /// A wall is reached no earlier than those before it, so the next tick is the first that is reached after the moment.
    fn next_fixed(&self, second: i64, zone: &Zone) -> Option<i64> {
        let mut searched = zone.stretch(second).wall(second);
        loop {
            let wall = self.walls.at_or_after(searched.saturating_add(1))?;
            let tick = first_reaching(wall, zone);
            if tick > second {
                return Some(tick);
            }
            // The clock was put back since it showed this wall. That was less than two days ago, so this ends soon.
            searched = wall;
        }
    }

    fn last_fixed(&self, second: i64, zone: &Zone) -> Option<i64> {
        // No clock has shown a later wall than this, even if it was put back since.
        let mut searched = second.saturating_add(OFFSET_SECONDS_MAX);
        loop {
            let wall = self.walls.at_or_before(searched)?;
            let tick = first_reaching(wall, zone);
            if tick <= second {
                return Some(tick);
            }
            searched = wall.saturating_sub(1);
        }
    }

    fn next_cadence(&self, second: i64, zone: &Zone) -> Option<i64> {
        let mut from = second.saturating_add(1);
        let mut stretch = zone.stretch(from);
        let mut wall = self.walls.at_or_after(stretch.wall(from))?;
        while wall >= stretch.end_wall() {
            let searched = stretch.wall(from);
            stretch = stretch.after(zone)?;
            from = stretch.start;
            // A rare pattern passes many stretches on its way. What was found is still the next one, unless this stretch
            // repeats walls from before the search, or leaves out the one that was found.
            if stretch.wall(from) < searched || stretch.wall(from) > wall {
                wall = self.walls.at_or_after(stretch.wall(from))?;
            }
        }
        Some(stretch.moment(wall))
    }

    fn last_cadence(&self, second: i64, zone: &Zone) -> Option<i64> {
        let mut until = second;
        let mut stretch = zone.stretch(until);
        let mut wall = self.walls.at_or_before(stretch.wall(until))?;
        while stretch.moment(wall) < stretch.start {
            let searched = stretch.wall(until);
            stretch = stretch.before(zone)?;
            until = stretch.end.saturating_sub(1);
            if stretch.wall(until) > searched || stretch.wall(until) < wall {
                wall = self.walls.at_or_before(stretch.wall(until))?;
            }
        }
        Some(stretch.moment(wall))
    }

    fn gap_of_walls(&self) -> i64 {
        let mut gap = i64::MAX;
        let mut last = self.walls.at_or_after(wall(GAP_YEARS.0));
        for _ in 0..GAP_TICKS_MAX {
            let next = last.and_then(|last| self.walls.at_or_after(last.saturating_add(1)));
            let (Some(from), Some(to)) = (last, next) else { break };
            gap = gap.min(to - from);
            if gap <= MINUTE_SECONDS {
                break;
            }
            last = next;
        }
        gap
    }

    /// A change of the clock moves only the ticks around it: the last before it, the first since, and the one after, as a
    /// fixed time may have been moved to the change itself.
    fn gap_at_changes(&self, zone: &Zone) -> i64 {
        let mut gap = i64::MAX;
        let mut stretch: Option<Stretch> = Some(zone.stretch(wall(GAP_YEARS.0)));
        while let Some(change) = stretch.map(|stretch| stretch.end).filter(|end| *end < wall(GAP_YEARS.1)) {
            let mut last = self.last_until(change.saturating_sub(1), zone);
            for _ in 0..2 {
                let next = last.and_then(|last| self.next_after(last, zone));
                if let (Some(from), Some(to)) = (last, next) {
                    gap = gap.min(to - from);
                }
                last = next;
            }
            stretch = Some(zone.stretch(change));
        }
        gap
    }
}
