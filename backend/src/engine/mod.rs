//! What we do with jobs: the use-cases, over the ports [`ports::JobStore`] and [`ports::Broker`].
//!
//! A job's way: [`jobs`] accepts it, [`relay`] publishes its attempts, [`responses`] takes what workers
//! answer, [`changes`] is the one way in which anything that happened reaches the store. [`fleet`] knows
//! the workers and gives their types queues, [`settings`] knows what is set for types, [`upkeep`] sees to it that
//! nothing is stuck, and [`actions`] is how people change a job's course.

pub mod ports;

pub(crate) mod rules;

pub mod jobs;

pub mod relay;

pub mod responses;

pub mod changes;

pub mod actions;

pub mod watch;

pub mod fleet;

pub mod settings;

pub mod upkeep;

pub use actions::Interventions;
pub use changes::Ledger;
pub use fleet::{
    discovery::Discovery, leases::Leases, liveness::Hearing, registry::Registry, revocations::Revocations,
};
pub use jobs::{JobView, Jobs, SubmitError};
pub use relay::Relay;
pub use responses::Recorder;
pub use settings::{catalogue::Catalogue, limits::FlowControl};
pub use watch::WatchHub;
