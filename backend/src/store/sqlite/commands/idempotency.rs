//! Under which names jobs were submitted, so that whoever submits one again gets the same job.

use std::sync::Arc;

use crewcall_proto::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::super::{desk::Desk, fault::Fault, queries};
use crate::{
    engine::ports::{IDEMPOTENCY_KEPT_FOR, IdempotencyKey, Inserted},
    mutant::mutant,
};

/// How many keys that are too old are deleted for each one that is used: more than come, so that their number
/// falls again after a crowd, and few enough that nobody waits for it.
const PURGED_PER_KEY: usize = 4;

/// What became of an earlier submission with this key, if there was one.
pub(in super::super) fn earlier(desk: &Desk, key: &IdempotencyKey) -> Result<Option<Inserted>, Fault> {
    let mut statement = desk
        .connection
        .prepare_cached("SELECT job_seq, body_hash FROM idempotency_keys WHERE key = ? AND created_at > ?")?;
    let found = statement
        .query_row(params![key.key, forgotten_until(desk).as_millis()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .optional()?;
    match found {
        None => Ok(None),
        Some((_, body_hash)) if body_hash != key.body_hash => Ok(Some(Inserted::KeyReused)),
        Some((seq, _)) => {
            Ok(Some(Inserted::Replayed { job: Arc::new(queries::job_of_row(&desk.connection, seq)?) }))
        }
    }
}

/// Remembers under which name a job was submitted, and forgets some that are too old.
pub(super) fn remember(desk: &Desk, key: &IdempotencyKey, seq: i64) -> Result<(), Fault> {
    if mutant("key_forgotten") {
        return Ok(());
    }
    desk.execute(
        "INSERT OR REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?)",
        params![key.key, key.body_hash, seq, desk.now().as_millis()],
    )?;
    desk.execute(
        "DELETE FROM idempotency_keys WHERE key IN (\
           SELECT key FROM idempotency_keys INDEXED BY idempotency_keys_by_age \
           WHERE created_at <= ? ORDER BY created_at LIMIT ?)",
        params![forgotten_until(desk).as_millis(), queries::to_limit(PURGED_PER_KEY)],
    )?;
    Ok(())
}

/// Keys of this time and earlier are forgotten.
fn forgotten_until(desk: &Desk) -> Timestamp {
    let kept_for = i64::try_from(IDEMPOTENCY_KEPT_FOR.as_millis()).unwrap_or(i64::MAX);
    desk.now().plus_millis(-kept_for)
}
