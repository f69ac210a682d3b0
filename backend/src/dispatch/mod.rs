//! What we do with jobs: the use-cases, over the ports [`ports::JobStore`] and [`ports::Broker`].
//!
//! A job's way: [`jobs`] accepts it, [`relay`] publishes its attempts, [`recorder`] takes what workers
//! answer, [`ledger`] is the one way in which anything that happened reaches the store. [`discovery`] knows
//! the workers and [`queues`] gives their types queues, [`rescue`], [`reconcile`] and [`timers`] see to it that
//! nothing is stuck, and [`intervention`] and [`flow`] are how people change its course.

pub mod ports;

pub mod jobs;

pub mod relay;

mod mark;

mod wakes;

pub mod recorder;

pub mod ledger;

mod announcement;

pub mod discovery;

pub mod queues;

pub mod registry;

pub mod catalogue;

mod mismatch;

pub mod schema;

pub mod flow;

pub mod hearing;

pub mod leases;

pub mod revocations;

pub mod intervention;

pub mod rescue;

pub mod reconcile;

pub mod overtaking;

pub mod due_times;

pub mod timers;

pub mod retention;

pub mod forget;

pub mod watch;

pub use catalogue::Catalogue;
pub use discovery::Discovery;
pub use flow::FlowControl;
pub use hearing::Hearing;
pub use intervention::Interventions;
pub use jobs::{JobView, Jobs, SubmitError};
pub use leases::Leases;
pub use ledger::Ledger;
pub use recorder::Recorder;
pub use registry::Registry;
pub use relay::Relay;
pub use revocations::Revocations;
pub use watch::WatchHub;
