//! Runs that have to get on by themselves, and do not.

use std::time::Duration;

use super::Task;
use crate::engine::{Engine, ports::StoreError};

/// How often those in which nothing has happened for a while are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Finds them.
pub(super) struct Standstills;

impl Task for Standstills {
    const PART: &'static str = "the look for standstills";
    const EVERY: Duration = EVERY;

    async fn step(&mut self, engine: &Engine) -> Result<(), StoreError> {
        engine.look_for_standstills().await
    }
}
