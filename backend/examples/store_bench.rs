//! How fast the store is on this machine: `cargo run --release --example store_bench -- [JOBS] [DIRECTORY]`.
//!
//! Prints, for each step of a job's life, how many per second many callers at once get, and what a lone caller waits.
//! The database is real, and so are its fsyncs: give a DIRECTORY on the disk in question.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crewcall_backend::{
    clock::{Clock, SystemClock},
    dispatch::ports::{Accepted, Inserted, JobEvent, JobStore},
    domain::{Event, Submission},
    metrics::Metrics,
    store::SqliteStore,
};
use crewcall_proto::{ExecutionId, JobId, JobType, WorkerId, response::Origin};
use tokio::{task::JoinSet, time::Instant};

/// How many callers there are at once: as many as a busy HTTP service has.
const CALLERS: usize = 128;

/// How many jobs a lone caller inserts.
const LONE: usize = 200;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let jobs: usize = arguments.next().map_or(Ok(50_000), |text| text.parse())?;
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(directory)?;
    let path = directory.path().join("bench.db");
    let store = Arc::new(SqliteStore::open(&path, Arc::new(SystemClock), Arc::new(Metrics::default()))?);

    let inserted = insert(&store, "bench.direct", jobs, usize::MAX).await?;
    let singly = inserted.len() / 2;
    complete(&store, &inserted[..singly], 1).await?;
    complete(&store, &inserted[singly..], 64).await?;
    insert(&store, "bench.waiting", jobs, 0).await?;
    dispatch(&store).await?;
    alone(&store).await?;

    let begun = Instant::now();
    store.counts().await?;
    report(&format!("count {} jobs", 2 * jobs), 1, begun.elapsed());
    store.close().await;
    let begun = Instant::now();
    let store = SqliteStore::open(&path, Arc::new(SystemClock), Arc::new(Metrics::default()))?;
    report(&format!("open with {} jobs", 2 * jobs), 1, begun.elapsed());
    store.close().await;
    Ok(())
}

/// Inserts `jobs` one by one from [`CALLERS`] tasks.
async fn insert(
    store: &Arc<SqliteStore>,
    job_type: &str,
    jobs: usize,
    window: usize,
) -> Result<Vec<Inserted>, Failure> {
    let begun = Instant::now();
    let left = Arc::new(AtomicUsize::new(jobs));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (store, left, job_type) = (Arc::clone(store), Arc::clone(&left), job_type.to_owned());
        callers.spawn(async move {
            let mut inserted = Vec::new();
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                inserted.extend(store.insert(vec![accepted(&job_type, window)]).await?);
            }
            Ok::<_, Failure>(inserted)
        });
    }
    let mut inserted = Vec::new();
    while let Some(part) = callers.join_next().await {
        inserted.extend(part??);
    }
    let how = if window == 0 { "ready" } else { "dispatched" };
    report(&format!("insert as {how}, {CALLERS} callers"), jobs, begun.elapsed());
    Ok(inserted)
}

/// Completes jobs from [`CALLERS`] tasks, `batch` of them in each call.
async fn complete(store: &Arc<SqliteStore>, inserted: &[Inserted], batch: usize) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for part in inserted.chunks(inserted.len().div_ceil(CALLERS).max(1)) {
        let (store, events) = (Arc::clone(store), part.iter().map(completed).collect::<Vec<_>>());
        callers.spawn(async move {
            for events in events.chunks(batch) {
                store.apply(events.to_vec()).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    report(&format!("complete, {CALLERS} callers, {batch} at a time"), inserted.len(), begun.elapsed());
    Ok(())
}

/// Dispatches all that is ready, in steps as the relay does.
async fn dispatch(store: &Arc<SqliteStore>) -> Result<(), Failure> {
    let (begun, mut jobs) = (Instant::now(), 0);
    loop {
        let dispatched = store.dispatch_due(&JobType::new("bench.waiting")?, usize::MAX, 256).await?.len();
        jobs += dispatched;
        if dispatched == 0 {
            break;
        }
    }
    report("dispatch what waits, 256 at a time", jobs, begun.elapsed());
    Ok(())
}

/// What one caller waits when nobody else is there.
async fn alone(store: &Arc<SqliteStore>) -> Result<(), Failure> {
    let mut waits = Vec::new();
    for _ in 0..LONE {
        let begun = Instant::now();
        store.insert(vec![accepted("bench.alone", usize::MAX)]).await?;
        waits.push(begun.elapsed());
    }
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    print(&format!("{:<44} median {:?}, 99 % {:?}", "insert alone", at(50), at(99)));
    Ok(())
}

fn accepted(job_type: &str, window: usize) -> Accepted {
    let mut submission = Submission { job_type: job_type.to_owned(), ..Submission::default() };
    submission.parameters.insert("source".to_owned(), "/media/input/picture-of-the-day.jpg".into());
    submission.parameters.insert("width".to_owned(), 640.into());
    let new = submission.validate().expect("the submission is a constant that is valid");
    Accepted { job: new.accept(JobId::generate(), SystemClock.now()), window }
}

fn completed(inserted: &Inserted) -> JobEvent {
    let (job, now) = (&inserted.job, SystemClock.now());
    let attempt_token = job.life.token.expect("a dispatched job has a token");
    let origin = Origin {
        job_id: job.id,
        attempt: job.life.attempt,
        attempt_token,
        execution_id: ExecutionId::generate(),
        worker_id: WorkerId::generate(),
    };
    let result = r#"{"path":"/media/output/picture-of-the-day.jpg","bytes":48213}"#.to_owned();
    JobEvent { job_id: job.id, event: Event::Completed { origin, result, started_at: now, finished_at: now } }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn report(what: &str, number: usize, elapsed: Duration) {
    print(&format!("{what:<44} {elapsed:>10.1?} {:>10.0}/s", number as f64 / elapsed.as_secs_f64()));
}

#[expect(clippy::print_stdout, reason = "the report of a program")]
fn print(line: &str) {
    println!("{line}");
}
