//! Work that would hold up an async thread.

use crewcall_worker::prelude::JobError;

/// Runs `work` on a thread that may block, and returns what it returns.
///
/// A panic travels on to the caller, so that the attempt is reported as one. When the returned future is
/// dropped, `work` runs on: long work asks [`crewcall_worker::JobContext::check_cancelled`] as it goes.
///
/// # Errors
///
/// Those of `work`; and a retryable one when the runtime shuts down before `work` ran.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JobError> + Send + 'static,
) -> Result<T, JobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
        Err(stopped) => Err(stopped.into()),
    }
}
