//! What commands decided, written row by row inside their transaction.

use crewcall_proto::{JobId, JobType, Timestamp};
use rusqlite::params;

use super::{
    columns::{Parameters, PartlyIndexed as _, Value as _, assignments, sql, values},
    rows::{
        AttemptRow, CauseRow, ConsumerRow, EventRow, KeyRow, LabelRow, MadeRow, Payload, PayloadRow,
        ReplayRow, SettingsRow,
    },
    transaction_error::TransactionError,
    values::{id_bytes, to_integer, to_limit},
    write_context::WriteContext,
    write_followers, write_hooks, write_runs, write_schedules,
};
use crate::{
    domain::{AttemptRecord, Cause, Consumer, JobStatus, Replay, TypeSettings},
    engine::{
        ports::{ConsumerWrite, StoredJob, StoredType},
        rules::{NewLogRow, NewRow, OldJob, Terms, Update, Writes},
    },
    mutant::mutant,
};

/// Writes everything, each kind in the order in which it was decided.
pub(super) fn write(context: &mut WriteContext, writes: Writes) -> Result<(), TransactionError> {
    for row in writes.inserts {
        context.note_skew(&row.job.id, row.job.created_at);
        insert(context, row)?;
    }
    // Before the jobs change that come after others: what they come after stays as it was when they began.
    for write in writes.links {
        write_followers::write(context, write)?;
    }
    for change in &writes.updates {
        update(context, change)?;
    }
    for (row, _, ended) in writes.attempts {
        insert_attempt(context, row, ended)?;
    }
    for old in &writes.deletes {
        delete(context, old)?;
    }
    if let Some((until, limit)) = writes.forget_keys {
        forget_keys(context, until, limit)?;
    }
    for (job_type, terms) in writes.terms {
        put_terms(context, job_type, terms)?;
    }
    for stored in &writes.types {
        put_type(context, stored)?;
    }
    for job_type in &writes.deleted_types {
        context.execute("DELETE FROM types WHERE type = ?", [job_type.as_str()])?;
    }
    for NewLogRow { event, content_hash } in writes.events {
        let row = EventRow { content_hash, event: event.as_ref().clone() };
        context.insert(sql!("INSERT INTO events {}", values::<EventRow>()), &row)?;
    }
    if let Some(up_to) = writes.delete_events {
        context.execute("DELETE FROM events WHERE sequence <= ?", [to_integer(up_to.0)])?;
    }
    for write in &writes.consumers {
        write_consumer(context, write)?;
    }
    write_hooks::write(context, &writes.hooks, &writes.webhooks)?;
    write_runs::write(context, writes.workflows)?;
    write_schedules::write(context, &writes.schedules)
}

fn insert(context: &WriteContext, row: NewRow) -> Result<(), TransactionError> {
    let NewRow { job, parameters, labels, number, key, cause, at } = row;
    let stored = StoredJob::of(&job, number, job.status.clone());
    context.insert(sql!("INSERT INTO jobs {}", values::<StoredJob>()), &stored)?;
    let job_seq = context.connection.last_insert_rowid();
    let payload =
        PayloadRow { job_seq, payload: Payload { parameters, labels, traceparent: job.traceparent.clone() } };
    context.insert(sql!("INSERT INTO job_payloads {}", values::<PayloadRow>()), &payload)?;
    for (name, value) in &job.labels {
        let label = LabelRow { name: name.clone(), value: value.clone(), job_id: job.id };
        context.insert(sql!("INSERT INTO job_labels {}", values::<LabelRow>()), &label)?;
    }
    if let Some(cause) = &cause {
        insert_cause(context, job_seq, cause)?;
    }
    if let Some(key) = key {
        let row = KeyRow { key: key.key, body_hash: key.body_hash, job_seq, created_at: at };
        context.insert(sql!("INSERT OR REPLACE INTO idempotency_keys {}", values::<KeyRow>()), &row)?;
    }
    Ok(())
}

fn update(context: &WriteContext, change: &Update) -> Result<(), TransactionError> {
    let (before, after) = (&change.found.job.status, change.status.as_ref());
    let indexed = |status: &JobStatus| (status.state, status.due_at, status.finished_at);
    let changed = if indexed(before) == indexed(after) {
        update_unindexed(context, change)?
    } else {
        update_all(context, change)?
    };
    if changed != 1 {
        return Err(TransactionError::Inconsistent(
            "a job changed while its transaction had the only right to write",
        ));
    }
    Ok(())
}

/// Writes a status whose state, due time and end are as they were: no index has to be maintained for it.
fn update_unindexed(context: &WriteContext, change: &Update) -> Result<usize, TransactionError> {
    let sql =
        sql!("UPDATE jobs SET {} WHERE seq = ? AND version = ?", assignments(&JobStatus::unindexed_names()));
    let mut statement = context.connection.prepare_cached(sql)?;
    let mut parameters = Parameters::of(&mut statement);
    change.status.bind_unindexed(&mut parameters)?;
    parameters.raw(change.found.row)?;
    parameters.raw(to_integer(change.found.job.status.version))?;
    parameters.execute()
}

/// Writes a whole status.
fn update_all(context: &WriteContext, change: &Update) -> Result<usize, TransactionError> {
    let sql = sql!(
        "UPDATE jobs SET dispatch_number = coalesce(?, dispatch_number), {} WHERE seq = ? AND version = ?",
        assignments(&JobStatus::names(""))
    );
    let mut statement = context.connection.prepare_cached(sql)?;
    let mut parameters = Parameters::of(&mut statement);
    parameters.value(&change.number)?;
    parameters.value(change.status.as_ref())?;
    parameters.raw(change.found.row)?;
    parameters.raw(to_integer(change.found.job.status.version))?;
    parameters.execute()
}

fn insert_attempt(
    context: &WriteContext,
    job_seq: i64,
    record: AttemptRecord,
) -> Result<(), TransactionError> {
    let row = AttemptRow { job_seq, record };
    context.insert(sql!("INSERT INTO attempts {}", values::<AttemptRow>()), &row)
}

fn delete(context: &WriteContext, old: &OldJob) -> Result<(), TransactionError> {
    let id: &JobId = &old.id;
    for (name, value) in &old.labels {
        context.execute(
            "DELETE FROM job_labels WHERE name = ? AND value = ? AND job_id = ?",
            params![name, value, id_bytes(id)],
        )?;
    }
    // Its payload, attempts and idempotency key refer to it and go with it.
    context.execute("DELETE FROM jobs WHERE seq = ?", [old.row])?;
    Ok(())
}

fn forget_keys(context: &WriteContext, until: Timestamp, limit: usize) -> Result<(), TransactionError> {
    context.execute(
        "DELETE FROM idempotency_keys WHERE key IN (\
           SELECT key FROM idempotency_keys INDEXED BY idempotency_keys_by_age \
           WHERE created_at <= ? ORDER BY created_at LIMIT ?)",
        params![until.as_millis(), to_limit(limit)],
    )?;
    Ok(())
}

fn put_terms(context: &WriteContext, job_type: JobType, terms: Terms) -> Result<(), TransactionError> {
    if terms.settings == TypeSettings::default() || mutant("settings_unkept") {
        context.execute("DELETE FROM type_settings WHERE type = ?", [job_type.as_str()])?;
        return Ok(());
    }
    let row = SettingsRow { job_type, settings: terms.settings, slot: terms.slot };
    context.insert(sql!("INSERT OR REPLACE INTO type_settings {}", values::<SettingsRow>()), &row)
}

fn put_type(context: &WriteContext, stored: &StoredType) -> Result<(), TransactionError> {
    let sql = sql!(
        "INSERT INTO types {} ON CONFLICT (type) DO UPDATE SET {}",
        values::<StoredType>(),
        StoredType::names("")
            .iter()
            .map(|name| format!("{name} = excluded.{name}"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    context.insert(sql, stored)
}

/// Keeps why a job was made.
fn insert_cause(context: &WriteContext, job_seq: i64, cause: &Cause) -> Result<(), TransactionError> {
    let Some(made_of) = cause.made_of().cloned() else { return Ok(()) };
    let row = CauseRow { job_seq, made: MadeRow { made_of, root: cause.root, depth: cause.depth } };
    context.insert(sql!("INSERT INTO job_causes {}", values::<CauseRow>()), &row)
}

/// Keeps what becomes of a consumer.
fn write_consumer(context: &WriteContext, write: &ConsumerWrite) -> Result<(), TransactionError> {
    match write {
        ConsumerWrite::Put(consumer) => put_consumer(context, consumer),
        ConsumerWrite::Advanced { consumer, pass } if *pass == consumer.pass => {
            let parameters = params![to_integer(consumer.cursor.0), consumer.name.as_str()];
            context.execute("UPDATE consumers SET cursor = ? WHERE name = ?", parameters)?;
            Ok(())
        }
        ConsumerWrite::Advanced { consumer, pass } => {
            let replay = consumer.replays.iter().find(|replay| replay.pass == *pass);
            let Some(Replay { cursor, finished_at, .. }) = replay else { return Ok(()) };
            let finished_at = finished_at.map(|at| at.as_millis());
            let parameters = params![to_integer(cursor.0), finished_at, to_integer(pass.0)];
            context.execute("UPDATE replays SET cursor = ?, finished_at = ? WHERE pass = ?", parameters)?;
            Ok(())
        }
        ConsumerWrite::Deleted(name) => {
            // Its replays refer to it and go with it.
            context.execute("DELETE FROM consumers WHERE name = ?", [name.as_str()])?;
            Ok(())
        }
    }
}

fn put_consumer(context: &WriteContext, consumer: &Consumer) -> Result<(), TransactionError> {
    let sql = sql!(
        "INSERT INTO consumers {} ON CONFLICT (name) DO UPDATE SET {}",
        values::<ConsumerRow>(),
        ConsumerRow::names("")
            .iter()
            .map(|name| format!("{name} = excluded.{name}"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    context.insert(sql, &ConsumerRow::of(consumer))?;
    context.execute("DELETE FROM replays WHERE consumer = ?", [consumer.name.as_str()])?;
    for replay in &consumer.replays {
        let row = ReplayRow { consumer: consumer.name.clone(), replay: replay.clone() };
        context.insert(sql!("INSERT INTO replays {}", values::<ReplayRow>()), &row)?;
    }
    Ok(())
}
