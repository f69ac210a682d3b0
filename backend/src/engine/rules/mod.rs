//! What is decided in a transaction: who may go to the broker, whose submission is a repetition, what an event does, what is
//! counted. Nothing here knows a database.
//!
//! A transaction is three steps, for each command that comes: what it [wants](Decide::wants) is loaded, it [decides](Decide::decide) in
//! memory, and what it [writes](Decision::writes) is written. A store may take many commands through each step together.

mod age;

mod consumer_changes;

mod consumers;

mod consumption;

mod counts;

mod decision;

mod dispatch;

mod due;

mod events;

mod job_events;

mod loaded;

mod publication;

mod retention;

mod room;

mod submission;

mod types;

use std::sync::Arc;

use crewcall_proto::Timestamp;

use self::{consumers::ConsumersSavepoint, counts::CountsSavepoint};
pub use age::{finished_until, forgotten_until};
pub use consumer_changes::ChangeConsumer;
pub use consumers::{ConsumerMoved, Consumers};
pub use consumption::Consume;
pub use counts::{CountedAs, CountedChange, JobCounts, StateCounts, Terms, counted};
pub use decision::{Decision, NewLogRow, NewRow, Update, Writes};
pub use dispatch::DispatchDue;
pub use due::{ExpireDue, ReleaseDue, ReleaseUnroutable};
pub use events::ApplyEvents;
pub use job_events::RESULT_BYTES_MAX;
pub use loaded::{FoundEvent, FoundJob, FoundKey, FoundReady, Loaded, OldEvents, OldJob, Wanted};
pub use publication::{AppendEmissions, AppendEvents, DeleteEvents};
pub use retention::DeleteFinished;
pub use submission::{NewJob, StoreJobs, SubmittedBefore};
pub use types::{DeleteType, PutType, PutTypeSettings};

use crate::{
    clock::Clock,
    domain::{Change, Event, JobStatus, Policy, Stale, TransitionContext, transition},
};

/// What is known while commands are decided: the counts, the consumers, and the time.
pub struct Rules {
    /// How many jobs there are, and what is set for their types.
    pub counts: JobCounts,
    /// Who makes jobs of events.
    pub consumers: Consumers,
    clock: Arc<dyn Clock>,
}

/// What is known can be rolled back to it.
#[derive(Debug, Clone, Copy)]
pub struct Savepoint {
    counts: CountsSavepoint,
    consumers: ConsumersSavepoint,
}

impl Rules {
    /// With what the store holds.
    pub fn new(counts: JobCounts, consumers: Consumers, clock: Arc<dyn Clock>) -> Self {
        Self { counts, consumers, clock }
    }

    /// What is known now.
    #[must_use]
    pub const fn savepoint(&self) -> Savepoint {
        Savepoint { counts: self.counts.savepoint(), consumers: self.consumers.savepoint() }
    }

    /// Takes back everything since `savepoint`.
    pub fn roll_back_to(&mut self, savepoint: Savepoint) {
        self.counts.roll_back_to(savepoint.counts);
        self.consumers.roll_back_to(savepoint.consumers);
    }

    /// The time, by the backend's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Runs the state machine as of `now`.
    fn transition(
        &self,
        status: &JobStatus,
        policy: &Policy,
        event: Event,
        now: Timestamp,
    ) -> Result<Change, Stale> {
        transition(status, policy, event, TransitionContext { now, jitter_sample: rand::random() })
    }
}

/// Something that is done in one transaction.
pub trait Decide {
    /// What it returns.
    type Value;

    /// What has to be loaded for it.
    fn wants(&self, rules: &Rules) -> Wanted;

    /// Decides what happens. Moves the counts, which are rolled back by whoever cannot write it.
    ///
    /// # Errors
    ///
    /// [`Inconsistent`] when what was loaded cannot be so.
    fn decide(self, loaded: Loaded, rules: &mut Rules) -> Result<Decision<Self::Value>, Inconsistent>;
}

/// What was loaded contradicts itself.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{0}")]
pub struct Inconsistent(pub &'static str);
