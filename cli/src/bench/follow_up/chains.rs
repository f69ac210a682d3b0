//! Steps that follow each other: how soon the next begins, a chain of ten beside one job, and very many short runs beside as many
//! plain jobs.

use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::{
    commits::Commits,
    ground::{Ground, between, moment_ms, percentile_ms, step, text},
    reading::{Reading, Unit},
};
use crate::{
    bench::{
        JOB_TYPE, PATIENCE, events,
        figures::{Throughput, Times},
        http::Http,
        latency,
    },
    exit::Failure,
};

/// A chain of ten, and runs of three steps that events start.
const CHAIN: &str = "bench.chain";
const CHAIN_STEPS: usize = 10;
const SHORT: &str = "bench.short";
const SHORT_STEPS: usize = 3;
const SHORT_SUBJECT: &str = "bench.short.wanted";

/// How many chains there are in a round, for so many single jobs.
const JOBS_PER_CHAIN: usize = 5;

/// How long it takes from the end of a step to the next order, in milliseconds.
const NEXT_P50_MAX: f64 = 5.0;
const NEXT_P99_MAX: f64 = 25.0;
/// How many single jobs a chain of ten may take.
const CHAIN_MAX: f64 = 12.0;
/// What is left of the pace of plain jobs.
const SHORT_MIN: f64 = 0.6;

/// How often is looked whether all runs are over.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(10);

/// Measures all of it.
///
/// # Errors
///
/// When the backend refuses something, or something does not come in time.
pub(super) async fn round(ground: &mut Ground<'_>) -> Result<Vec<Reading>, Failure> {
    let mut readings = chains(ground).await?;
    readings.extend(short_runs(ground).await?);
    Ok(readings)
}

async fn chains(ground: &Ground<'_>) -> Result<Vec<Reading>, Failure> {
    ground.put_workflow(CHAIN, &chain(CHAIN_STEPS, &json!([]))).await?;
    let (mut whole, mut one) = (Times::default(), Times::default());
    let (mut next, mut first) = (Times::default(), Times::default());
    let data = json!({"text": text()});
    for _ in 0..(ground.plan.single_jobs / JOBS_PER_CHAIN).max(1) {
        one.add(latency::one(&ground.http).await?);
        let began = Instant::now();
        let id = ground.trigger(CHAIN, &data).await?;
        let run = ground.end_of_run(&id).await?;
        whole.add(began.elapsed());
        gaps(&ground.http, &run, &mut first, &mut next).await?;
    }
    let late = |percent| percentile_ms(&next, percent);
    Ok(vec![
        Reading::new("end of a step to the next handler, p50", Unit::Milliseconds, late(50))
            .beside("a job made to its handler", percentile_ms(&first, 50))
            .at_most(NEXT_P50_MAX),
        Reading::new("end of a step to the next handler, p99", Unit::Milliseconds, late(99))
            .beside("a job made to its handler", percentile_ms(&first, 99))
            .at_most(NEXT_P99_MAX),
        Reading::new("a chain of ten", Unit::Milliseconds, percentile_ms(&whole, 50))
            .beside("one job", percentile_ms(&one, 50))
            .ratio_at_most(CHAIN_MAX),
    ])
}

/// From the end of each step, by the backend's clock, until the handler of the next one began, by the worker's: the way of the
/// order is in it. Beside it, how long that way took from when the job was made.
async fn gaps(http: &Http, run: &Value, first: &mut Times, next: &mut Times) -> Result<(), Failure> {
    let mut ended_ms = None;
    for index in 0..CHAIN_STEPS {
        let steps = run["steps"].as_array();
        let step = steps.and_then(|steps| steps.iter().find(|step| step["name"] == name(index)));
        let step = step.cloned().unwrap_or_default();
        let job = http.get(&format!("/v1/jobs/{}", step["job"].as_str().unwrap_or_default())).await?;
        let started_ms = moment_ms(&job["started_at"])?;
        first.add(between(moment_ms(&job["created_at"])?, started_ms));
        if let Some(ended_ms) = ended_ms {
            next.add(between(ended_ms, started_ms));
        }
        ended_ms = Some(moment_ms(&step["ended_at"])?);
    }
    Ok(())
}

async fn short_runs(ground: &Ground<'_>) -> Result<Vec<Reading>, Failure> {
    let (http, runs) = (&ground.http, ground.scale.most());
    let jobs = runs * SHORT_STEPS;
    let begun = Commits::now(http).await?;
    let plain = ground.computed(ground.plain(jobs)).await?;
    let after_plain = Commits::now(http).await?;
    ground.put_workflow(SHORT, &chain(SHORT_STEPS, &json!([{"event": SHORT_SUBJECT}]))).await?;
    let all = http.completed(JOB_TYPE).await? + u64::try_from(jobs).unwrap_or(u64::MAX);
    let run_all = async {
        let began = Instant::now();
        events::batches(http, SHORT_SUBJECT, runs).await?;
        http.until_completed(JOB_TYPE, all).await?;
        until_over(http, SHORT).await?;
        Ok(Throughput::of(jobs, began.elapsed()))
    };
    let made = ground.computed(run_all).await?;
    let commits = Commits::now(http).await?.since(after_plain);
    let each = |(_, computed): &(Throughput, _)| super::ground::microseconds_each(*computed, jobs);
    Ok(vec![
        Reading::new(format!("jobs of {runs} runs of three steps"), Unit::PerSecond, made.0.per_second)
            .beside("as many plain jobs in batches", plain.0.per_second)
            .ratio_at_least(SHORT_MIN),
        Reading::new("backend's time for a job of these", Unit::MicrosecondsEach, each(&made))
            .beside("for a plain job", each(&plain)),
        commits.reading("runs of three steps", after_plain.since(begun)),
    ])
}

/// Waits until no run of the workflow is open.
async fn until_over(http: &Http, workflow: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let open = format!("/v1/runs?workflow={workflow}&state=queued,running,stopping&limit=1");
    loop {
        let page = http.get(&open).await?;
        if page["runs"].as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::Part(format!("runs did not end in time: {page}").into()));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// A workflow of jobs that do nothing, each after the other, whose text is that of the run.
fn chain(steps: usize, triggers: &Value) -> Value {
    let each = (0..steps).map(|index| {
        let needs: Vec<String> = index.checked_sub(1).map(name).into_iter().collect();
        (name(index), step("${{ trigger.data.text }}", &json!({"needs": needs})))
    });
    json!({"triggers": triggers, "steps": each.collect::<Map<_, _>>()})
}

fn name(index: usize) -> String {
    format!("step_{index}")
}
