//! Lists of jobs, newest first, with filters.
//!
//! Ids are of UUID version 7, so their order is that of age. Each filter is read from an index in that order:
//! a label from its own, states and types from one range per type and state that has jobs. What no
//! index knows is checked row by row.

use std::collections::BTreeSet;

use crewcall_proto::{JobType, Timestamp};
use rusqlite::{CachedStatement, Connection, params};

use super::{
    fault::Fault,
    queries::to_limit,
    rows::{Columns, id_bytes, job_columns},
    tally::StateCounts,
};
use crate::{
    dispatch::ports::JobQuery,
    domain::{Job, State},
};

/// 16 bytes that order as the ids do.
type IdBytes = [u8; 16];

/// Above every id.
const ABOVE_ALL: [u8; 17] = [0xff; 17];

/// Lists jobs. `tally` says which ranges have jobs at all.
pub(super) fn list(
    connection: &Connection,
    query: &JobQuery,
    tally: &[(JobType, StateCounts)],
) -> Result<Vec<Job>, Fault> {
    if query.limit == 0 {
        Ok(Vec::new())
    } else if let Some((name, value)) = query.labels.first_key_value() {
        by_label(connection, query, name, value)
    } else if query.states.is_empty() && query.job_type.is_none() {
        newest(connection, query)
    } else {
        by_ranges(connection, query, tally)
    }
}

fn by_label(connection: &Connection, query: &JobQuery, name: &str, value: &str) -> Result<Vec<Job>, Fault> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        job_columns!(),
        " FROM job_labels CROSS JOIN jobs ON id = job_id JOIN job_payloads ON job_seq = seq \
         WHERE name = ? AND value = ? AND job_id < ? ORDER BY job_id DESC"
    ))?;
    let mut rows = statement.query(params![name, value, before(query)])?;
    let mut jobs = Vec::new();
    while jobs.len() < query.limit
        && let Some(row) = rows.next()?
    {
        let job = Columns::of(row).job()?;
        if matches(query, &job) {
            jobs.push(job);
        }
    }
    Ok(jobs)
}

fn newest(connection: &Connection, query: &JobQuery) -> Result<Vec<Job>, Fault> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        job_columns!(),
        " FROM jobs JOIN job_payloads ON job_seq = seq \
         WHERE id < ? AND created_at >= ? AND created_at < ? ORDER BY id DESC LIMIT ?"
    ))?;
    let (after, until) = created(query);
    let mut rows = statement.query(params![before(query), after, until, to_limit(query.limit)])?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        jobs.push(Columns::of(row).job()?);
    }
    Ok(jobs)
}

/// The newest of several ranges: the ids of each, as long as they can still be among the first.
fn by_ranges(
    connection: &Connection,
    query: &JobQuery,
    tally: &[(JobType, StateCounts)],
) -> Result<Vec<Job>, Fault> {
    let mut range = connection.prepare_cached(
        "SELECT id FROM jobs INDEXED BY jobs_by_state \
         WHERE state = ? AND type = ? AND id < ? AND id > ? AND created_at >= ? AND created_at < ? \
         ORDER BY id DESC LIMIT ?",
    )?;
    let (after, until) = created(query);
    let mut ids: BTreeSet<IdBytes> = BTreeSet::new();
    for (state, job_type) in ranges(query, tally) {
        let full = ids.len() >= query.limit;
        let floor: &[u8] = ids.first().filter(|_| full).map_or(&[], |id| &id[..]);
        let limit = to_limit(query.limit);
        let mut rows = range.query(params![
            state.as_str(),
            job_type.as_str(),
            before(query),
            floor,
            after,
            until,
            limit
        ])?;
        while let Some(row) = rows.next()? {
            ids.insert(row.get(0)?);
        }
        while ids.len() > query.limit {
            ids.pop_first();
        }
    }
    let mut one = connection.prepare_cached(concat!(
        "SELECT ",
        job_columns!(),
        " FROM jobs JOIN job_payloads ON job_seq = seq WHERE id = ?"
    ))?;
    ids.iter().rev().map(|id| read_one(&mut one, id)).collect()
}

fn read_one(statement: &mut CachedStatement<'_>, id: &IdBytes) -> Result<Job, Fault> {
    statement.query_row([&id[..]], |row| Ok(Columns::of(row).job()))?
}

/// The states and types that the query is about and that have jobs.
fn ranges<'a>(
    query: &'a JobQuery,
    tally: &'a [(JobType, StateCounts)],
) -> impl Iterator<Item = (State, &'a JobType)> {
    tally.iter().filter(|(job_type, _)| type_matches(query, job_type)).flat_map(|(job_type, counts)| {
        State::ALL
            .into_iter()
            .filter(|state| state_matches(query, *state) && counts.get(*state) > 0)
            .map(move |state| (state, job_type))
    })
}

/// Where the last page ended; ids below it are listed.
fn before(query: &JobQuery) -> &[u8] {
    query.before.as_ref().map_or(&ABOVE_ALL, id_bytes)
}

/// The first time of acceptance that is listed, and the first that no longer is.
fn created(query: &JobQuery) -> (i64, i64) {
    (
        query.created_after.map_or(i64::MIN, Timestamp::as_millis),
        query.created_before.map_or(i64::MAX, Timestamp::as_millis),
    )
}

fn matches(query: &JobQuery, job: &Job) -> bool {
    let (after, until) = created(query);
    state_matches(query, job.life.state)
        && type_matches(query, &job.job_type)
        && (after..until).contains(&job.created_at.as_millis())
        && query.labels.iter().all(|(name, value)| job.labels.get(name) == Some(value))
}

fn state_matches(query: &JobQuery, state: State) -> bool {
    query.states.is_empty() || query.states.contains(&state)
}

fn type_matches(query: &JobQuery, job_type: &JobType) -> bool {
    query.job_type.as_ref().is_none_or(|pattern| pattern_matches(pattern, job_type.as_str()))
}

/// Whether the text is the pattern, in which `*` stands for any characters and nothing else is special.
fn pattern_matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut words = rest.split('*').peekable();
    while let Some(word) = words.next() {
        if words.peek().is_none() {
            return text.ends_with(word);
        }
        // The first place is the best: it leaves the most for what follows.
        match text.find(word) {
            Some(at) => text = &text[at + word.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_star_is_special() {
        let cases = [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("*", "anything", true),
            ("a.*", "a.b.c", true),
            ("a.*", "a", false),
            ("*.c", "a.b.c", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abced", false),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("?.b", "a.b", false),
            ("[a].b", "a.b", false),
            ("%", "a", false),
            ("", "", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(pattern_matches(pattern, text), expected, "{pattern} on {text}");
        }
    }
}
