//! Times as people write and read them: `1h`, `yesterday`, `2026-11-21 23:00`; `5m30s` ago.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use crate::duration;

/// Which way from now a duration leads when it stands for a time.
#[derive(Debug, Clone, Copy)]
enum Way {
    Back,
    Ahead,
}

/// Reads a time that is over: `1h` is an hour ago.
///
/// # Errors
///
/// A sentence that shows the right forms, here and in [`parse_ahead`].
pub(crate) fn parse_back(text: &str) -> Result<Timestamp, String> {
    parse(text, Way::Back, Timestamp::now())
}

/// Reads a time to come: `1h` is an hour from now.
pub(crate) fn parse_ahead(text: &str) -> Result<Timestamp, String> {
    parse(text, Way::Ahead, Timestamp::now())
}

/// Times without a zone are UTC, as in all lists: what was copied from one is read as it was meant.
fn parse(text: &str, way: Way, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(timestamp) = text.parse() {
        return Ok(timestamp);
    }
    let utc = |time: DateTime| time.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).ok();
    let today = TimeZone::UTC.to_datetime(now).date();
    let day = match text {
        "now" => return Ok(now),
        "today" => Some(today),
        "yesterday" => today.yesterday().ok(),
        "tomorrow" => today.tomorrow().ok(),
        date => date.parse::<Date>().ok().filter(|_| !date.contains(['T', 't', ' '])),
    };
    let day_or_time = day.map(DateTime::from).or_else(|| text.parse().ok()).and_then(utc);
    if let Some(time) = day_or_time {
        return Ok(time);
    }
    let length = duration::parse(text).ok().and_then(|length| SignedDuration::try_from(length).ok());
    let time = length.and_then(|length| match way {
        Way::Back => now.checked_sub(length).ok(),
        Way::Ahead => now.checked_add(length).ok(),
    });
    let (duration, day) = match way {
        Way::Back => ("1h (an hour ago)", "yesterday"),
        Way::Ahead => ("1h (an hour from now)", "tomorrow"),
    };
    time.ok_or_else(|| {
        format!("write {duration}, {day}, 2026-11-20, '2026-11-20 16:00' (UTC) or 2026-11-20T16:00:00+01:00")
    })
}

/// How long ago a time of the API is, in one or two units: `5m30s`; `in 5m30s` if it is to come.
pub(crate) fn age(time: Option<&str>, now: Timestamp) -> String {
    let Some(time) = read(time) else { return String::new() };
    let age = now.duration_since(time);
    // The clocks of two machines are never quite the same.
    if age > -SignedDuration::from_secs(1) { span(age) } else { format!("in {}", span(-age)) }
}

/// How long it took from one time of the API to another: `240ms`, `3.2s`, `5m30s`.
pub(crate) fn took(from: Option<&str>, to: Option<&str>, now: Timestamp) -> String {
    let Some(from) = read(from) else { return String::new() };
    shown(read(to).unwrap_or(now).duration_since(from).max(SignedDuration::ZERO))
}

fn shown(length: SignedDuration) -> String {
    match length.as_millis() {
        millis @ 0..1_000 => format!("{millis}ms"),
        1_000..10_000 => format!("{:.1}s", length.as_secs_f64()),
        _ => span(length),
    }
}

/// The same of a length that was measured here.
pub(crate) fn length(length: std::time::Duration) -> String {
    shown(SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX))
}

/// What reads a time of the API, and takes none for what it cannot read.
pub(crate) fn read(time: Option<&str>) -> Option<Timestamp> {
    time?.parse().ok()
}

/// A span in its two largest units; in one where the second would not matter.
fn span(span: SignedDuration) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    // From this many of a unit on, the next smaller one is left out.
    const ALONE_FROM: i64 = 10;
    let seconds = span.as_secs().max(0);
    let (unit, word, smaller, smaller_word) = match seconds {
        0..MINUTE => return format!("{seconds}s"),
        MINUTE..HOUR => (MINUTE, "m", 1, "s"),
        HOUR..DAY => (HOUR, "h", MINUTE, "m"),
        _ => (DAY, "d", HOUR, "h"),
    };
    let (whole, rest) = (seconds / unit, seconds % unit / smaller);
    if whole >= ALONE_FROM || rest == 0 {
        format!("{whole}{word}")
    } else {
        format!("{whole}{word}{rest}{smaller_word}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-20T16:07:00Z".parse().unwrap()
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, way, time) in [
            ("1h", Way::Back, "2026-11-20T15:07:00Z"),
            ("1h30m", Way::Ahead, "2026-11-20T17:37:00Z"),
            ("now", Way::Back, "2026-11-20T16:07:00Z"),
            ("today", Way::Back, "2026-11-20T00:00:00Z"),
            ("yesterday", Way::Back, "2026-11-19T00:00:00Z"),
            ("tomorrow", Way::Ahead, "2026-11-21T00:00:00Z"),
            ("2026-11-19", Way::Back, "2026-11-19T00:00:00Z"),
            ("2026-11-19 23:00", Way::Back, "2026-11-19T23:00:00Z"),
            ("2026-11-19T23:00:05", Way::Back, "2026-11-19T23:00:05Z"),
            ("2026-11-19T23:00:00+01:00", Way::Back, "2026-11-19T22:00:00Z"),
        ] {
            assert_eq!(parse(text, way, now()), Ok(time.parse().unwrap()), "{text}");
        }
        let refusals: Vec<String> =
            [("soon", Way::Back), ("90", Way::Ahead), ("-1h", Way::Back), ("", Way::Ahead)]
                .into_iter()
                .map(|(text, way)| format!("{text}: {}", parse(text, way, now()).unwrap_err()))
                .collect();
        insta::assert_snapshot!(refusals.join("\n"));
    }

    #[test]
    fn ages_and_durations_have_one_or_two_units() {
        let since = |seconds: i64| {
            let time = (now() - SignedDuration::from_secs(seconds)).to_string();
            age(Some(&time), now())
        };
        let ages =
            [0, 59, 60, 330, 599, 3_540, 3_600, 11_100, 86_399, 90_000, 1_209_600, -1, -330].map(since);
        let expected = [
            "0s", "59s", "1m", "5m30s", "9m59s", "59m", "1h", "3h5m", "23h", "1d1h", "14d", "in 1s",
            "in 5m30s",
        ];
        assert_eq!(ages, expected);
        let started = Some("2026-11-20T16:00:00.000Z");
        let lengths = ["16:00:00.240Z", "16:00:03.250Z", "16:01:30.100Z", "15:59:59.000Z"]
            .map(|end| took(started, Some(&format!("2026-11-20T{end}")), now()));
        assert_eq!(lengths, ["240ms", "3.2s", "1m30s", "0ms"]);
        assert_eq!(took(started, None, now()), "7m");
        assert_eq!((age(None, now()), took(None, None, now())), (String::new(), String::new()));
    }
}
