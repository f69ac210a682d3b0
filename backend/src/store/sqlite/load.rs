//! What commands want to know, read row by row inside their transaction.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crewcall_proto::{Attempt, AttemptToken, JobId, JobType, Timestamp};
use rusqlite::{Connection, params};

use super::{
    columns::{Columns, all, first, list, sql},
    consumers, load_runs, queries,
    rows::{EventRow, KeyRow, OldRow, TokenRow, WholeJob},
    runs::RunReader,
    schedules,
    transaction_error::TransactionError,
    values::{id_bytes, to_limit},
    versions::{self, Versions},
};
use crate::{
    domain::{Cause, Sequence, State},
    engine::rules::{
        FoundEvent, FoundJob, FoundKey, FoundReady, Loaded, OldEvents, OldJob, Wanted, finished_until,
        forgotten_until,
    },
};

/// Which jobs can expire: the condition of the index, word for word.
const MAY_EXPIRE: &str = "jobs INDEXED BY jobs_expiring \
    WHERE expires_at IS NOT NULL AND attempt = 1 AND started_at IS NULL \
      AND state IN ('blocked', 'scheduled', 'ready', 'unroutable', 'dispatched')";

/// Reads what a command wants.
pub(super) fn load(
    connection: &Connection,
    versions: &Versions,
    wanted: Wanted,
    now: Timestamp,
) -> Result<Loaded, TransactionError> {
    let none = Loaded::default();
    Ok(match wanted {
        Wanted::Nothing => none,
        Wanted::Jobs(ids) => Loaded { jobs: jobs(connection, &ids)?, ..none },
        Wanted::JobsAndCauses(ids) => {
            Loaded { jobs: jobs(connection, &ids)?, causes: causes(connection, versions, &ids)?, ..none }
        }
        Wanted::Emissions { jobs: of, ids } => Loaded {
            jobs: jobs(connection, &of)?,
            causes: causes(connection, versions, &of)?,
            tokens: tokens(connection, &of)?,
            events: events(connection, ids)?,
            ..none
        },
        Wanted::Keys { names, jobs: ids } => {
            let keys = keys(connection, names, forgotten_until(now))?;
            Loaded { keys, jobs: jobs(connection, &ids)?, ..none }
        }
        Wanted::Ready { job_type, limit } => Loaded { ready: ready(connection, &job_type, limit)?, ..none },
        Wanted::Unroutable { job_type, limit } => {
            Loaded { waiting: unroutable(connection, &job_type, limit)?, ..none }
        }
        Wanted::Scheduled { until, limit } => {
            let waiting = sql!(
                "SELECT {} FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled' AND due_at <= ? \
                 ORDER BY due_at LIMIT ?",
                list::<FoundJob>()
            );
            let next = "SELECT due_at FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled' \
                 ORDER BY due_at LIMIT 1 OFFSET ?";
            waiting_until(connection, [waiting, next], until, limit)?
        }
        Wanted::Expiring { until, limit } => {
            let waiting = sql!(
                "SELECT {} FROM {MAY_EXPIRE} AND expires_at <= ? ORDER BY expires_at LIMIT ?",
                list::<FoundJob>()
            );
            let next = sql!("SELECT expires_at FROM {MAY_EXPIRE} ORDER BY expires_at LIMIT 1 OFFSET ?");
            waiting_until(connection, [waiting, next], until, limit)?
        }
        Wanted::Finished { state, kept_for, limit } => {
            Loaded { old: finished(connection, state, finished_until(now, kept_for), limit)?, ..none }
        }
        Wanted::Events(ids) => Loaded { events: events(connection, ids)?, ..none },
        Wanted::LastVersion(name) => Loaded { last_version: versions::last(connection, &name)?, ..none },
        Wanted::RunKey(key) => {
            Loaded { run_key: load_runs::key(connection, &key, forgotten_until(now))?, ..none }
        }
        Wanted::Run(id) => {
            let found = RunReader::new(connection, versions).get(id)?;
            Loaded { run: found.map(|(_, run)| run), ..none }
        }
        Wanted::FiredTicks { schedule, after, to } => {
            let fired = schedules::fired(connection, schedule, after, to)?;
            Loaded { fired_ticks: fired.into_iter().collect(), ..none }
        }
        Wanted::FinishedRuns { kept_for, limit } => {
            load_runs::finished(connection, finished_until(now, kept_for), limit)?
        }
        Wanted::OldEvents { kept_for, held_for, passed, limit } => {
            let until = [finished_until(now, kept_for), finished_until(now, held_for)];
            Loaded { old_events: old_events(connection, until, passed, limit)?, ..none }
        }
    })
}

/// The jobs with these ids.
pub(super) fn jobs(
    connection: &Connection,
    ids: &[JobId],
) -> Result<HashMap<JobId, FoundJob>, TransactionError> {
    let sql = sql!("SELECT {} FROM jobs WHERE id = ?", list::<FoundJob>());
    let mut jobs = HashMap::with_capacity(ids.len());
    for id in ids {
        if !jobs.contains_key(id)
            && let Some(found) = first::<FoundJob>(connection, sql, [id_bytes(id)])?
        {
            jobs.insert(*id, found);
        }
    }
    Ok(jobs)
}

fn causes(
    connection: &Connection,
    versions: &Versions,
    ids: &[JobId],
) -> Result<HashMap<JobId, Arc<Cause>>, TransactionError> {
    let mut causes = HashMap::new();
    for id in ids {
        if let Some(cause) = consumers::cause(connection, versions, *id)? {
            causes.insert(*id, Arc::new(cause));
        }
    }
    Ok(causes)
}

fn tokens(
    connection: &Connection,
    ids: &[JobId],
) -> Result<HashSet<(JobId, Attempt, AttemptToken)>, TransactionError> {
    let sql = sql!(
        "SELECT {} FROM jobs JOIN attempts ON job_seq = seq WHERE jobs.id = ? AND attempts.token IS NOT NULL",
        list::<TokenRow>()
    );
    let mut tokens = HashSet::new();
    for id in ids {
        let rows: Vec<TokenRow> = all(connection, sql, [id_bytes(id)])?;
        tokens.extend(rows.into_iter().map(|TokenRow { attempt, token }| (*id, attempt, token)));
    }
    Ok(tokens)
}

fn keys(
    connection: &Connection,
    names: Vec<String>,
    forgotten: Timestamp,
) -> Result<HashMap<String, FoundKey>, TransactionError> {
    let sql = sql!("SELECT {} FROM idempotency_keys WHERE key = ? AND created_at > ?", list::<KeyRow>());
    let mut keys = HashMap::new();
    for name in names {
        let found = first::<KeyRow>(connection, sql, params![name, forgotten.as_millis()])?;
        if let Some(KeyRow { key, body_hash, job_seq, .. }) = found {
            let job = Arc::new(queries::job_of_row(connection, job_seq)?);
            keys.insert(key, FoundKey { body_hash, job });
        }
    }
    Ok(keys)
}

fn ready(
    connection: &Connection,
    job_type: &JobType,
    limit: usize,
) -> Result<Vec<FoundReady>, TransactionError> {
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_ready JOIN job_payloads ON job_seq = seq \
         WHERE type = ? AND state = 'ready' ORDER BY priority DESC, due_at, id LIMIT ?",
        list::<WholeJob>()
    );
    let ready: Vec<WholeJob> = all(connection, sql, params![job_type.as_str(), to_limit(limit)])?;
    let found = |whole: WholeJob| {
        let (row, number) = (whole.found.row, whole.found.job.number);
        Ok(FoundReady { row, number, job: whole.job()? })
    };
    ready.into_iter().map(found).collect()
}

fn unroutable(
    connection: &Connection,
    job_type: &JobType,
    limit: usize,
) -> Result<Vec<FoundJob>, TransactionError> {
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_by_state WHERE state = 'unroutable' AND type = ? \
         ORDER BY id LIMIT ?",
        list::<FoundJob>()
    );
    all(connection, sql, params![job_type.as_str(), to_limit(limit)])
}

/// Jobs whose time has come, and when that of the next one comes.
fn waiting_until(
    connection: &Connection,
    [sql, next]: [&str; 2],
    until: Timestamp,
    limit: usize,
) -> Result<Loaded, TransactionError> {
    let waiting: Vec<FoundJob> = all(connection, sql, params![until.as_millis(), to_limit(limit)])?;
    let next_at = first(connection, next, [to_limit(waiting.len())])?;
    Ok(Loaded { waiting, next_at, ..Loaded::default() })
}

fn finished(
    connection: &Connection,
    state: State,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<OldJob>, TransactionError> {
    let sql = sql!(
        "SELECT {} FROM jobs INDEXED BY jobs_finished JOIN job_payloads ON job_payloads.job_seq = seq \
         WHERE state = ? AND finished_at < ? \
           AND NOT EXISTS (SELECT 1 FROM run_items INDEXED BY run_items_by_job WHERE run_items.job_seq = seq) \
         ORDER BY finished_at LIMIT ?",
        list::<OldRow>()
    );
    let old: Vec<OldRow> = all(connection, sql, params![state.as_str(), until.as_millis(), to_limit(limit)])?;
    old.into_iter().map(OldRow::job).collect()
}

fn events(
    connection: &Connection,
    ids: Vec<String>,
) -> Result<HashMap<String, FoundEvent>, TransactionError> {
    let sql = sql!("SELECT {} FROM events INDEXED BY events_by_id WHERE id = ?", list::<EventRow>());
    let mut events = HashMap::new();
    for id in ids {
        let found = first::<EventRow>(connection, sql, [&id])?;
        if let Some(EventRow { content_hash: Some(content_hash), event }) = found {
            events.insert(id, FoundEvent { content_hash, event: Arc::new(event) });
        }
    }
    Ok(events)
}

/// The beginning of the log up to the first event that was recorded later, or is not passed and was recorded later than the
/// second time: the clock may have been set back in between.
fn old_events(
    connection: &Connection,
    [until, held_until]: [Timestamp; 2],
    passed: Option<Sequence>,
    limit: usize,
) -> Result<OldEvents, TransactionError> {
    let mut statement =
        connection.prepare_cached("SELECT sequence, recorded_at FROM events ORDER BY sequence LIMIT ?")?;
    let mut rows = statement.query([to_limit(limit)])?;
    let mut old = OldEvents::default();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        let (sequence, recorded_at): (Sequence, Timestamp) = (columns.value()?, columns.value()?);
        let held = passed.is_some_and(|passed| sequence > passed) && recorded_at >= held_until;
        if recorded_at >= until || held {
            break;
        }
        old = OldEvents { count: old.count + 1, up_to: sequence };
    }
    Ok(old)
}
