//! Under which names jobs were submitted, so that whoever submits one again gets the same job.

use std::sync::Arc;

use crewcall_proto::Timestamp;
use rusqlite::params;

use super::super::{
    columns::{first, list, sql, values},
    queries,
    rows::KeyRow,
    transaction_error::TransactionError,
    values::to_limit,
    write_context::WriteContext,
};
use crate::{
    engine::{
        ports::{IdempotencyKey, Inserted},
        rules::forgotten_until,
    },
    mutant::mutant,
};

/// How many keys that are too old are deleted for each one that is used: more than come, so that their number
/// falls again after a crowd, and few enough that nobody waits for it.
const PURGED_PER_KEY: usize = 4;

/// What became of an earlier submission with this key, if there was one.
pub(in super::super) fn earlier(
    context: &WriteContext,
    key: &IdempotencyKey,
) -> Result<Option<Inserted>, TransactionError> {
    let sql = sql!("SELECT {} FROM idempotency_keys WHERE key = ? AND created_at > ?", list::<KeyRow>());
    let forgotten: Timestamp = forgotten_until(context.now());
    match first::<KeyRow>(&context.connection, sql, params![key.key, forgotten.as_millis()])? {
        None => Ok(None),
        Some(row) if row.body_hash != key.body_hash => Ok(Some(Inserted::KeyReused)),
        Some(row) => {
            let job = Arc::new(queries::job_of_row(&context.connection, row.job_seq)?);
            Ok(Some(Inserted::Replayed { job }))
        }
    }
}

/// Remembers under which name a job was submitted, and forgets some that are too old.
pub(super) fn remember(
    context: &WriteContext,
    key: IdempotencyKey,
    job_seq: i64,
) -> Result<(), TransactionError> {
    if mutant("key_forgotten") {
        return Ok(());
    }
    let IdempotencyKey { key, body_hash } = key;
    let row = KeyRow { key, body_hash, job_seq, created_at: context.now() };
    context.insert(sql!("INSERT OR REPLACE INTO idempotency_keys {}", values::<KeyRow>()), &row)?;
    context.execute(
        "DELETE FROM idempotency_keys WHERE key IN (\
           SELECT key FROM idempotency_keys INDEXED BY idempotency_keys_by_age \
           WHERE created_at <= ? ORDER BY created_at LIMIT ?)",
        params![forgotten_until(context.now()).as_millis(), to_limit(PURGED_PER_KEY)],
    )?;
    Ok(())
}
