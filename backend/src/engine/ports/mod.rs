//! What the use-cases need from the world: a store and a broker.

mod store;

mod broker;

pub use broker::{
    BackendId, Broker, BrokerError, BrokerStatus, Confirmations, LoopbackProbe, OrdersWaiting, OutgoingOrder,
    QueueFound,
};
pub use store::{
    Accepted, Appended, Applied, CONSUMERS_MAX, ConsumerChange, ConsumerChanged, ConsumerStep, ConsumerWrite,
    Consumers, Count, Cut, Dispatch, DispatchMarks, DispatchNumber, DispatchedOrder, Emission, Events,
    Followers, HOOKS_MAX, HookChange, HookChanged, HookWrite, Hooks, IDEMPOTENCY_KEPT_FOR, IdempotencyKey,
    InFlight, Inserted, ItemQuery, JobChanged, JobEvent, JobQuery, Jobs, JournalEntry, JournalLine,
    LINKS_MAX, Lifecycle, LinkWrite, LogBounds, Made, MatchedEvent, NewItem, NewItemRow, NewItemWork, NewRun,
    PutSecret, QUARANTINE_BODY_BYTES_MAX, QUARANTINE_MESSAGES_MAX, Quarantine, QuarantineEntry,
    QuarantinedMessage, REPLAYS_KEPT, REPLAYS_OPEN_MAX, RUNS_OPEN_MAX, ReplayRequest, RunChanged, RunData,
    RunQuery, RunStarted, RunTold, ScheduleChange, ScheduleChanged, ScheduleStep, ScheduleWrite, Schedules,
    Standing, StepDone, StepTick, Stepped, Stop, Store, StoreError, StoreUsage, StoredClaim, StoredJob,
    StoredType, TickMade, TickQuery, TickStop, Ticked, Types, UNANNOUNCED_TYPES_MAX, VERSIONS_KEPT,
    VersionLine, WORKFLOWS_MAX, WaitAnswers, WebhookChange, WebhookChanged, WebhookWrite, Webhooks,
    WorkflowChange, WorkflowChanged, WorkflowWrite, Workflows, Written,
};
