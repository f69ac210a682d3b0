//! Reading: a few connections of their own, so that no read waits for the writer and none keeps it waiting.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Connection;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{
    fault::Fault,
    open::{self, Refusal},
};
use crate::dispatch::ports::StoreError;

/// How many reads run at once: enough that a long list does not keep short reads waiting, few enough that
/// reading leaves the writer a core.
pub const READERS: usize = 4;

/// How long a read waits for its turn. Longer means that more is asked of the store than it can give, and that
/// it is better to say so.
pub const READ_TURN_WAIT: Duration = Duration::from_secs(10);

/// The connections that read.
pub(super) struct Readers {
    /// One permit for each connection; closed with the store.
    turns: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// A connection that goes back when it was used, also after a panic.
struct Borrowed {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, Refusal> {
        let idle = (0..READERS).map(|_| open::reader(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { turns: Arc::new(Semaphore::new(READERS)), idle: Arc::new(Mutex::new(idle)) })
    }

    /// Runs `query` on a thread that may block, on one consistent state of the database: all that was
    /// committed when it began.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Ok(turn) = timeout(READ_TURN_WAIT, Arc::clone(&self.turns).acquire_owned()).await else {
            let reason = format!("{READERS} reads have been running for {} s", READ_TURN_WAIT.as_secs());
            return Err(StoreError::Unavailable { reason });
        };
        let turn = turn.map_err(|_| StoreError::Closed)?;
        let idle = Arc::clone(&self.idle);
        let work = spawn_blocking(move || {
            // Moved in: if the caller goes away, the query still runs to its end, and keeps its turn.
            let _turn = turn;
            let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let borrowed = Borrowed { connection, idle };
            let connection = borrowed.connection.as_ref().ok_or(StoreError::Closed)?;
            let transaction = connection.unchecked_transaction().map_err(Fault::from)?;
            Ok(query(&transaction)?)
        });
        work.await.unwrap_or_else(|error| {
            let reason = if error.is_panic() { "a read panicked" } else { "the runtime is shutting down" };
            Err(StoreError::Broken { reason: reason.to_owned() })
        })
    }

    /// Lets nobody begin any more, and waits for those that read.
    pub(super) async fn close(&self) {
        let everybody = u32::try_from(READERS).unwrap_or(u32::MAX);
        // An error means that they are closed already.
        drop(self.turns.acquire_many(everybody).await);
        self.turns.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
