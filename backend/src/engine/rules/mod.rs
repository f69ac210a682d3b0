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

mod fires;

mod followers;

mod hook_changes;

mod job_events;

mod loaded;

mod named;

mod publication;

mod retention;

mod room;

mod runs;

mod schedules;

mod submission;

mod ticking;

mod types;

mod webhook_changes;

use std::sync::Arc;

use crewcall_proto::Timestamp;

use self::{
    consumers::ConsumersSavepoint, counts::CountsSavepoint, followers::FollowersSavepoint,
    named::NamedSavepoint, runs::RunsSavepoint, schedules::SchedulesSavepoint,
};
pub use age::{finished_until, forgotten_until};
pub use consumer_changes::ChangeConsumer;
pub use consumers::{ConsumerMoved, Consumers};
pub use consumption::Consume;
pub use counts::{CountedAs, CountedChange, JobCounts, StateCounts, Terms, counted};
pub use decision::{Decision, NewLogRow, NewRow, Update, Writes};
pub use dispatch::DispatchDue;
pub use due::{ExpireDue, ReleaseDue, ReleaseUnroutable};
pub use events::ApplyEvents;
pub use followers::{FOLLOWED_AT_ONCE, Followers, ReleaseUnblocked};
pub use hook_changes::ChangeHook;
pub use job_events::RESULT_BYTES_MAX;
pub use loaded::{FoundEvent, FoundJob, FoundKey, FoundReady, Loaded, OldEvents, OldJob, Wanted};
pub use named::{HasName, Named, NamedMoved};
pub use publication::{AppendEmissions, AppendEvents, DeleteEvents};
pub use retention::DeleteFinished;
pub use runs::{
    AnswerWaits, ChangeWorkflow, DeleteFinishedRuns, Runs, RunsMoved, StartRun, StepRun, TellRun,
};
pub use schedules::{ChangeSchedule, DeleteTicks, ScheduleMoved, Schedules};
pub use submission::{NewJob, StoreJobs, SubmittedBefore};
pub use ticking::TickSchedule;
pub use types::{DeleteType, PutType, PutTypeSettings};
pub use webhook_changes::ChangeWebhook;

use crate::{
    clock::Clock,
    domain::{
        Change, Event, Hook, JobStatus, Policy, Sequence, Stale, Subject, TransitionContext, Webhook,
        transition,
    },
    engine::ports::{DispatchNumber, Written},
};

/// What is known while commands are decided.
pub struct Rules {
    /// How many jobs there are, and what is set for their types.
    pub counts: JobCounts,
    /// Jobs that come after others.
    pub followers: Followers,
    /// Who makes jobs of events.
    pub consumers: Consumers,
    /// Workflows, and their runs that are not over.
    pub runs: Runs,
    /// What is made whenever a moment comes.
    pub schedules: Schedules,
    /// Where others tell us what happened.
    pub hooks: Named<Hook>,
    /// Where events are delivered to.
    pub webhooks: Named<Webhook>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// What is known can be rolled back to it.
#[derive(Debug, Clone, Copy)]
pub struct Savepoint {
    counts: CountsSavepoint,
    followers: FollowersSavepoint,
    consumers: ConsumersSavepoint,
    runs: RunsSavepoint,
    schedules: SchedulesSavepoint,
    hooks: NamedSavepoint,
    webhooks: NamedSavepoint,
}

impl Rules {
    /// As of a store that holds nothing.
    #[must_use]
    pub fn empty(clock: Arc<dyn Clock>) -> Self {
        Self {
            counts: JobCounts::new(DispatchNumber(0), Sequence::default()),
            followers: Followers::default(),
            consumers: Consumers::default(),
            runs: Runs::default(),
            schedules: Schedules::default(),
            hooks: Named::default(),
            webhooks: Named::default(),
            clock,
        }
    }

    /// What is known now.
    #[must_use]
    pub const fn savepoint(&self) -> Savepoint {
        Savepoint {
            counts: self.counts.savepoint(),
            followers: self.followers.savepoint(),
            consumers: self.consumers.savepoint(),
            runs: self.runs.savepoint(),
            schedules: self.schedules.savepoint(),
            hooks: self.hooks.savepoint(),
            webhooks: self.webhooks.savepoint(),
        }
    }

    /// Takes back everything since `savepoint`.
    pub fn roll_back_to(&mut self, savepoint: Savepoint) {
        self.counts.roll_back_to(savepoint.counts);
        self.followers.roll_back_to(savepoint.followers);
        self.consumers.roll_back_to(savepoint.consumers);
        self.runs.roll_back_to(savepoint.runs);
        self.schedules.roll_back_to(savepoint.schedules);
        self.hooks.roll_back_to(savepoint.hooks);
        self.webhooks.roll_back_to(savepoint.webhooks);
    }

    /// This event of ours, if anybody may want it.
    pub fn hear(&self, subject: impl FnOnce() -> Subject) -> Option<Subject> {
        if !self.consumers.listens() && !self.runs.listens() {
            return None;
        }
        let subject = subject();
        (self.consumers.hears(&subject) || self.runs.hears(&subject)).then_some(subject)
    }

    /// What has to be kept of the log: everything after this place; `None` when nobody goes on in it.
    #[must_use]
    pub fn need_after(&self) -> Option<Sequence> {
        self.consumers.need_after().into_iter().chain(self.runs.need_after()).min()
    }

    /// The time, by the backend's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time, by the machine's clock: that of schedules.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        self.clock.wall()
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

/// Decides what happens, and what follows from it: whatever a command does, jobs that come after one that ended
/// by it, and a run whose jobs ended by it, move on in the same transaction.
///
/// # Errors
///
/// As of [`Decide::decide`].
pub fn decide<D: Decide>(
    command: D,
    mut loaded: Loaded,
    rules: &mut Rules,
) -> Result<(Written<D::Value>, Writes), Inconsistent> {
    let blocked = std::mem::take(&mut loaded.followers);
    let mut decision = command.decide(loaded, rules)?;
    followers::follow(rules, &mut decision, blocked);
    runs::follow(rules, &mut decision);
    schedules::follow(rules, &mut decision);
    Ok(decision.written())
}

/// What was loaded contradicts itself.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{0}")]
pub struct Inconsistent(pub &'static str);
