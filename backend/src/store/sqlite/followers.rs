//! Jobs that come after others, read from the database.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crewcall_proto::JobId;
use rusqlite::Connection;

use super::{
    columns::{Columns, Parameters, Value, all, columns, list, names_of, sql},
    transaction_error::TransactionError,
    values::id_bytes,
};
use crate::{
    domain::{AfterFailure, Blocked, State},
    engine::rules::Followers,
};

/// What a job comes after, in its place.
pub(super) struct LinkRow {
    pub(super) job_seq: i64,
    pub(super) place: i64,
    pub(super) first: JobId,
    pub(super) end: Option<State>,
    pub(super) on_failure: AfterFailure,
}

columns!(LinkRow {
    job_seq: "job_seq",
    place: "place",
    first: "first",
    end: "first_end",
    on_failure: "on_failure",
});

/// The same, from `job_links` joined with `jobs`.
struct OpenLinkRow {
    id: JobId,
    link: LinkRow,
}

columns!(OpenLinkRow { id: "id", link: "" });

/// The blocked jobs.
pub(super) fn load(connection: &Connection) -> Result<Followers, TransactionError> {
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_by_state JOIN job_links ON job_seq = seq \
         WHERE state = 'blocked' ORDER BY seq, place",
        list::<OpenLinkRow>()
    );
    let rows: Vec<OpenLinkRow> = all(connection, sql, ())?;
    let mut blocked = BTreeMap::<JobId, Blocked>::new();
    for OpenLinkRow { id, link } in rows {
        let on_failure = link.on_failure;
        let known = blocked.entry(id).or_insert_with(|| Blocked { on_failure, jobs: Vec::new() });
        known.jobs.push((link.first, link.end));
    }
    Ok(Followers::new(blocked))
}

/// What a job comes after.
pub(super) fn comes_after(connection: &Connection, id: JobId) -> Result<Option<Blocked>, TransactionError> {
    let sql = sql!(
        "SELECT {} FROM job_links WHERE job_seq = (SELECT seq FROM jobs WHERE id = ?) ORDER BY place",
        list::<LinkRow>()
    );
    let rows: Vec<LinkRow> = all(connection, sql, [id_bytes(&id)])?;
    let on_failure = rows.first().map(|row| row.on_failure);
    let jobs = rows.into_iter().map(|row| (row.first, row.end)).collect();
    Ok(on_failure.map(|on_failure| Blocked { on_failure, jobs }))
}

/// How many blocked jobs nothing blocks any more, for readers.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedFollowers(Arc<AtomicUsize>);

impl SharedFollowers {
    pub(super) fn unblocked(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// That is how it is, as committed last.
    pub(super) fn set(&self, followers: &Followers) {
        self.0.store(followers.free(), Ordering::Release);
    }
}
