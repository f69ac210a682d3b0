//! Whatever the pattern and the zone: ticks follow each other, and are the same in both directions.

use crewcall_calendar::Calendar;

use crate::{ZONES, cron, ms};

/// Patterns with few ticks, each of which is looked at; fixed times in and around the gaps of all the zones, and cadences.
const PATTERNS: [&str; 12] = [
    "30 3 * * *",
    "30 2 * * *",
    "15 2 * * *",
    "30 1 * * *",
    "0 0 * * *",
    "59 23 * * *",
    "0 4 * * SUN",
    "0 2,3,4 * * *",
    "0 */6 * * *",
    "20,40 1-4 * * SAT,SUN",
    "0 12 L * *",
    "5 0 13 * FRI",
];

/// Patterns with so many ticks that all of them are looked at only around the changes of the clock.
const DENSE: [&str; 3] = ["*/15 * * * *", "0 * * * *", "*/7 2-3 * * *"];

fn look_at_ten_years(zone: &str) {
    for pattern in PATTERNS {
        let calendar = cron(pattern, zone);
        let count = walk(&calendar, ms("2007-07-01T00:00:00Z"), ms("2017-07-01T00:00:00Z"));
        assert!(count > 100, "{pattern} in {zone}: {count}");
    }
}

#[test]
fn ticks_of_athens_are_the_same_in_both_directions() {
    look_at_ten_years("Europe/Athens");
}

#[test]
fn ticks_of_new_york_are_the_same_in_both_directions() {
    look_at_ten_years("America/New_York");
}

#[test]
fn ticks_of_lord_howe_are_the_same_in_both_directions() {
    look_at_ten_years("Australia/Lord_Howe");
}

#[test]
fn ticks_of_dublin_are_the_same_in_both_directions() {
    look_at_ten_years("Europe/Dublin");
}

#[test]
fn ticks_of_casablanca_are_the_same_in_both_directions() {
    look_at_ten_years("Africa/Casablanca");
}

#[test]
fn ticks_of_apia_are_the_same_in_both_directions() {
    look_at_ten_years("Pacific/Apia");
}

#[test]
fn dense_ticks_are_the_same_in_both_directions_around_changes() {
    const HOUR_MS: i64 = 60 * 60 * 1000;
    for zone in ZONES {
        let rules = jiff::tz::db().get(zone).unwrap();
        let changes: Vec<_> = rules.following("2007-07-01T00:00:00Z".parse().unwrap()).take(20).collect();
        for change in changes.iter().map(|change| change.timestamp().as_millisecond()) {
            for pattern in DENSE {
                let calendar = cron(pattern, zone);
                assert!(
                    walk(&calendar, change - 26 * HOUR_MS, change + 26 * HOUR_MS) > 3,
                    "{pattern} in {zone}"
                );
            }
        }
    }
}

/// Two years, among them the one in which Apia lost a day: to real time that was no gap at all.
#[test]
fn every_quarter_goes_on_through_all_changes() {
    const QUARTER_MS: i64 = 15 * 60 * 1000;
    for zone in ZONES {
        let calendar = cron("*/15 * * * *", zone);
        let (from, until) = (ms("2010-06-30T23:45:00Z"), ms("2012-06-30T23:45:00Z"));
        let mut tick = calendar.next_after(from).unwrap();
        assert_eq!(tick, from + QUARTER_MS, "{zone}");
        while tick < until {
            let next = calendar.next_after(tick).unwrap();
            assert_eq!(next - tick, QUARTER_MS, "{zone}: after {}", calendar.local(tick).text);
            tick = next;
        }
    }
}

/// The library can search in zones as well. Where it does not give up, that is: in all zones of the contract but Apia.
#[test]
fn a_year_is_as_the_library_has_it() {
    for zone in ZONES.into_iter().filter(|zone| *zone != "Pacific/Apia") {
        let rules = jiff::tz::db().get(zone).unwrap();
        for pattern in PATTERNS.iter().chain(&DENSE) {
            let library = croner::parser::CronParser::new().parse(pattern).unwrap();
            let calendar = cron(pattern, zone);
            let mut tick = ms("2023-12-15T00:00:00Z");
            while tick < ms("2024-12-15T00:00:00Z") {
                let from = jiff::Timestamp::from_millisecond(tick).unwrap().to_zoned(rules.clone());
                let expected = library.find_next_occurrence(&from, false).unwrap().timestamp();
                tick = calendar.next_after(tick).unwrap();
                assert_eq!(tick, expected.as_millisecond(), "{pattern} in {zone}: {expected}");
            }
        }
    }
}

fn walk(calendar: &Calendar, from: i64, until: i64) -> usize {
    let mut count = 0;
    let mut tick = calendar.next_after(from).unwrap();
    while tick < until {
        let next = calendar.next_after(tick).unwrap();
        let at = || calendar.local(tick).text;
        assert!(next > tick, "{calendar:?}: {}", at());
        assert_eq!(calendar.last_until(tick), Some(tick), "{calendar:?}: {}", at());
        assert_eq!(calendar.last_until(next - 1), Some(tick), "{calendar:?}: {}", at());
        assert_eq!(calendar.next_after(tick - 1), Some(tick), "{calendar:?}: {}", at());
        (tick, count) = (next, count + 1);
    }
    let counted = u64::try_from(count).unwrap();
    assert_eq!(calendar.count(from, tick - 1, counted + 1), counted, "{calendar:?}");
    count
}
