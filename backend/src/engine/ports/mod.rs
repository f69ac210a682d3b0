//! What the use-cases need from the world: a store and a broker.

mod store;

mod broker;

pub use broker::{
    BackendId, Broker, BrokerError, BrokerStatus, Confirmations, LoopbackProbe, OrdersWaiting, OutgoingOrder,
    QueueFound,
};
pub use store::{
    Accepted, Appended, Applied, CONSUMERS_MAX, ConsumerChange, ConsumerChanged, ConsumerStep, ConsumerWrite,
    Consumers, Count, Dispatch, DispatchMarks, DispatchNumber, DispatchedOrder, Emission, Events,
    IDEMPOTENCY_KEPT_FOR, IdempotencyKey, InFlight, Inserted, JobChanged, JobEvent, JobQuery, Jobs,
    Lifecycle, LogBounds, MatchedEvent, QUARANTINE_BODY_BYTES_MAX, QUARANTINE_MESSAGES_MAX, Quarantine,
    QuarantineEntry, QuarantinedMessage, REPLAYS_KEPT, REPLAYS_OPEN_MAX, ReplayRequest, Standing, Stepped,
    Stop, Store, StoreError, StoreUsage, StoredClaim, StoredJob, StoredType, Types, UNANNOUNCED_TYPES_MAX,
    Written,
};
