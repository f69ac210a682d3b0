//! Consumers of the log, as a store keeps them.

use std::sync::Arc;

use async_trait::async_trait;
use crewcall_proto::JobId;

use super::{Accepted, NewRun, StoreError, Written};
use crate::domain::{Cause, Consumer, ConsumerName, ConsumerSettings, Pass, Pause, Replay, Sequence, Start};

/// How many consumers there may be.
pub const CONSUMERS_MAX: usize = 1_000;

/// How many replays of one consumer may be under way.
pub const REPLAYS_OPEN_MAX: usize = 10;

/// How many replays of one consumer are remembered after their end.
pub const REPLAYS_KEPT: usize = 10;

/// Keeps who makes jobs of events, and how far they got. What a consumer makes and the place that it got to are one
/// transaction, so a match makes one job, whatever dies when.
#[async_trait]
pub trait Consumers: Send + Sync {
    /// All of them as committed last, by name. Costs no query.
    fn consumers(&self) -> Vec<Arc<Consumer>>;

    /// One of them as committed last. Costs no query.
    fn consumer(&self, name: &ConsumerName) -> Option<Arc<Consumer>>;

    /// Does something to one consumer, or makes it.
    async fn change_consumer(
        &self,
        name: &ConsumerName,
        change: ConsumerChange,
    ) -> Result<ConsumerChanged, StoreError>;

    /// Stores what was matched in a part of the log, in this order, and moves the cursor behind that part; or behind the last
    /// event for which there was room. Does nothing if the consumer is somewhere else by now, was changed, or waits.
    async fn consume(&self, step: ConsumerStep) -> Result<Written<Stepped>, StoreError>;

    /// Why a job was made; `None` for one that somebody submitted, and one that there is not.
    async fn cause(&self, job_id: JobId) -> Result<Option<Cause>, StoreError>;
}

/// What somebody does to a consumer.
#[derive(Debug, Clone)]
pub enum ConsumerChange {
    /// Make it, or change its settings.
    Put {
        settings: Arc<ConsumerSettings>,
        /// Where it was told to begin.
        start: Option<Start>,
        /// Which place that is; `None` for the end of the log.
        begin: Option<Sequence>,
    },
    Pause(Pause),
    Resume {
        /// Passing over what came meanwhile.
        from_now: bool,
    },
    /// Go on behind this place; `None` for the end of the log.
    Seek(Option<Sequence>),
    Replay(ReplayRequest),
    Delete,
}

/// A part of the log that is to be gone through once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRequest {
    pub after: Sequence,
    pub to: Sequence,
    pub by: String,
    pub reason: Option<String>,
    /// Under which name it may be asked for again.
    pub key: Option<String>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum ConsumerChanged {
    Created(Arc<Consumer>),
    Changed(Arc<Consumer>),
    /// It was like that already.
    Unchanged(Arc<Consumer>),
    /// This replay was asked for before, under the same key.
    Repeated(Box<Replay>),
    Deleted,
    /// There is none of that name.
    Unknown,
    /// There are [`CONSUMERS_MAX`] already.
    TooMany,
    /// [`REPLAYS_OPEN_MAX`] of its replays are under way already.
    TooManyReplays,
    /// It was told to begin elsewhere when it was made.
    OtherStart(Start),
    /// The log has not got there.
    Beyond {
        place: Sequence,
        head: Sequence,
    },
    /// The key belongs to a replay of another part.
    KeyReused,
}

/// What follows from a part of the log.
#[derive(Debug, Clone)]
pub struct ConsumerStep {
    pub consumer: ConsumerName,
    pub pass: Pass,
    /// That of the settings by which it was decided.
    pub revision: u64,
    /// The place before the part.
    pub from: Sequence,
    /// Its last event.
    pub to: Sequence,
    /// In the order of their events.
    pub matches: Vec<MatchedEvent>,
}

/// What is made of an event.
#[derive(Debug, Clone)]
pub struct MatchedEvent {
    pub made: Made,
    pub cause: Cause,
}

/// What a consumer makes.
#[derive(Debug, Clone)]
pub enum Made {
    /// Ready, scheduled, or failed already.
    Job(Box<Accepted>),
    Run(Box<NewRun>),
}

impl Made {
    /// Whether it is over from its beginning.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Job(accepted) if accepted.job.status.state.is_terminal())
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stepped {
    /// Nothing: the consumer is not as it was when the step was made ready.
    #[default]
    Stale,
    Done {
        /// Where it stands now.
        cursor: Sequence,
        /// How many jobs it made.
        made: usize,
        /// Why it did not get to the end of the part, if it did not.
        stop: Option<Stop>,
    },
}

/// Why a consumer does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It has as many unfinished jobs as it may.
    Full,
    /// Nobody announced the type of its jobs, and [`UNANNOUNCED_TYPES_MAX`](super::UNANNOUNCED_TYPES_MAX) others like it are there already.
    TooManyTypes,
    /// [`RUNS_OPEN_MAX`](super::RUNS_OPEN_MAX) runs are open already.
    TooManyRuns,
    /// The workflow has another version than that by which its run was made ready.
    OtherVersion,
    /// There is no such workflow, or it is paused.
    NoWorkflow,
}

/// What is to be written of a consumer.
#[derive(Debug, Clone)]
pub enum ConsumerWrite {
    /// It came or changed.
    Put(Arc<Consumer>),
    /// One of its passes got on.
    Advanced {
        consumer: Arc<Consumer>,
        pass: Pass,
    },
    Deleted(ConsumerName),
}
