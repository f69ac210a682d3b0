//! What the use-cases need from the world: a store and a broker.

mod store;

mod broker;

pub use broker::{Broker, BrokerError, BrokerStatus, OrdersWaiting, QueueFound};
pub use store::{
    Accepted, Applied, Count, Dispatch, DispatchMarks, DispatchNumber, DispatchedOrder, Due, ExpiredJobs,
    IDEMPOTENCY_KEPT_FOR, IdempotencyKey, InFlight, Inserted, JobChange, JobEvent, JobQuery, Jobs, Lifecycle,
    QUARANTINE_BODY_BYTES_MAX, QUARANTINE_MESSAGES_MAX, Quarantine, QuarantineEntry, QuarantinedMessage,
    Released, Standing, Store, StoreError, StoredClaim, StoredType, Types, UNANNOUNCED_TYPES_MAX,
};
