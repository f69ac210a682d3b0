//! What systemd is told, or whoever else set `NOTIFY_SOCKET`: that we are ready, alive, and about to end.

use std::{convert::Infallible, future::pending};

use sd_notify::NotifyState;

use crate::engine::Engine;

/// How many signs of life are given in the time after which the service manager would end us: two may be late.
const SIGNS_OF_LIFE: u32 = 3;

/// Jobs are accepted, and what an earlier process left unsent is on its way.
pub(crate) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Submissions are refused from now on, and what runs is finished.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Gives signs of life, if the service manager wants them (`WATCHDOG_USEC`), each after the engine was found to answer, be it
/// that the store or the broker is away: a restart would not bring them back.
pub(crate) async fn stay_alive(engine: &Engine) -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else { return pending().await };
    loop {
        engine.readiness().await;
        notify(&[NotifyState::Watchdog]);
        tokio::time::sleep(patience / SIGNS_OF_LIFE).await;
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "The service manager could not be told how we are.");
    }
}
