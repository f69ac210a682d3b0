//! What a command wants to know of the jobs there are, and what a store found.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use crewcall_proto::{Attempt, AttemptToken, JobId, JobType, RunId, Timestamp};

use crate::{
    domain::{
        Cause, Job, PublishedEvent, ScheduleId, Sequence, State,
        workflow::{definition::WorkflowName, known::StoredRun},
    },
    engine::ports::{DispatchNumber, StoredJob},
};

/// What has to be loaded. Each is one query, whatever its length.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    Nothing,
    /// The jobs with these ids.
    Jobs(Vec<JobId>),
    /// The same, and why they were made.
    JobsAndCauses(Vec<JobId>),
    /// Jobs, why they were made, the tokens of their attempts that ended, and the events with these ids.
    Emissions {
        jobs: Vec<JobId>,
        ids: Vec<String>,
    },
    /// The idempotency keys with these names that are not forgotten, with their jobs; and the jobs with these ids.
    Keys {
        names: Vec<String>,
        jobs: Vec<JobId>,
    },
    /// The ready jobs of a type whose turn it is: by priority (highest first), due time and id.
    Ready {
        job_type: JobType,
        /// How many at most.
        limit: usize,
    },
    /// The scheduled jobs whose time has come, those first that have been due for longest; and when the next is due.
    Scheduled {
        until: Timestamp,
        /// How many at most.
        limit: usize,
    },
    /// The unroutable jobs of a type, oldest first.
    Unroutable {
        job_type: JobType,
        /// How many at most.
        limit: usize,
    },
    /// The jobs that were not started in time, those first that expired first; and when the next expires.
    Expiring {
        until: Timestamp,
        /// How many at most.
        limit: usize,
    },
    /// The jobs that have been over for long enough, those first that finished first.
    Finished {
        state: State,
        /// For longer than this.
        kept_for: Duration,
        /// How many at most.
        limit: usize,
    },
    /// The events with these ids.
    Events(Vec<String>),
    /// The beginning of the log that was recorded long enough ago.
    OldEvents {
        /// For longer than this.
        kept_for: Duration,
        /// For longer than this, where it is not passed.
        held_for: Duration,
        /// Up to where every consumer has passed it; `None` when there is none.
        passed: Option<Sequence>,
        /// How many at most.
        limit: usize,
    },
    /// The number of the newest version of a workflow that is kept, also if the workflow is deleted.
    LastVersion(WorkflowName),
    /// The run that was started under this idempotency key, if it is not forgotten.
    RunKey(String),
    /// A run that is over.
    Run(RunId),
    /// The ticks of a schedule's calendar after the one moment and up to the other that fired, or wait to.
    FiredTicks {
        schedule: ScheduleId,
        after: Timestamp,
        to: Timestamp,
    },
    /// Runs that have been over for long enough, those first that ended first; and jobs of theirs. A run whose jobs are all among
    /// those, or that has none, is told; of the last, there may be more jobs. None is told whose parent is not over.
    FinishedRuns {
        /// For longer than this.
        kept_for: Duration,
        /// How many jobs at most; and how many runs.
        limit: usize,
    },
}

/// What was found of that.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Jobs, by id.
    pub jobs: HashMap<JobId, FoundJob>,
    /// The blocked jobs that come after those, and after these in turn: for every command, as [`Followers::of`](super::Followers::of) names them.
    pub followers: HashMap<JobId, FoundJob>,
    /// Why jobs were made, of those that a consumer made.
    pub causes: HashMap<JobId, Arc<Cause>>,
    /// The tokens of ended attempts.
    pub tokens: HashSet<(JobId, Attempt, AttemptToken)>,
    /// Idempotency keys, by name.
    pub keys: HashMap<String, FoundKey>,
    /// Ready jobs, in their order.
    pub ready: Vec<FoundReady>,
    /// Scheduled, unroutable or expiring jobs, in their order.
    pub waiting: Vec<FoundJob>,
    /// When the next job is due, or expires, that is not among them.
    pub next_at: Option<Timestamp>,
    /// Jobs that go, in their order.
    pub old: Vec<OldJob>,
    /// Events, by their ids.
    pub events: HashMap<String, FoundEvent>,
    /// Events that go.
    pub old_events: OldEvents,
    /// The newest version of a workflow.
    pub last_version: Option<u32>,
    /// What the body was that a run was started with under a key: its SHA-256; and the run.
    pub run_key: Option<([u8; 32], RunId)>,
    /// A run that is over.
    pub run: Option<StoredRun>,
    /// Ticks that fired, or wait to.
    pub fired_ticks: BTreeSet<Timestamp>,
    /// Runs that go, with everything about them: their jobs are among `old`, or gone before.
    pub old_runs: Vec<RunId>,
}

impl Loaded {
    /// The jobs of which something may follow for others.
    pub fn ending(&self) -> impl Iterator<Item = &JobId> {
        self.jobs.keys().chain(self.waiting.iter().map(|found| &found.job.id))
    }
}

/// A job, as it was found.
#[derive(Debug, Clone)]
pub struct FoundJob {
    /// The store's own number of its row.
    pub row: i64,
    pub job: StoredJob,
}

/// A job that is ready, as a whole: it is about to be published.
#[derive(Debug, Clone)]
pub struct FoundReady {
    /// The store's own number of its row.
    pub row: i64,
    /// Which dispatch it was last sent with.
    pub number: Option<DispatchNumber>,
    pub job: Job,
}

/// An idempotency key that is not forgotten.
#[derive(Debug, Clone)]
pub struct FoundKey {
    /// What the body was: its SHA-256.
    pub body_hash: [u8; 32],
    /// The job that was made of it, as it is now.
    pub job: Arc<Job>,
}

/// A job that goes.
#[derive(Debug, Clone)]
pub struct OldJob {
    /// The store's own number of its row.
    pub row: i64,
    pub id: JobId,
    pub job_type: JobType,
    /// How it ended.
    pub state: State,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// An event that has an id.
#[derive(Debug, Clone)]
pub struct FoundEvent {
    /// What it says: its SHA-256.
    pub content_hash: [u8; 32],
    pub event: Arc<PublishedEvent>,
}

/// A beginning of the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct OldEvents {
    /// How many events it has.
    pub count: usize,
    /// The last of them.
    pub up_to: Sequence,
}
