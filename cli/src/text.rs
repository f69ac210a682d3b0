//! Texts as they are shown: without what would steer a terminal, and short enough for a table.

use std::fmt::Write as _;

use serde_json::Value;

/// Texts of jobs and workers come from others: what would steer a terminal is shown instead of obeyed.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

/// The same for JSON text, which stays JSON: what JSON itself does not escape stands within its strings.
pub(crate) fn printable_json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            // Writing to a String does not fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// At most `characters_max` characters of one line.
pub(crate) fn shorten(text: &str, characters_max: usize) -> String {
    let line = printable(text).replace(['\n', '\t'], " ");
    if line.chars().count() <= characters_max {
        return line;
    }
    let mut short: String = line.chars().take(characters_max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// JSON in one line, for a table.
pub(crate) fn inline(value: &Value, characters_max: usize) -> String {
    if value.is_null() { String::new() } else { shorten(&value.to_string(), characters_max) }
}

/// A time of the API, to the second. Times are UTC everywhere.
pub(crate) fn time(text: Option<&str>) -> String {
    let Some(text) = text else { return String::new() };
    match (text.get(..10), text.get(11..19)) {
        (Some(date), Some(time)) => format!("{date} {time}"),
        _ => text.to_owned(),
    }
}

/// So many bytes, as people say it: `1.2 GB`.
pub(crate) fn bytes(count: f64) -> String {
    const THOUSAND: f64 = 1000.0;
    let mut count = count.max(0.0);
    for unit in ["bytes", "kB", "MB", "GB"] {
        if count < THOUSAND {
            let digits = usize::from(unit != "bytes" && count < 10.0);
            return format!("{count:.digits$} {unit}");
        }
        count /= THOUSAND;
    }
    format!("{count:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_steered_by_workers() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{9b}d"), "a\\u{1b}[2Jb\nc\\u{9b}d");
        let json = serde_json::to_string_pretty(&serde_json::json!({"a\u{1b}": "b\u{9b}31m\u{7f}"})).unwrap();
        assert_eq!(printable_json(&json), "{\n  \"a\\u001b\": \"b\\u009b31m\\u007f\"\n}");
        assert_eq!(shorten("one\ntwo\tthree", 8), "one two…");
        assert_eq!(shorten("größer", 6), "größer");
    }

    #[test]
    fn sizes_have_a_unit() {
        let sizes = [0.0, 999.0, 1_500.0, 40_000.0, 12_340_000.0, 9.96e9, 2e12].map(bytes);
        assert_eq!(sizes, ["0 bytes", "999 bytes", "1.5 kB", "40 kB", "12 MB", "10.0 GB", "2.0 TB"]);
    }

    #[test]
    fn times_are_shown_to_the_second() {
        assert_eq!(time(Some("2026-11-20T16:07:00.123Z")), "2026-11-20 16:07:00");
        assert_eq!(time(Some("soon")), "soon");
        assert_eq!(time(None), "");
    }
}
