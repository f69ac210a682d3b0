//! Reading: a few connections of their own, so that no read waits for the writer and none keeps it waiting.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{open, open_error::Refusal, transaction_error::TransactionError};
use crate::engine::ports::StoreError;

/// How many reads run at once: enough that a long list does not keep short reads waiting, few enough that
/// reading leaves the writer a core.
pub(crate) const READERS: usize = 4;

/// How many of them may be lists: these can be slow, and everything else has to go on beside them.
pub(crate) const LISTS: usize = READERS / 2;

/// How long a read waits for its turn. Longer means that more is asked of the store than it can give, and that
/// it is better to say so.
pub(crate) const READ_TURN_WAIT: Duration = Duration::from_secs(10);

/// How long a list may take: one that finds few among millions would keep others from their turn, and the log from
/// starting over.
pub(crate) const LIST_TIME_MAX: Duration = Duration::from_secs(5);

/// How long any other read may take. They are short, but for a disk that hardly answers: then the next try finds more
/// of it in memory.
pub(crate) const READ_TIME_MAX: Duration = Duration::from_secs(30);

/// After how many steps of a statement SQLite asks whether it may go on: well below a millisecond's worth.
const STEPS_PER_LOOK: std::ffi::c_int = 4_000;

/// How long closing waits for reads: they end at their next look. One that hangs in the disk is left behind.
const READS_END_WITHIN: Duration = Duration::from_secs(1);

/// The connections that read.
pub(super) struct Readers {
    /// One permit for each connection; closed with the store.
    turns: Arc<Semaphore>,
    /// One permit for each list.
    lists: Semaphore,
    idle: Arc<Mutex<Vec<Connection>>>,
    /// Whether every read is to end.
    closing: Arc<AtomicBool>,
    list_time_max: Duration,
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
        Self::with_list_time_max(path, LIST_TIME_MAX)
    }

    fn with_list_time_max(path: &Path, list_time_max: Duration) -> Result<Self, Refusal> {
        let idle = (0..READERS).map(|_| open::reader(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            turns: Arc::new(Semaphore::new(READERS)),
            lists: Semaphore::new(LISTS),
            idle: Arc::new(Mutex::new(idle)),
            closing: Arc::default(),
            list_time_max,
        })
    }

    /// Runs a query that may be slow, and leaves room for others beside it.
    pub(super) async fn list<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, TransactionError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _place = in_turn(self.lists.acquire()).await?;
        self.read_within(self.list_time_max, query).await
    }

    /// Runs `query` on a thread that may block, on one consistent state of the database: all that was
    /// committed when it began.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, TransactionError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.read_within(READ_TIME_MAX, query).await
    }

    async fn read_within<T: Send + 'static>(
        &self,
        time_max: Duration,
        query: impl FnOnce(&Connection) -> Result<T, TransactionError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = in_turn(Arc::clone(&self.turns).acquire_owned()).await?;
        let (idle, closing) = (Arc::clone(&self.idle), Arc::clone(&self.closing));
        let work = spawn_blocking(move || {
            // Moved in: if the caller goes away, the query still runs to its end, and keeps its turn.
            let _turn = turn;
            let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut borrowed = Borrowed { connection, idle };
            let connection = borrowed.connection.as_mut().ok_or(StoreError::Closed)?;
            let (deadline, stop) = (Instant::now() + time_max, Arc::clone(&closing));
            let is_over = move || stop.load(Ordering::Relaxed) || Instant::now() >= deadline;
            connection.progress_handler(STEPS_PER_LOOK, Some(is_over)).map_err(TransactionError::from)?;
            let transaction = connection.unchecked_transaction().map_err(TransactionError::from)?;
            query(&transaction).map_err(|error| error_of(error, closing.load(Ordering::Relaxed), time_max))
        });
        work.await.unwrap_or_else(|error| {
            let reason = if error.is_panic() { "a read panicked" } else { "the runtime is shutting down" };
            Err(StoreError::Broken { reason: reason.to_owned() })
        })
    }

    /// Lets nobody begin any more, and ends those that read.
    pub(super) async fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        let everybody = u32::try_from(READERS).unwrap_or(u32::MAX);
        // An error means that they are closed already.
        if timeout(READS_END_WITHIN, self.turns.acquire_many(everybody)).await.is_err() {
            tracing::warn!("A read hangs, and is left behind.");
        }
        self.turns.close();
        self.lists.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Waits for a turn, but not for long.
async fn in_turn<P>(
    turn: impl Future<Output = Result<P, tokio::sync::AcquireError>>,
) -> Result<P, StoreError> {
    let Ok(turn) = timeout(READ_TURN_WAIT, turn).await else {
        let reason = format!("reads have been waiting for {} s: too many are slow", READ_TURN_WAIT.as_secs());
        return Err(StoreError::Unavailable { reason });
    };
    turn.map_err(|_| StoreError::Closed)
}

/// Whatever is wrong with what was read, the writer decides whether the store has failed.
fn error_of(error: TransactionError, closing: bool, time_max: Duration) -> StoreError {
    let interrupted = matches!(&error, TransactionError::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted));
    match StoreError::from(error) {
        _ if interrupted && closing => StoreError::Closed,
        _ if interrupted => StoreError::TooSlow { after: time_max },
        StoreError::Failed { reason } => StoreError::Broken { reason },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any machine takes for a short read, and short for a test.
    const TIME_MAX: Duration = Duration::from_millis(500);

    fn readers(directory: &Path, list_time_max: Duration) -> Readers {
        let path = directory.join("crewcall.db");
        drop(open::writer(&path).unwrap());
        Readers::with_list_time_max(&path, list_time_max).unwrap()
    }

    fn endless(connection: &Connection) -> Result<i64, TransactionError> {
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
        Ok(connection.query_row(sql, [], |row| row.get(0))?)
    }

    fn short(connection: &Connection) -> Result<i64, TransactionError> {
        Ok(connection.query_row("SELECT 7", [], |row| row.get(0))?)
    }

    #[tokio::test]
    async fn a_list_that_takes_too_long_is_ended_and_its_connection_reads_on() {
        let directory = tempfile::tempdir().unwrap();
        let readers = readers(directory.path(), TIME_MAX);
        for _ in 0..READERS {
            let ended = readers.list(endless).await.unwrap_err();
            assert!(matches!(ended, StoreError::TooSlow { after: TIME_MAX }) && ended.is_retryable());
        }
        assert_eq!(readers.read(short).await.unwrap(), 7);
        readers.close().await;
    }

    #[tokio::test]
    async fn slow_lists_leave_room_for_others_and_closing_waits_for_none() {
        let directory = tempfile::tempdir().unwrap();
        let readers = readers(directory.path(), Duration::from_secs(3_600));
        let mut lists: Vec<_> = (0..2 * READERS).map(|_| Box::pin(readers.list(endless))).collect();
        for list in &mut lists {
            assert!(futures_util::poll!(list.as_mut()).is_pending());
        }
        assert_eq!(readers.read(short).await.unwrap(), 7);
        readers.close().await;
        for list in lists {
            assert!(matches!(list.await, Err(StoreError::Closed)));
        }
        assert!(matches!(readers.read(short).await, Err(StoreError::Closed)));
    }
}
