//! Query strings: every parameter is known and right, or the request is refused.

use std::{collections::BTreeMap, time::Duration};

use crewcall_proto::{JobType, Timestamp};
use url::form_urlencoded;

use super::{
    cursor,
    problem::{Code, Problem, field},
};
use crate::{
    domain::{Problem as FieldProblem, State},
    engine::ports::JobQuery,
};

/// How many jobs, or messages of the quarantine, a page has unless the caller asks for another number.
pub const PAGE_JOBS_DEFAULT: usize = 50;

/// The most jobs, types, or messages of the quarantine, of one page.
pub const PAGE_JOBS_MAX: usize = 500;

/// The longest that a request may wait for a job to end.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// What is said of a cursor that is none of ours.
const NO_CURSOR: &str = "it is no cursor: pass next_cursor of the page before as it is";

/// What stands before the name of a label in a filter.
const LABEL_PREFIX: &str = "label.";

/// What a list is asked for.
#[derive(Debug)]
pub(super) struct ListQuery {
    /// The conditions. Its limit is that of the page.
    pub(super) query: JobQuery,
    /// The parameters as they came, but for the cursor: what the next page repeats.
    repeated: Vec<(String, String)>,
}

impl ListQuery {
    /// Reads the query string of a list.
    pub(super) fn read(raw: Option<&str>) -> Result<Self, Problem> {
        let pairs = pairs(raw);
        let mut reader = Reader::default();
        let mut query = JobQuery { limit: PAGE_JOBS_DEFAULT, ..JobQuery::default() };
        for (name, value) in &pairs {
            match name.as_str() {
                "state" => query.states.extend(reader.states(value)),
                "type" => query.job_type = reader.once(name, || type_pattern(value)),
                "created_after" => query.created_after = reader.once(name, || time(value)),
                "created_before" => query.created_before = reader.once(name, || time(value)),
                "limit" => query.limit = reader.once(name, || limit(value)).unwrap_or(PAGE_JOBS_DEFAULT),
                "cursor" => {
                    query.before =
                        reader.once(name, || cursor::decode(value).ok_or_else(|| NO_CURSOR.to_owned()));
                }
                _ => match name.strip_prefix(LABEL_PREFIX).filter(|label| !label.is_empty()) {
                    Some(label) => reader.label(&mut query.labels, label, value),
                    None => reader.unknown(
                        name,
                        "state, type, label.NAME, created_after, created_before, limit, cursor",
                    ),
                },
            }
        }
        reader.finish()?;
        let repeated = pairs.into_iter().filter(|(name, _)| name != "cursor").collect();
        Ok(Self { query, repeated })
    }

    /// The query string of the page after this one.
    pub(super) fn next(&self, cursor: &str) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.repeated)
            .append_pair("cursor", cursor)
            .finish()
    }
}

/// Which changes a watcher of all jobs wants to hear of.
#[derive(Debug, Default)]
pub(super) struct WatchFilter {
    states: Vec<State>,
    job_type: Option<String>,
}

impl WatchFilter {
    /// Reads the query string of a watch.
    pub(super) fn read(raw: Option<&str>) -> Result<Self, Problem> {
        let mut reader = Reader::default();
        let mut filter = Self::default();
        for (name, value) in &pairs(raw) {
            match name.as_str() {
                "state" => filter.states.extend(reader.states(value)),
                "type" => filter.job_type = reader.once(name, || type_pattern(value)),
                _ => reader.unknown(name, "state, type"),
            }
        }
        reader.finish().map(|()| filter)
    }

    /// Whether a job of this type in this state is wanted.
    pub(super) fn wants(&self, job_type: &JobType, state: State) -> bool {
        (self.states.is_empty() || self.states.contains(&state))
            && self.job_type.as_ref().is_none_or(|pattern| matches(pattern, job_type.as_str()))
    }
}

/// Reads the query string of one job: how long to wait for its end.
pub(super) fn read_wait(raw: Option<&str>) -> Result<Duration, Problem> {
    let mut reader = Reader::default();
    let mut wait = Duration::ZERO;
    for (name, value) in &pairs(raw) {
        match name.as_str() {
            "wait" => wait = reader.once(name, || seconds(value)).unwrap_or_default(),
            _ => reader.unknown(name, "wait"),
        }
    }
    reader.finish().map(|()| wait)
}

fn pairs(raw: Option<&str>) -> Vec<(String, String)> {
    form_urlencoded::parse(raw.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// Which page of the quarantine is asked for.
#[derive(Debug)]
pub(super) struct QuarantineQuery {
    /// How many messages at most.
    pub(super) limit: usize,
    /// Only those with a lower number.
    pub(super) before: Option<u64>,
}

impl QuarantineQuery {
    /// Reads the query string of the quarantine.
    pub(super) fn read(raw: Option<&str>) -> Result<Self, Problem> {
        let mut reader = Reader::default();
        let mut query = Self { limit: PAGE_JOBS_DEFAULT, before: None };
        for (name, value) in &pairs(raw) {
            match name.as_str() {
                "limit" => query.limit = reader.once(name, || limit(value)).unwrap_or(PAGE_JOBS_DEFAULT),
                "cursor" => {
                    query.before = reader
                        .once(name, || cursor::decode_number(value).ok_or_else(|| NO_CURSOR.to_owned()));
                }
                _ => reader.unknown(name, "limit, cursor"),
            }
        }
        reader.finish().map(|()| query)
    }
}

/// Which page of the types is asked for.
#[derive(Debug)]
pub(super) struct TypesQuery {
    /// How many types at most.
    pub(super) limit: usize,
    /// Only those after this one, by name.
    pub(super) after: Option<JobType>,
}

impl TypesQuery {
    /// Reads the query string of the types.
    pub(super) fn read(raw: Option<&str>) -> Result<Self, Problem> {
        let mut reader = Reader::default();
        let mut query = Self { limit: PAGE_JOBS_MAX, after: None };
        for (name, value) in &pairs(raw) {
            match name.as_str() {
                "limit" => query.limit = reader.once(name, || limit(value)).unwrap_or(PAGE_JOBS_MAX),
                "cursor" => {
                    query.after =
                        reader.once(name, || cursor::decode_name(value).ok_or_else(|| NO_CURSOR.to_owned()));
                }
                _ => reader.unknown(name, "limit, cursor"),
            }
        }
        reader.finish().map(|()| query)
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Reader {
    seen: Vec<String>,
    problems: Vec<FieldProblem>,
}

impl Reader {
    /// Reads a parameter that may be there only once.
    fn once<T>(&mut self, name: &str, read: impl FnOnce() -> Result<T, String>) -> Option<T> {
        if self.seen.iter().any(|seen| seen == name) {
            self.wrong(name, "it is there more than once");
            return None;
        }
        self.seen.push(name.to_owned());
        read().map_err(|message| self.wrong(name, message)).ok()
    }

    /// Reads states, with commas between them.
    fn states(&mut self, value: &str) -> Vec<State> {
        let read = value.split(',').map(|word| word.trim().parse::<State>());
        read.collect::<Result<_, _>>()
            .map_err(|error| self.wrong("state", error.to_string()))
            .unwrap_or_default()
    }

    fn label(&mut self, labels: &mut BTreeMap<String, String>, label: &str, value: &str) {
        if labels.insert(label.to_owned(), value.to_owned()).is_some() {
            self.wrong(&format!("{LABEL_PREFIX}{label}"), "it is there more than once");
        }
    }

    fn unknown(&mut self, name: &str, known: &str) {
        self.wrong(name, format!("there is no such parameter; there are {known}"));
    }

    fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(field(format!("?{name}"), message));
    }

    fn finish(self) -> Result<(), Problem> {
        match self.problems.as_slice() {
            [] => Ok(()),
            [only] if only.pointer == "?cursor" => {
                Err(Problem::with_errors(Code::InvalidCursor, self.problems))
            }
            _ => Err(Problem::with_errors(Code::InvalidQuery, self.problems)),
        }
    }
}

/// A job type, in which `*` stands for any characters.
pub(super) fn type_pattern(value: &str) -> Result<String, String> {
    let fits = !value.is_empty()
        && value.len() <= JobType::LENGTH_MAX
        && value.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'*'));
    if fits {
        Ok(value.to_owned())
    } else {
        Err("it is a job type, in which * stands for any characters, such as image.*".to_owned())
    }
}

fn time(value: &str) -> Result<Timestamp, String> {
    read_time(value).ok_or_else(|| {
        "it is a time such as 2026-11-20T16:07:00Z (RFC 3339; write a plus sign as %2B)".to_owned()
    })
}

/// A time by RFC 3339.
pub(super) fn read_time(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_millis(time.as_millisecond()))
}

fn limit(value: &str) -> Result<usize, String> {
    let limit = value.parse().ok().filter(|limit| (1..=PAGE_JOBS_MAX).contains(limit));
    limit.ok_or_else(|| format!("it is a whole number from 1 to {PAGE_JOBS_MAX}"))
}

fn seconds(value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok().map(Duration::from_secs).filter(|wait| *wait <= WAIT_MAX);
    seconds.ok_or_else(|| format!("it is a whole number of seconds from 0 to {}", WAIT_MAX.as_secs()))
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

    #[test]
    fn the_next_page_repeats_every_condition() {
        let list =
            ListQuery::read(Some("state=ready,running&label.a%20b=c%26d&type=image.*&cursor=")).unwrap_err();
        assert_eq!(list.code(), Code::InvalidCursor);
        let list =
            ListQuery::read(Some("state=ready,running&label.a%20b=c%26d&type=image.*&limit=2")).unwrap();
        let next = list.next("abc");
        let again = ListQuery::read(Some(next.trim_end_matches("&cursor=abc"))).unwrap();
        assert_eq!(again.query, list.query);
        assert_eq!(list.query.labels["a b"], "c&d");
    }

    #[test]
    fn every_wrong_parameter_is_told() {
        let raw =
            "state=ready,odd&type=A&limit=0&limit=5&created_after=yesterday&label.=x&colour=red&cursor=x";
        let problem = ListQuery::read(Some(raw)).unwrap_err();
        insta::assert_debug_snapshot!(problem.body("r").errors);
    }
}
