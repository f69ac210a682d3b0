use crewcall_calendar::{Calendar, YEAR_MAX, YEAR_MIN, ZoneSource, zone_data};

use crate::{ZONES, cron, ms, zone};

#[test]
fn the_ends_of_time_are_no_errors() {
    for name in ["UTC"].into_iter().chain(ZONES) {
        for pattern in ["30 2 * * *", "*/15 * * * *", "0 0 29 2 +MON#5"] {
            let calendar = cron(pattern, name);
            let first = calendar.next_after(i64::MIN).unwrap();
            let last = calendar.last_until(i64::MAX).unwrap();
            assert!(
                calendar.local(first).text.starts_with("00"),
                "{pattern} in {name}: {}",
                calendar.local(first).text
            );
            assert!(
                calendar.local(last).text.starts_with("49"),
                "{pattern} in {name}: {}",
                calendar.local(last).text
            );
            assert_eq!(calendar.last_until(first - 1), None, "{pattern} in {name}");
            assert_eq!(calendar.next_after(last), None, "{pattern} in {name}");
            assert_eq!(calendar.last_until(first), Some(first), "{pattern} in {name}");
            assert_eq!(calendar.next_after(last - 1), Some(last), "{pattern} in {name}");
            assert_eq!((calendar.last_until(i64::MIN), calendar.next_after(i64::MAX)), (None, None));
        }
    }
    let daily = cron("0 0 * * *", "UTC");
    assert_eq!(daily.next_after(i64::MIN), Some(ms(&format!("{YEAR_MIN:04}-01-01T00:00:00Z"))));
    assert_eq!(daily.last_until(i64::MAX), Some(ms(&format!("{YEAR_MAX}-12-31T00:00:00Z"))));
}

#[test]
fn every_moment_has_a_text() {
    let calendar = Calendar::every(60, 0, zone("Europe/Athens")).unwrap();
    assert_eq!(calendar.local(i64::MAX).text, "after the year 9999");
    assert_eq!(calendar.local(i64::MIN).text, "before the year -9999");
    assert_eq!(calendar.local(0).text, "1970-01-01T02:00:00+02:00");
    assert_eq!(calendar.local(1).text, "1970-01-01T02:00:00.001+02:00");
}

#[test]
fn the_zones_say_where_they_come_from() {
    let data = zone_data();
    let release = data.release.clone().unwrap();
    assert!(release.starts_with("20"), "{release}");
    match data.source {
        ZoneSource::System => assert_eq!(data.to_string(), format!("the system's, {release}")),
        ZoneSource::Bundled => assert_eq!(data.to_string(), format!("bundled, {release}")),
    }
}

#[test]
fn calendars_go_from_thread_to_thread() {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    is_shared(&cron("@daily", "Europe/Athens"));
    is_shared(&zone("UTC"));
}
