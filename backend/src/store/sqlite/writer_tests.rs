//! The writer when something goes wrong.

use std::{path::Path, sync::mpsc as std_mpsc};

use crewcall_proto::{ExecutionId, JobId, Timestamp, response::Origin};
use rusqlite::ffi;

use super::*;
use crate::{
    clock::{Clock, SystemClock},
    domain::{Event, State, Submission},
    engine::ports::{Accepted, JobEvent, Jobs as _, Lifecycle as _},
    store::sqlite::SqliteStore,
};

fn open(directory: &Path, metrics: &Arc<Metrics>) -> Arc<SqliteStore> {
    let path = directory.join("crewcall.db");
    Arc::new(SqliteStore::open(&path, Arc::new(SystemClock::start()), Arc::clone(metrics)).unwrap())
}

fn accepted(parameter: &str) -> (JobId, Vec<Accepted>) {
    let mut submission = Submission { job_type: "a".to_owned(), ..Submission::default() };
    submission.parameters.insert("text".to_owned(), parameter.into());
    let id = JobId::generate();
    let now = SystemClock::start().now();
    let job = submission.validate(now).unwrap().accept(id, now);
    (id, vec![Accepted { job, window: 1, idempotency: None, after: None }])
}

fn sqlite_fault(code: i32) -> TransactionError {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()
}

/// Keeps the thread busy until the sender is dropped, so that what is sent meanwhile is one batch.
async fn busy(store: &Arc<SqliteStore>) -> std_mpsc::Sender<()> {
    let (release, released) = std_mpsc::channel::<()>();
    let (begun, has_begun) = oneshot::channel();
    let writer = Arc::clone(store);
    #[expect(clippy::disallowed_methods, reason = "the runtime of a test waits for nothing else")]
    tokio::spawn(async move {
        let hold = move |_: &mut WriteContext| {
            begun.send(()).unwrap();
            released.recv().unwrap_err();
            Ok(())
        };
        writer.writer.write(1, hold).await
    });
    has_begun.await.unwrap();
    release
}

/// Sends two inserts around a command, all in one batch, and answers what became of the three.
async fn together(
    store: &Arc<SqliteStore>,
    work: impl FnOnce(&mut WriteContext) -> Result<(), TransactionError> + Send + 'static,
) -> [Result<(), StoreError>; 3] {
    let release = busy(store).await;
    let (first, last) = (store.insert(accepted("first").1), store.insert(accepted("last").1));
    let command = store.writer.write(1, work);
    let release = async move { drop(release) };
    // Polled in this order: all three are in the queue before the thread goes on.
    let (first, command, last, ()) = tokio::join!(first, command, last, release);
    [first.map(drop), command, last.map(drop)]
}

/// A deadline instead of a hanging test.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(30), future).await.expect("it resolves within 30 s")
}

async fn jobs(store: &SqliteStore) -> u64 {
    store.counts().await.unwrap().iter().map(|count| count.jobs).sum()
}

#[tokio::test]
async fn what_waits_together_is_committed_together() {
    let (directory, metrics) = (tempfile::tempdir().unwrap(), Arc::new(Metrics::default()));
    let store = open(directory.path(), &metrics);
    assert!(together(&store, |_| Ok(())).await.iter().all(Result::is_ok));
    assert_eq!(jobs(&store).await, 2);
    let text = metrics.render();
    assert!(text.contains("crewcall_store_batch_size_count 2\n"), "{text}");
    assert!(text.contains("crewcall_store_batch_size_sum 4\n"), "{text}");
    store.close().await;
}

#[tokio::test]
async fn a_command_that_fails_is_taken_back_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &Arc::default());
    let fail = |context: &mut WriteContext| {
        context.rules.counts.next_number();
        context.execute("UPDATE jobs SET state = 'failed'", ())?;
        Err(TransactionError::Inconsistent("a test"))
    };
    let [first, command, last] = together(&store, fail).await;
    assert!(first.is_ok() && last.is_ok());
    assert!(matches!(command, Err(StoreError::Broken { .. })));
    let counts = store.counts().await.unwrap();
    let states: Vec<_> = counts.iter().map(|count| count.state.as_str()).collect();
    assert_eq!(states, ["ready", "dispatched"], "in memory");
    for state in [&[State::Ready], &[State::Dispatched]] {
        let oldest = store.oldest(vec![counts[0].job_type.clone()], state).await.unwrap();
        assert_eq!(oldest.len(), 1, "on disk");
    }
    assert_eq!(store.dispatch_marks().await.unwrap().issued.0, 1);
    store.close().await;
}

#[tokio::test]
async fn a_transaction_that_is_taken_back_as_a_whole_fails_for_everybody() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &Arc::default());
    let fail = |context: &mut WriteContext| {
        context.execute("ROLLBACK", ())?; // as SQLite does by itself when a disk is full at the wrong moment
        Err(sqlite_fault(ffi::SQLITE_FULL))
    };
    for outcome in together(&store, fail).await {
        assert!(outcome.unwrap_err().is_retryable());
    }
    assert_eq!((jobs(&store).await, store.dispatch_marks().await.unwrap().issued.0), (0, 0));
    let stored = store.insert(accepted("again").1).await.unwrap().changes.remove(0);
    let dispatch = stored.dispatch.expect("its place in the window is free again");
    assert_eq!(dispatch.number.0, 1);
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_is_said_and_passes() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &Arc::default());
    let limit = |pages: i64| {
        move |context: &mut WriteContext| {
            Ok(context.connection.pragma_update(None, "max_page_count", pages)?)
        }
    };
    let pages = |context: &mut WriteContext| {
        Ok(context.connection.pragma_query_value(None, "page_count", |row| row.get(0))?)
    };
    let full: i64 = store.writer.write(1, pages).await.unwrap();
    store.writer.write(1, limit(full + 2)).await.unwrap();
    let error = store.insert(accepted(&"x".repeat(100_000)).1).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the store is unavailable: the disk of the database is full: free some space"
    );
    assert_eq!(jobs(&store).await, 0);
    store.writer.write(1, limit(full + 1_000)).await.unwrap();
    let (id, job) = accepted(&"x".repeat(100_000));
    store.insert(job).await.unwrap();
    assert!(store.get(id).await.unwrap().is_some());
    store.close().await;
}

#[tokio::test]
async fn after_a_failed_fsync_nothing_is_done_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &Arc::default());
    let failed = store.failed();
    for outcome in together(&store, |_| Err(sqlite_fault(ffi::SQLITE_IOERR_FSYNC))).await {
        assert!(matches!(outcome, Err(StoreError::Failed { .. })), "{outcome:?}");
    }
    let reason = soon(failed).await;
    assert!(reason.contains("I/O"), "{reason}");
    assert!(matches!(store.insert(accepted("late").1).await, Err(StoreError::Failed { .. })));
    store.close().await;
    // The file is free, and holds what was committed before.
    let again = open(directory.path(), &Arc::default());
    assert_eq!(jobs(&again).await, 0);
    again.close().await;
}

/// One that stands still.
struct StandingClock(Timestamp);

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn machine_ahead_ms(&self) -> i64 {
        0
    }
}

/// How many rows the store has written since it was opened.
async fn rows_written(store: &SqliteStore) -> u64 {
    store.writer.write(1, |context| Ok(context.connection.total_changes())).await.unwrap()
}

/// A job that nothing follows from costs what it always did: its row and what belongs to it, the end of its attempt, and the
/// counter of dispatches.
#[tokio::test]
async fn a_job_that_nothing_follows_from_writes_as_many_rows_as_ever() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemClock::start().now();
    // The time is kept as well, now and then: with the first transaction of this store, and with no other.
    let clock = Arc::new(StandingClock(now));
    let store = SqliteStore::open(&directory.path().join("crewcall.db"), clock, Arc::default()).unwrap();
    rows_written(&store).await;
    let before = rows_written(&store).await;
    // Of the moment at which it is accepted: how far such ids are off is kept, too.
    let seconds = u64::try_from(now.as_millis() / 1_000).unwrap();
    let nanoseconds = u32::try_from(now.as_millis() % 1_000 * 1_000_000).unwrap();
    let made = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds);
    let id = JobId::from_uuid(uuid::Uuid::new_v7(made));
    let submission = Submission { job_type: "a".to_owned(), ..Submission::default() };
    let job = submission.validate(now).unwrap().accept(id, now);
    store.insert(vec![Accepted { job, window: 1, idempotency: None, after: None }]).await.unwrap();
    let stored = rows_written(&store).await;
    let (job, _) = store.get(id).await.unwrap().unwrap();
    let (job_id, attempt) = (id, job.status.attempt);
    let origin = Origin {
        job_id,
        attempt,
        attempt_token: job.status.token.unwrap(),
        execution_id: ExecutionId::generate(),
        worker_id: "w".parse().unwrap(),
    };
    let (result, emitted, at) = ("{}".to_owned(), Vec::new(), job.created_at);
    let event = Event::Completed { origin, result, emitted, started_at: at, finished_at: at };
    store.apply(vec![JobEvent { job_id, event }]).await.unwrap();
    let over = rows_written(&store).await;
    assert_eq!((stored - before, over - stored), (3, 2));
    store.close().await;
}

#[tokio::test]
async fn a_panic_is_told_to_everybody() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &Arc::default());
    let failed = store.failed();
    for outcome in together(&store, |_| panic!("a test")).await {
        assert!(matches!(outcome, Err(StoreError::Failed { .. })), "{outcome:?}");
    }
    assert_eq!(soon(failed).await, "the writing thread panicked");
    store.close().await;
}

#[tokio::test]
async fn a_check_rehearses_what_is_done_with_results_and_keeps_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &Arc::default());
    store.check().await.unwrap();
    assert_eq!((jobs(&store).await, store.dispatch_marks().await.unwrap().issued.0), (0, 0));
    let lose = |context: &mut WriteContext| {
        Ok(context.connection.execute_batch("ALTER TABLE attempts RENAME TO lost")?)
    };
    store.writer.write(1, lose).await.unwrap();
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, StoreError::Broken { .. }), "{error}");
    assert!(store.insert(accepted("other work").1).await.is_ok(), "the store goes on with what it can");
    store.close().await;
}

#[tokio::test]
async fn an_orderly_end_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &Arc::default());
    let mut failed = Box::pin(store.writer.failed());
    store.close().await;
    drop(store);
    assert!(futures_util::poll!(&mut failed).is_pending());
}
