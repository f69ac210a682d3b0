//! Whether the program's runtime, on which the handlers are, gets around to other work.

use std::time::Duration;

use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::limits::{HANDLERS_ASKED_EVERY, HANDLERS_BLOCKED_AFTER};

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
pub(crate) async fn watch(handlers: Handle, news: mpsc::Sender<RuntimeState>) {
    loop {
        sleep(HANDLERS_ASKED_EVERY).await;
        let asked_at = Instant::now();
        let mut answer = AbortOnDropHandle::new(handlers.spawn(async {}));
        let state = match timeout(HANDLERS_BLOCKED_AFTER, &mut answer).await {
            Ok(Ok(())) => continue,
            Ok(Err(_)) => RuntimeState::ShutDown,
            Err(_) => {
                if news.send(RuntimeState::Blocked).await.is_err() {
                    return;
                }
                if answer.await.is_ok() {
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

    /// The paused clock runs ahead of another runtime: what it is asked takes too long whatever it does.
    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_is_blocked_is_told_of_and_when_it_recovers() {
        let handlers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (tell, mut news) = mpsc::channel(1);
        let watch = AbortOnDropHandle::new(Handle::current().spawn(watch(handlers.handle().clone(), tell)));
        let (unblock, blocked) = blocking::channel::<()>();
        handlers.handle().spawn(async move { blocked.recv() });
        assert_eq!(news.recv().await, Some(RuntimeState::Blocked));
        unblock.send(()).unwrap();
        assert!(matches!(news.recv().await, Some(RuntimeState::Recovered(_))));
        handlers.shutdown_background();
        while news.recv().await.is_some_and(|state| state != RuntimeState::ShutDown) {}
        watch.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_gets_around_to_it_is_not_told_of() {
        let (tell, mut news) = mpsc::channel(1);
        let asked = timeout(HANDLERS_ASKED_EVERY * 4, watch(Handle::current(), tell)).await;
        assert!(asked.is_err(), "it goes on");
        assert!(news.try_recv().is_err());
    }
}
