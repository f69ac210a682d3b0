//! A job: what was asked for, and how far it got.

use std::{collections::BTreeMap, time::Duration};

use crewcall_proto::{
    Attempt, AttemptToken, ExecutionId, JobId, JobType, JsonObject, Timestamp, TraceParent, WorkerId,
    response::ErrorKind,
};

use super::{Backoff, State};

/// The code of a job's error when its parameters could not be filled in. There is nothing to try again.
pub(crate) const UNFILLED: &str = "unfilled";

/// The code of a job's error when its type does not take the parameters that were filled in.
pub(crate) const UNFIT: &str = "unfit";

/// One piece of work.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: JobId,
    /// What kind of work.
    pub job_type: JobType,
    /// What to work on.
    pub parameters: JsonObject,
    /// Words of the submitter's own, to find the job by.
    pub labels: BTreeMap<String, String>,
    /// Who goes first among the jobs of a type.
    pub priority: Priority,
    /// When it is tried, and for how long.
    pub policy: Policy,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The trace that its submission belongs to.
    pub traceparent: Option<TraceParent>,
    /// How far it got.
    pub status: JobStatus,
}

/// When a job is tried, and for how long: as its submitter asked.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Policy {
    /// The waits between attempts.
    pub backoff: Backoff,
    /// How long one attempt may run; `None` for no limit.
    pub timeout: Option<Duration>,
    /// When the job is not worth starting any more; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// The time that the submitter named to begin at; `None` for at once, or after a delay.
    pub run_at: Option<Timestamp>,
}

/// The part of a job that events change.
#[derive(Debug, Clone, PartialEq)]
pub struct JobStatus {
    pub state: State,
    /// The attempt that runs, or the next one while the job waits.
    pub attempt: Attempt,
    /// How many attempts it has at most.
    pub max_attempts: u32,
    /// The token of the current attempt, from its first dispatch on.
    pub token: Option<AttemptToken>,
    /// How often the order of the current attempt was lost, or given up by the broker, and sent again.
    pub resends: u32,
    /// How many executions of the current attempt began. While it goes on, none has answered.
    pub starts: u32,
    /// Which execution speaks for the current attempt, once one reported its start.
    pub claim: Option<Claim>,
    /// Which execution gave its order up last. What it said before may be heard later, and must not claim the attempt.
    pub given_up_by: Option<ExecutionId>,
    /// When it may be dispatched.
    pub due_at: Timestamp,
    /// Who asked to cancel it, if somebody did.
    pub cancellation: Option<Cancellation>,
    /// The latest news of the current attempt, from the execution that speaks for it.
    pub progress: Option<Progress>,
    /// What came out, when completed. JSON text, at most 256 KiB.
    pub result: Option<String>,
    /// What went wrong last, if anything did.
    pub error: Option<JobError>,
    /// When the current or last attempt began, by the worker's clock.
    pub started_at: Option<Timestamp>,
    /// When the job reached its terminal state, by ours.
    pub finished_at: Option<Timestamp>,
    /// Counts the changes, from 1: what watchers compare.
    pub version: u64,
}

impl JobStatus {
    /// The status of a job that is accepted at `now` and due at `due_at`, or at once if that has passed.
    #[must_use]
    pub fn new(max_attempts: u32, now: Timestamp, due_at: Timestamp) -> Self {
        Self {
            state: if due_at <= now { State::Ready } else { State::Scheduled },
            attempt: Attempt::FIRST,
            max_attempts,
            token: None,
            resends: 0,
            starts: 0,
            claim: None,
            given_up_by: None,
            due_at,
            cancellation: None,
            progress: None,
            result: None,
            error: None,
            started_at: None,
            finished_at: None,
            version: 1,
        }
    }

    /// A job of this status comes after others that are not over.
    pub fn block(&mut self) {
        self.state = State::Blocked;
    }

    /// A job of this status comes after one that did not complete: there is nothing to run.
    pub fn cancel_at_birth(&mut self, cancellation: Cancellation) {
        self.state = State::Cancelled;
        self.finished_at = Some(cancellation.at);
        self.cancellation = Some(cancellation);
    }

    /// A job of this status has parameters that could not be filled in, or that its type does not take: there is nothing to run.
    pub fn fail_at_birth(&mut self, code: &str, message: String, now: Timestamp) {
        self.state = State::Failed;
        self.finished_at = Some(now);
        let (kind, code) = (ErrorKind::InvalidParameters, Some(code.to_owned()));
        self.error = Some(JobError { kind, code, message, detail: None });
    }

    /// Whether its parameters could not be filled in, so that there is nothing to try again.
    #[must_use]
    pub fn failed_at_birth(&self) -> bool {
        let code = self.error.as_ref().and_then(|error| error.code.as_deref());
        self.state == State::Failed && self.token.is_none() && self.starts == 0 && code == Some(UNFILLED)
    }

    /// Whether an attempt is with the broker: what the dispatch window counts. A held attempt's order is
    /// acknowledged, so it no longer counts.
    #[must_use]
    pub fn occupies_window(&self) -> bool {
        self.state.is_in_flight() && !self.claim.as_ref().is_some_and(|claim| claim.held)
    }
}

/// The execution that speaks for an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The delivery it works on.
    pub execution_id: ExecutionId,
    pub worker_id: WorkerId,
    /// The highest sequence number heard from it.
    pub seq: u64,
    /// Whether it acknowledged its order and keeps the attempt by heartbeats.
    pub held: bool,
}

/// Who asked to cancel a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// As they call themselves.
    pub by: String,
    /// Why, if they said so.
    pub reason: Option<String>,
    /// When, by our clock.
    pub at: Timestamp,
}

/// How far an attempt got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// 0 to 100; never falls within an execution.
    pub percent: u8,
    /// What the worker says it is doing.
    pub message: Option<String>,
    /// When it said so, by its clock.
    pub at: Timestamp,
}

/// Why an attempt or a job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobError {
    pub kind: ErrorKind,
    /// The handler's own code.
    pub code: Option<String>,
    pub message: String,
    pub detail: Option<String>,
}

/// An attempt that ended: one line of the job's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    pub attempt: Attempt,
    pub outcome: AttemptOutcome,
    /// Who ran it, if anybody said so.
    pub worker_id: Option<WorkerId>,
    /// When it began, by the worker's clock.
    pub started_at: Option<Timestamp>,
    /// When it ended: by the worker's clock if it said so, else by ours.
    pub finished_at: Timestamp,
    /// The token of its order, if it had one: what its worker published while it ran may come after its end.
    pub token: Option<AttemptToken>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    Completed,
    Failed(JobError),
    Cancelled,
}

impl AttemptOutcome {
    /// The word in metrics: `completed`, `cancelled`, or the kind of error.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed(error) => error.kind.as_str(),
            Self::Cancelled => "cancelled",
        }
    }
}

/// Who goes first among the jobs of a type: 0 (last) to 9 (first).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// The highest.
    pub const MAX: u8 = 9;

    /// The priority of this number; `None` above [`Priority::MAX`].
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    /// 4: room above and below, and the default of message queues (JMS 2.0, section 3.4.10).
    fn default() -> Self {
        Self(4)
    }
}
