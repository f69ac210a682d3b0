//! The calendar, from outside.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod clock_changes;
mod intervals;
mod odds_and_ends;
mod patterns;
mod refusals;
mod ten_years;

use crewcall_calendar::{Calendar, LocalTick, Oddity, Zone};
use jiff::Timestamp;

/// The zones of the contract: an ordinary one, one of America, one of half an hour, one whose summer is its standard time,
/// one that follows the moon, and one that lost a day.
const ZONES: [&str; 6] = [
    "Europe/Athens",
    "America/New_York",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Pacific/Apia",
];

fn zone(name: &str) -> Zone {
    Zone::find(name).unwrap_or_else(|problem| panic!("{problem}"))
}

fn cron(pattern: &str, name: &str) -> Calendar {
    Calendar::cron(pattern, zone(name)).unwrap_or_else(|problem| panic!("{pattern}: {problem}"))
}

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

/// A tick as these tests write it: its local text, and what is odd about it.
fn shown(local: LocalTick) -> String {
    match local.oddity {
        None => local.text,
        Some(Oddity::AfterGap { wall }) => format!("{} instead of {wall}", local.text),
        Some(Oddity::FirstOfTwo) => format!("{} first", local.text),
        Some(Oddity::SecondOfTwo) => format!("{} second", local.text),
    }
}
