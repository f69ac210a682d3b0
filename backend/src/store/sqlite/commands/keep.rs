//! What is kept beside jobs: announced types, what was set for types, and messages that were set aside.

use crewcall_proto::JobType;
use rusqlite::params;

use super::super::{
    desk::Desk,
    fault::Fault,
    rows::{to_integer, to_json},
    tally::Terms,
};
use crate::{
    domain::{Slot, TypeSettings},
    engine::ports::{QUARANTINE_BODY_BYTES_MAX, QUARANTINE_MESSAGES_MAX, QuarantinedMessage, StoredType},
    mutant::mutant,
};

/// Keeps a type as it was last announced.
pub(in super::super) fn put_type(desk: &mut Desk, stored: &StoredType) -> Result<(), Fault> {
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
    let terms = Terms { announced: true, ..desk.tally.terms(&stored.job_type) };
    desk.tally.set_terms(&stored.job_type, terms);
    Ok(())
}

/// Deletes a type that has no jobs, and what was set for it. Answers how much that was; `None`, if it has jobs.
pub(in super::super) fn delete_type(desk: &mut Desk, job_type: &JobType) -> Result<Option<usize>, Fault> {
    if desk.tally.has_jobs(job_type) {
        return Ok(None);
    }
    let set = Terms { announced: false, ..desk.tally.terms(job_type) };
    let set = usize::from(set != Terms::default());
    put_terms(desk, job_type, Terms::default())?;
    let types = desk.execute("DELETE FROM types WHERE type = ?", [job_type.as_str()])?;
    Ok(Some(types + set))
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
    // The numbers have gaps where somebody deleted messages, so they are counted: along an index of their own, because
    // each message is as large as a page.
    desk.execute(
        "DELETE FROM quarantine WHERE seq <= \
           (SELECT seq FROM quarantine INDEXED BY quarantine_numbers ORDER BY seq DESC LIMIT 1 OFFSET ?)",
        params![QUARANTINE_MESSAGES_MAX],
    )?;
    Ok(())
}

/// Deletes one message, or all.
pub(in super::super) fn delete_quarantined(desk: &Desk, number: Option<u64>) -> Result<usize, Fault> {
    match number {
        Some(number) => desk.execute("DELETE FROM quarantine WHERE seq = ?", [to_integer(number)]),
        None => desk.execute("DELETE FROM quarantine", ()),
    }
}

/// Keeps what was set for a type, unless that is one type too many. What was taken of a rate limit stays taken, for as
/// long as there is one.
pub(in super::super) fn put_type_settings(
    desk: &mut Desk,
    job_type: &JobType,
    settings: TypeSettings,
) -> Result<bool, Fault> {
    if settings != TypeSettings::default() && !desk.tally.takes(job_type) {
        return Ok(false);
    }
    let terms = desk.tally.terms(job_type);
    let slot = terms.slot.filter(|_| settings.rate_per_second.is_some());
    put_terms(desk, job_type, Terms { settings, slot, ..terms })?;
    Ok(true)
}

/// Keeps what is kept for a type beside its jobs.
pub(super) fn put_terms(desk: &mut Desk, job_type: &JobType, terms: Terms) -> Result<(), Fault> {
    let Terms { settings, slot, announced: _ } = &terms;
    if *settings == TypeSettings::default() || mutant("settings_unkept") {
        desk.execute("DELETE FROM type_settings WHERE type = ?", [job_type.as_str()])?;
    } else {
        let pause = settings.pause.as_ref();
        desk.execute(
            "INSERT OR REPLACE INTO type_settings \
               (type, paused_by, pause_reason, paused_at, running_max, rate_per_second, rate_slot_ns) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                job_type.as_str(),
                pause.map(|pause| pause.by.as_str()),
                pause.and_then(|pause| pause.reason.as_deref()),
                pause.map(|pause| pause.at.as_millis()),
                settings.running_max,
                settings.rate_per_second,
                slot.map(|Slot(nanoseconds)| nanoseconds),
            ],
        )?;
    }
    desk.tally.set_terms(job_type, terms);
    Ok(())
}
