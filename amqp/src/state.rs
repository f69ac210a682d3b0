//! What a link is doing right now.

use crate::LinkError;

/// What a link is doing right now; watch it through `state()` of a publisher or a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// There is no session. The link tries again and again until it is stopped.
    Connecting {
        /// Attempts that failed since the last session, 0 before the first one ended.
        attempts: u64,
        /// Why the last session or attempt ended; its text is one sentence for a person.
        last_error: Option<LinkError>,
    },
    /// There is a session, with everything declared and subscribed.
    Connected {
        /// Counts the sessions of this link from 1.
        generation: u64,
    },
    /// There is a session, but the broker takes no messages (`connection.blocked`, a memory or disk alarm).
    /// Publishing waits. Only a publisher gets here.
    Blocked {
        /// Counts the sessions of this link from 1.
        generation: u64,
        /// What the broker says, for example `low on memory`.
        reason: String,
    },
    /// The link was stopped and will not come back.
    Stopped,
}

impl LinkState {
    /// Whether there is a session, blocked or not.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. } | Self::Blocked { .. })
    }
}
