//! The columns of the tables: each stands once, with the field that it is.
//!
//! A column of a job is one line here, one in the migrations, and one in the domain.

use std::{collections::BTreeMap, sync::Arc};

use crewcall_proto::{Attempt, AttemptToken, JobId, JobType, JsonObject, Timestamp, TraceParent};

use super::{
    columns::{Columns, Parameters, PartlyIndexed, Value, columns, names_of, unreadable},
    transaction_error::TransactionError,
    values::from_json,
};
use crate::{
    domain::{
        AttemptRecord, Cause, CausedBy, Claim, Consumer, ConsumerName, ConsumerSettings, Job, JobStatus,
        MadeOf, Pass, Pause, Policy, PublishedEvent, Replay, Root, Sequence, Slot, Start, State,
        SubjectPattern, Submission, Then, TypeSettings, WebhookName,
        times::{BackoffRequest, Times},
        workflow::{definition::WorkflowName, known::WorkflowVersion},
    },
    engine::{
        ports::{DispatchNumber, QuarantineEntry, QuarantinedMessage, StoredJob, StoredType},
        rules::{FoundJob, OldJob},
    },
};

columns!(JobStatus {
    state: "state",
    due_at: "due_at",
    finished_at: "finished_at",
} unindexed {
    attempt: "attempt",
    max_attempts: "max_attempts",
    token: "token",
    resends: "resends",
    starts: "starts",
    claim: "claim",
    given_up_by: "given_up_by",
    cancellation: "cancel",
    progress: "progress",
    error: "error",
    started_at: "started_at",
    version: "version",
    // Last, because it may be large: a row is read from the front.
    result: "result",
});

columns!(Policy { backoff: "backoff", timeout: "timeout_ns", expires_at: "expires_at", run_at: "run_at" });

// What the table `jobs` has of a job.
columns!(StoredJob {
    id: "id",
    job_type: "type",
    priority: "priority",
    created_at: "created_at",
    number: "dispatch_number",
    policy: "",
    status: "",
});

columns!(FoundJob { row: "seq", job: "" });

/// What never changes of a job and may be large: JSON text, and what belongs to it.
pub(super) struct Payload {
    pub(super) parameters: String,
    /// NULL when there are none.
    pub(super) labels: Option<String>,
    pub(super) traceparent: Option<TraceParent>,
}

columns!(Payload { parameters: "parameters", labels: "labels", traceparent: "traceparent" });

impl Payload {
    fn parameters(&self) -> Result<JsonObject, TransactionError> {
        from_json(&self.parameters).map_err(|error| unreadable("parameters", error))
    }

    pub(super) fn labels(&self) -> Result<BTreeMap<String, String>, TransactionError> {
        let labels = self.labels.as_ref().map(|text| from_json(text)).transpose();
        Ok(labels.map_err(|error| unreadable("labels", error))?.unwrap_or_default())
    }
}

/// Its place in `job_payloads`.
pub(super) struct PayloadRow {
    pub(super) job_seq: i64,
    pub(super) payload: Payload,
}

columns!(PayloadRow { job_seq: "job_seq", payload: "" });

/// One label of a job.
pub(super) struct LabelRow {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) job_id: JobId,
}

columns!(LabelRow { name: "name", value: "value", job_id: "job_id" });

/// A whole job, from `jobs` joined with `job_payloads`.
pub(super) struct WholeJob {
    pub(super) found: FoundJob,
    pub(super) payload: Payload,
}

columns!(WholeJob { found: "", payload: "" });

impl WholeJob {
    pub(super) fn job(self) -> Result<Job, TransactionError> {
        let (parameters, labels) = (self.payload.parameters()?, self.payload.labels()?);
        let traceparent = self.payload.traceparent;
        let StoredJob { id, job_type, priority, created_at, number: _, policy, status } = self.found.job;
        Ok(Job { id, job_type, parameters, labels, priority, policy, created_at, traceparent, status })
    }
}

columns!(AttemptRecord {
    attempt: "attempt",
    outcome: "outcome",
    worker_id: "worker_id",
    started_at: "started_at",
    finished_at: "finished_at",
    token: "token",
});

/// An attempt that ended, of a job.
pub(super) struct AttemptRow {
    pub(super) job_seq: i64,
    pub(super) record: AttemptRecord,
}

columns!(AttemptRow { job_seq: "job_seq", record: "" });

/// The token of an attempt that ended, from `jobs` joined with `attempts`.
pub(super) struct TokenRow {
    pub(super) attempt: Attempt,
    pub(super) token: AttemptToken,
}

columns!(TokenRow { attempt: "attempts.attempt", token: "attempts.token" });

/// Under which name a job was submitted.
pub(super) struct KeyRow {
    pub(super) key: String,
    pub(super) body_hash: [u8; 32],
    pub(super) job_seq: i64,
    pub(super) created_at: Timestamp,
}

columns!(KeyRow { key: "key", body_hash: "body_hash", job_seq: "job_seq", created_at: "created_at" });

/// A job that goes, from `jobs` joined with `job_payloads`.
pub(super) struct OldRow {
    pub(super) seq: i64,
    pub(super) id: JobId,
    pub(super) job_type: JobType,
    pub(super) created_at: Timestamp,
    pub(super) state: State,
    pub(super) payload: Payload,
}

columns!(OldRow {
    seq: "seq",
    id: "id",
    job_type: "type",
    created_at: "created_at",
    state: "state",
    payload: "",
});

impl OldRow {
    pub(super) fn job(self) -> Result<OldJob, TransactionError> {
        let Self { seq: row, id, job_type, created_at, state, payload } = self;
        Ok(OldJob { row, id, job_type, created_at, state, labels: payload.labels()? })
    }
}

columns!(StoredType {
    job_type: "type",
    description: "description",
    version: "version",
    parameters_schema: "parameters_schema",
    result_schema: "result_schema",
    emits: "emits",
    first_announced_at: "first_announced_at",
    last_announced_at: "last_announced_at",
});

columns!(TypeSettings { pause: "pause", running_max: "running_max", rate_per_second: "rate_per_second" });

/// What is set for a type, and what was taken of its rate limit.
pub(super) struct SettingsRow {
    pub(super) job_type: JobType,
    pub(super) settings: TypeSettings,
    pub(super) slot: Option<Slot>,
}

columns!(SettingsRow { job_type: "type", settings: "", slot: "rate_slot_ns" });

columns!(QuarantinedMessage {
    queue: "queue",
    routing_key: "routing_key",
    reason: "reason",
    detail: "detail",
    body: "body",
    body_bytes: "body_bytes",
    at: "at",
});

columns!(QuarantineEntry { number: "seq", message: "" });

columns!(PublishedEvent {
    sequence: "sequence",
    recorded_at: "recorded_at",
    occurred_at: "occurred_at",
    subject: "subject",
    id: "id",
    origin: "origin",
    // Last, because it may be large: a row is read from the front.
    data: "data",
});

/// An event, with what its id stands for.
pub(super) struct EventRow {
    pub(super) content_hash: Option<[u8; 32]>,
    pub(super) event: PublishedEvent,
}

columns!(EventRow { content_hash: "content_hash", event: "" });

columns!(MadeOf { consumer: "consumer", pass: "pass", sequence: "sequence" });

/// Why a consumer made a job.
pub(super) struct MadeRow {
    pub(super) made_of: MadeOf,
    pub(super) root: Root,
    pub(super) depth: u32,
}

columns!(MadeRow { made_of: "", root: "root", depth: "depth" });

impl MadeRow {
    pub(super) fn cause(self) -> Cause {
        let Self { made_of, root, depth } = self;
        Cause { by: CausedBy::Consumer(made_of), root, depth }
    }
}

/// Its place in `job_causes`.
pub(super) struct CauseRow {
    pub(super) job_seq: i64,
    pub(super) made: MadeRow,
}

columns!(CauseRow { job_seq: "job_seq", made: "" });

/// Why a job was made, from `job_causes` joined with `jobs`.
pub(super) struct OpenCauseRow {
    pub(super) id: JobId,
    pub(super) made: MadeRow,
}

columns!(OpenCauseRow { id: "id", made: "" });

columns!(BackoffRequest {
    initial_seconds: "backoff_initial_seconds",
    factor: "backoff_factor",
    max_seconds: "backoff_max_seconds",
    jitter: "backoff_jitter",
});

/// A consumer without its replays, which are rows of their own.
pub(super) struct ConsumerRow {
    pub(super) name: ConsumerName,
    subjects: Vec<SubjectPattern>,
    condition: Option<String>,
    job_type: String,
    parameters: JsonObject,
    labels: BTreeMap<String, String>,
    priority: Option<i64>,
    max_attempts: Option<i64>,
    delay_seconds: Option<f64>,
    timeout_seconds: Option<f64>,
    backoff: BackoffRequest,
    /// Of which it makes runs, if it makes no jobs.
    workflow: Option<WorkflowName>,
    /// To which it has events delivered, if it makes deliveries.
    webhook: Option<WebhookName>,
    in_flight_max: u32,
    start: Start,
    cursor: Sequence,
    first_pass: Pass,
    pass: Pass,
    pause: Option<Pause>,
    created_at: Timestamp,
    changed_at: Timestamp,
    revision: u64,
}

columns!(ConsumerRow {
    name: "name",
    subjects: "subjects",
    condition: "condition",
    job_type: "job_type",
    parameters: "parameters",
    labels: "labels",
    priority: "priority",
    max_attempts: "max_attempts",
    delay_seconds: "delay_seconds",
    timeout_seconds: "timeout_seconds",
    backoff: "",
    workflow: "workflow",
    webhook: "webhook",
    in_flight_max: "in_flight_max",
    start: "start",
    cursor: "cursor",
    first_pass: "first_pass",
    pass: "pass",
    pause: "pause",
    created_at: "created_at",
    changed_at: "changed_at",
    revision: "revision",
});

impl ConsumerRow {
    pub(super) fn of(consumer: &Consumer) -> Self {
        let ConsumerSettings { subjects, condition, then, in_flight_max } =
            consumer.settings.as_ref().clone();
        let (job, workflow, webhook) = match then {
            Then::Job(job) => (*job, None, None),
            Then::Run(workflow) => (Submission::default(), Some(workflow), None),
            Then::Trigger(version) => (Submission::default(), Some(version.name().clone()), None),
            Then::Webhook(webhook) => (Submission::default(), None, Some(webhook)),
        };
        let Submission { job_type, parameters, priority, max_attempts, labels, times, after: _ } = job;
        Self {
            name: consumer.name.clone(),
            subjects,
            condition,
            job_type,
            parameters,
            labels,
            priority,
            max_attempts,
            delay_seconds: times.delay_seconds,
            timeout_seconds: times.timeout_seconds,
            backoff: times.backoff.unwrap_or_default(),
            workflow,
            webhook,
            in_flight_max,
            start: consumer.start,
            cursor: consumer.cursor,
            first_pass: consumer.first_pass,
            pass: consumer.pass,
            pause: consumer.pause.clone(),
            created_at: consumer.created_at,
            changed_at: consumer.changed_at,
            revision: consumer.revision,
        }
    }

    /// The consumer; `newest` is the newest version of the workflow whose triggers it is.
    pub(super) fn consumer(self, replays: Vec<Replay>, newest: Option<Arc<WorkflowVersion>>) -> Consumer {
        let times = Times {
            delay_seconds: self.delay_seconds,
            timeout_seconds: self.timeout_seconds,
            backoff: Some(self.backoff).filter(|backoff| *backoff != BackoffRequest::default()),
            ..Times::default()
        };
        let Self { job_type, parameters, priority, max_attempts, labels, .. } = self;
        let after = <_>::default();
        let job = Submission { job_type, parameters, priority, max_attempts, labels, times, after };
        let then = match (newest, self.workflow, self.webhook) {
            (Some(newest), ..) => Then::Trigger(newest),
            (None, Some(workflow), _) => Then::Run(workflow),
            (None, None, Some(webhook)) => Then::Webhook(webhook),
            (None, None, None) => Then::Job(Box::new(job)),
        };
        let Self { subjects, condition, in_flight_max, .. } = self;
        Consumer {
            name: self.name,
            settings: Arc::new(ConsumerSettings { subjects, condition, then, in_flight_max }),
            start: self.start,
            cursor: self.cursor,
            first_pass: self.first_pass,
            pass: self.pass,
            pause: self.pause,
            in_flight: 0,
            replays,
            created_at: self.created_at,
            changed_at: self.changed_at,
            revision: self.revision,
        }
    }
}

columns!(Replay {
    pass: "pass",
    after: "after_sequence",
    to: "to_sequence",
    cursor: "cursor",
    by: "requested_by",
    reason: "reason",
    requested_at: "requested_at",
    finished_at: "finished_at",
    key: "key",
});

/// Its place among those of its consumer.
pub(super) struct ReplayRow {
    pub(super) consumer: ConsumerName,
    pub(super) replay: Replay,
}

columns!(ReplayRow { consumer: "consumer", replay: "" });

/// Who runs a job, from its row.
pub(super) struct ClaimRow {
    pub(super) id: JobId,
    pub(super) job_type: JobType,
    pub(super) attempt: Attempt,
    pub(super) token: Option<AttemptToken>,
    pub(super) claim: Option<Claim>,
    pub(super) timeout: Option<std::time::Duration>,
    pub(super) cancel_at: Option<Timestamp>,
}

columns!(ClaimRow {
    id: "id",
    job_type: "type",
    attempt: "attempt",
    token: "token",
    claim: "claim",
    timeout: "timeout_ns",
    cancel_at: "cancel_at",
});

/// How a job stands, from its row.
pub(super) struct StandingRow {
    pub(super) id: JobId,
    pub(super) job_type: JobType,
    pub(super) state: State,
    pub(super) attempt: Attempt,
    pub(super) token: Option<AttemptToken>,
    pub(super) number: Option<DispatchNumber>,
    pub(super) cancel_at: Option<Timestamp>,
}

columns!(StandingRow {
    id: "id",
    job_type: "type",
    state: "state",
    attempt: "attempt",
    token: "token",
    number: "dispatch_number",
    cancel_at: "cancel_at",
});

/// How many jobs of a type are in a state, and how many of them occupy the dispatch window.
pub(super) struct CountRow {
    pub(super) job_type: JobType,
    pub(super) state: State,
    pub(super) jobs: u64,
    pub(super) occupying: u64,
}

columns!(CountRow { job_type: "type", state: "state", jobs: "jobs", occupying: "occupying" });

/// What is kept of a type, in its settings or because it was announced.
pub(super) struct TermsRow {
    pub(super) settings: SettingsRow,
    pub(super) announced: bool,
}

columns!(TermsRow { settings: "", announced: "types.type IS NOT NULL" });
