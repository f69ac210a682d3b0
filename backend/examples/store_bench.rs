//! How fast the store is on this machine: `cargo run --release --example store_bench -- [JOBS] [WAITING] [DIRECTORY]`.
//!
//! Prints, for each step of the life of JOBS jobs, how many per second many callers at once get, and what a lone caller
//! waits; then what lists take beside WAITING further jobs with labels, and what deleting takes.
//! The database is real, and so are its fsyncs: give a DIRECTORY on the disk in question.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crewcall_backend::{
    clock::{Clock, SystemClock},
    domain::{Event, Job, State, Submission},
    engine::ports::{Accepted, Inserted, JobEvent, JobQuery, Jobs as _, Lifecycle as _},
    metrics::Metrics,
    store::SqliteStore,
};
use crewcall_proto::{ExecutionId, JobId, JobType, Timestamp, WorkerId, response::Origin};
use tokio::{task::JoinSet, time::Instant};

/// How many callers there are at once: as many as a busy HTTP service has.
const CALLERS: usize = 128;

/// How many jobs a lone caller inserts.
const LONE: usize = 200;

/// How many labelled jobs are inserted in one call.
const FILL: usize = 1_000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let jobs: usize = arguments.next().map_or(Ok(50_000), |text| text.parse())?;
    let waiting: usize = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(directory)?;
    let path = directory.path().join("bench.db");
    let store =
        Arc::new(SqliteStore::open(&path, Arc::new(SystemClock::start()), Arc::new(Metrics::default()))?);

    let inserted = insert(&store, "bench.direct", jobs, usize::MAX).await?;
    let singly = inserted.len() / 2;
    complete(&store, &inserted[..singly], 1).await?;
    complete(&store, &inserted[singly..], 64).await?;
    insert(&store, "bench.waiting", jobs, 0).await?;
    dispatch(&store).await?;
    alone(&store).await?;

    delete(&store).await?;
    fill(&store, waiting).await?;
    pages(&store, waiting).await?;

    let begun = Instant::now();
    store.counts().await?;
    report(&format!("count {} jobs", 2 * jobs + waiting), 1, begun.elapsed());
    store.close().await;
    let begun = Instant::now();
    let store = SqliteStore::open(&path, Arc::new(SystemClock::start()), Arc::new(Metrics::default()))?;
    report("open again", 1, begun.elapsed());
    store.close().await;
    if let Some(line) = memory() {
        print(&line);
    }
    Ok(())
}

/// Inserts `jobs` one by one from [`CALLERS`] tasks.
async fn insert(
    store: &Arc<SqliteStore>,
    job_type: &str,
    jobs: usize,
    window: usize,
) -> Result<Vec<Arc<Job>>, Failure> {
    let begun = Instant::now();
    let left = Arc::new(AtomicUsize::new(jobs));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (store, left, job_type) = (Arc::clone(store), Arc::clone(&left), job_type.to_owned());
        callers.spawn(async move {
            let mut inserted = Vec::new();
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                let written = store.insert(vec![accepted(&job_type, window)]).await?;
                inserted.extend(written.value.into_iter().filter_map(stored));
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
async fn complete(store: &Arc<SqliteStore>, inserted: &[Arc<Job>], batch: usize) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for part in inserted.chunks(inserted.len().div_ceil(CALLERS).max(1)) {
        let (store, events) = (Arc::clone(store), part.iter().map(|job| completed(job)).collect::<Vec<_>>());
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
        let dispatched =
            store.dispatch_due(&JobType::new("bench.waiting")?, usize::MAX, 256).await?.changes.len();
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

/// Deletes all that is completed, in steps as the retention does.
async fn delete(store: &Arc<SqliteStore>) -> Result<(), Failure> {
    let (begun, mut jobs, mut longest) = (Instant::now(), 0, Duration::ZERO);
    loop {
        let step = Instant::now();
        let deleted = store.delete_finished(State::Completed, Duration::ZERO, 200).await?.changes.len();
        longest = longest.max(step.elapsed());
        jobs += deleted;
        if deleted == 0 {
            break;
        }
    }
    report(&format!("delete, 200 at a time (longest {longest:.1?})"), jobs, begun.elapsed());
    Ok(())
}

/// Inserts jobs with labels, [`FILL`] in each call.
async fn fill(store: &Arc<SqliteStore>, jobs: usize) -> Result<(), Failure> {
    let begun = Instant::now();
    for first in (0..jobs).step_by(FILL) {
        let labelled = (first..jobs.min(first + FILL)).map(|number| {
            let mut accepted = accepted("bench.labelled", 0);
            let labels = [("all", 0), ("tenth", number % 10), ("each", number)];
            accepted.job.labels =
                labels.map(|(name, value)| (name.to_owned(), value.to_string())).into_iter().collect();
            accepted
        });
        store.insert(labelled.collect()).await?;
    }
    report(&format!("insert with 3 labels, {FILL} at a time"), jobs, begun.elapsed());
    Ok(())
}

/// What one page takes, with each filter.
async fn pages(store: &Arc<SqliteStore>, jobs: usize) -> Result<(), Failure> {
    let ids = store.list_ids(&JobQuery { limit: jobs / 2, ..JobQuery::default() }).await?;
    let Some(middle) = ids.last() else { return Ok(()) };
    let Some((job, _)) = store.get(*middle).await? else { return Ok(()) };
    let labels = |labels: &[(&str, usize)]| -> BTreeMap<String, String> {
        labels.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect()
    };
    let any = || JobQuery { limit: 100, ..JobQuery::default() };
    let ready = || JobQuery { states: vec![State::Ready], ..any() };
    let queries = [
        ("newest", any()),
        ("from the middle", JobQuery { before: Some(*middle), ..any() }),
        ("of a state", ready()),
        ("of a pattern of types", JobQuery { job_type: Some("bench.*".to_owned()), ..any() }),
        ("created before the middle", JobQuery { created_before: Some(job.created_at), ..any() }),
        ("created before all", JobQuery { created_before: Some(Timestamp::from_millis(0)), ..any() }),
        (
            "of a state, created before the middle",
            JobQuery { created_before: Some(job.created_at), ..ready() },
        ),
        ("with a label of all", JobQuery { labels: labels(&[("all", 0)]), ..any() }),
        ("with a label of one", JobQuery { labels: labels(&[("each", jobs / 3)]), ..any() }),
        ("with labels of all and one", JobQuery { labels: labels(&[("all", 0), ("each", 7)]), ..any() }),
        ("with labels of all and a tenth", JobQuery { labels: labels(&[("all", 0), ("tenth", 3)]), ..any() }),
        (
            "with a label of all, created before the middle",
            JobQuery { labels: labels(&[("all", 0)]), created_before: Some(job.created_at), ..any() },
        ),
        (
            "with a label of all, of a rare state",
            JobQuery { labels: labels(&[("all", 0)]), states: vec![State::Failed], ..any() },
        ),
    ];
    for (what, query) in queries {
        let mut waits = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            store.list(&query).await?;
            waits.push(begun.elapsed());
        }
        waits.sort_unstable();
        print(&format!("{:<54} median {:.1?}, worst {:.1?}", format!("page {what}"), waits[2], waits[4]));
    }
    Ok(())
}

/// How much memory the process has and had at most, where the system says so.
fn memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    Some(format!("memory: {}, {}", line("VmRSS:")?, line("VmHWM:")?))
}

fn accepted(job_type: &str, window: usize) -> Accepted {
    let mut submission = Submission { job_type: job_type.to_owned(), ..Submission::default() };
    submission.parameters.insert("source".to_owned(), "/media/input/picture-of-the-day.jpg".into());
    submission.parameters.insert("width".to_owned(), 640.into());
    let now = SystemClock::start().now();
    let new = submission.validate(now).expect("the submission is a constant that is valid");
    Accepted { job: new.accept(JobId::generate(), now), window, idempotency: None, after: None }
}

fn stored(inserted: Inserted) -> Option<Arc<Job>> {
    match inserted {
        Inserted::Stored { job, .. } => Some(job),
        Inserted::Replayed { .. }
        | Inserted::KeyReused
        | Inserted::TooManyTypes
        | Inserted::UnknownJobs(_)
        | Inserted::TooManyLinks => None,
    }
}

fn completed(job: &Job) -> JobEvent {
    let now = SystemClock::start().now();
    let attempt_token = job.status.token.expect("a dispatched job has a token");
    let origin = Origin {
        job_id: job.id,
        attempt: job.status.attempt,
        attempt_token,
        execution_id: ExecutionId::generate(),
        worker_id: WorkerId::generate(),
    };
    let result = r#"{"path":"/media/output/picture-of-the-day.jpg","bytes":48213}"#.to_owned();
    JobEvent {
        job_id: job.id,
        event: Event::Completed { origin, result, emitted: Vec::new(), started_at: now, finished_at: now },
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn report(what: &str, number: usize, elapsed: Duration) {
    print(&format!("{what:<44} {elapsed:>10.1?} {:>10.0}/s", number as f64 / elapsed.as_secs_f64()));
}

#[expect(clippy::print_stdout, reason = "the report of a program")]
fn print(line: &str) {
    println!("{line}");
}
