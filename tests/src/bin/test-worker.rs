//! A worker whose jobs do what tests need: echo, take their time, fail, panic, abort. It serves the types
//! named in `TEST_WORKER_TYPES` (comma-separated), or all of them. When `TEST_WORKER_JOURNAL` names a file, each
//! execution that begins adds a line to it, with the time in milliseconds since 1970. With `TEST_WORKER_BUILD=newer` it is a later version of itself, which can do
//! more.

use std::{fs::OpenOptions, io::Write, path::Path, time::Duration};

use crewcall_worker::prelude::*;
use rustix::time::{ClockId, clock_gettime};

/// A type that begins so is an echo of that name, when it is asked for.
const NEW_TYPES_PREFIX: &str = "test.new";

/// Gives back what it got.
#[derive(Deserialize, JsonSchema)]
struct Echo {
    /// What to give back.
    text: String,
}

/// Gives back what it got, as often as wanted.
#[derive(Deserialize, JsonSchema)]
struct EchoMore {
    /// What to give back.
    text: String,
    /// How often.
    #[schemars(range(min = 1, max = 3))]
    #[serde(default = "once")]
    times: usize,
}

fn once() -> usize {
    1
}

/// What was given back.
#[derive(Serialize, JsonSchema)]
struct Echoed {
    text: String,
    worker: String,
}

/// Takes its time, reporting progress.
#[derive(Deserialize, JsonSchema)]
struct Sleep {
    /// How many steps.
    #[schemars(range(min = 1, max = 10_000))]
    steps: u64,
    /// How long each takes, in milliseconds.
    step_ms: u64,
    /// A file that gets one line for each execution that begins.
    #[serde(default)]
    journal: Option<PathBuf>,
    /// Whether to end the worker's process instead.
    #[serde(default)]
    aborts: bool,
}

/// Keeps its thread to itself, as no handler should.
#[derive(Deserialize, JsonSchema)]
struct Block {
    /// For how long, in milliseconds.
    ms: u64,
    /// A file that gets one line for each execution that begins.
    journal: PathBuf,
}

/// How it was done.
#[derive(Serialize, JsonSchema)]
struct Slept {
    steps: u64,
    worker: String,
    attempt: u32,
}

/// Waits until it is cancelled.
#[derive(Deserialize, JsonSchema)]
struct Wait {
    /// A file that gets a line when it is: the job, and the machine's monotonic clock in microseconds.
    journal: PathBuf,
}

/// Fails.
#[derive(Deserialize, JsonSchema)]
struct Fail {
    /// What to say.
    message: String,
    /// Whether another attempt may help.
    #[serde(default)]
    permanent: bool,
    /// Succeed from this attempt on.
    #[serde(default)]
    succeed_at: Option<u32>,
}

/// Works on one worker only; every other one gives the order back.
#[derive(Deserialize, JsonSchema)]
struct Picky {
    /// Which worker.
    only: String,
}

/// Publishes events: some while it runs, some with its result.
#[derive(Deserialize, JsonSchema)]
struct Emit {
    /// The ids of those that it publishes at once.
    #[serde(default)]
    now: Vec<String>,
    /// How many come with the result.
    #[serde(default)]
    with_result: u32,
    /// How long it takes then, in milliseconds.
    #[serde(default)]
    ms: u64,
    /// Fail before this attempt.
    #[serde(default)]
    succeed_at: u32,
}

/// A number.
#[derive(Serialize, JsonSchema)]
struct Counted {
    number: u32,
}

/// Nothing.
#[derive(Deserialize, JsonSchema)]
struct Nothing {}

/// Nothing.
#[derive(Serialize, JsonSchema)]
struct Done {}

fn worker_name() -> String {
    std::env::var("CREWCALL_WORKER_ID").unwrap_or_default()
}

/// Notes that an execution begins: in the file that the environment names, and in the one that the job names.
fn note(job: &JobContext, journal: Option<&Path>) -> Result<(), JobError> {
    let execution = format!("{} {} {}", job.id(), job.attempt(), worker_name());
    // One write each: several workers may write to the same file.
    let append = |journal: &Path, line: String| {
        OpenOptions::new().create(true).append(true).open(journal)?.write_all(line.as_bytes())
    };
    if let Some(common) = std::env::var_os("TEST_WORKER_JOURNAL") {
        let now = clock_gettime(ClockId::Realtime);
        let milliseconds = now.tv_sec * 1_000 + now.tv_nsec / 1_000_000;
        append(Path::new(&common), format!("{execution} {milliseconds}\n"))?;
    }
    if let Some(journal) = journal {
        append(journal, format!("{execution}\n"))?;
    }
    Ok(())
}

async fn echo(job: JobContext, parameters: Echo) -> Result<Echoed, JobError> {
    note(&job, None)?;
    Ok(Echoed { text: parameters.text, worker: worker_name() })
}

async fn echo_more(job: JobContext, parameters: EchoMore) -> Result<Echoed, JobError> {
    note(&job, None)?;
    Ok(Echoed { text: parameters.text.repeat(parameters.times), worker: worker_name() })
}

async fn sleep(job: JobContext, parameters: Sleep) -> Result<Slept, JobError> {
    note(&job, parameters.journal.as_deref())?;
    if parameters.aborts {
        std::process::abort();
    }
    tracing::debug!(target: "test_worker", steps = parameters.steps, "The handler goes to sleep.");
    for step in 1..=parameters.steps {
        job.check_cancelled()?;
        tokio::time::sleep(Duration::from_millis(parameters.step_ms)).await;
        job.progress(step * 100 / parameters.steps, format!("step {step} of {}", parameters.steps));
    }
    Ok(Slept { steps: parameters.steps, worker: worker_name(), attempt: job.attempt() })
}

async fn block(job: JobContext, parameters: Block) -> Result<Done, JobError> {
    note(&job, Some(&parameters.journal))?;
    std::thread::sleep(Duration::from_millis(parameters.ms));
    Ok(Done {})
}

async fn wait(job: JobContext, parameters: Wait) -> Result<Done, JobError> {
    job.cancelled().await;
    let now = clock_gettime(ClockId::Monotonic);
    let mut file = OpenOptions::new().create(true).append(true).open(&parameters.journal)?;
    writeln!(file, "{} {}", job.id(), now.tv_sec * 1_000_000 + now.tv_nsec / 1_000)?;
    job.check_cancelled()?;
    Ok(Done {})
}

async fn fail(job: JobContext, parameters: Fail) -> Result<Done, JobError> {
    note(&job, None)?;
    if parameters.succeed_at.is_some_and(|attempt| job.attempt() >= attempt) {
        return Ok(Done {});
    }
    let error = if parameters.permanent {
        JobError::permanent(parameters.message)
    } else {
        JobError::retryable(parameters.message)
    };
    Err(error.code("test_failure"))
}

async fn emit(job: JobContext, parameters: Emit) -> Result<Done, JobError> {
    note(&job, None)?;
    for number in 1..=parameters.with_result {
        job.emit("count.result", Counted { number })?;
    }
    for (id, number) in parameters.now.into_iter().zip(1..) {
        job.emit_now(Event::new("count.now", Counted { number }).id(id)).await?;
    }
    tokio::time::sleep(Duration::from_millis(parameters.ms)).await;
    if job.attempt() < parameters.succeed_at {
        return Err(JobError::retryable("not yet").code("test_failure"));
    }
    Ok(Done {})
}

async fn picky(job: JobContext, parameters: Picky) -> Result<Echoed, JobError> {
    note(&job, None)?;
    let worker = worker_name();
    if worker != parameters.only {
        return Err(JobError::retryable(format!("{worker} cannot load the model")));
    }
    Ok(Echoed { text: String::new(), worker })
}

#[expect(clippy::panic, reason = "this handler is here to panic")]
async fn panic(_job: JobContext, _parameters: Nothing) -> Result<Done, JobError> {
    panic!("this handler panics, as asked");
}

async fn abort(job: JobContext, _parameters: Nothing) -> Result<Done, JobError> {
    note(&job, None)?;
    std::process::abort();
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    let wanted = std::env::var("TEST_WORKER_TYPES").unwrap_or_default();
    let serves = |job_type: &str| {
        if wanted.is_empty() || wanted.split(',').any(|word| word == job_type) {
            Ok(())
        } else {
            Err("not asked for".to_owned())
        }
    };
    let giving_back = JobOptions::new().on_failure(FailureStrategy::Nack);
    let worker = Worker::from_env()?.name("test-worker").job_with(
        "test.picky",
        picky,
        giving_back.available(serves("test.picky")),
    );
    let worker = if std::env::var("TEST_WORKER_BUILD").is_ok_and(|build| build == "newer") {
        worker.version("2").job_if(serves("test.echo"), "test.echo", echo_more)
    } else {
        worker.version("1").job_if(serves("test.echo"), "test.echo", echo)
    };
    let emitting = JobOptions::new().emits::<Counted>("count.result").emits::<Counted>("count.now");
    let worker = worker.job_with("test.emit", emit, emitting.available(serves("test.emit")));
    let is_new = |job_type: &&str| job_type.starts_with(NEW_TYPES_PREFIX);
    let worker = wanted.split(',').filter(is_new).fold(worker, |worker, new| worker.job(new, echo));
    worker
        .job_if(serves("test.other"), "test.other", echo)
        .job_if(serves("test.sleep"), "test.sleep", sleep)
        .job_if(serves("test.block"), "test.block", block)
        .job_if(serves("test.wait"), "test.wait", wait)
        .job_if(serves("test.fail"), "test.fail", fail)
        .job_if(serves("test.panic"), "test.panic", panic)
        .job_if(serves("test.abort"), "test.abort", abort)
        .run()
        .await
}
