//! When a schedule ticks: patterns of cron and intervals, each in a time zone.
//!
//! * [`Calendar`]: all the ticks there are, forwards and backwards, and what they are in words.
//! * [`Zone`]: a time zone of the IANA database; [`zone_data`] says which release of it this is.
//!
//! Times are milliseconds since 1970 UTC, so this crate knows nobody, has no clock and no state: the same question has
//! the same answer, as long as the rules of the zone are the same.
//!
//! # When clocks change
//!
//! A pattern with one hour and one minute (`30 2 * * *`) has a **fixed time**. Where that local time does not exist, it
//! ticks at the first moment after the gap; where the time occurs twice, at the first of them. So it ticks once for each
//! day that it names, even for a day that a zone left out as a whole; two that meet in one moment are one tick.
//!
//! All other patterns keep their **cadence**: `*/15 * * * *` ticks every fifteen minutes of real time, through the gap
//! and through both passes of a repeated hour. A local time that does not exist is no tick of theirs. An interval does
//! not see that clocks change.
//!
//! Nothing of the libraries that read patterns and zones is seen from outside, so that others could take their place.
//!
//! ```
//! use crewcall_calendar::{Calendar, Oddity, Zone};
//!
//! let calendar = Calendar::cron("30 3 * * *", Zone::find("Europe/Athens")?)?;
//! assert_eq!(calendar.words(), "At 03:30 (Europe/Athens)");
//!
//! let tick = calendar.next_after(1_774_735_200_000).expect("there is always another day");
//! let local = calendar.local(tick);
//! assert_eq!(local.text, "2026-03-29T04:00:00+03:00");
//! assert_eq!(local.oddity, Some(Oddity::AfterGap { wall: "03:30".to_owned() }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]

mod limits;

mod calendar;
mod error;
mod local;
mod zone;
mod zone_data;

mod cron;
mod interval;

mod pattern;
mod stretch;
mod walls;
mod words;

pub use calendar::Calendar;
pub use error::{InvalidPattern, UnknownZone};
pub use limits::{INTERVAL_SECONDS_MAX, PATTERN_BYTES_MAX, YEAR_MAX, YEAR_MIN, ZONE_NAME_BYTES_MAX};
pub use local::{LocalTick, Oddity};
pub use zone::Zone;
pub use zone_data::{ZoneData, ZoneSource, zone_data};
