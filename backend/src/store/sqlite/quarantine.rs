//! Messages that could not be read are kept beside the jobs.

use rusqlite::params;

use super::{
    columns::{sql, values},
    transaction_error::TransactionError,
    values::to_integer,
    write_context::WriteContext,
};
use crate::engine::ports::{QUARANTINE_BODY_BYTES_MAX, QUARANTINE_MESSAGES_MAX, QuarantinedMessage};

/// Keeps messages; the oldest make room.
pub(super) fn keep(
    context: &WriteContext,
    messages: Vec<QuarantinedMessage>,
) -> Result<(), TransactionError> {
    for mut message in messages {
        message.body.truncate(QUARANTINE_BODY_BYTES_MAX);
        context.insert(sql!("INSERT INTO quarantine {}", values::<QuarantinedMessage>()), &message)?;
    }
    // The numbers have gaps where somebody deleted messages, so they are counted: along an index of their own, because
    // each message is as large as a page.
    context.execute(
        "DELETE FROM quarantine WHERE seq <= \
           (SELECT seq FROM quarantine INDEXED BY quarantine_numbers ORDER BY seq DESC LIMIT 1 OFFSET ?)",
        params![QUARANTINE_MESSAGES_MAX],
    )?;
    Ok(())
}

/// Deletes one message, or all.
pub(super) fn delete(context: &WriteContext, number: Option<u64>) -> Result<usize, TransactionError> {
    match number {
        Some(number) => context.execute("DELETE FROM quarantine WHERE seq = ?", [to_integer(number)]),
        None => context.execute("DELETE FROM quarantine", ()),
    }
}
