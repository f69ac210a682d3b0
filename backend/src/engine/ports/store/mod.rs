//! The store as the use-cases see it: eleven small ports, and one that is all of them.
//!
//! Every method is one transaction: it has happened durably when it returns, or not at all. Writes are serialised; a
//! store may commit several of them together. A store has a clock of its own: nobody tells it what the time is.

mod jobs;

mod records;

mod job_changed;

mod job_query;

mod types;

mod events;

mod consumers;

mod workflows;

mod schedules;

mod hooks;

mod webhooks;

mod followers;

mod quarantine;

mod lifecycle;

pub use consumers::{
    CONSUMERS_MAX, ConsumerChange, ConsumerChanged, ConsumerStep, ConsumerWrite, Consumers, Made,
    MatchedEvent, REPLAYS_KEPT, REPLAYS_OPEN_MAX, ReplayRequest, Stepped, Stop,
};
pub use events::{Appended, Emission, Events, LogBounds};
pub use followers::{Followers, LINKS_MAX, LinkWrite};
pub use hooks::{HOOKS_MAX, HookChange, HookChanged, HookWrite, Hooks, PutSecret};
pub use job_changed::{JobChanged, RunChanged, StoredJob, Written};
pub use job_query::JobQuery;
pub use jobs::Jobs;
pub use lifecycle::{Lifecycle, StoreError, StoreUsage};
pub use quarantine::{
    QUARANTINE_BODY_BYTES_MAX, QUARANTINE_MESSAGES_MAX, Quarantine, QuarantineEntry, QuarantinedMessage,
};
pub use records::{
    Accepted, Applied, Count, Dispatch, DispatchMarks, DispatchNumber, DispatchedOrder, IDEMPOTENCY_KEPT_FOR,
    IdempotencyKey, InFlight, Inserted, JobEvent, Standing, StoredClaim,
};
pub use schedules::{
    Cut, ScheduleChange, ScheduleChanged, ScheduleStep, ScheduleWrite, Schedules, StepTick, TickMade,
    TickQuery, TickStop, Ticked,
};
pub use types::{StoredType, Types, UNANNOUNCED_TYPES_MAX};
pub use webhooks::{WebhookChange, WebhookChanged, WebhookWrite, Webhooks};
pub use workflows::{
    ItemQuery, JournalEntry, JournalLine, NewItem, NewItemRow, NewItemWork, NewRun, RUNS_OPEN_MAX, RunData,
    RunQuery, RunStarted, RunTold, StepDone, VERSIONS_KEPT, VersionLine, WORKFLOWS_MAX, WaitAnswers,
    WorkflowChange, WorkflowChanged, WorkflowWrite, Workflows,
};

/// All that a store is.
pub trait Store:
    Jobs
    + Followers
    + Events
    + Consumers
    + Workflows
    + Schedules
    + Hooks
    + Webhooks
    + Types
    + Quarantine
    + Lifecycle
{
}

impl<T> Store for T where
    T: Jobs
        + Followers
        + Events
        + Consumers
        + Workflows
        + Schedules
        + Hooks
        + Webhooks
        + Types
        + Quarantine
        + Lifecycle
{
}
