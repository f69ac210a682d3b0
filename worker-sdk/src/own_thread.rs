//! A thread with a runtime of its own, for the worker's loop and its links: handlers that block the program's runtime
//! must not silence the worker.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tokio::{runtime::Builder, sync::oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{Span, dispatcher};

use crate::{execution::panic_message, worker_error::WorkerError};

/// Runs a future to its end on a thread of its own. Dropping the returned one ends the thread, and with it every task
/// that the future has spawned.
///
/// # Errors
///
/// [`WorkerError::Thread`] if there is no thread to be had, [`WorkerError::Broken`] if the future panics.
pub(crate) async fn run<T, F>(main: impl FnOnce() -> F + Send + 'static) -> Result<T, WorkerError>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let runtime = Builder::new_current_thread().enable_all().build().map_err(WorkerError::Thread)?;
    let abandoned = CancellationToken::new();
    let (done, ended) = oneshot::channel();
    let until_abandoned = {
        let abandoned = abandoned.clone();
        move || {
            let main = abandoned.run_until_cancelled_owned(async { main().await });
            let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(main)));
            // A name that is being looked up holds up nobody.
            runtime.shutdown_background();
            ended
        }
    };
    spawn(move || {
        // Whoever does not listen any more has abandoned us.
        let _ = done.send(until_abandoned());
    })
    .map_err(WorkerError::Thread)?;
    let _abandons = abandoned.drop_guard();
    match ended.await {
        Ok(Ok(Some(value))) => Ok(value),
        Ok(Err(payload)) => Err(WorkerError::Broken(panic_message(payload.as_ref()).to_owned())),
        Ok(Ok(None)) | Err(_) => Err(WorkerError::Broken("the worker's own thread ended".to_owned())),
    }
}

/// Starts the thread. What it logs goes where the caller's goes, in the caller's span.
fn spawn(main: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (subscriber, span) = (dispatcher::get_default(Clone::clone), Span::current());
    let thread = std::thread::Builder::new().name("crewcall".to_owned());
    thread.spawn(move || dispatcher::with_default(&subscriber, || span.in_scope(main))).map(drop)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_not_silence() {
        async fn broken() {
            panic!("the loop is broken");
        }
        let error = run(broken).await.unwrap_err();
        assert!(error.to_string().contains("the loop is broken"), "{error}");
    }

    #[tokio::test]
    async fn who_drops_the_worker_ends_its_thread() {
        let (alive, gone) = oneshot::channel::<()>();
        let (began, begins) = oneshot::channel();
        let worker = run(move || async move {
            let _alive = alive;
            began.send(()).unwrap();
            pending::<()>().await;
        });
        tokio::select! {
            _ = worker => unreachable!("it is pending"),
            begun = begins => begun.unwrap(),
        }
        assert!(gone.await.is_err(), "what the thread had is dropped");
    }

    #[tokio::test]
    async fn it_runs_beside_a_blocked_runtime() {
        let (tell, told) = std::sync::mpsc::channel();
        let worker = run(move || async move { tell.send(()).unwrap() });
        tokio::select! {
            biased;
            ended = worker => ended.unwrap(),
            // This runtime has one thread, and this blocks it.
            () = async { told.recv().unwrap() } => {}
        }
    }
}
