//! The backend of this process, with the worker that delivers its events to webhooks.

mod deliveries;

use std::error::Error;

use crewcall_backend::{App, Config, RunError};
use tokio::pin;
use tokio_util::sync::CancellationToken;

/// Why the backend of this process ended by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackendError {
    /// It cannot go on.
    #[error(transparent)]
    Backend(#[from] RunError),
    /// What delivers to webhooks cannot go on.
    #[error("events cannot be delivered to webhooks: {0}")]
    Deliveries(Box<dyn Error + Send + Sync>),
}

/// Runs the backend that was built with `config` until `stop`, and delivers its events meanwhile. When one of both ends by itself, so
/// does the other.
///
/// # Errors
///
/// [`BackendError`] when a part failed for good.
pub(crate) async fn run(app: App, config: &Config, stop: CancellationToken) -> Result<(), BackendError> {
    let deliveries = app.deliveries();
    let settings = deliveries::settings(config, &deliveries);
    let delivering = deliveries::run(deliveries, settings, stop.child_token());
    let running = app.run(stop.clone());
    pin!(delivering, running);
    tokio::select! {
        // What is under way goes back to the broker, for the next process.
        ended = &mut running => return Ok(ended?),
        ended = &mut delivering => if let Err(error) = ended {
            stop.cancel();
            running.await?;
            return Err(BackendError::Deliveries(error));
        }
    }
    Ok(running.await?)
}
