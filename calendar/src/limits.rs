//! Every limit of the calendar, each with its reason.

/// The longest pattern, in bytes. The longest single list, sixty minutes with their commas, has 169.
pub const PATTERN_BYTES_MAX: usize = 256;

/// The longest name of a zone, in bytes. The longest of the IANA database has 32; its files are found by their names, so
/// nothing long is looked up.
pub const ZONE_NAME_BYTES_MAX: usize = 64;

/// The longest interval, in seconds: 365 days. What is rarer is said by a date.
pub const INTERVAL_SECONDS_MAX: u32 = 31_536_000;

/// The first year in which a pattern ticks. The library knows no year before 1, and cannot search backwards within it.
pub const YEAR_MIN: i16 = 2;

/// The last year in which a pattern ticks. The library's search ends at the year 5000.
pub const YEAR_MAX: i16 = 4999;

/// The years after which dates and days of the week repeat: 400 years of the Gregorian calendar are 20,871 weeks. A
/// pattern that does not tick in so long never does.
pub(crate) const CYCLE_YEARS: i16 = 400;

/// How many ticks [`shortest_gap`](crate::Calendar::shortest_gap) looks at: over a decade of a daily pattern, and at most
/// a week of those that tick every other minute, whose shortest gap is within the hour. A quarter of a second of a debug build.
pub(crate) const GAP_TICKS_MAX: usize = 4096;

/// The first and the last year whose changes of the clock [`shortest_gap`](crate::Calendar::shortest_gap) looks at:
/// thirty, in which every date of the change and every Ramadan was there at least once. A calendar has no clock of its
/// own to know what is past.
pub(crate) const GAP_YEARS: (i16, i16) = (2010, 2040);

/// What is further from UTC than any zone, in seconds: the library allows for less than 26 hours.
pub(crate) const OFFSET_SECONDS_MAX: i64 = 26 * 60 * 60;

/// How many letters of a zone's name may be wrong for it to be proposed: a slip or two, but not a third of the name. What is
/// further off would only puzzle.
pub(crate) const SLIPS_MAX: usize = 2;
