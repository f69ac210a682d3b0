//! What workers are told on an operator's behalf.

use std::time::Duration;

use crewcall_proto::{WorkerId, control::Control};

use crate::engine::{
    Caller, Engine,
    fleet::registry::{Worker, WorkerStatus},
    ports::BrokerError,
};

/// How long the broker may take to confirm an instruction to a worker.
const TELL_TIME_MAX: Duration = Duration::from_secs(2);

/// Why a worker was not told something.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// Nobody knows it.
    #[error("no such worker is known")]
    Unknown,
    /// It fell silent: it would not hear it.
    #[error("the worker fell silent: it would not hear this")]
    Lost,
    /// The broker does not carry it now.
    #[error("{0}")]
    Unavailable(String),
    /// The broker refuses it.
    #[error("the broker refused: {0}")]
    Refused(String),
}

impl Engine {
    /// Tells a worker to finish what it runs and to take no more, until it is resumed. Returns the worker as it was.
    ///
    /// # Errors
    ///
    /// [`TellError`] when it was not told; nothing changes then.
    pub async fn drain_worker(&self, caller: &Caller, worker_id: &WorkerId) -> Result<Worker, TellError> {
        tracing::info!(worker.id = %worker_id, by = caller.by(), "Somebody asks to drain a worker.");
        self.send_to_worker(worker_id, &Control::Drain).await
    }

    /// Tells a drained worker to take orders again. Returns the worker as it was.
    ///
    /// # Errors
    ///
    /// [`TellError`] when it was not told; nothing changes then.
    pub async fn resume_worker(&self, caller: &Caller, worker_id: &WorkerId) -> Result<Worker, TellError> {
        tracing::info!(worker.id = %worker_id, by = caller.by(), "Somebody asks to resume a worker.");
        self.send_to_worker(worker_id, &Control::Resume).await
    }

    async fn send_to_worker(&self, worker_id: &WorkerId, control: &Control) -> Result<Worker, TellError> {
        let worker = self.registry.worker(worker_id).ok_or(TellError::Unknown)?;
        if worker.status == WorkerStatus::Lost {
            return Err(TellError::Lost);
        }
        // The link would wait for the broker's return, and the caller with it.
        if let Some(trouble) = self.broker.status().borrow().unavailable_reason() {
            let reason = format!("the worker cannot be told through the broker: {trouble}");
            return Err(TellError::Unavailable(reason));
        }
        // Before it is told: should it connect again meanwhile, it is told with its welcome.
        let before = self.registry.set_drained(worker_id, *control == Control::Drain);
        let told = self.broker.send_to_worker(worker_id, self.registry.content_type(worker_id), control);
        let told = tokio::time::timeout(TELL_TIME_MAX, told).await;
        if !matches!(told, Ok(Ok(()))) {
            self.registry.set_drained(worker_id, before);
        }
        match told {
            Ok(Ok(())) => Ok(worker),
            Ok(Err(error @ (BrokerError::Unavailable { .. } | BrokerError::Closed))) => {
                Err(TellError::Unavailable(error.to_string()))
            }
            Ok(Err(error @ BrokerError::Refused { .. })) => Err(TellError::Refused(error.to_string())),
            Err(_) => {
                let waited = TELL_TIME_MAX.as_secs();
                Err(TellError::Unavailable(format!("the broker did not confirm it within {waited} s")))
            }
        }
    }
}
