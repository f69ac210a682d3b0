use std::collections::BTreeSet;

use croner::Cron;

use crate::pattern::parser;

/// A pattern in words, such as `At 02:30, on weekdays`.
///
/// The library's words are right for lists, but take the last step of a field for all of it (`0-30/10` would be "every 10
/// minutes"), and the last weekday of a month for its last day.
pub(crate) fn of(cron: &Cron) -> String {
    let described = plain(cron).map_or_else(|| cron.describe(), |plain| plain.describe());
    let mut words = described.trim_end_matches('.').replace("At every ", "Every ");
    words = words.replace("Monday, Tuesday, Wednesday, Thursday, and Friday", "weekdays");
    let text = cron.as_str();
    let day_of_month = text.split_whitespace().nth(2).unwrap_or_default();
    if day_of_month.split(',').any(|part| part == "LW") {
        words = words.replace("the last day of the month", "the last weekday of the month");
    }
    let pattern = &cron.pattern;
    if !pattern.is_dom_wildcard() && !pattern.is_dow_wildcard() && !pattern.matches_dom_and_dow() {
        words.push_str(" (the day of the month or the day of the week, either is enough)");
    }
    words
}

/// The same pattern, with lists for all steps that are not even.
fn plain(cron: &Cron) -> Option<Cron> {
    let mut fields = cron.as_str().split_whitespace();
    let (_, _, day, _, weekday) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let minutes = list(&cron.pattern.minutes.values(), 0..60);
    let hours = list(&cron.pattern.hours.values(), 0..24);
    // Steps of months are clearer by their names.
    let months = cron.pattern.months.values();
    let months = if months.len() == 12 { "*".to_owned() } else { joined(&months) };
    parser().parse(&format!("{minutes} {hours} {day} {months} {weekday}")).ok()
}

/// `*`, an even step, or a list.
fn list(values: &[u16], all: std::ops::Range<u16>) -> String {
    let set: BTreeSet<u16> = values.iter().copied().collect();
    if set.len() == usize::from(all.end) {
        return "*".to_owned();
    }
    let is_step = |step: &u16| {
        all.end.is_multiple_of(*step) && all.clone().step_by(usize::from(*step)).eq(set.iter().copied())
    };
    match (2..=all.end / 2).find(is_step) {
        // Two are a list: "hour 0 and 12".
        Some(step) if set.len() > 2 => format!("*/{step}"),
        _ => joined(values),
    }
}

fn joined(values: &[u16]) -> String {
    values.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}
