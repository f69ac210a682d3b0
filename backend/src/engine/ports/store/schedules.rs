//! Schedules and their ticks, as a store keeps them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_proto::Timestamp;

use super::{Accepted, NewRun, StoreError, Written};
use crate::domain::{
    FiredBy, NewEvent, Pause, ScheduleId, ScheduleName, TickKey,
    schedules::{
        consider::Passed,
        known::{Schedule, Wait},
        settings::ScheduleSettings,
        tick::{TickRecord, TickState},
    },
};

/// Keeps schedules, and what became of their ticks. What a tick makes and the mark up to which ticks were looked at are one
/// transaction, so a tick fires once, whatever dies when.
#[async_trait]
pub trait Schedules: Send + Sync {
    /// All of them as committed last, by name. Costs no query.
    fn schedules(&self) -> Vec<Arc<Schedule>>;

    /// One of them as committed last. Costs no query.
    fn schedule(&self, name: &ScheduleName) -> Option<Arc<Schedule>>;

    /// Does something to one schedule, or makes it.
    async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
    ) -> Result<Written<ScheduleChanged>, StoreError>;

    /// Stores what becomes of ticks, in this order, and moves the mark. Does nothing if the schedule is not as it was read.
    async fn tick(&self, step: ScheduleStep) -> Result<Written<Ticked>, StoreError>;

    /// What became of ticks of a schedule, newest first.
    async fn ticks(&self, query: TickQuery) -> Result<Vec<TickRecord>, StoreError>;

    /// What came out of the last fire that completed, as JSON text, if the schedule reads it.
    async fn last_result(&self, id: ScheduleId) -> Result<Option<Arc<str>>, StoreError>;

    /// Deletes what became of ticks that were decided so long ago and are over, at most `limit` of them.
    async fn delete_ticks(&self, kept_for: Duration, limit: usize) -> Result<(), StoreError>;
}

/// What somebody does to a schedule.
#[derive(Debug, Clone)]
pub enum ScheduleChange {
    /// Make it, or change what it does: nothing that lies in the past, by the wall clock, fires by this.
    Put {
        settings: Arc<ScheduleSettings>,
        /// Its document as JSON text: the same text changes nothing.
        document: Arc<str>,
        by: String,
    },
    Pause(Pause),
    /// End its pause; failures count from the beginning.
    Resume,
    Delete,
    /// Make up for these ticks, unless they fired: one after the other, or all at once.
    Backfill {
        ticks: Vec<Timestamp>,
        at_once: bool,
        by: String,
    },
    /// The wall clock was set back, to before the mark: ticks that are still to come have no record but for those that fired.
    /// What stands for several ticks of which some are still to come is cut off.
    ClockSetBack {
        cut: Option<Cut>,
    },
}

/// The record of several ticks that begins with the first, as far as they have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
}

/// What became of a change.
#[derive(Debug, Clone, Default)]
pub enum ScheduleChanged {
    Created(Arc<Schedule>),
    Changed(Arc<Schedule>),
    /// It was like that already.
    Unchanged(Arc<Schedule>),
    /// So many ticks are queued; the others fired before.
    Queued(usize),
    Deleted,
    /// There is none of that name.
    #[default]
    Unknown,
    /// There are as many as may be already.
    TooMany,
}

/// What becomes of ticks of a schedule.
#[derive(Debug, Clone)]
pub struct ScheduleStep {
    pub schedule: ScheduleName,
    pub id: ScheduleId,
    /// That of the settings by which it was decided.
    pub revision: u64,
    /// The mark by which it was decided, and what it is from now on.
    pub from: Timestamp,
    pub to: Timestamp,
    /// In their order.
    pub ticks: Vec<StepTick>,
}

/// What becomes of a tick, or of several in a row.
#[derive(Debug, Clone)]
pub enum StepTick {
    Passed {
        first: Timestamp,
        last: Timestamp,
        count: u64,
        why: Passed,
        reason: Option<String>,
    },
    /// It is to fire. `made` is left out where it was not expected to.
    Due {
        key: TickKey,
        made: Option<Box<TickMade>>,
    },
    /// It waited, and is to fire now.
    Begin {
        key: TickKey,
        made: Box<TickMade>,
    },
}

/// What a tick makes, made ready.
#[derive(Debug, Clone)]
pub enum TickMade {
    /// Ready, scheduled, or failed already.
    Job(Box<Accepted>, FiredBy),
    Run(NewRun),
    Event(NewEvent),
    /// Nothing: why.
    Nothing(String),
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Ticked {
    /// Nothing: the schedule is not as it was when the step was made ready.
    #[default]
    Stale,
    Done {
        /// What became of the ticks, in their order; those that fired before are left out.
        told: Vec<TickRecord>,
        /// Why not all of them were done, if they were not.
        stop: Option<TickStop>,
    },
}

/// Why a schedule does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickStop {
    /// A tick fires for which nothing was made ready: it is to be done once more.
    NotReady,
    /// Nobody announced the type of its jobs, and too many others like it are there already.
    TooManyTypes,
    /// Too many runs are open already.
    TooManyRuns,
}

/// Which records of ticks are asked for.
#[derive(Debug, Clone)]
pub struct TickQuery {
    pub schedule: ScheduleId,
    /// Before this one.
    pub before: Option<TickKey>,
    /// Not before this moment.
    pub from: Option<Timestamp>,
    /// In one of these states; in any, if there is none.
    pub states: Vec<TickState>,
    /// How many at most.
    pub limit: usize,
}

/// What is to be written of a schedule.
#[derive(Debug)]
pub enum ScheduleWrite {
    /// It came or moved: all but what it says, and its ticks.
    Put(Arc<Schedule>),
    /// It says something else.
    Document(Arc<Schedule>),
    Deleted(ScheduleName),
    /// A record of ticks came.
    Record(ScheduleId, ScheduleName, TickRecord),
    /// A tick is to be made up for; whatever became of it when that was tried before.
    Backfilled(ScheduleId, ScheduleName, TickRecord, Wait),
    /// Further ticks belong to the record that begins with this one.
    Extended {
        schedule: ScheduleId,
        first: Timestamp,
        last: Timestamp,
        count: u64,
    },
    /// The record of a tick is another from now on.
    Changed(ScheduleId, ScheduleName, TickRecord),
    /// What a tick made is over, or is not any more.
    Ended {
        schedule: ScheduleId,
        key: TickKey,
        outcome: Option<(crate::domain::schedules::tick::TickOutcome, Timestamp)>,
    },
    /// What came out of the last fire that completed: JSON text.
    LastResult(ScheduleId, Arc<str>),
    /// The records of the calendar's ticks after this moment go, but for those that fired; and this one is cut off.
    StruckOut {
        schedule: ScheduleId,
        after: Timestamp,
        cut: Option<Cut>,
    },
    /// The records of ticks that were decided by this time go, those first that were decided first, if they are over.
    Forget {
        until: Timestamp,
        limit: usize,
    },
}
