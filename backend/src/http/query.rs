//! Query strings: every parameter is known and right, or the request is refused.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use crewcall_proto::{JobId, RunId};
use url::form_urlencoded;
use uuid::Uuid;

use super::{
    cursor::{self, Cursor},
    fields::Fields,
    filter,
    problem::Problem,
};
use crate::{
    domain::{Sequence, TickKey, schedules::tick::TickState, subject::InvalidPattern, workflow::known::Role},
    engine::{
        LogQuery,
        ports::{JobQuery, RunQuery},
    },
};

/// How many jobs, or messages of the quarantine, a page has unless the caller asks for another number.
pub(super) const PAGE_JOBS_DEFAULT: usize = 50;

/// The most jobs, types, runs, items, ticks, lines of a journal, or messages of the quarantine, of one page.
pub const PAGE_JOBS_MAX: usize = 500;

/// How many hexadecimal digits the id of a job has.
const ID_DIGITS: usize = 32;

/// The longest that a request may wait for a job to end.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// Which page of a list is asked for.
#[derive(Debug)]
pub(super) struct PageQuery<T> {
    /// How many entries at most.
    pub(super) limit: usize,
    /// The entry that the page before ended with.
    pub(super) after: Option<T>,
}

impl<T: Cursor> PageQuery<T> {
    /// Reads the query string of a list without a filter.
    pub(super) fn read(raw: Option<&str>, limit_default: usize) -> Result<Self, Problem> {
        let mut fields = Fields::query(raw);
        let page = Self::of(&mut fields, limit_default);
        fields.conclude(Ok(page))
    }

    fn of(fields: &mut Fields, limit_default: usize) -> Self {
        let limit = fields.read("limit", |text| whole(text, 1..=PAGE_JOBS_MAX, "number"));
        Self { limit: limit.unwrap_or(limit_default), after: fields.read("cursor", cursor::decode) }
    }
}

/// Reads the query string of a list of jobs. Its limit is that of the page.
pub(super) fn read_jobs(raw: Option<&str>) -> Result<JobQuery, Problem> {
    let mut fields = Fields::query(raw);
    let filter = filter::read(&mut fields);
    let ids = fields.read("id_prefix", ids_that_begin_with);
    let page = PageQuery::<JobId>::of(&mut fields, PAGE_JOBS_DEFAULT);
    fields.conclude(Ok(JobQuery { limit: page.limit, before: page.after, ids, ..filter }))
}

/// The lowest and the highest id that begin with these characters.
fn ids_that_begin_with(text: &str) -> Result<RangeInclusive<JobId>, String> {
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    let is_prefix =
        (1..=ID_DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let filled = |filler: &str| digits.clone() + &filler.repeat(ID_DIGITS.saturating_sub(digits.len()));
    match (Uuid::try_parse(&filled("0")), Uuid::try_parse(&filled("f"))) {
        (Ok(lowest), Ok(highest)) if is_prefix => Ok(JobId::from_uuid(lowest)..=JobId::from_uuid(highest)),
        _ => Err("it is the beginning of a job's id, such as 0192e4a0-7c".to_owned()),
    }
}

/// The query string of the page after the one that `raw` asked for.
pub(super) fn next_page(raw: Option<&str>, cursor: &str) -> String {
    let repeated = form_urlencoded::parse(raw.unwrap_or_default().as_bytes());
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(repeated.filter(|(name, _)| name != "cursor"))
        .append_pair("cursor", cursor)
        .finish()
}

/// Reads the query string of a list of events.
pub(super) fn read_events(raw: Option<&str>) -> Result<LogQuery, Problem> {
    let mut fields = Fields::query(raw);
    let limit = fields.read("limit", |text| whole(text, 1..=PAGE_JOBS_MAX, "number"));
    let query = LogQuery { limit: limit.unwrap_or(PAGE_JOBS_DEFAULT), ..part_of_log(&mut fields) };
    fields.conclude(Ok(query))
}

/// Reads the query string of a watch of the log.
pub(super) fn read_event_watch(raw: Option<&str>) -> Result<LogQuery, Problem> {
    let mut fields = Fields::query(raw);
    let query = part_of_log(&mut fields);
    fields.conclude(Ok(query))
}

/// The place in the log that the text names. What does not fit a signed number was never given by a store.
pub(super) fn sequence_of(text: &str) -> Option<Sequence> {
    text.parse().ok().filter(|number| i64::try_from(*number).is_ok()).map(Sequence)
}

fn part_of_log(fields: &mut Fields) -> LogQuery {
    let subjects =
        fields.read("subject", |text| text.parse().map_err(|error: InvalidPattern| error.to_string()));
    let after = fields.read("after", |text| {
        sequence_of(text).ok_or_else(|| "it is the sequence of an event, a whole number".to_owned())
    });
    LogQuery { subjects, after, ..LogQuery::default() }
}

/// Reads the query string of a watch of all jobs.
pub(super) fn read_watch(raw: Option<&str>) -> Result<JobQuery, Problem> {
    let mut fields = Fields::query(raw);
    let filter = filter::read_state_and_type(&mut fields);
    fields.conclude(Ok(filter))
}

/// Reads the query string of a list of runs. Its limit is that of the page.
pub(super) fn read_runs(raw: Option<&str>) -> Result<RunQuery, Problem> {
    let mut fields = Fields::query(raw);
    let filter = filter::read_runs(&mut fields);
    let page = PageQuery::<RunId>::of(&mut fields, PAGE_JOBS_DEFAULT);
    fields.conclude(Ok(RunQuery { limit: page.limit, before: page.after, ..filter }))
}

/// Which items of a step are asked for.
#[derive(Debug)]
pub(super) struct ItemsQuery {
    pub(super) role: Role,
    /// From the one behind this.
    pub(super) after: Option<u32>,
    pub(super) limit: usize,
}

/// Reads the query string of a list of items.
pub(super) fn read_items(raw: Option<&str>) -> Result<ItemsQuery, Problem> {
    let mut fields = Fields::query(raw);
    let role = fields.read("role", |word| match word {
        "work" => Ok(Role::Work),
        "undo" => Ok(Role::Undo),
        _ => Err("it is work or undo".to_owned()),
    });
    let after = fields.read("after", |text| {
        text.parse().map_err(|_| "it is the index of an item, a whole number".to_owned())
    });
    let limit = fields.read("limit", |text| whole(text, 1..=PAGE_JOBS_MAX, "number"));
    let (role, limit) = (role.unwrap_or(Role::Work), limit.unwrap_or(PAGE_JOBS_DEFAULT));
    fields.conclude(Ok(ItemsQuery { role, after, limit }))
}

/// Reads the query string of a list of ticks: in which states they are, and which page it is.
pub(super) fn read_ticks(raw: Option<&str>) -> Result<(Vec<TickState>, PageQuery<TickKey>), Problem> {
    let mut fields = Fields::query(raw);
    let states = fields.states();
    let page = PageQuery::of(&mut fields, PAGE_JOBS_DEFAULT);
    fields.conclude(Ok((states, page)))
}

/// Reads the query string of a journal: after which line, and how many lines at most.
pub(super) fn read_journal(raw: Option<&str>) -> Result<(u64, usize), Problem> {
    let mut fields = Fields::query(raw);
    let after = fields.read("after", |text| whole(text, 0..=i64::MAX.unsigned_abs(), "number"));
    let limit = fields.read("limit", |text| whole(text, 1..=PAGE_JOBS_MAX, "number"));
    fields.conclude(Ok((after.unwrap_or_default(), limit.unwrap_or(PAGE_JOBS_DEFAULT))))
}

/// Reads the query string of one job or run: how long to wait for its end.
pub(super) fn read_wait(raw: Option<&str>) -> Result<Duration, Problem> {
    let mut fields = Fields::query(raw);
    let seconds = fields.read("wait", |text| whole(text, 0..=WAIT_MAX.as_secs(), "number of seconds"));
    fields.conclude(Ok(Duration::from_secs(seconds.unwrap_or_default())))
}

fn whole<N: FromStr + PartialOrd + Display>(
    text: &str,
    range: RangeInclusive<N>,
    what: &str,
) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("it is a whole {what} from {} to {}", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::ProblemCode;

    #[test]
    fn the_next_page_repeats_every_condition() {
        let raw = "state=ready,running&label.a%20b=c%26d&type=image.*";
        assert_eq!(
            read_jobs(Some(&format!("{raw}&cursor="))).unwrap_err().code(),
            ProblemCode::InvalidCursor
        );
        let query = read_jobs(Some(raw)).unwrap();
        assert_eq!(query.labels["a b"], "c&d");
        let next = next_page(Some(&format!("{raw}&cursor=old")), "abc");
        assert_eq!(read_jobs(next.strip_suffix("&cursor=abc")).unwrap(), query);
    }

    #[test]
    fn every_wrong_parameter_is_told() {
        let raw = "state=ready,odd&type=A&limit=0&limit=5&created_after=yesterday&label.=x&label.a=1&label.a=2&colour=red&cursor=x&labels=x";
        insta::assert_debug_snapshot!(read_jobs(Some(raw)).unwrap_err().body("r").errors);
    }
}
