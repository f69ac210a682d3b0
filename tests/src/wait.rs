//! Waiting for what comes by itself.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

/// How often a condition is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks again and again until it is so. Returns how long that took.
///
/// # Errors
///
/// When it takes longer than `patience`; says `what` did not come.
pub async fn until(
    what: &str,
    patience: Duration,
    mut is_so: impl AsyncFnMut() -> bool,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    while !is_so().await {
        ensure!(began.elapsed() < patience, "not within {patience:?}: {what}");
        sleep(LOOK_EVERY).await;
    }
    Ok(began.elapsed())
}
