use crewcall_calendar::{Calendar, Zone};
use proptest::prelude::*;

fn refusal(pattern: &str) -> String {
    match Calendar::cron(pattern, Zone::utc()) {
        Ok(calendar) => panic!("{pattern:?} was accepted: {calendar:?}"),
        Err(problem) => problem.to_string(),
    }
}

#[test]
fn a_mistake_is_refused_with_what_to_do() {
    let form = "a pattern has five fields: minute, hour, day of month, month and day of week";
    let nicknames = "there is @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually";
    for (pattern, said) in [
        ("", format!("the pattern is empty: {form}, such as \"30 2 * * *\"")),
        (" ", format!("the pattern is empty: {form}, such as \"30 2 * * *\"")),
        ("*", format!("{form}; this one has 1 field")),
        ("* * * *", format!("{form}; this one has 4 fields")),
        ("0 * * * * *", format!("there are six fields, but {form}; leave out the seconds or the year")),
        ("0 * * * * * *", format!("there are seven fields, but {form}; leave out the seconds and the year")),
        ("30 2 30 2 *", "\"30 2 30 2 *\" never ticks: in 400 years there is no such date, so change its day or its month".into()),
        ("0 0 31 2,4,6,9,11 *", "\"0 0 31 2,4,6,9,11 *\" never ticks: in 400 years there is no such date, so change its day or its month".into()),
        ("0 0 1 2 +MON#5", "\"0 0 1 2 +MON#5\" never ticks: in 400 years there is no such date, so change its day or its month".into()),
        ("61 * * * *", "61 is no minute: give 0 to 59".into()),
        ("60 * * * *", "60 is no minute: give 0 to 59".into()),
        ("0 24 * * *", "24 is no hour: give 0 to 23".into()),
        ("0 0 0 * *", "0 is no day of month: give 1 to 31".into()),
        ("0 0 * 13 *", "13 is no month: give 1 to 12".into()),
        ("0 0 * * 8", "8 is no day of week: give 0 to 7".into()),
        ("99999999999 * * * *", "99999999999 is no minute: give 0 to 59".into()),
        ("MON * * * *", "\"MON\" is no minute: it is written like *, 5, 0,30, 10-20 or */15".into()),
        ("0 0 * MONDAY *", "\"MONDAY\" is no month: it is written like *, 5, JAN,JUL, 6-8 or */3".into()),
        ("0 0 * * MONDAY", "\"MONDAY\" is no day of week: it is written like *, 1, MON-FRI, SAT,SUN or FRI#2 (the second)".into()),
        ("0 0 * 1JAN *", "\"1JAN\" is no month: it is written like *, 5, JAN,JUL, 6-8 or */3".into()),
        ("? * * * *", "\"?\" is no minute: it is written like *, 5, 0,30, 10-20 or */15".into()),
        ("-1 * * * *", "\"\" is no minute: it is written like *, 5, 0,30, 10-20 or */15".into()),
        ("+5 * * * *", "\"+5\" is no minute: it is written like *, 5, 0,30, 10-20 or */15".into()),
        ("*,5 * * * *", "\"*\" is no minute: it is written like *, 5, 0,30, 10-20 or */15".into()),
        (", * * * *", "a number is missing in the list of the minute: it is written like *, 5, 0,30, 10-20 or */15".into()),
        ("5,,6 * * * *", "a number is missing in the list of the minute: it is written like *, 5, 0,30, 10-20 or */15".into()),
        ("0 17-8 * * *", "\"17-8\" of the hour runs backwards: write two ranges with a comma, 17-23,0-8".into()),
        ("0 0 * * FRI-MON", "\"FRI-MON\" of the day of week runs backwards: write two ranges with a comma, FRI-7,0-MON".into()),
        ("5/15 * * * *", "\"5/15\" of the minute: a step needs a range, like */15 or 5-59/15".into()),
        ("/15 * * * *", "\"\" is no minute: it is written like *, 5, 0,30, 10-20 or */15".into()),
        ("*/0 * * * *", "/0 is no step of the minute: give 1 to 59, or an interval in seconds".into()),
        ("*/90 * * * *", "/90 is no step of the minute: give 1 to 59, or an interval in seconds".into()),
        ("*/5/5 * * * *", "/5/5 is no step of the minute: give 1 to 59, or an interval in seconds".into()),
        ("0 0 32W * *", "\"32W\" is no day of month: it is written like *, 5, 1,15, 1-7 or L (the last)".into()),
        ("0 0 * * FRI#6", "\"FRI#6\" is no day of week: it is written like *, 1, MON-FRI, SAT,SUN or FRI#2 (the second)".into()),
        ("@reboot", format!("\"@reboot\" is no time, and a schedule has nothing to boot; {nicknames}")),
        ("@every 5m", format!("{form}; this one has 2 fields")),
        ("@nightly", format!("there is no nickname \"@nightly\"; {nicknames}")),
        ("30 2 * * *\n", "a pattern cannot contain '\\n': write it with plain letters, digits and spaces".into()),
        ("30\u{0}2 * * *", "a pattern cannot contain '\\0': write it with plain letters, digits and spaces".into()),
        ("30 2 * * ＊", "a pattern cannot contain '＊': write it with plain letters, digits and spaces".into()),
        (&"1,".repeat(150), "a pattern of 300 bytes is too long: 256 are the most".into()),
    ] {
        assert_eq!(refusal(pattern), said, "{pattern:?}");
    }
}

#[test]
fn a_zone_that_is_not_there_is_refused_with_what_is() {
    let example = "give a name of the IANA database, such as \"Europe/Athens\" or \"UTC\"";
    for (name, said) in [
        (
            "Europe/Athen",
            "there is no time zone \"Europe/Athen\": did you mean \"Europe/Athens\"?".to_owned(),
        ),
        ("Athens", "there is no time zone \"Athens\": did you mean \"Europe/Athens\"?".into()),
        ("new york", "there is no time zone \"new york\": did you mean \"America/New_York\"?".into()),
        (
            "Amerika/Chicago",
            "there is no time zone \"Amerika/Chicago\": did you mean \"America/Chicago\"?".into(),
        ),
        ("", format!("there is no time zone \"\": {example}")),
        ("Mars/Olympus", format!("there is no time zone \"Mars/Olympus\": {example}")),
        ("../etc/passwd", format!("there is no time zone \"../etc/passwd\": {example}")),
        ("/etc/localtime", format!("there is no time zone \"/etc/localtime\": {example}")),
        ("localtime", format!("there is no time zone \"localtime\": {example}")),
        ("Factory", format!("there is no time zone \"Factory\": {example}")),
        ("Etc/Unknown", format!("there is no time zone \"Etc/Unknown\": {example}")),
        ("right/Europe/Athens", format!("there is no time zone \"right/Europe/Athens\": {example}")),
        ("zone.tab", format!("there is no time zone \"zone.tab\": {example}")),
        ("+02:00", format!("there is no time zone \"+02:00\": {example}")),
        (
            "Europe/Athens\n",
            "there is no time zone \"Europe/Athens\\n\": did you mean \"Europe/Athens\"?".into(),
        ),
        ("\u{1b}[31m", format!("there is no time zone \"\\u{{1b}}[31m\": {example}")),
    ] {
        let problem = Zone::find(name).unwrap_err().to_string();
        assert!(problem.starts_with(&said), "{name:?}: {problem}");
    }
    let long = Zone::find(&"x".repeat(10_000)).unwrap_err();
    assert_eq!(long.name.len(), crewcall_calendar::ZONE_NAME_BYTES_MAX);
}

#[test]
fn a_zone_is_found_in_any_case_and_has_its_own_name() {
    for (asked, name) in
        [("europe/athens", "Europe/Athens"), ("UTC", "UTC"), ("utc", "UTC"), ("US/Eastern", "US/Eastern")]
    {
        assert_eq!(Zone::find(asked).unwrap().name(), name);
    }
    assert_eq!(Zone::utc().name(), "UTC");
    assert_eq!(Zone::find("UTC").unwrap(), Zone::utc());
}

/// Texts that are nearly patterns: what of the alphabet of patterns comes to mind.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9*/,?LW#+@ \\-]{0,40}",
        "([0-9*/,LW#+-]{1,6} ){4}[0-9A-Z*/,LW#+-]{1,6}",
        "[0-5]?[0-9]?[*]?(/[1-9])? [0-9*]{1,2} [0-9*LW]{1,3} ([1-9*]|JAN) ([0-7*]|MON)(L|#[1-6])?",
    ]
}

proptest! {
    #[test]
    fn random_text_does_no_harm(text in texts(), name in any::<String>(), moment in any::<i64>()) {
        let _ = Zone::find(&name);
        match Calendar::cron(&text, Zone::utc()) {
            Err(problem) => {
                let problem = problem.to_string();
                prop_assert!(!problem.is_empty() && !problem.ends_with('.') && problem.len() < 600, "{}", problem);
            }
            Ok(calendar) => {
                // What is accepted does tick, and says so.
                let tick = calendar.next_after(1_700_000_000_000).unwrap();
                prop_assert_eq!(calendar.last_until(tick), Some(tick));
                prop_assert!(!calendar.words().is_empty());
                let _ = (calendar.next_after(moment), calendar.last_until(moment), calendar.local(moment));
            }
        }
    }
}
