//! A job as the API shows it.

use std::collections::BTreeMap;

use crewcall_proto::{JobId, JsonObject, Timestamp};
use serde::Serialize;
use serde_json::{Number, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use super::{rfc3339, seconds};
use crate::{
    domain::{self, AttemptOutcome, AttemptRecord, JobStatus, State, Waiting},
    engine::JobView,
};

/// What to submit. Any other field is refused by name.
// Only describes the request: `submission` reads it, so that every problem is told at once.
#[derive(ToSchema)]
#[schema(as = NewJob)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct NewJob {
    /// The job type: 1 to 128 characters of `a-z 0-9 . _ -` in dot-separated words.
    #[schema(example = "image.thumbnail", max_length = 128)]
    r#type: String,
    /// What to work on; at most 256 KiB of JSON. Checked against the schema that the type's workers announced. Numbers are
    /// integers from −2^63 to 2^64−1 or 64-bit floats; another one is refused, since it would not arrive as it was sent.
    #[schema(value_type = Object, required = false)]
    parameters: JsonObject,
    /// Who goes first among the jobs of a type: 0 (last) to 9 (first).
    #[schema(minimum = 0, maximum = 9, default = 4)]
    priority: Option<u8>,
    /// How many attempts the job has.
    #[schema(minimum = 1, maximum = 100, default = 5)]
    max_attempts: Option<u32>,
    /// Words of your own to find the job by: at most 32, names of 1 to 64 characters of `a-z A-Z 0-9 . _ -`,
    /// values of at most 256 characters.
    labels: Option<BTreeMap<String, String>>,
    /// When to begin; at most 366 days ahead. Not together with `delay_seconds`.
    #[schema(format = DateTime)]
    run_at: Option<String>,
    /// How long to wait before beginning.
    #[schema(minimum = 0, maximum = 31_622_400)]
    delay_seconds: Option<f64>,
    /// When the job is not worth starting any more: if no attempt began by then, it fails with the kind `expired`.
    /// Later than it is due, and at most 366 days ahead.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// How long one attempt may run; for ever if not given.
    #[schema(minimum = 0.1, maximum = 604_800)]
    timeout_seconds: Option<f64>,
    /// The waits between attempts.
    backoff: Option<NewBackoff>,
    /// The ids of jobs that have to be over before this one begins; at most 100. Until then its state is `blocked`. A
    /// `delay_seconds` counts from the submission.
    #[schema(max_items = 100)]
    after: Option<Vec<String>>,
    /// What becomes of this job when one of `after` has failed or was cancelled, once all are over: `cancel` it, or `run` it all the same.
    #[schema(example = "cancel")]
    after_failure: Option<String>,
}

/// The waits between attempts: `initial_seconds × factor^(attempt − 1)`, at most `max_seconds`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct NewBackoff {
    /// The wait after the first attempt.
    #[schema(minimum = 0, maximum = 86_400, default = 2)]
    initial_seconds: Option<f64>,
    /// How much longer each further wait is.
    #[schema(minimum = 1, maximum = 10, default = 2)]
    factor: Option<f64>,
    /// The longest wait; 600, or `initial_seconds` if that is longer.
    #[schema(minimum = 0, maximum = 86_400)]
    max_seconds: Option<f64>,
    /// How far a wait is spread around its value: 0 for not at all, 0.1 for a tenth.
    #[schema(minimum = 0, maximum = 1, default = 0.1)]
    jitter: Option<f64>,
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Job {
    /// Its id.
    #[schema(format = Uuid)]
    pub id: String,
    /// What kind of work.
    #[schema(example = "image.thumbnail")]
    pub r#type: String,
    /// Where it stands.
    #[schema(value_type = JobState)]
    pub state: &'static str,
    /// Who goes first among the jobs of a type: 0 (last) to 9 (first).
    pub priority: u8,
    /// What to work on.
    #[schema(value_type = Object)]
    pub parameters: JsonObject,
    /// Words to find it by.
    pub labels: BTreeMap<String, String>,
    /// The attempt that runs, or the next one while the job waits.
    pub attempt: u32,
    /// How many attempts it has at most.
    pub max_attempts: u32,
    /// The latest news of the current attempt.
    pub progress: Option<Progress>,
    /// What came out, when completed: any JSON.
    pub result: Option<Value>,
    /// What went wrong last, if anything did.
    pub error: Option<JobError>,
    /// The worker that runs the current attempt, once it said so.
    pub worker_id: Option<String>,
    /// When it was accepted.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it may be dispatched.
    #[schema(format = DateTime)]
    pub due_at: String,
    /// When the current or last attempt began, by the worker's clock.
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    /// When the job ended.
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
    /// How long one attempt may run; `null` for ever.
    #[schema(value_type = Option<f64>)]
    pub timeout_seconds: Option<Number>,
    /// When it is not worth starting any more; `null` for never.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// The waits between attempts.
    pub backoff: Backoff,
    /// Whether somebody asked to cancel it, and it is not over.
    pub cancel_requested: bool,
    /// Who asked to cancel it, if somebody did.
    pub cancellation: Option<ActorNote>,
    /// What it waits for; `null` when it is over.
    pub waiting_for: Option<WaitingFor>,
    /// The trace that its submission belongs to: the `traceparent` of that request, or of the backend's span of it if the backend sends traces. Its orders carry it.
    #[schema(example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    pub traceparent: Option<String>,
    /// Counts the changes, from 1.
    pub version: u64,
    /// Why it was made, if a consumer made it. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<super::Cause>,
    /// The jobs that it comes after, if there are any. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<Predecessor>>,
    /// What becomes of it when one of those failed or was cancelled: `cancel` or `run`. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_failure: Option<&'static str>,
    /// Its ended attempts, oldest first. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<AttemptEntry>>,
}

impl Job {
    /// A job with its attempts.
    pub(crate) fn with_attempts(view: &JobView) -> Self {
        let attempts = view.attempts.iter().map(AttemptEntry::from).collect();
        let cause = view.cause.as_ref().map(super::Cause::from);
        let after = view.after.as_ref();
        let after_failure = after.map(|after| after.on_failure.as_str());
        let after = after.map(|after| after.jobs.iter().map(Predecessor::from).collect());
        Self {
            attempts: Some(attempts),
            cause,
            after,
            after_failure,
            ..Self::summary(&view.job, view.waiting.as_ref())
        }
    }

    /// A job as it stands in a list.
    pub(crate) fn summary(job: &domain::Job, waiting: Option<&Waiting>) -> Self {
        let status = &job.status;
        Self {
            id: job.id.to_string(),
            r#type: job.job_type.to_string(),
            state: status.state.as_str(),
            priority: job.priority.get(),
            parameters: job.parameters.clone(),
            labels: job.labels.clone(),
            attempt: status.attempt.get(),
            max_attempts: status.max_attempts,
            progress: status.progress.as_ref().map(Progress::from),
            result: status.result.as_deref().map(read_result),
            error: status.error.as_ref().map(JobError::from),
            worker_id: worker_id(status),
            created_at: rfc3339(job.created_at),
            due_at: rfc3339(status.due_at),
            started_at: status.started_at.map(rfc3339),
            finished_at: status.finished_at.map(rfc3339),
            timeout_seconds: job.policy.timeout.map(seconds),
            expires_at: job.policy.expires_at.map(rfc3339),
            backoff: (&job.policy.backoff).into(),
            cancel_requested: cancel_requested(status),
            cancellation: status
                .cancellation
                .as_ref()
                .map(|it| ActorNote::new(&it.by, it.reason.as_ref(), it.at)),
            waiting_for: waiting.map(WaitingFor::from),
            traceparent: job.traceparent.as_ref().map(ToString::to_string),
            version: status.version,
            cause: None,
            after: None,
            after_failure: None,
            attempts: None,
        }
    }
}

/// A job that another one comes after.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Predecessor {
    #[schema(format = Uuid)]
    pub id: String,
    /// How it ended: `completed`, `failed` or `cancelled`; `null` while it is not over. Of a job that has begun, as it was then.
    pub end: Option<&'static str>,
}

impl From<&(JobId, Option<State>)> for Predecessor {
    fn from((id, end): &(JobId, Option<State>)) -> Self {
        Self { id: id.to_string(), end: end.map(State::as_str) }
    }
}

/// Whether a cancellation is under way.
pub(super) fn cancel_requested(status: &JobStatus) -> bool {
    status.cancellation.is_some() && !status.state.is_terminal()
}

pub(super) fn worker_id(status: &JobStatus) -> Option<String> {
    status.claim.as_ref().map(|claim| claim.worker_id.to_string())
}

/// Nothing but JSON is stored; a damaged text is shown as it is rather than hidden.
fn read_result(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// The waits between attempts: `initial_seconds × factor^(attempt − 1)`, at most `max_seconds`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Backoff {
    /// The wait after the first attempt.
    #[schema(value_type = f64)]
    pub initial_seconds: Number,
    /// How much longer each further wait is.
    pub factor: f64,
    /// The longest wait.
    #[schema(value_type = f64)]
    pub max_seconds: Number,
    /// How far a wait is spread around its value, 0 to 1.
    pub jitter: f64,
}

impl From<&domain::Backoff> for Backoff {
    fn from(backoff: &domain::Backoff) -> Self {
        Self {
            initial_seconds: seconds(backoff.initial),
            factor: backoff.factor,
            max_seconds: seconds(backoff.max_delay),
            jitter: backoff.jitter,
        }
    }
}

/// Who did something, and why.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActorNote {
    /// As they call themselves.
    #[schema(example = "anonymous")]
    pub by: String,
    /// Why, if they said so.
    pub reason: Option<String>,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
}

impl ActorNote {
    /// A note of what was done at `at`.
    pub(super) fn new(by: &str, reason: Option<&String>, at: Timestamp) -> Self {
        Self { by: by.to_owned(), reason: reason.cloned(), at: rfc3339(at) }
    }

    /// Who paused something, if somebody did.
    pub(super) fn of_pause(pause: Option<&domain::Pause>) -> Option<Self> {
        pause.map(|pause| Self::new(&pause.by, pause.reason.as_ref(), pause.at))
    }
}

/// Jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobList {
    /// The jobs of this page, without their attempts.
    pub jobs: Vec<Job>,
    /// Pass it as `cursor` for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// The schema of a state, whose words are the domain's; never made as a value.
pub(crate) enum JobState {}

impl ToSchema for JobState {}

impl PartialSchema for JobState {
    fn schema() -> RefOr<Schema> {
        let words = State::ALL.map(State::as_str);
        let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
        schema.description(Some("Where a job stands.")).into()
    }
}

/// How far an attempt got.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Progress {
    /// How much is done; never falls within an attempt.
    #[schema(minimum = 0, maximum = 100)]
    pub percent: u8,
    /// What is being done.
    pub message: Option<String>,
    /// When the worker said so, by its clock.
    #[schema(format = DateTime)]
    pub at: String,
}

impl From<&domain::Progress> for Progress {
    fn from(progress: &domain::Progress) -> Self {
        Self { percent: progress.percent, message: progress.message.clone(), at: rfc3339(progress.at) }
    }
}

/// Why an attempt or a job failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobError {
    /// One of `handler`, `panic`, `timeout`, `invalid_parameters`, `worker_lost`, `crash_loop`,
    /// `malformed`, `cancelled`, `expired`, `unknown`.
    #[schema(example = "handler")]
    pub kind: &'static str,
    /// The worker's own code.
    pub code: Option<String>,
    /// One sentence.
    pub message: String,
    /// The causes.
    pub detail: Option<String>,
}

impl From<&domain::JobError> for JobError {
    fn from(error: &domain::JobError) -> Self {
        Self {
            kind: error.kind.as_str(),
            code: error.code.clone(),
            message: error.message.clone(),
            detail: error.detail.clone(),
        }
    }
}

/// What a job that is not over waits for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingFor {
    /// One of `jobs`, `due`, `turn`, `window`, `pause`, `limit`, `rate`, `broker`, `queue`, `refused`, `first_worker`, `worker`,
    /// `draining`, `slot`, `start`, `response`, `redelivery`, `lease`, `cancellation`.
    #[schema(example = "slot")]
    pub reason: &'static str,
    /// The same in a sentence.
    pub message: String,
}

impl From<&Waiting> for WaitingFor {
    fn from(waiting: &Waiting) -> Self {
        Self { reason: waiting.reason(), message: waiting.sentence(rfc3339) }
    }
}

/// An attempt that ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptEntry {
    /// Its number, from 1.
    pub attempt: u32,
    /// `completed`, `cancelled`, or the kind of its error.
    #[schema(example = "completed")]
    pub outcome: &'static str,
    /// Who ran it, if anybody said so.
    pub worker_id: Option<String>,
    /// When it began, by the worker's clock.
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    /// When it ended: by the worker's clock if it said so, else by the backend's.
    #[schema(format = DateTime)]
    pub finished_at: String,
    /// Why it failed, if it did.
    pub error: Option<JobError>,
}

impl From<&AttemptRecord> for AttemptEntry {
    fn from(record: &AttemptRecord) -> Self {
        let error = match &record.outcome {
            AttemptOutcome::Failed(error) => Some(JobError::from(error)),
            AttemptOutcome::Completed | AttemptOutcome::Cancelled => None,
        };
        Self {
            attempt: record.attempt.get(),
            outcome: record.outcome.as_str(),
            worker_id: record.worker_id.as_ref().map(ToString::to_string),
            started_at: record.started_at.map(rfc3339),
            finished_at: rfc3339(record.finished_at),
            error,
        }
    }
}
