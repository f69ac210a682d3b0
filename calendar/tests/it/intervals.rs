use std::time::Duration;

use crewcall_calendar::{Calendar, INTERVAL_SECONDS_MAX};
use proptest::prelude::*;

use crate::{ms, shown, zone};

fn every(seconds: u32, anchor_ms: i64) -> Calendar {
    Calendar::every(seconds, anchor_ms, zone("UTC")).unwrap()
}

#[test]
fn an_interval_counts_from_its_anchor() {
    let calendar = every(90, ms("2026-01-01T00:00:10Z"));
    assert_eq!(calendar.next_after(ms("2026-01-01T00:00:10Z")), Some(ms("2026-01-01T00:01:40Z")));
    assert_eq!(calendar.next_after(ms("2026-01-01T00:00:09.999Z")), Some(ms("2026-01-01T00:00:10Z")));
    assert_eq!(calendar.last_until(ms("2026-01-01T00:00:10Z")), Some(ms("2026-01-01T00:00:10Z")));
    assert_eq!(calendar.last_until(ms("2026-01-01T00:00:09Z")), Some(ms("2025-12-31T23:58:40Z")));
    assert_eq!(calendar.count(ms("2026-01-01T00:00:10Z"), ms("2026-01-01T01:00:10Z"), u64::MAX), 40);
    assert_eq!(calendar.count(ms("2026-01-01T00:00:10Z"), ms("2026-01-01T01:00:10Z"), 7), 7);
    assert_eq!(calendar.shortest_gap(), Duration::from_secs(90));
    assert_eq!(calendar.words(), "every 90 seconds");
    assert_eq!(every(1, 0).words(), "every second");
}

#[test]
fn an_anchor_within_a_second_is_its_beginning() {
    assert_eq!(every(60, 999).next_after(0), Some(60_000));
    assert_eq!(every(60, -1).next_after(-1001), Some(-1000));
}

#[test]
fn an_interval_does_not_see_that_clocks_change() {
    let calendar = Calendar::every(3600, 0, zone("Europe/Athens")).unwrap();
    let mut tick = ms("2024-10-26T23:30:00Z");
    let mut texts = Vec::new();
    for _ in 0..3 {
        tick = calendar.next_after(tick).unwrap();
        texts.push(shown(calendar.local(tick)));
    }
    assert_eq!(
        texts,
        ["2024-10-27T03:00:00+03:00 first", "2024-10-27T03:00:00+02:00 second", "2024-10-27T04:00:00+02:00"]
    );
    // Not moved there by a gap, but there anyway.
    assert_eq!(shown(calendar.local(ms("2024-03-31T01:00:00Z"))), "2024-03-31T04:00:00+03:00");
}

#[test]
fn an_interval_has_a_length_that_makes_sense() {
    for seconds in [0, INTERVAL_SECONDS_MAX + 1, u32::MAX] {
        let problem = Calendar::every(seconds, 0, zone("UTC")).unwrap_err().to_string();
        assert!(problem.ends_with("give 1 to 31536000 (365 days)"), "{problem}");
    }
    assert!(Calendar::every(INTERVAL_SECONDS_MAX, 0, zone("UTC")).is_ok());
}

/// Moments everywhere, but more often at the ends of time and around 1970.
fn moments() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        -10_000_000_i64..10_000_000,
        (0_i64..100_000).prop_map(|before| i64::MAX - before),
        (0_i64..100_000).prop_map(|after| i64::MIN + after),
    ]
}

/// The last tick at or before a moment, in whole numbers that have no ends.
fn naive_last(seconds: u32, anchor_ms: i64, until_ms: i64) -> i128 {
    let anchor = i128::from(anchor_ms.div_euclid(1000)) * 1000;
    let length = i128::from(seconds) * 1000;
    anchor + (i128::from(until_ms) - anchor).div_euclid(length) * length
}

proptest! {
    #[test]
    fn intervals_agree_with_arithmetic(
        seconds in prop_oneof![1..=INTERVAL_SECONDS_MAX, 1_u32..100],
        anchor in moments(), after in moments(), until in moments(),
    ) {
        let calendar = every(seconds, anchor);
        let length = i128::from(seconds) * 1000;
        let last = naive_last(seconds, anchor, after);
        prop_assert_eq!(calendar.last_until(after), i64::try_from(last).ok());
        prop_assert_eq!(calendar.next_after(after), i64::try_from(last + length).ok());
        let count = (naive_last(seconds, anchor, until) - last) / length;
        prop_assert_eq!(calendar.count(after, until, u64::MAX), u64::try_from(count).unwrap_or(0));
        prop_assert_eq!(calendar.count(after, until, 3), u64::try_from(count).unwrap_or(0).min(3));
    }
}
