//! Jobs as rows and back. A value that means nothing is a [`Fault`], never a panic.

use std::{collections::BTreeMap, time::Duration};

use crewcall_proto::{
    Attempt, AttemptToken, ExecutionId, JobId, JobType, JsonObject, Timestamp, WorkerId, response::ErrorKind,
};
use rusqlite::{Row, Statement, ToSql, types::FromSql};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::fault::Fault;
use crate::domain::{
    AttemptOutcome, AttemptRecord, Backoff, Cancellation, Claim, Job, JobError, JobStatus, Pause, Policy,
    Priority, Progress, State, TypeSettings,
};

/// The columns of a status that no index is made of, in the order in which [`bind_steady`] writes and
/// [`Columns::status`] reads them. SQLite maintains an index for every statement that names one of its
/// columns, changed or not, so progress is written without naming the others.
macro_rules! steady_columns {
    () => {
        "attempt, max_attempts, token, resends, starts, claim_execution_id, claim_worker_id, claim_seq, claim_held, \
         cancel_by, cancel_reason, cancel_at, progress_percent, progress_message, progress_at, error_kind, \
         error_code, error_message, error_detail, started_at, version, result"
    };
}

/// A placeholder for each of the steady columns.
macro_rules! steady_values {
    () => {
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
    };
}

/// The columns of a status, in the order in which [`Columns::status`] reads them.
macro_rules! status_columns {
    () => {
        concat!("state, due_at, finished_at, ", $crate::store::sqlite::rows::steady_columns!())
    };
}

/// The columns of a policy, in the order in which [`Binder::put_policy`] writes and [`Columns::policy`] reads them.
macro_rules! policy_columns {
    () => {
        "backoff_initial_ns, backoff_factor, backoff_max_delay_ns, backoff_jitter, timeout_ns, expires_at, run_at"
    };
}

/// The columns of a whole job, in the order in which [`Columns::job`] reads them.
macro_rules! job_columns {
    () => {
        concat!(
            "id, type, priority, created_at, parameters, labels, ",
            $crate::store::sqlite::rows::policy_columns!(),
            ", ",
            $crate::store::sqlite::rows::status_columns!()
        )
    };
}

pub(super) use {job_columns, policy_columns, status_columns, steady_columns, steady_values};

/// The columns of one row, read from left to right.
pub(super) struct Columns<'row> {
    row: &'row Row<'row>,
    next: usize,
}

impl<'row> Columns<'row> {
    pub(super) const fn of(row: &'row Row<'row>) -> Self {
        Self { row, next: 0 }
    }

    /// The next column.
    pub(super) fn take<T: FromSql>(&mut self) -> Result<T, Fault> {
        let value = self.row.get(self.next)?;
        self.next += 1;
        Ok(value)
    }

    pub(super) fn job_id(&mut self) -> Result<JobId, Fault> {
        Ok(JobId::from_uuid(self.uuid()?))
    }

    pub(super) fn job_type(&mut self) -> Result<JobType, Fault> {
        let text: String = self.take()?;
        JobType::new(&text).map_err(|_| unreadable("type", &text))
    }

    pub(super) fn state(&mut self) -> Result<State, Fault> {
        let word: String = self.take()?;
        word.parse().map_err(|_| unreadable("state", &word))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, Fault> {
        Ok(Timestamp::from_millis(self.take()?))
    }

    pub(super) fn attempt(&mut self) -> Result<Attempt, Fault> {
        let number = self.take()?;
        Attempt::new(number).ok_or_else(|| unreadable("attempt", &number))
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<T, Fault> {
        let text: String = self.take()?;
        from_json(column, &text)
    }

    /// A whole job: [`job_columns`].
    pub(super) fn job(&mut self) -> Result<Job, Fault> {
        let id = self.job_id()?;
        let job_type = self.job_type()?;
        let priority: u8 = self.take()?;
        let priority = Priority::new(priority).ok_or_else(|| unreadable("priority", &priority))?;
        let created_at = self.time()?;
        let parameters: JsonObject = self.json("parameters")?;
        let labels = self.labels()?;
        let (policy, status) = (self.policy()?, self.status()?);
        Ok(Job { id, job_type, parameters, labels, priority, policy, created_at, status })
    }

    pub(super) fn labels(&mut self) -> Result<BTreeMap<String, String>, Fault> {
        match self.take::<Option<String>>()? {
            Some(text) => from_json("labels", &text),
            None => Ok(BTreeMap::new()),
        }
    }

    /// A policy: [`policy_columns`].
    pub(super) fn policy(&mut self) -> Result<Policy, Fault> {
        let (initial, factor) = (self.optional_duration()?, self.take::<Option<f64>>()?);
        let (max_delay, jitter) = (self.optional_duration()?, self.take::<Option<f64>>()?);
        let backoff = match (initial, factor, max_delay, jitter) {
            (Some(initial), Some(factor), Some(max_delay), Some(jitter)) => {
                Backoff { initial, factor, max_delay, jitter }
            }
            (None, None, None, None) => Backoff::default(),
            _ => return Err(unreadable("backoff_initial_ns", "half a back-off")),
        };
        let timeout = self.optional_duration()?;
        Ok(Policy { backoff, timeout, expires_at: self.optional_time()?, run_at: self.optional_time()? })
    }

    /// A status: [`status_columns`].
    pub(super) fn status(&mut self) -> Result<JobStatus, Fault> {
        let state = self.state()?;
        let due_at = self.time()?;
        let finished_at = self.optional_time()?;
        let attempt = self.attempt()?;
        let max_attempts = self.take()?;
        let token = self.token()?;
        let (resends, starts) = (self.take()?, self.take()?);
        let claim = self.claim()?;
        let cancellation = self.cancellation()?;
        let progress = self.progress()?;
        let error = self.error()?;
        let started_at = self.optional_time()?;
        let version: i64 = self.take()?;
        let version = u64::try_from(version).map_err(|_| unreadable("version", &version))?;
        Ok(JobStatus {
            state,
            attempt,
            max_attempts,
            token,
            resends,
            starts,
            claim,
            due_at,
            cancellation,
            progress,
            result: self.take()?,
            error,
            started_at,
            finished_at,
            version,
        })
    }

    pub(super) fn token(&mut self) -> Result<Option<AttemptToken>, Fault> {
        let bytes = self.take::<Option<[u8; 16]>>()?;
        Ok(bytes.map(|bytes| AttemptToken::from_bits(u128::from_be_bytes(bytes))))
    }

    /// The four columns of a claim.
    pub(super) fn claim(&mut self) -> Result<Option<Claim>, Fault> {
        let execution_id = self.take::<Option<[u8; 16]>>()?;
        let worker_id = self.take::<Option<String>>()?;
        let seq = self.take::<Option<i64>>()?;
        let held = self.take::<Option<bool>>()?;
        let Some(execution_id) = execution_id else { return Ok(None) };
        let (Some(worker_id), Some(seq), Some(held)) = (worker_id, seq, held) else {
            return Err(unreadable("claim_execution_id", "half a claim"));
        };
        let worker_id: WorkerId = worker_id.parse().map_err(|_| unreadable("claim_worker_id", &worker_id))?;
        let execution_id = ExecutionId::from_uuid(Uuid::from_bytes(execution_id));
        Ok(Some(Claim { execution_id, worker_id, seq: seq.cast_unsigned(), held }))
    }

    /// One ended attempt: attempt, outcome, `worker_id`, `started_at`, `finished_at`, and a failure.
    pub(super) fn attempt_record(&mut self) -> Result<AttemptRecord, Fault> {
        let attempt = self.attempt()?;
        let outcome: String = self.take()?;
        let worker_id = self.take::<Option<String>>()?;
        let worker_id = match worker_id {
            Some(text) => Some(text.parse().map_err(|_| unreadable("worker_id", &text))?),
            None => None,
        };
        let started_at = self.optional_time()?;
        let finished_at = self.time()?;
        let outcome = match (outcome.as_str(), self.error()?) {
            ("completed", None) => AttemptOutcome::Completed,
            ("failed", Some(error)) => AttemptOutcome::Failed(error),
            ("cancelled", None) => AttemptOutcome::Cancelled,
            _ => return Err(unreadable("outcome", &outcome)),
        };
        Ok(AttemptRecord { attempt, outcome, worker_id, started_at, finished_at })
    }

    fn uuid(&mut self) -> Result<Uuid, Fault> {
        Ok(Uuid::from_bytes(self.take()?))
    }

    pub(super) fn optional_duration(&mut self) -> Result<Option<Duration>, Fault> {
        let Some(nanoseconds) = self.take::<Option<i64>>()? else { return Ok(None) };
        let nanoseconds = u64::try_from(nanoseconds).map_err(|_| unreadable("a duration", &nanoseconds))?;
        Ok(Some(Duration::from_nanos(nanoseconds)))
    }

    /// The three columns of a cancellation.
    fn cancellation(&mut self) -> Result<Option<Cancellation>, Fault> {
        match (self.take()?, self.take()?, self.optional_time()?) {
            (Some(by), reason, Some(at)) => Ok(Some(Cancellation { by, reason, at })),
            (None, None, None) => Ok(None),
            _ => Err(unreadable("cancel_by", "half a cancellation")),
        }
    }

    /// What is set for a type: `paused_by`, `pause_reason`, `paused_at`, `running_max`, `rate_per_second`.
    pub(super) fn settings(&mut self) -> Result<TypeSettings, Fault> {
        let pause = match (self.take()?, self.take()?, self.optional_time()?) {
            (Some(by), reason, Some(at)) => Some(Pause { by, reason, at }),
            (None, None, None) => None,
            _ => return Err(unreadable("paused_by", "half a pause")),
        };
        Ok(TypeSettings { pause, running_max: self.take()?, rate_per_second: self.take()? })
    }

    pub(super) fn optional_time(&mut self) -> Result<Option<Timestamp>, Fault> {
        Ok(self.take::<Option<i64>>()?.map(Timestamp::from_millis))
    }

    fn progress(&mut self) -> Result<Option<Progress>, Fault> {
        let percent = self.take::<Option<u8>>()?;
        let message = self.take()?;
        let at = self.optional_time()?;
        match (percent, at) {
            (Some(percent), Some(at)) => Ok(Some(Progress { percent, message, at })),
            (None, None) => Ok(None),
            _ => Err(unreadable("progress_percent", "half a progress")),
        }
    }

    fn error(&mut self) -> Result<Option<JobError>, Fault> {
        let kind = self.take::<Option<String>>()?;
        let code = self.take()?;
        let message = self.take::<Option<String>>()?;
        let detail = self.take()?;
        let Some(word) = kind else { return Ok(None) };
        let kind = match ErrorKind::from_word(&word) {
            Some(kind) => kind,
            None if word == ErrorKind::Unknown.as_str() => ErrorKind::Unknown,
            None => return Err(unreadable("error_kind", &word)),
        };
        Ok(Some(JobError { kind, code, message: message.unwrap_or_default(), detail }))
    }
}

/// The parameters of one statement, written from left to right.
pub(super) struct Binder<'a, 'conn> {
    pub(super) statement: &'a mut Statement<'conn>,
    next: usize,
}

impl<'a, 'conn> Binder<'a, 'conn> {
    pub(super) const fn of(statement: &'a mut Statement<'conn>) -> Self {
        Self { statement, next: 1 }
    }

    /// The next parameter.
    pub(super) fn put(&mut self, value: impl ToSql) -> Result<(), Fault> {
        self.statement.raw_bind_parameter(self.next, value)?;
        self.next += 1;
        Ok(())
    }

    /// The columns of [`status_columns`].
    pub(super) fn put_status(&mut self, status: &JobStatus) -> Result<(), Fault> {
        self.put(status.state.as_str())?;
        self.put(status.due_at.as_millis())?;
        self.put(status.finished_at.map(Timestamp::as_millis))?;
        self.put_steady(status)
    }

    /// The columns of [`policy_columns`].
    pub(super) fn put_policy(&mut self, policy: &Policy) -> Result<(), Fault> {
        let backoff = Some(policy.backoff).filter(|backoff| *backoff != Backoff::default());
        self.put(backoff.map(|backoff| to_nanoseconds(backoff.initial)))?;
        self.put(backoff.map(|backoff| backoff.factor))?;
        self.put(backoff.map(|backoff| to_nanoseconds(backoff.max_delay)))?;
        self.put(backoff.map(|backoff| backoff.jitter))?;
        self.put(policy.timeout.map(to_nanoseconds))?;
        self.put(policy.expires_at.map(Timestamp::as_millis))?;
        self.put(policy.run_at.map(Timestamp::as_millis))
    }

    /// The columns of [`steady_columns`].
    pub(super) fn put_steady(&mut self, status: &JobStatus) -> Result<(), Fault> {
        self.put(status.attempt.get())?;
        self.put(status.max_attempts)?;
        self.put(status.token.map(|token| token.bits().to_be_bytes()))?;
        self.put(status.resends)?;
        self.put(status.starts)?;
        let claim = status.claim.as_ref();
        self.put(claim.map(|claim| claim.execution_id.as_uuid().as_bytes()))?;
        self.put(claim.map(|claim| claim.worker_id.as_str()))?;
        self.put(claim.map(|claim| claim.seq.cast_signed()))?;
        self.put(claim.map(|claim| claim.held))?;
        let cancellation = status.cancellation.as_ref();
        self.put(cancellation.map(|cancellation| cancellation.by.as_str()))?;
        self.put(cancellation.and_then(|cancellation| cancellation.reason.as_deref()))?;
        self.put(cancellation.map(|cancellation| cancellation.at.as_millis()))?;
        let progress = status.progress.as_ref();
        self.put(progress.map(|progress| progress.percent))?;
        self.put(progress.and_then(|progress| progress.message.as_deref()))?;
        self.put(progress.map(|progress| progress.at.as_millis()))?;
        self.put_error(status.error.as_ref())?;
        self.put(status.started_at.map(Timestamp::as_millis))?;
        self.put(to_integer(status.version))?;
        self.put(status.result.as_deref())
    }

    /// The four columns of a failure.
    pub(super) fn put_error(&mut self, error: Option<&JobError>) -> Result<(), Fault> {
        self.put(error.map(|error| error.kind.as_str()))?;
        self.put(error.and_then(|error| error.code.as_deref()))?;
        self.put(error.map(|error| error.message.as_str()))?;
        self.put(error.and_then(|error| error.detail.as_deref()))
    }

    /// Runs the statement and answers how many rows it changed.
    pub(super) fn execute(self) -> Result<usize, Fault> {
        Ok(self.statement.raw_execute()?)
    }
}

/// The word of an attempt's outcome in the database; a failure's kind stands in a column of its own.
pub(super) const fn outcome_word(outcome: &AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Completed => "completed",
        AttemptOutcome::Failed(_) => "failed",
        AttemptOutcome::Cancelled => "cancelled",
    }
}

/// The failure of an attempt that failed.
pub(super) const fn outcome_error(outcome: &AttemptOutcome) -> Option<&JobError> {
    match outcome {
        AttemptOutcome::Failed(error) => Some(error),
        AttemptOutcome::Completed | AttemptOutcome::Cancelled => None,
    }
}

/// A job id as it stands in the database.
pub(super) fn id_bytes(id: &JobId) -> &[u8] {
    id.as_uuid().as_bytes()
}

/// SQLite's integers are signed. No counter of ours gets beyond them.
pub(super) fn to_integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A duration as it stands in the database. None of ours comes near the end of the range, 292 years.
fn to_nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// JSON text of a value that always has one: objects with text keys.
pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("an object with text keys has a JSON form")
}

pub(super) fn unreadable(column: &'static str, value: &(impl ToString + ?Sized)) -> Fault {
    Fault::Unreadable { column, value: value.to_string().chars().take(200).collect() }
}

fn from_json<T: DeserializeOwned>(column: &'static str, text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| unreadable(column, &error))
}
