//! What was seen of an installation.

use crewcall_amqp::{BrokerProduct, Declaration, Found};
use jiff::Timestamp;

use crate::api::{Document, JobType, Metrics, Readiness, Worker};

/// Everything that was seen.
#[derive(Debug)]
pub(crate) struct Facts {
    /// When.
    pub(crate) now: Timestamp,
    /// Where the backend was looked for.
    pub(crate) url: String,
    /// What it answered; or why it did not.
    pub(crate) backend: Result<BackendFacts, String>,
    /// What the broker answered.
    pub(crate) broker: BrokerFacts,
}

/// What the backend answered.
#[derive(Debug, Default)]
pub(crate) struct BackendFacts {
    /// Whether it can do its work.
    pub(crate) readiness: Readiness,
    /// When its answer came, by our clock.
    pub(crate) answered_at: Option<Timestamp>,
    /// Its types.
    pub(crate) types: Vec<Document<JobType>>,
    /// Its workers.
    pub(crate) workers: Vec<Document<Worker>>,
    /// What it counts.
    pub(crate) metrics: Metrics,
}

/// What the broker answered.
#[derive(Debug)]
pub(crate) enum BrokerFacts {
    /// It was not to be asked.
    NotWanted,
    /// Nobody said where it is.
    Unknown,
    /// It did not answer, and why.
    Unreachable(String),
    /// It did.
    Seen(Inspection),
}

/// What was seen of the broker.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// What it is.
    pub(crate) product: Option<BrokerProduct>,
    /// The virtual host.
    pub(crate) vhost: String,
    /// What the names of everything there begin with.
    pub(crate) prefix: String,
    /// Everything that should be declared there.
    pub(crate) things: Vec<Thing>,
}

/// One thing that should be declared on the broker.
#[derive(Debug)]
pub(crate) struct Thing {
    /// What it should be.
    pub(crate) expected: Declaration,
    /// What there is.
    pub(crate) found: Found,
    /// Why the user may not use it, in the broker's words.
    pub(crate) refusal: Option<String>,
}

impl Thing {
    /// Its kind and name.
    pub(crate) fn named(&self) -> (&'static str, &str) {
        match &self.expected {
            Declaration::Exchange { name, .. } => ("exchange", name),
            Declaration::QuorumQueue { name, .. }
            | Declaration::Claim { name, .. }
            | Declaration::ExclusiveQueue { name } => ("queue", name),
            Declaration::Binding { queue, .. } => ("binding", queue),
        }
    }
}
