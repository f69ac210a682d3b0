//! What somebody has the engine do: [`submit`] jobs, [`publish`] events, set and move [`consumers`] and [`schedules`], set [`hooks`] and [`deliver`] to them, act on jobs that are under way ([`actions`]), pause, limit and forget
//! [`types`], drain [`workers`], empty the quarantine. Each command says who gives it.
//!
//! A command is run to its end, whoever gave it: a caller that hangs up drops the future, and what is on disk must still
//! be told to the relay, the watchers and the workers.

pub mod actions;

pub(crate) mod consumers;

pub(crate) mod publish;

pub(crate) mod submit;

pub(crate) mod workflows;

pub(crate) mod runs;

pub(crate) mod schedules;

pub(crate) mod hooks;

pub(crate) mod webhooks;

pub(crate) mod deliver;

pub(crate) mod types;

pub(crate) mod workers;

use tracing::Instrument;

use super::{Caller, Engine, ports::StoreError};

impl Engine {
    /// Deletes one message in quarantine; or all, for `None`. Returns how many.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they could not be deleted.
    pub async fn delete_quarantined(
        &self,
        caller: &Caller,
        number: Option<u64>,
    ) -> Result<usize, StoreError> {
        let deleted = self.store.delete_quarantined(number).await?;
        tracing::info!(by = caller.by(), number, messages = deleted, "Messages in quarantine are deleted.");
        Ok(deleted)
    }

    /// Runs a command to its end, whether or not its caller waits for it.
    pub(super) async fn to_its_end<T, E>(
        &self,
        command: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let ended = self.tasks.errand("a command", command.in_current_span()).await;
        ended.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }
}
