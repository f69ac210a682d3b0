//! Forgetting types: the catalogue has a limit, so what nobody serves or uses any more must be able to go.

use std::time::Duration;

use crewcall_proto::JobType;

use super::{Task, repeat};
use crate::engine::{Engine, ports::StoreError};

/// How often types are looked for that nobody uses any more.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// What became of a type that was to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    /// It is forgotten, with everything that was set for it.
    Done,
    /// It has jobs, over or not.
    HasJobs,
    /// So many workers serve it.
    HasWorkers(usize),
    Unknown,
}

impl Engine {
    /// See [`Engine::forget_type`].
    pub(in crate::engine) async fn forget(&self, job_type: &JobType) -> Result<Forgotten, StoreError> {
        // No worker is welcomed to the type meanwhile.
        let _turn = self.catalogue.changing.lock().await;
        let workers = self.registry.capacity(job_type).workers;
        if workers > 0 {
            return Ok(Forgotten::HasWorkers(workers));
        }
        let known = self.catalogue.knows(job_type) || self.catalogue.refusal(job_type).is_some();
        match self.store.delete_type(job_type).await? {
            None => return Ok(Forgotten::HasJobs),
            Some(0) if !known => return Ok(Forgotten::Unknown),
            Some(_) => {}
        }
        self.catalogue.forget(job_type);
        self.limits.forget(job_type);
        match self.broker.delete_type(job_type).await {
            Ok(true) => tracing::info!(job.r#type = %job_type, "A type is forgotten."),
            Ok(false) => {
                tracing::warn!(job.r#type = %job_type, "A type is forgotten, but its queue is in use or not empty: it stays.");
            }
            Err(error) => {
                tracing::warn!(job.r#type = %job_type, %error, "A type is forgotten, but its queue could not be deleted.");
            }
        }
        Ok(Forgotten::Done)
    }

    /// Forgets the types that no worker served for so long, and that have no jobs.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be written.
    pub async fn forget_unused_types(&self, kept_for: Duration) -> Result<(), StoreError> {
        // A worker announces its types once, and may serve them for months.
        for served in self.registry.served() {
            let _turn = self.catalogue.changing.lock().await;
            self.catalogue.touch(&served).await?;
        }
        for job_type in self.catalogue.not_served_for(kept_for) {
            self.forget(&job_type).await?;
        }
        Ok(())
    }
}

/// Forgets the types that no worker served for so long.
struct Forgetting {
    kept_for: Duration,
}

impl Task for Forgetting {
    const PART: &'static str = "forgetting";
    const EVERY: Duration = INTERVAL;
    /// The workers of a backend that was away have to be heard first.
    const FIRST_AFTER: Duration = INTERVAL;

    async fn step(&mut self, engine: &Engine) -> Result<(), StoreError> {
        engine.forget_unused_types(self.kept_for).await
    }
}

/// Forgets types until the engine's tasks are told to stop; none, if they are kept for ever.
///
/// # Errors
///
/// [`StoreError`] when the store fails for good.
pub(super) async fn run(engine: &Engine) -> Result<(), StoreError> {
    match engine.retention.types {
        Some(kept_for) => repeat(Forgetting { kept_for }, engine).await,
        None => {
            engine.tasks.stop().cancelled().await;
            Ok(())
        }
    }
}
