//! Tasks without which the backend is not whole: one that ends unexpectedly ends the process.

use std::{any::Any, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::ports::StoreError;

/// Why a part ended that should not have.
#[derive(Debug, thiserror::Error)]
pub enum Fallen {
    /// The store does not let it go on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It panicked: a program error, after which nobody knows what it left undone.
    #[error("{part} panicked ({message}): please report it. The process ends; start it again")]
    Panicked { part: &'static str, message: String },
    /// Another backend was there before.
    #[error(
        "another backend ({other}) works on the same queues: it seems to have a copy of this database. Stop one of them, or give this one a prefix of its own with --amqp-prefix, and its workers the same"
    )]
    Displaced { other: String },
    /// It came to an end that it does not have.
    #[error("{part} ended by itself: please report it. The process ends; start it again")]
    Ended { part: &'static str },
}

/// Where tasks run, and when they end. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    fallen: mpsc::Sender<Fallen>,
}

impl Tasks {
    /// Nobody runs yet. The receiver gets the first that falls.
    #[must_use]
    pub fn new(tracker: TaskTracker, stop: CancellationToken) -> (Self, mpsc::Receiver<Fallen>) {
        let (fallen, first) = mpsc::channel(1);
        (Self { tracker, stop, fallen }, first)
    }

    /// Where they run.
    #[must_use]
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// When they end.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs a part that goes on until it is told to stop.
    pub fn part(
        &self,
        part: &'static str,
        run: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    ) {
        let tasks = self.clone();
        self.tracker.spawn(async move {
            if let Err(fallen) = watched(part, &tasks.stop, run).await {
                tasks.report(fallen);
            }
        });
    }

    /// Runs something that has an end. Who dropped the handle does not stop it.
    pub fn errand<T: Send + 'static>(
        &self,
        part: &'static str,
        run: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let tasks = self.clone();
        self.tracker.spawn(async move {
            match AssertUnwindSafe(run).catch_unwind().await {
                Ok(output) => output,
                Err(panic) => {
                    tasks.report(Fallen::Panicked { part, message: said(panic.as_ref()) });
                    std::panic::resume_unwind(panic)
                }
            }
        })
    }

    fn report(&self, fallen: Fallen) {
        // The first ends the process; it is full, or nobody listens any more, when that is under way.
        drop(self.fallen.try_send(fallen));
    }
}

/// Runs a part here, until it is told to stop.
///
/// # Errors
///
/// [`Fallen`] when it ended before, or panicked.
pub async fn watched(
    part: &'static str,
    stop: &CancellationToken,
    run: impl Future<Output = Result<(), StoreError>>,
) -> Result<(), Fallen> {
    match AssertUnwindSafe(run).catch_unwind().await {
        Ok(Ok(())) if stop.is_cancelled() => Ok(()),
        Ok(Ok(())) => Err(Fallen::Ended { part }),
        Ok(Err(error)) => Err(Fallen::Store(error)),
        Err(panic) => Err(Fallen::Panicked { part, message: said(panic.as_ref()) }),
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks() -> (Tasks, mpsc::Receiver<Fallen>) {
        Tasks::new(TaskTracker::new(), CancellationToken::new())
    }

    #[tokio::test]
    async fn a_part_that_panics_is_told() {
        let (tasks, mut fallen) = tasks();
        tasks.part("the reader", async { panic!("of {}", 7) });
        let told = fallen.recv().await.unwrap().to_string();
        assert!(told.starts_with("the reader panicked (of 7)"), "{told}");
        assert!(tasks.errand("an errand", async { panic!("at once") }).await.unwrap_err().is_panic());
        let told = fallen.recv().await.unwrap().to_string();
        assert!(told.starts_with("an errand panicked (at once)"), "{told}");
    }

    #[tokio::test]
    async fn a_part_that_ends_is_told_unless_it_was_to_stop() {
        let (tasks, mut fallen) = tasks();
        tasks.part("the link", async { Ok(()) });
        assert!(matches!(fallen.recv().await, Some(Fallen::Ended { part: "the link" })));
        tasks.stop().cancel();
        tasks.part("the link", async { Ok(()) });
        assert_eq!(tasks.errand("an errand", async { 7 }).await.unwrap(), 7);
        tasks.tracker().close();
        tasks.tracker().wait().await;
        assert!(fallen.try_recv().is_err());
    }
}
