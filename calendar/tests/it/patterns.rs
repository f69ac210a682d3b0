//! What patterns mean, apart from changes of the clock; and how they are said in words.

use std::time::Duration;

use proptest::{collection::btree_set, prelude::*};

use crate::{ZONES, cron, ms, zone};

/// The next ticks in UTC, without the offset.
fn next(pattern: &str, from: &str, count: usize) -> Vec<String> {
    let calendar = cron(pattern, "UTC");
    let mut tick = ms(from);
    let mut texts = Vec::new();
    for _ in 0..count {
        tick = calendar.next_after(tick).unwrap();
        texts.push(calendar.local(tick).text.trim_end_matches(":00+00:00").to_owned());
    }
    texts
}

#[test]
fn patterns_mean_what_they_mean_elsewhere() {
    // 1 January 2024 was a Monday.
    let new_year = "2024-01-01T00:00:00Z";
    for (pattern, expected) in [
        ("30 2 * * *", ["2024-01-01T02:30", "2024-01-02T02:30", "2024-01-03T02:30"]),
        ("*/25 * * * *", ["2024-01-01T00:25", "2024-01-01T00:50", "2024-01-01T01:00"]),
        ("0 8-17/3 * * *", ["2024-01-01T08:00", "2024-01-01T11:00", "2024-01-01T14:00"]),
        ("0 0 * * 0", ["2024-01-07T00:00", "2024-01-14T00:00", "2024-01-21T00:00"]),
        ("0 0 * * 7", ["2024-01-07T00:00", "2024-01-14T00:00", "2024-01-21T00:00"]),
        ("0 0 ? * sat-SUN", ["2024-01-06T00:00", "2024-01-07T00:00", "2024-01-13T00:00"]),
        ("0 0 1 jan,Jul *", ["2024-07-01T00:00", "2025-01-01T00:00", "2025-07-01T00:00"]),
        ("0 0 29 2 *", ["2024-02-29T00:00", "2028-02-29T00:00", "2032-02-29T00:00"]),
        // Either the day of the month or that of the week is enough.
        ("0 0 13 * FRI", ["2024-01-05T00:00", "2024-01-12T00:00", "2024-01-13T00:00"]),
        ("0 0 13 * +FRI", ["2024-09-13T00:00", "2024-12-13T00:00", "2025-06-13T00:00"]),
        ("0 0 L * *", ["2024-01-31T00:00", "2024-02-29T00:00", "2024-03-31T00:00"]),
        ("0 0 LW * *", ["2024-01-31T00:00", "2024-02-29T00:00", "2024-03-29T00:00"]),
        ("0 0 6W * *", ["2024-01-05T00:00", "2024-02-06T00:00", "2024-03-06T00:00"]),
        ("0 0 * * FRI#2", ["2024-01-12T00:00", "2024-02-09T00:00", "2024-03-08T00:00"]),
        ("0 0 * * FRIL", ["2024-01-26T00:00", "2024-02-23T00:00", "2024-03-29T00:00"]),
        ("@hourly", ["2024-01-01T01:00", "2024-01-01T02:00", "2024-01-01T03:00"]),
        ("@daily", ["2024-01-02T00:00", "2024-01-03T00:00", "2024-01-04T00:00"]),
        ("@midnight", ["2024-01-02T00:00", "2024-01-03T00:00", "2024-01-04T00:00"]),
        ("@weekly", ["2024-01-07T00:00", "2024-01-14T00:00", "2024-01-21T00:00"]),
        ("@monthly", ["2024-02-01T00:00", "2024-03-01T00:00", "2024-04-01T00:00"]),
        ("@yearly", ["2025-01-01T00:00", "2026-01-01T00:00", "2027-01-01T00:00"]),
        (" @Annually ", ["2025-01-01T00:00", "2026-01-01T00:00", "2027-01-01T00:00"]),
    ] {
        assert_eq!(next(pattern, new_year, 3), expected, "{pattern}");
    }
    // 29 February is a fifth Monday every 28 years.
    assert_eq!(next("0 0 29 2 +MON#5", new_year, 2), ["2044-02-29T00:00", "2072-02-29T00:00"]);
}

#[test]
fn a_moment_within_a_minute_is_after_its_tick() {
    let calendar = cron("* * * * *", "UTC");
    let tick = ms("2024-01-01T00:01:00Z");
    for after in [tick - 60_000, tick - 59_999, tick - 1000, tick - 1] {
        assert_eq!(calendar.next_after(after), Some(tick), "{after}");
        assert_eq!(calendar.last_until(after), Some(tick - 60_000), "{after}");
    }
    for until in [tick, tick + 1, tick + 999, tick + 59_999] {
        assert_eq!(calendar.last_until(until), Some(tick), "{until}");
    }
    assert_eq!(calendar.count(tick, tick + 600_000, 100), 10);
    assert_eq!(calendar.count(tick - 1, tick + 600_000, 100), 11);
    assert_eq!(calendar.count(tick - 1, tick + 600_000, 3), 3);
    assert_eq!(calendar.count(tick, tick, 100), 0);
    assert_eq!(calendar.count(tick + 600_000, tick, 100), 0);
}

/// In the second pass of a repeated hour, the clock shows a time before that of the tick which is past.
#[test]
fn a_fixed_time_is_past_in_the_second_pass() {
    let calendar = cron("50 3 * * *", "Europe/Athens");
    let (tick, next) = (ms("2024-10-27T00:50:00Z"), ms("2024-10-28T01:50:00Z"));
    for moment in ["00:50:00", "00:59:59", "01:00:00", "01:10:00", "01:50:00", "02:00:00"] {
        let moment = ms(&format!("2024-10-27T{moment}Z"));
        assert_eq!(calendar.last_until(moment), Some(tick), "{moment}");
        assert_eq!(calendar.next_after(moment), Some(next), "{moment}");
    }
}

#[test]
fn patterns_are_said_in_words() {
    let either = " (the day of the month or the day of the week, either is enough)";
    for (pattern, words) in [
        ("30 2 * * *", "At 02:30".to_owned()),
        ("30 2 * * MON-FRI", "At 02:30, on weekdays".to_owned()),
        ("* * * * *", "Every minute".to_owned()),
        ("*/15 * * * *", "Every 15 minutes".to_owned()),
        ("@hourly", "At minute 0 past every hour".to_owned()),
        ("@daily", "At 00:00".to_owned()),
        ("@weekly", "At 00:00, on Sunday".to_owned()),
        ("@monthly", "At 00:00, on day 1".to_owned()),
        ("@yearly", "At 00:00, on day 1, in January".to_owned()),
        ("0 0 13 * FRI", format!("At 00:00, on day 13 or Friday{either}")),
        (
            "0 0 */2 * MON",
            format!(
                "At 00:00, on day 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, and 31 or Monday{either}"
            ),
        ),
        ("0 0 13 * +FRI", "At 00:00, on day 13 (if it is also Friday)".to_owned()),
        ("0 0 L * *", "At 00:00, on the last day of the month".to_owned()),
        ("0 0 LW * *", "At 00:00, on the last weekday of the month".to_owned()),
        ("0 0 * * FRI#2", "At 00:00, on the 2nd Friday of the month".to_owned()),
        // Steps that are not even, or not of the whole field, are lists: the hour does not begin with a full step.
        ("*/25 * * * *", "At minute 0, 25, and 50 past every hour".to_owned()),
        ("0-30/10 * * * *", "At minute 0, 10, 20, and 30 past every hour".to_owned()),
        ("3,*/30 * * * *", "At minute 0, 3, and 30 past every hour".to_owned()),
        ("0 0 1 1-6/2 *", "At 00:00, on day 1, in January, March, and May".to_owned()),
        ("0 0 1 */6 *", "At 00:00, on day 1, in January and July".to_owned()),
    ] {
        assert_eq!(cron(pattern, "Europe/Athens").words(), format!("{words} (Europe/Athens)"), "{pattern}");
    }
    assert_eq!(format!("{:?}", cron("30 2 * * *", "UTC")), "Calendar(At 02:30 (UTC))");
    assert_eq!(cron("30 2 * * *", "Europe/Athens").zone(), &zone("Europe/Athens"));
}

#[test]
fn the_shortest_gap_knows_midnights_and_changes_of_the_clock() {
    let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    for (pattern, zone, gap) in [
        ("* * * * *", "Europe/Athens", minutes(1)),
        ("*/7 * * * *", "UTC", minutes(4)),
        ("0 */6 * * *", "UTC", hours(6)),
        ("0 */6 * * *", "Europe/Athens", hours(5)),
        ("0 0,23 * * *", "UTC", hours(1)),
        ("30 12 * * *", "UTC", hours(24)),
        ("30 12 * * *", "Europe/Athens", hours(23)),
        // Moved to 04:00 of summer time, half an hour early; the next is not.
        ("30 3 * * *", "Europe/Athens", minutes(23 * 60 + 30)),
        // In other years its clocks went forward at midnight, earlier than this.
        ("30 2 * * *", "Africa/Casablanca", hours(23)),
        ("0 0 1 * *", "UTC", hours(28 * 24)),
        ("0 0 28,1 2,3 *", "UTC", hours(24)),
        ("0 0 * * MON", "America/New_York", hours(7 * 24 - 1)),
        // Usually 28 years, but from 2096 to 2108 only twelve: 2100 has no 29 February.
        ("0 0 29 2 +MON#5", "UTC", hours((12 * 365 + 2) * 24)),
    ] {
        assert_eq!(cron(pattern, zone).shortest_gap(), gap, "{pattern} in {zone}");
    }
}

/// A field of numbers, as a list.
fn field(all: std::ops::Range<u8>) -> impl Strategy<Value = Vec<u8>> {
    btree_set(all, 1..6).prop_map(|numbers| numbers.into_iter().collect())
}

fn listed(numbers: &[u8]) -> String {
    numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two days around a change of the clock, minute by minute: a cadence ticks where the clock on the wall is right.
    #[test]
    fn a_cadence_ticks_where_the_clock_is_right(
        name in prop::sample::select(&ZONES),
        change in 0_usize..20,
        minutes in field(0..60), hours in field(0..24), days in prop::option::of(field(1..8)),
    ) {
        prop_assume!(minutes.len() > 1 || hours.len() > 1);
        let rules = jiff::tz::db().get(name).unwrap();
        let change = rules.following("2005-07-01T00:00:00Z".parse().unwrap()).nth(change).unwrap().timestamp();
        let weekdays = days.as_deref().map_or("*".to_owned(), listed);
        let calendar = cron(&format!("{} {} * * {weekdays}", listed(&minutes), listed(&hours)), name);
        let is_tick = |at: jiff::Timestamp| {
            let local = at.to_zoned(rules.clone());
            let is_in = |number: i8, list: &[u8]| list.iter().any(|one| i8::try_from(*one) == Ok(number));
            let weekday = local.weekday().to_monday_one_offset();
            is_in(local.minute(), &minutes) && is_in(local.hour(), &hours)
                && days.as_deref().is_none_or(|days| is_in(weekday, days))
        };
        let (from, until) = (change.as_millisecond() - 86_400_000, change.as_millisecond() + 86_400_000);
        let right: Vec<i64> = (from + 60_000..=until).step_by(60_000)
            .filter(|at| is_tick(jiff::Timestamp::from_millisecond(*at).unwrap())).collect();
        let ticks: Vec<i64> = std::iter::successors(calendar.next_after(from), |last| calendar.next_after(*last))
            .take_while(|tick| *tick <= until).take(right.len() + 1).collect();
        prop_assert_eq!(ticks, right);
    }

    /// The fields are read as sets, and a year of a fixed time has a tick for each of its days.
    #[test]
    fn a_fixed_time_ticks_once_a_day(
        name in prop::sample::select(&ZONES), year in 2012_i64..2025, hour in 0..24, minute in 0..60,
    ) {
        let calendar = cron(&format!("{minute} {hour} * * *"), name);
        let rules = jiff::tz::db().get(name).unwrap();
        // From one noon to another, where no clock changes; the one before belongs to it if the pattern says noon.
        let noon = |year: i64| format!("{year}-06-15T12:00:30").parse::<jiff::civil::DateTime>().unwrap();
        let at = |year: i64| noon(year).to_zoned(rules.clone()).unwrap().timestamp().as_millisecond();
        let days = (noon(year + 1).date() - noon(year).date()).get_days();
        prop_assert_eq!(calendar.count(at(year), at(year + 1), 1000), u64::try_from(days).unwrap());
    }
}
