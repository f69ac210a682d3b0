use jiff::{Timestamp, tz::Offset};

use crate::{Zone, stretch::Stretch};

/// How a moment looks on the clocks of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTick {
    /// By RFC 3339, with the offset of the zone: `2026-03-29T04:00:00+03:00`. Before there were zones, offsets had seconds;
    /// here they are rounded to minutes. A moment whose year has more than four digits is only said to be beyond them.
    pub text: String,
    /// What a reader would wonder about, if there is anything.
    pub oddity: Option<Oddity>,
}

/// What is odd about the local time of a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Oddity {
    /// The clocks went forward over the time of the tick; it is at the first moment after that.
    AfterGap {
        /// The local time that does not exist, such as `03:30`; with its date if that is another: `2011-12-30 12:30`.
        wall: String,
    },
    /// The local time occurs twice, as the clocks are put back; this is the first of them.
    FirstOfTwo,
    /// The local time occurs twice, as the clocks are put back; this is the second of them.
    SecondOfTwo,
}

/// The moment's text, by the offset of its stretch.
pub(crate) fn text(moment_ms: i64, stretch: &Stretch) -> String {
    let offset = i32::try_from(stretch.offset).ok().and_then(|seconds| Offset::from_seconds(seconds).ok());
    match Timestamp::from_millisecond(moment_ms) {
        Ok(moment) => moment.display_with_offset(offset.unwrap_or(Offset::UTC)).to_string(),
        Err(_) if moment_ms < 0 => "before the year -9999".to_owned(),
        Err(_) => "after the year 9999".to_owned(),
    }
}

/// Whether the clock shows this moment's time twice, and which of them it is.
pub(crate) fn repetition(second: i64, stretch: &Stretch, zone: &Zone) -> Option<Oddity> {
    let wall = stretch.wall(second);
    if stretch.after(zone).is_some_and(|after| wall >= after.wall(after.start)) {
        return Some(Oddity::FirstOfTwo);
    }
    let is_second = stretch.before(zone).is_some_and(|before| wall < before.end_wall());
    is_second.then_some(Oddity::SecondOfTwo)
}
