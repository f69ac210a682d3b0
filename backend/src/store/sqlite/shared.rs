//! What is known of the last commit without a query, for readers.

use super::{
    followers::SharedFollowers, runs, shared_consumers::SharedConsumers, shared_counts::SharedCounts,
    shared_named::SharedNamed, shared_runs::SharedRuns, shared_schedules::SharedSchedules,
    transaction_error::TransactionError,
};
use crate::{
    domain::{Hook, Webhook},
    engine::rules::Rules,
};

/// The tables that the writer keeps in memory, as committed last.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) counts: SharedCounts,
    pub(super) followers: SharedFollowers,
    pub(super) consumers: SharedConsumers,
    pub(super) runs: SharedRuns,
    pub(super) schedules: SharedSchedules,
    pub(super) hooks: SharedNamed<Hook>,
    pub(super) webhooks: SharedNamed<Webhook>,
}

impl Shared {
    /// What the database held when it was opened.
    pub(super) fn loaded(rules: &Rules, connection: &rusqlite::Connection) -> Result<Self, TransactionError> {
        let followers = SharedFollowers::default();
        followers.set(&rules.followers);
        Ok(Self {
            counts: SharedCounts::loaded(&rules.counts),
            followers,
            consumers: SharedConsumers::loaded(&rules.consumers),
            runs: SharedRuns::loaded(&rules.runs, runs::any(connection)?),
            schedules: SharedSchedules::loaded(&rules.schedules),
            hooks: SharedNamed::loaded(&rules.hooks),
            webhooks: SharedNamed::loaded(&rules.webhooks),
        })
    }

    /// A transaction was committed: what it moved is there for everybody.
    pub(super) fn committed(&self, rules: &mut Rules) {
        self.counts.add(rules.counts.commit());
        rules.followers.commit();
        self.followers.set(&rules.followers);
        self.consumers.add(rules.consumers.commit());
        self.runs.add(rules.runs.commit());
        self.schedules.add(rules.schedules.commit());
        self.hooks.add(rules.hooks.commit());
        self.webhooks.add(rules.webhooks.commit());
    }
}
