//! Which jobs are meant: one filter, read from a query string or from a body.

use crewcall_proto::JobType;

use super::fields::Fields;
use crate::{domain::State, engine::ports::JobQuery};

/// Reads what [`super::dto::JobFilter`] describes.
pub(super) fn read(fields: &mut Fields) -> JobQuery {
    let filter = read_state_and_type(fields);
    JobQuery {
        labels: fields.labels(),
        created_after: fields.time("created_after"),
        created_before: fields.time("created_before"),
        ..filter
    }
}

/// Reads what of it is known of a change without reading the job.
pub(super) fn read_state_and_type(fields: &mut Fields) -> JobQuery {
    JobQuery { states: fields.states(), job_type: fields.read("type", type_pattern), ..JobQuery::default() }
}

/// Whether a filter of states and type selects a job of this type in this state.
pub(super) fn selects(filter: &JobQuery, job_type: &JobType, state: State) -> bool {
    (filter.states.is_empty() || filter.states.contains(&state))
        && filter.job_type.as_ref().is_none_or(|pattern| matches(pattern, job_type.as_str()))
}

/// A job type, in which `*` stands for any characters.
fn type_pattern(value: &str) -> Result<String, String> {
    let fits = !value.is_empty()
        && value.len() <= JobType::LENGTH_MAX
        && value.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'*'));
    if fits {
        Ok(value.to_owned())
    } else {
        Err("it is a job type, in which * stands for any characters, such as image.*".to_owned())
    }
}

/// Whether the text fits the pattern, in which `*` stands for any characters, none among them.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some((_, after)) = text.split_once(part) else { return false };
        text = after;
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_people_expect() {
        for (pattern, text, expected) in [
            ("image.*", "image.thumbnail", true),
            ("image.*", "image", false),
            ("*", "anything.at.all", true),
            ("*.resize", "image.resize", true),
            ("a*b*c", "a.x.b.y.c", true),
            ("a*b*c", "a.c.b", false),
            ("ab*b", "ab", false),
            ("a**c", "ac", true),
            ("a.b", "a.bc", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
