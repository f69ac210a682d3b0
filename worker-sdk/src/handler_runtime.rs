//! Whether the program's runtime, on which the handlers are, gets around to other work.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    limits::{HANDLERS_ASKED_EVERY, HANDLERS_BLOCKED_AFTER},
    metrics::WorkerMetrics,
};

/// News of the handlers' runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuntimeState {
    /// Nothing new has run on it for too long.
    Blocked,
    /// It runs again, after this time.
    Recovered(Duration),
    /// It was shut down.
    ShutDown,
}

/// Asks a runtime again and again to run nothing, and tells when it takes too long. Ends with the runtime, and with
/// whoever listens.
pub(crate) async fn watch(handlers: Handle, news: mpsc::Sender<RuntimeState>, metrics: Arc<WorkerMetrics>) {
    loop {
        sleep(HANDLERS_ASKED_EVERY).await;
        let asked_at = Instant::now();
        metrics.runtime_asked(asked_at);
        let mut answer = AbortOnDropHandle::new(handlers.spawn(async {}));
        let state = match timeout(HANDLERS_BLOCKED_AFTER, &mut answer).await {
            Ok(Ok(())) => {
                metrics.runtime_answered(asked_at.elapsed());
                continue;
            }
            Ok(Err(_)) => RuntimeState::ShutDown,
            Err(_) => {
                if news.send(RuntimeState::Blocked).await.is_err() {
                    return;
                }
                if answer.await.is_ok() {
                    metrics.runtime_answered(asked_at.elapsed());
                    RuntimeState::Recovered(asked_at.elapsed())
                } else {
                    RuntimeState::ShutDown
                }
            }
        };
        if news.send(state).await.is_err() || state == RuntimeState::ShutDown {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as blocking;

    use super::*;
    use crate::{checked_worker::CheckedWorker, settings::Settings};

    fn metrics() -> Arc<WorkerMetrics> {
        Arc::new(WorkerMetrics::new(&CheckedWorker {
            settings: Settings::default(),
            name: "test".to_owned(),
            version: "1".to_owned(),
            slots: 1,
            types: Vec::new(),
            unavailable: Vec::new(),
        }))
    }

    /// What is measured under a name.
    fn measured(metrics: &WorkerMetrics, name: &str) -> f64 {
        let text = metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
    }

    /// The paused clock runs ahead of another runtime: what it is asked takes too long whatever it does.
    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_is_blocked_is_told_of_and_when_it_recovers() {
        let handlers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (tell, mut news) = mpsc::channel(1);
        let metrics = metrics();
        let watch = AbortOnDropHandle::new(Handle::current().spawn(watch(
            handlers.handle().clone(),
            tell,
            Arc::clone(&metrics),
        )));
        let (unblock, blocked) = blocking::channel::<()>();
        handlers.handle().spawn(async move { blocked.recv() });
        assert_eq!(news.recv().await, Some(RuntimeState::Blocked));
        let now = "crewcall_sdk_runtime_delay_now_seconds";
        assert!(measured(&metrics, now) >= HANDLERS_BLOCKED_AFTER.as_secs_f64());
        let answers = measured(&metrics, "crewcall_sdk_runtime_delay_seconds_count");
        unblock.send(()).unwrap();
        assert!(matches!(news.recv().await, Some(RuntimeState::Recovered(_))));
        assert!(measured(&metrics, "crewcall_sdk_runtime_delay_seconds_count") > answers);
        handlers.shutdown_background();
        while news.recv().await.is_some_and(|state| state != RuntimeState::ShutDown) {}
        watch.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_gets_around_to_it_is_not_told_of() {
        let (tell, mut news) = mpsc::channel(1);
        let asked = timeout(HANDLERS_ASKED_EVERY * 4, watch(Handle::current(), tell, metrics())).await;
        assert!(asked.is_err(), "it goes on");
        assert!(news.try_recv().is_err());
    }
}
