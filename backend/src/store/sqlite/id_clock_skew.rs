//! How far the times in the ids of jobs are from the times of their acceptance.
//!
//! Lists are in the order of ids, which are of UUID version 7: their first 48 bits are the milliseconds of the
//! machine's clock. The time of acceptance is that of the backend's clock. The two are close unless somebody set
//! the machine's clock, and how far they ever were apart bounds where a job of some time can stand in a list.

use crewcall_proto::{JobId, Timestamp};
use rusqlite::Connection;

use super::{counters, transaction_error::TransactionError, values::id_bytes};
use crate::engine::ports::JobQuery;

/// How far the time in an id was ever ahead of that of acceptance, in milliseconds.
const IDS_AHEAD: &str = "ids_ahead";

/// How far it was ever behind.
const IDS_BEHIND: &str = "ids_behind";

/// How many of an id's bits are a time.
const TIME_BITS: u32 = 48;

/// The widest distances over all jobs, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct IdClockSkew {
    ahead: u64,
    behind: u64,
}

impl IdClockSkew {
    pub(super) fn read(connection: &Connection) -> Result<Self, TransactionError> {
        Ok(Self {
            ahead: counters::read(connection, IDS_AHEAD)?,
            behind: counters::read(connection, IDS_BEHIND)?,
        })
    }

    pub(super) fn keep(self, connection: &Connection) -> Result<(), TransactionError> {
        counters::raise(connection, IDS_AHEAD, self.ahead)?;
        counters::raise(connection, IDS_BEHIND, self.behind)
    }

    /// The distances with one more job.
    pub(super) fn with(self, id: &JobId, created_at: Timestamp) -> Self {
        let time = id_bytes(id).iter().take(6).fold(0_i64, |time, byte| (time << 8) | i64::from(*byte));
        let ahead = time.saturating_sub(created_at.as_millis());
        Self {
            ahead: self.ahead.max(u64::try_from(ahead).unwrap_or(0)),
            behind: self.behind.max(u64::try_from(ahead.saturating_neg()).unwrap_or(0)),
        }
    }

    /// Where the jobs that the query is about can stand: at or above the first bytes and below the second.
    pub(super) fn bounds(self, query: &JobQuery) -> (Vec<u8>, Vec<u8>) {
        let (ahead, behind) = (self.ahead.cast_signed(), self.behind.cast_signed());
        let from = query.created_after.map(|after| lowest_id(after.as_millis().saturating_sub(behind)));
        let until = query.created_before.map(|before| lowest_id(before.as_millis().saturating_add(ahead)));
        let until = until.unwrap_or_else(|| ABOVE_ALL.to_vec());
        let before = query.before.as_ref().map_or(&ABOVE_ALL[..], id_bytes);
        let (from, until) = (from.unwrap_or_default(), until.min(before.to_vec()));
        match &query.ids {
            Some(ids) => {
                // What follows the last id directly: until is not included.
                let after_last = [id_bytes(ids.end()), &[0]].concat();
                (from.max(id_bytes(ids.start()).to_vec()), until.min(after_last))
            }
            None => (from, until),
        }
    }
}

/// Above every id.
const ABOVE_ALL: [u8; 17] = [0xff; 17];

/// The lowest bytes that an id of this time can have.
fn lowest_id(milliseconds: i64) -> Vec<u8> {
    match u64::try_from(milliseconds) {
        Err(_) => Vec::new(),
        Ok(time) if time >> TIME_BITS != 0 => ABOVE_ALL.to_vec(),
        Ok(time) => time.to_be_bytes()[2..].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(milliseconds: u64) -> JobId {
        let mut bytes = [7; 16];
        bytes[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
        JobId::from_uuid(uuid::Uuid::from_bytes(bytes))
    }

    #[test]
    fn a_job_of_the_time_is_always_within_the_bounds() {
        let jobs = [(1_000, 1_000), (5_000, 900), (100, 7_000), (0, 0), (1, 1 << 60)]
            .map(|(time, created)| (id(time), Timestamp::from_millis(created)));
        let skew = jobs.iter().fold(IdClockSkew::default(), |skew, (id, created)| skew.with(id, *created));
        for (id, created) in &jobs {
            let query = JobQuery {
                created_after: Some(*created),
                created_before: Some(created.plus_millis(1)),
                ..JobQuery::default()
            };
            let (from, until) = skew.bounds(&query);
            assert!(from.as_slice() <= id_bytes(id) && id_bytes(id) < until.as_slice(), "{id} {created:?}");
        }
    }

    #[test]
    fn without_drift_the_bounds_are_those_of_the_time() {
        let query = JobQuery {
            created_after: Some(Timestamp::from_millis(10)),
            created_before: Some(Timestamp::from_millis(20)),
            ..JobQuery::default()
        };
        let (from, until) = IdClockSkew::default().bounds(&query);
        let within = |time| from.as_slice() <= id_bytes(&id(time)) && id_bytes(&id(time)) < until.as_slice();
        assert_eq!([9, 10, 19, 20].map(within), [false, true, true, false]);
    }
}
