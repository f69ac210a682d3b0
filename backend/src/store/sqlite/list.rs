//! Lists of jobs, newest first, with filters.
//!
//! Ids are of UUID version 7, so their order is that of age. Each filter is read from an index in that order:
//! a label from its own, states and types from one range per state of each type that has jobs, times from where
//! their ids must be ([`IdClockSkew`]). The narrowest index leads, the others are asked row by row.

use std::collections::BTreeSet;

use crewcall_proto::{JobId, JobType, Timestamp};
use rusqlite::{CachedStatement, Connection, params};
use uuid::Uuid;

use super::{
    columns::{Columns, Parameters, Value, columns, list as list_of, names_of, sql},
    id_clock_skew::IdClockSkew,
    rows::WholeJob,
    shared_counts::SharedCounts,
    transaction_error::TransactionError,
};
use crate::{
    domain::{Job, State},
    engine::{ports::JobQuery, rules::StateCounts},
};

/// 16 bytes that order as the ids do.
type IdBytes = [u8; 16];

/// How many jobs and types there are.
type Counts = [(JobType, StateCounts)];

/// How many jobs of a label are counted to find the rarest: counting more would take longer than it saves.
const LABEL_COUNT_MAX: u64 = 10_000;

/// A job with the bytes of its parameters and its result.
struct ListedJob {
    whole: WholeJob,
    bytes: usize,
}

columns!(ListedJob { whole: "", bytes: "octet_length(parameters) + coalesce(octet_length(result), 0)" });

/// Lists jobs. `counts` says which types have jobs at all.
pub(super) fn list(
    connection: &Connection,
    query: &JobQuery,
    counts: &Counts,
) -> Result<Vec<Job>, TransactionError> {
    let sql =
        sql!("SELECT {} FROM jobs JOIN job_payloads ON job_seq = seq WHERE id = ?", list_of::<ListedJob>());
    let mut one = connection.prepare_cached(sql)?;
    let mut read = |id: &IdBytes| -> Result<ListedJob, TransactionError> {
        one.query_row([&id[..]], |row| Ok(Columns::of(row).value()))?
    };
    let (mut jobs, mut bytes) = (Vec::new(), 0);
    for id in matching(connection, query, counts)? {
        let ListedJob { whole, bytes: payload } = read(&id)?;
        jobs.push(whole.job()?);
        bytes += payload;
        if query.bytes_max.is_some_and(|bytes_max| bytes >= bytes_max) {
            break;
        }
    }
    Ok(jobs)
}

/// Lists the ids of jobs.
pub(super) fn list_ids(
    connection: &Connection,
    query: &JobQuery,
    counts: &Counts,
) -> Result<Vec<JobId>, TransactionError> {
    let ids = matching(connection, query, counts)?;
    Ok(ids.into_iter().map(|id| JobId::from_uuid(Uuid::from_bytes(id))).collect())
}

/// The counts of the types that a query can find; none, if it asks neither for states nor for types.
pub(super) fn counts_for(query: &JobQuery, counts: &SharedCounts) -> Vec<(JobType, StateCounts)> {
    match &query.job_type {
        None if query.states.is_empty() => Vec::new(),
        _ => counts.some(|job_type, counts| {
            query.selects_type(job_type)
                && State::ALL.into_iter().any(|state| query.selects_state(state) && counts.get(state) > 0)
        }),
    }
}

fn matching(
    connection: &Connection,
    query: &JobQuery,
    counts: &Counts,
) -> Result<Vec<IdBytes>, TransactionError> {
    if query.limit == 0 {
        return Ok(Vec::new());
    }
    let scan = Scan { connection, query, bounds: IdClockSkew::read(connection)?.bounds(query) };
    let by_ranges = !query.states.is_empty() || query.job_type.is_some();
    let in_ranges: u64 = ranges(query, counts).map(|(_, _, jobs)| jobs).sum();
    match scan.rarest_label()? {
        Some((jobs, name)) if !by_ranges || jobs <= in_ranges => scan.by_label(name),
        _ if by_ranges => scan.by_ranges(counts),
        _ => scan.newest(),
    }
}

/// One reading of the lists.
struct Scan<'a> {
    connection: &'a Connection,
    query: &'a JobQuery,
    /// The first id that can match, and the first above it that cannot.
    bounds: (Vec<u8>, Vec<u8>),
}

impl Scan<'_> {
    /// The name of the label with the fewest jobs, and how many those are, as far as they were counted.
    fn rarest_label(&self) -> Result<Option<(u64, &str)>, TransactionError> {
        let mut count = self.connection.prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM job_labels \
             WHERE name = ? AND value = ? AND job_id >= ? AND job_id < ? LIMIT ?)",
        )?;
        let mut rarest = None;
        for (name, value) in &self.query.labels {
            let (from, until) = &self.bounds;
            let limit = rarest.map_or(LABEL_COUNT_MAX, |(jobs, _)| jobs).cast_signed();
            let jobs: i64 = count.query_row(params![name, value, from, until, limit], |row| row.get(0))?;
            let jobs = jobs.cast_unsigned();
            if rarest.is_none_or(|(fewest, _)| jobs < fewest) {
                rarest = Some((jobs, name.as_str()));
            }
        }
        Ok(rarest)
    }

    fn by_label(&self, leading: &str) -> Result<Vec<IdBytes>, TransactionError> {
        let query = self.query;
        let value = query.labels.get(leading);
        let others = query.labels.iter().filter(|(name, _)| *name != leading).collect();
        let asks_job = !query.states.is_empty() || query.job_type.is_some() || asks_time(query);
        let mut check = Check::new(self, others, asks_job)?;
        let mut statement = self.connection.prepare_cached(
            "SELECT job_id FROM job_labels \
             WHERE name = ? AND value = ? AND job_id >= ? AND job_id < ? ORDER BY job_id DESC",
        )?;
        let (from, until) = &self.bounds;
        let mut rows = statement.query(params![leading, value, from, until])?;
        let mut ids = Vec::new();
        while ids.len() < query.limit
            && let Some(row) = rows.next()?
        {
            let id = row.get(0)?;
            if check.passes(&id)? {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    fn newest(&self) -> Result<Vec<IdBytes>, TransactionError> {
        let mut check = Check::new(self, Vec::new(), asks_time(self.query))?;
        let mut statement = self
            .connection
            .prepare_cached("SELECT id FROM jobs WHERE id >= ? AND id < ? ORDER BY id DESC")?;
        let (from, until) = &self.bounds;
        let mut rows = statement.query(params![from, until])?;
        let mut ids = Vec::new();
        while ids.len() < self.query.limit
            && let Some(row) = rows.next()?
        {
            let id = row.get(0)?;
            if check.passes(&id)? {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// The newest of several ranges: the ids of each, as long as they can still be among the first.
    fn by_ranges(&self, counts: &Counts) -> Result<Vec<IdBytes>, TransactionError> {
        let limit = self.query.limit;
        let mut check = Check::new(self, self.query.labels.iter().collect(), asks_time(self.query))?;
        let mut range = self.connection.prepare_cached(
            "SELECT id FROM jobs INDEXED BY jobs_by_state \
             WHERE state = ? AND type = ? AND id >= ? AND id < ? ORDER BY id DESC",
        )?;
        let (from, until) = &self.bounds;
        let mut ids: BTreeSet<IdBytes> = BTreeSet::new();
        for (state, job_type, _) in ranges(self.query, counts) {
            let full = ids.len() >= limit;
            let floor: &[u8] = ids.first().filter(|_| full).map_or(&from[..], |id| &id[..]);
            let mut rows = range.query(params![state.as_str(), job_type.as_str(), floor, until])?;
            let mut found = 0;
            while found < limit
                && let Some(row) = rows.next()?
            {
                let id = row.get(0)?;
                if check.passes(&id)? {
                    ids.insert(id);
                    found += 1;
                }
            }
            while ids.len() > limit {
                ids.pop_first();
            }
        }
        Ok(ids.into_iter().rev().collect())
    }
}

/// What conditions ask of a job.
struct Asked {
    state: State,
    job_type: JobType,
    created_at: Timestamp,
}

columns!(Asked { state: "state", job_type: "type", created_at: "created_at" });

/// The conditions that the leading index does not know, asked for one job after the other.
struct Check<'a> {
    query: &'a JobQuery,
    labels: Vec<(&'a String, &'a String)>,
    label: CachedStatement<'a>,
    job: Option<CachedStatement<'a>>,
}

impl<'a> Check<'a> {
    fn new(
        scan: &Scan<'a>,
        labels: Vec<(&'a String, &'a String)>,
        asks_job: bool,
    ) -> Result<Self, TransactionError> {
        let label = scan
            .connection
            .prepare_cached("SELECT 1 FROM job_labels WHERE name = ? AND value = ? AND job_id = ?")?;
        let job = sql!("SELECT {} FROM jobs WHERE id = ?", list_of::<Asked>());
        let job = if asks_job { Some(scan.connection.prepare_cached(job)?) } else { None };
        Ok(Self { query: scan.query, labels, label, job })
    }

    fn passes(&mut self, id: &IdBytes) -> Result<bool, TransactionError> {
        for (name, value) in &self.labels {
            if !self.label.exists(params![name, value, &id[..]])? {
                return Ok(false);
            }
        }
        let Some(job) = &mut self.job else { return Ok(true) };
        let (query, (after, until)) = (self.query, created(self.query));
        let mut rows = job.query([&id[..]])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        let Asked { state, job_type, created_at } = Columns::of(row).value()?;
        Ok(query.selects(&job_type, state) && (after..until).contains(&created_at.as_millis()))
    }
}

/// The states that the query is about, of each type that has jobs and that it is about; and how many jobs. A state
/// without jobs may have one by now: the counts are a moment older than what is read.
fn ranges<'a>(query: &'a JobQuery, counts: &'a Counts) -> impl Iterator<Item = (State, &'a JobType, u64)> {
    counts.iter().filter(|(job_type, _)| query.selects_type(job_type)).flat_map(|(job_type, counts)| {
        State::ALL
            .into_iter()
            .filter(|state| query.selects_state(*state))
            .map(move |state| (state, job_type, counts.get(state)))
    })
}

/// The first time of acceptance that is listed, and the first that no longer is.
fn created(query: &JobQuery) -> (i64, i64) {
    (
        query.created_after.map_or(i64::MIN, Timestamp::as_millis),
        query.created_before.map_or(i64::MAX, Timestamp::as_millis),
    )
}

fn asks_time(query: &JobQuery) -> bool {
    query.created_after.is_some() || query.created_before.is_some()
}
