//! Jobs that nothing blocks any more, and that were too many for the commit that let them go.

use std::time::Duration;

use super::Task;
use crate::engine::{Engine, ports::StoreError, rules::FOLLOWED_AT_ONCE};

/// How often it is looked whether there are any, which costs no query.
const EVERY: Duration = Duration::from_millis(100);

/// Moves them on.
pub(super) struct Unblock;

impl Task for Unblock {
    const PART: &'static str = "unblocking";
    const EVERY: Duration = EVERY;

    async fn step(&mut self, engine: &Engine) -> Result<(), StoreError> {
        while engine.store.unblocked() > 0 {
            if !engine.changes.release_unblocked(FOLLOWED_AT_ONCE).await? {
                break;
            }
        }
        Ok(())
    }
}
