use jiff::{Timestamp, tz::TimeZone};

use crate::{
    UnknownZone,
    limits::{OFFSET_SECONDS_MAX, SLIPS_MAX, ZONE_NAME_BYTES_MAX},
    stretch::Stretch,
    zone_data,
};

/// A time zone of the IANA database. It is cheap to clone, and keeps the rules that it was found with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    rules: TimeZone,
}

impl Zone {
    /// The zone whose clocks never change.
    #[must_use]
    pub fn utc() -> Self {
        Self { rules: TimeZone::UTC }
    }

    /// The zone of an IANA name, such as `Europe/Athens`. Upper and lower case do not matter. See
    /// [`zone_data`](crate::zone_data) for where it comes from; reads a file at the first call for a zone.
    ///
    /// # Errors
    ///
    /// If there is no such zone; then it says which name is most alike.
    pub fn find(name: &str) -> Result<Self, UnknownZone> {
        let is_name =
            !name.is_empty() && name.len() <= ZONE_NAME_BYTES_MAX && name.bytes().all(may_be_in_name);
        let found = if is_name { zone_data::look_up(name) } else { None };
        match found {
            Some(rules) => Ok(Self { rules }),
            None => Err(unknown(name)),
        }
    }

    /// The name as the database writes it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.rules.iana_name().unwrap_or("UTC")
    }

    /// The stretch that this moment, in seconds since 1970, is in. What is beyond the database is in the stretch at its end.
    pub(crate) fn stretch(&self, second: i64) -> Stretch {
        let at = timestamp(second);
        let offset = i64::from(self.rules.to_offset(at).seconds());
        // `preceding` and `following` leave out the moment itself; a stretch begins with it.
        let before = self.rules.preceding(timestamp(second.saturating_add(1))).next();
        let after = self.rules.following(at).next();
        Stretch {
            start: before.map_or(i64::MIN, |change| change.timestamp().as_second()),
            end: after.map_or(i64::MAX, |change| change.timestamp().as_second()),
            offset,
        }
    }
}

fn timestamp(second: i64) -> Timestamp {
    let clamped = second.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(clamped).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn may_be_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte)
}

fn unknown(name: &str) -> UnknownZone {
    let name: String = name.chars().take(ZONE_NAME_BYTES_MAX).collect();
    let nearest = nearest(&name).map(str::to_owned);
    UnknownZone { name, nearest }
}

/// The zone whose name, or whose city, is most alike.
fn nearest(name: &str) -> Option<&'static str> {
    let wanted = name.to_lowercase().replace(' ', "_");
    let slips = |known: &str| {
        let known = known.to_lowercase();
        let city = known.rsplit('/').next().unwrap_or(&known);
        strsim::damerau_levenshtein(&wanted, &known).min(strsim::damerau_levenshtein(&wanted, city))
    };
    // Of those that are alike in the same degree, the first: the names come in the order of the alphabet.
    let best = zone_data::names().map(|known| (slips(known), known)).min_by_key(|(slips, _)| *slips);
    let is_near = |slips: usize| slips <= SLIPS_MAX && slips.saturating_mul(3) <= wanted.len();
    best.filter(|(slips, _)| is_near(*slips)).map(|(_, known)| known).filter(|_| !wanted.is_empty())
}

/// Its neighbours in a zone.
impl Stretch {
    pub(crate) fn before(&self, zone: &Zone) -> Option<Self> {
        (self.start != i64::MIN).then(|| zone.stretch(self.start.saturating_sub(1)))
    }

    pub(crate) fn after(&self, zone: &Zone) -> Option<Self> {
        (self.end != i64::MAX).then(|| zone.stretch(self.end))
    }
}

/// The first moment at which the clocks of this zone show this wall or a later one: the end of the gap for a wall that does
/// not exist, the first time for one that comes twice. Later walls are reached no earlier.
pub(crate) fn first_reaching(wall: i64, zone: &Zone) -> i64 {
    let mut stretch = zone.stretch(wall.saturating_sub(OFFSET_SECONDS_MAX));
    while wall >= stretch.end_wall() {
        let Some(next) = stretch.after(zone) else { break };
        stretch = next;
    }
    stretch.moment(wall).max(stretch.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_meet_where_clocks_change() {
        let athens = Zone::find("Europe/Athens").unwrap();
        // 2024-03-31T01:00:00Z, when the clocks of Europe went forward.
        let change = 1_711_846_800;
        let (before, after) = (athens.stretch(change - 1), athens.stretch(change));
        assert_eq!((before.end, before.offset), (change, 7200));
        assert_eq!((after.start, after.offset), (change, 10800));
        assert_eq!(after, athens.stretch(after.end - 1));
    }

    #[test]
    fn the_ends_of_time_are_in_a_stretch() {
        for zone in [Zone::utc(), Zone::find("America/New_York").unwrap()] {
            for second in [i64::MIN, i64::MIN / 1000, i64::MAX / 1000, i64::MAX] {
                let stretch = zone.stretch(second);
                assert!(stretch.start < stretch.end, "{zone:?} {second} {stretch:?}");
            }
        }
        assert_eq!(Zone::utc().stretch(0), Stretch { start: i64::MIN, end: i64::MAX, offset: 0 });
    }
}
