//! Hooks, as a store keeps them.

use std::sync::Arc;

use async_trait::async_trait;
use crewcall_proto::Timestamp;

use super::StoreError;
use crate::domain::{
    Hook, HookName,
    hook::{HookCheck, HookSecret},
};

/// How many hooks there may be. All of them are in memory, and each is one service that somebody set up by hand.
pub const HOOKS_MAX: usize = 1_000;

/// Keeps where others tell us what happened, with the secrets by which they are known.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// All of them as committed last, by name. Costs no query.
    fn hooks(&self) -> Vec<Arc<Hook>>;

    /// One of them as committed last. Costs no query, however many ask.
    fn hook(&self, name: &HookName) -> Option<Arc<Hook>>;

    /// Does something to one hook, or makes it.
    async fn change_hook(&self, name: &HookName, change: HookChange) -> Result<HookChanged, StoreError>;
}

/// What somebody does to a hook.
#[derive(Debug, Clone)]
pub enum HookChange {
    /// Make it, or change how its requests are checked. A secret that retires is accepted no longer, if anything changes.
    Put {
        check: HookCheck,
        secret: PutSecret,
        by: String,
    },
    /// This is the secret from now on, and the one before retires.
    Rotate {
        secret: HookSecret,
        by: String,
    },
    Delete,
}

/// Which secret a hook is to have.
#[derive(Debug, Clone)]
pub enum PutSecret {
    Given(HookSecret),
    /// The one that it has, if that is of the same kind; otherwise this one, if one could be made.
    Kept {
        or_else: Option<HookSecret>,
    },
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookChanged {
    Created(Arc<Hook>),
    Changed(Arc<Hook>),
    /// It was like that already.
    Unchanged(Arc<Hook>),
    Deleted,
    /// There is none of that name.
    Unknown,
    /// There are [`HOOKS_MAX`] already.
    TooMany,
    /// It has no secret that could be kept, and none was given.
    NoSecret,
    /// Its secret was chosen with another service: it cannot be rotated from here alone.
    NotStandard,
    /// The secret before this one is accepted until then: a third would lock one of them out.
    Rotating {
        until: Timestamp,
    },
}

/// What is to be written of a hook.
#[derive(Debug, Clone)]
pub enum HookWrite {
    Put(Arc<Hook>),
    Deleted(HookName),
}
