//! How a worker is told to leave: once to drain, a second time to hand back at once.

use std::{io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

/// How long a process whose orders were handed back waits for handlers that do not end.
const HANDLERS_END_TIMEOUT: Duration = Duration::from_secs(5);

/// The exit code of a process that had to be ended while handlers were still running.
const EXIT_HANDLERS_UNFINISHED: i32 = 70;

/// The two requests to leave, as values that are handed down.
pub(crate) struct Shutdown {
    /// Finish what runs, take no more, end.
    pub(crate) drain: CancellationToken,
    /// Give back what is not finished, end.
    pub(crate) hand_back: CancellationToken,
    /// Listens for as long as the worker lives.
    _listener: Option<AbortOnDropHandle<()>>,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT: the first one drains, the second one hands back.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (drain, hand_back) = (CancellationToken::new(), CancellationToken::new());
        let requests = [drain.clone(), hand_back.clone()];
        let listener = TaskTracker::new().spawn(async move {
            for request in requests {
                either(&mut terminate, &mut interrupt).await;
                request.cancel();
            }
        });
        Ok(Self { drain, hand_back, _listener: Some(AbortOnDropHandle::new(listener)) })
    }

    /// Drains when `stop` is cancelled. Only the end of the grace period hands back.
    pub(crate) fn on_token(stop: CancellationToken) -> Self {
        Self { drain: stop, hand_back: CancellationToken::new(), _listener: None }
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Ends the process by force if it is still there a little later.
///
/// Its orders are handed back or answered, but a handler inside `spawn_blocking` cannot be dropped and would keep the
/// runtime, and so the process, from ending.
pub(crate) fn end_without_unfinished_handlers() {
    std::thread::spawn(|| {
        std::thread::sleep(HANDLERS_END_TIMEOUT);
        tracing::error!("A handler does not end after its attempt was stopped: the process ends without it.");
        std::process::exit(EXIT_HANDLERS_UNFINISHED);
    });
}
