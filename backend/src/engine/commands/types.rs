//! What is set for job types.

use std::sync::Arc;

use crewcall_proto::JobType;

use crate::{
    domain::{Pause, TypeSettingsChange},
    engine::{
        Caller, Engine, ports::StoreError, settings::limits::TypeLimitsError, upkeep::forget::Forgotten,
    },
};

impl Engine {
    /// Pauses a type: its jobs are accepted and wait. One that is paused stays as it is.
    ///
    /// # Errors
    ///
    /// [`TypeLimitsError`] when it was not kept; nothing changes then.
    pub async fn pause_type(
        self: &Arc<Self>,
        caller: &Caller,
        job_type: &JobType,
        reason: Option<String>,
    ) -> Result<(), TypeLimitsError> {
        let by = caller.by();
        tracing::info!(job.r#type = %job_type, by, reason, "A type is paused.");
        let pause = Pause { by: by.to_owned(), reason, at: self.clock.now() };
        self.change_type(job_type, TypeSettingsChange::Pause(pause)).await
    }

    /// Ends the pause of a type. Returns whether anybody knows the type: nothing changes otherwise.
    ///
    /// # Errors
    ///
    /// [`TypeLimitsError`] when it was not kept; nothing changes then.
    pub async fn resume_type(
        self: &Arc<Self>,
        caller: &Caller,
        job_type: &JobType,
        reason: Option<String>,
    ) -> Result<bool, TypeLimitsError> {
        if self.job_type(job_type).await?.is_none() {
            return Ok(false);
        }
        tracing::info!(job.r#type = %job_type, by = caller.by(), reason, "A type is resumed.");
        self.change_type(job_type, TypeSettingsChange::Resume).await.map(|()| true)
    }

    /// Sets the limits of a type.
    ///
    /// # Errors
    ///
    /// [`TypeLimitsError`] when they were not kept; nothing changes then.
    pub async fn limit_type(
        self: &Arc<Self>,
        caller: &Caller,
        job_type: &JobType,
        limits: TypeSettingsChange,
    ) -> Result<(), TypeLimitsError> {
        tracing::info!(job.r#type = %job_type, by = caller.by(), ?limits, "A type is limited.");
        self.change_type(job_type, limits).await
    }

    async fn change_type(
        self: &Arc<Self>,
        job_type: &JobType,
        change: TypeSettingsChange,
    ) -> Result<(), TypeLimitsError> {
        let (engine, job_type) = (Arc::clone(self), job_type.clone());
        self.to_its_end(async move {
            engine.limits.change(&job_type, change).await?;
            engine.relay.wake(&job_type);
            Ok(())
        })
        .await
    }

    /// Forgets a type that has neither jobs nor workers, with what was set for it and its queue. A worker that announces
    /// it, or a job that names it, makes it known again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it could not be deleted; nothing changes then.
    pub async fn forget_type(
        self: &Arc<Self>,
        caller: &Caller,
        job_type: &JobType,
    ) -> Result<Forgotten, StoreError> {
        tracing::info!(job.r#type = %job_type, by = caller.by(), "Somebody asks to forget a type.");
        let (engine, job_type) = (Arc::clone(self), job_type.clone());
        self.to_its_end(async move { engine.forget(&job_type).await }).await
    }
}
