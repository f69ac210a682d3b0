//! What a pattern may say. The library takes more than it should (`MON` as a minute, `,` as a list of nothing, which
//! never ticks), and what it says of the rest is not for whoever wrote the pattern; so it only gets what is right.

use croner::{
    errors::CronError,
    parser::{CronParser, Seconds, Year},
};

use crate::{InvalidPattern, limits::PATTERN_BYTES_MAX};

const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FORM: &str = "a pattern has five fields: minute, hour, day of month, month and day of week";

/// What one of the five fields may be.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// What stands for numbers, from the lowest.
    names: &'static [&'static str],
    /// The number of the first name.
    first_name: u32,
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[], first_name: 0 },
    Field { name: "hour", min: 0, max: 23, names: &[], first_name: 0 },
    Field { name: DAY_OF_MONTH, min: 1, max: 31, names: &[], first_name: 0 },
    Field { name: "month", min: 1, max: 12, names: &MONTHS, first_name: 1 },
    Field { name: DAY_OF_WEEK, min: 0, max: 7, names: &WEEKDAYS, first_name: 0 },
];
const DAY_OF_MONTH: &str = "day of month";
const DAY_OF_WEEK: &str = "day of week";

/// The five fields of a pattern in upper case, with one space between them.
pub(crate) fn check(text: &str) -> Result<String, InvalidPattern> {
    if text.len() > PATTERN_BYTES_MAX {
        let bytes = text.len();
        return refusal(format!("a pattern of {bytes} bytes is too long: {PATTERN_BYTES_MAX} are the most"));
    }
    if let Some(odd) = text.chars().find(|letter| !letter.is_ascii() || letter.is_ascii_control()) {
        return refusal(format!(
            "a pattern cannot contain {odd:?}: write it with plain letters, digits and spaces"
        ));
    }
    let fields: Vec<String> = text.split_whitespace().map(str::to_ascii_uppercase).collect();
    match fields.as_slice() {
        [] => refusal(format!("the pattern is empty: {FORM}, such as \"30 2 * * *\"")),
        [name] if name.starts_with('@') => nickname(&text.trim().to_ascii_lowercase()),
        [_, _, _, _, _] => {
            for (text, field) in fields.iter().zip(&FIELDS) {
                check_field(text, field)?;
            }
            Ok(fields.join(" "))
        }
        [_, _, _, _, _, _] => {
            refusal(format!("there are six fields, but {FORM}; leave out the seconds or the year"))
        }
        [_, _, _, _, _, _, _] => {
            refusal(format!("there are seven fields, but {FORM}; leave out the seconds and the year"))
        }
        others => {
            let fields = if others.len() == 1 { "field" } else { "fields" };
            refusal(format!("{FORM}; this one has {} {fields}", others.len()))
        }
    }
}

/// What the library says about what passed [`check`]: hardly anything is left.
pub(crate) fn refuse(fields: &str, error: &CronError) -> InvalidPattern {
    InvalidPattern::new(format!("{fields:?} is no pattern: {}", error.to_string().trim_end_matches('.')))
}

fn refusal<T>(message: impl Into<String>) -> Result<T, InvalidPattern> {
    Err(InvalidPattern::new(message))
}

fn nickname(name: &str) -> Result<String, InvalidPattern> {
    if let Some((_, fields)) = NICKNAMES.iter().find(|(known, _)| *known == name) {
        return Ok((*fields).to_owned());
    }
    let known: Vec<&str> = NICKNAMES.iter().map(|(known, _)| *known).collect();
    let known = known.join(", ");
    match name {
        "@reboot" => {
            refusal(format!("\"@reboot\" is no time, and a schedule has nothing to boot; there is {known}"))
        }
        name => refusal(format!("there is no nickname {name:?}; there is {known}")),
    }
}

/// A field is a list of parts. `?` is another word for `*` where days are; `+` before the days of the week says that both
/// kinds of days have to be right, which is an extension of the library.
fn check_field(text: &str, field: &Field) -> Result<(), InvalidPattern> {
    let is_day = field.name == DAY_OF_MONTH || field.name == DAY_OF_WEEK;
    if text == "*" || (text == "?" && is_day) {
        return Ok(());
    }
    let list = if field.name == DAY_OF_WEEK { text.strip_prefix('+').unwrap_or(text) } else { text };
    list.split(',').try_for_each(|part| check_part(part, field))
}

fn check_part(part: &str, field: &Field) -> Result<(), InvalidPattern> {
    let name = field.name;
    if part.is_empty() {
        return refusal(format!(
            "a number is missing in the list of the {name}: it is written like {}",
            example(field)
        ));
    }
    if is_special(part, field) {
        return Ok(());
    }
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    match range.split_once('-') {
        None if range == "*" && step.is_some() => {}
        None => {
            number(range, field)?;
            if let Some(step) = step {
                return refusal(format!(
                    "{part:?} of the {name}: a step needs a range, like */{step} or {range}-{}/{step}",
                    field.max
                ));
            }
        }
        Some((from, to)) => {
            let (low, high) = (number(from, field)?, number(to, field)?);
            // Sunday ends a week as well as it begins one.
            let high = if to == "SUN" { 7 } else { high };
            if low > high {
                return refusal(format!(
                    "{part:?} of the {name} runs backwards: write two ranges with a comma, {from}-{},{}-{to}",
                    field.max, field.min
                ));
            }
        }
    }
    step.map_or(Ok(()), |step| check_step(step, field))
}

/// Extensions of the library: `L` the last day of the month, `15W` the weekday nearest the 15th, `LW` the last weekday;
/// `FRIL` or `5L` the last Friday of the month, `FRI#2` the second.
fn is_special(part: &str, field: &Field) -> bool {
    match field.name {
        DAY_OF_MONTH => {
            let day = part.strip_suffix('W');
            part == "L" || part == "LW" || day.is_some_and(|day| number(day, field).is_ok())
        }
        DAY_OF_WEEK => {
            let last = part.strip_suffix('L');
            let nth = part.split_once('#').filter(|(_, nth)| ["1", "2", "3", "4", "5"].contains(nth));
            last.or(nth.map(|(day, _)| day)).is_some_and(|day| number(day, field).is_ok())
        }
        _ => false,
    }
}

fn number(text: &str, field: &Field) -> Result<u32, InvalidPattern> {
    let Field { name, min, max, names, first_name } = field;
    if let Some(value) =
        (*first_name..).zip(*names).find(|(_, known)| **known == text).map(|(value, _)| value)
    {
        return Ok(value);
    }
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(value) if is_number && (*min..=*max).contains(&value) => Ok(value),
        _ if is_number => refusal(format!("{text} is no {name}: give {min} to {max}")),
        _ => refusal(format!("{text:?} is no {name}: it is written like {}", example(field))),
    }
}

fn check_step(text: &str, field: &Field) -> Result<(), InvalidPattern> {
    let Field { name, min, max, .. } = field;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let most = max - min;
    match text.parse::<u32>() {
        Ok(step) if is_number && (1..=most).contains(&step) => Ok(()),
        // Such as `*/90` in the hope of an hour and a half: it would be every hour.
        _ => {
            refusal(format!("/{text} is no step of the {name}: give 1 to {most}, or an interval in seconds"))
        }
    }
}

fn example(field: &Field) -> &'static str {
    match field.name {
        "minute" => "*, 5, 0,30, 10-20 or */15",
        "hour" => "*, 5, 0,12, 8-17 or */2",
        DAY_OF_MONTH => "*, 5, 1,15, 1-7 or L (the last)",
        "month" => "*, 5, JAN,JUL, 6-8 or */3",
        _ => "*, 1, MON-FRI, SAT,SUN or FRI#2 (the second)",
    }
}
/// The library's, as it is told to read.
pub(crate) fn parser() -> CronParser {
    CronParser::builder()
        .seconds(Seconds::Disallowed) // ticks are at whole minutes
        .year(Year::Disallowed) // it would have an end
        .dom_and_dow(false) // day of month or day of week, as everywhere
        .alternative_weekdays(false) // 0 and 7 are Sunday
        .sloppy_ranges(false) // `/10` is a mistake for `*/10`, and `5/10` means different things to different programs
        .build()
}
