//! Work that takes its time leaves the threads on which everybody else waits.

use tokio::task::spawn_blocking;

use super::ports::StoreError;

/// Does something on a thread that may block.
///
/// # Errors
///
/// [`StoreError::Broken`] when the thread was lost.
pub(in crate::engine) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.map_err(|error| StoreError::Broken { reason: error.to_string() })
}
