//! What many waiting jobs cost: memory, the time of a start, and pages of lists.

use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::{footprint::Footprint, stack::Stack};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::figures::{Figures, say};

/// What one request submits.
const BATCH_JOBS: usize = 10_000;

/// How often each page is read.
const PAGE_READS: usize = 50;

/// How often readiness is asked for during a start.
const ASK_EVERY: Duration = Duration::from_millis(10);

const TYPES: [&str; 4] = ["test.echo", "test.other", "test.sleep", "test.fail"];

pub(crate) async fn run(jobs: usize) -> anyhow::Result<()> {
    let mut stack = Stack::start("bench-waiting").await?;
    // The types are known, and nobody is there to serve them.
    let mut worker = stack.worker(&TYPES, 1).await?;
    worker.kill().await?;
    for job_type in TYPES {
        stack.api.post(&format!("/v1/types/{job_type}/pause"), json!({})).await?;
    }
    say(&format!("memory of the backend without jobs: {} MB", memory_megabytes(&stack)?))?;
    let began = Instant::now();
    let mut submitted = 0;
    while submitted < jobs {
        let batch = BATCH_JOBS.min(jobs - submitted);
        submit(&stack, submitted, batch).await?;
        submitted += batch;
    }
    let rate = jobs as f64 / began.elapsed().as_secs_f64();
    say(&format!("{jobs} jobs accepted in batches of {BATCH_JOBS}, {rate:.0} jobs/s"))?;
    say(&format!("memory of the backend with them: {} MB", memory_megabytes(&stack)?))?;
    stack.backend.kill().await?;
    let began = Instant::now();
    stack.restart_backend().await?;
    while stack.api.get("/readyz").await?.0 != StatusCode::OK {
        sleep(ASK_EVERY).await;
    }
    say(&format!("from the start to ready: {:.2} s", began.elapsed().as_secs_f64()))?;
    pages(&stack).await?;
    say(&format!("memory of the backend after it: {} MB", memory_megabytes(&stack)?))
}

async fn submit(stack: &Stack, first: usize, count: usize) -> anyhow::Result<()> {
    let lines: String = (first..first + count)
        .map(|number| {
            let job = json!({
                "type": TYPES[number % TYPES.len()],
                "parameters": {"text": number.to_string(), "steps": 1, "step_ms": 1, "message": "x"},
                "priority": number % 10,
                "labels": {"customer": format!("c{}", number % 1_000)},
            });
            format!("{job}\n")
        })
        .collect();
    let headers = [("Content-Type", "application/x-ndjson")];
    let (status, answer) = stack.api.send(Method::POST, "/v1/jobs/batch", lines, &headers).await?;
    ensure!(status.is_success() && answer["accepted"] == count, "{status} {}", answer["results"][0]);
    Ok(())
}

async fn pages(stack: &Stack) -> anyhow::Result<()> {
    let first = stack.api.json("/v1/jobs?limit=100").await?;
    let newest = first["jobs"][0]["created_at"].as_str().context("a job has a time")?.to_owned();
    for (name, query) in [
        ("newest 100", "limit=100".to_owned()),
        ("by state", "limit=100&state=ready".to_owned()),
        ("by state, none", "limit=100&state=failed".to_owned()),
        ("by type", "limit=100&type=test.other".to_owned()),
        ("by type pattern and state", "limit=100&type=test.*&state=ready".to_owned()),
        ("by label", "limit=100&label.customer=c7".to_owned()),
        ("by label, type and state", "limit=100&label.customer=c7&type=test.fail&state=ready".to_owned()),
        ("by label nobody has", "limit=100&label.customer=nobody".to_owned()),
        ("before the newest second", format!("limit=100&created_before={newest}")),
        ("a full page of 500", "limit=500".to_owned()),
    ] {
        let mut figures = Figures::default();
        let mut cursor = String::new();
        for _ in 0..PAGE_READS {
            let began = Instant::now();
            let page = stack.api.json(&format!("/v1/jobs?{query}{cursor}")).await?;
            figures.add(began.elapsed());
            cursor = page["next_cursor"].as_str().map_or(String::new(), |next| format!("&cursor={next}"));
        }
        figures.say(&format!("page: {name}"))?;
    }
    Ok(())
}

/// What the backend has in memory, in MB of 10⁶ bytes.
fn memory_megabytes(stack: &Stack) -> anyhow::Result<u64> {
    Ok(Footprint::of(&stack.backend)?.resident_bytes / 1_000_000)
}
