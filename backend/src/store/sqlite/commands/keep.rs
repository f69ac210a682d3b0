//! What is kept beside jobs: announced types, and messages that were set aside.

use rusqlite::params;

use super::super::{desk::Desk, fault::Fault, rows::to_json};
use crate::dispatch::ports::{
    QUARANTINE_BODY_BYTES_MAX, QUARANTINE_MESSAGES_MAX, QuarantinedMessage, StoredType,
};

/// Keeps a type as it was last announced.
pub(in super::super) fn put_type(desk: &Desk, stored: &StoredType) -> Result<(), Fault> {
    desk.execute(
        "INSERT INTO types VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (type) DO UPDATE SET \
           description = excluded.description, version = excluded.version, \
           parameters_schema = excluded.parameters_schema, result_schema = excluded.result_schema, \
           first_announced_at = excluded.first_announced_at, last_announced_at = excluded.last_announced_at",
        params![
            stored.job_type.as_str(),
            stored.description,
            stored.version,
            to_json(&stored.parameters_schema),
            to_json(&stored.result_schema),
            stored.first_announced_at.as_millis(),
            stored.last_announced_at.as_millis(),
        ],
    )?;
    Ok(())
}

/// Sets messages aside; the oldest make room.
pub(in super::super) fn quarantine(desk: &Desk, messages: &[QuarantinedMessage]) -> Result<(), Fault> {
    for message in messages {
        let body = message.body.get(..QUARANTINE_BODY_BYTES_MAX).unwrap_or(&message.body);
        desk.execute(
            "INSERT INTO quarantine (queue, routing_key, reason, detail, body, body_bytes, at) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                message.queue,
                message.routing_key,
                message.reason,
                message.detail,
                body,
                i64::try_from(message.body_bytes).unwrap_or(i64::MAX),
                message.at.as_millis(),
            ],
        )?;
    }
    // The numbers have no gaps: rows are only ever added at the top and removed at the bottom.
    desk.execute(
        "DELETE FROM quarantine WHERE seq <= (SELECT max(seq) FROM quarantine) - ?",
        params![QUARANTINE_MESSAGES_MAX],
    )?;
    Ok(())
}
