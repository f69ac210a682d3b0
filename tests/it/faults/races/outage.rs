//! Everything is due at once (F59).

use std::time::Duration;

use e2e::{
    footprint::Footprint,
    lies::Lies,
    rogue::Rogue,
    stack::{RESUMES_WITHIN, Stack, Surroundings},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How many jobs are submitted with one request.
const BATCH: usize = 10_000;

/// How many of these requests.
const BATCHES: usize = 10;

/// For how long the backend is away: all of them become due meanwhile.
const AWAY_SECONDS: i64 = 7_200;

/// How long all may take. Nothing is optimised here, and the machine is shared.
const OVER_WITHIN: Duration = Duration::from_secs(240);

/// How many orders of a type may be with the broker at once.
const WINDOW_MAX: u64 = 2_000;

#[tokio::test]
async fn f59_a_hundred_thousand_jobs_are_due_at_once() {
    let mut stack = Stack::start("outage").await.unwrap();
    let lies = Lies::prepare(stack.folder()).await.unwrap();
    let variables = lies.variables();
    let lied_to: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    stack.surround(Surroundings::variables(&lied_to));
    let _workers =
        [stack.worker(&["test.echo"], 64).await.unwrap(), stack.worker(&["test.echo"], 64).await.unwrap()];
    let rogue = Rogue::start(&stack.amqp_url);
    let run_at = stack.from_now(3600).await.unwrap();
    let start = Instant::now();
    for batch in 0..BATCHES {
        submit(&mut stack, batch, &run_at).await;
        println!("{batch} {:?}", start.elapsed());
    }
    stack.backend.kill().await.unwrap();
    lies.clock_ahead_seconds(AWAY_SECONDS).unwrap();
    let start = Instant::now();
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    println!("ready {:?}", start.elapsed());
    let queue = "crewcall.jobs.test.echo";
    loop {
        let t = Instant::now();
        let types = stack.api.json("/v1/types/test.echo").await.unwrap();
        let took = t.elapsed();
        let jobs = &types["jobs"];
        println!(
            "{:?} {took:?} {jobs} {} {}",
            start.elapsed(),
            rogue.waiting_in(queue).await.unwrap(),
            Footprint::of(&stack.backend).unwrap()
        );
        if jobs["completed"].as_u64().unwrap() >= (BATCH * BATCHES) as u64 {
            break;
        }
        sleep(Duration::from_millis(2000)).await;
    }
    let t = Instant::now();
    let found = stack.settled_within(OVER_WITHIN).await.unwrap();
    println!("settled {:?}", t.elapsed());
    found.print("F59");
}

async fn submit(stack: &mut Stack, batch: usize, run_at: &str) {
    let line = |number: usize| {
        let text = format!("{batch}-{number}");
        format!("{}\n", json!({"type": "test.echo", "parameters": {"text": text}, "run_at": run_at}))
    };
    let lines: String = (0..BATCH).map(line).collect();
    let headers = [("Content-Type", "application/x-ndjson")];
    let (status, answer) = stack.api.send(Method::POST, "/v1/jobs/batch", lines, &headers).await.unwrap();
    assert!(status.is_success() && answer["accepted"] == BATCH, "{status} {}", answer["results"][0]);
    for result in answer["results"].as_array().unwrap() {
        stack.accepted(result["id"].as_str().unwrap().to_owned());
    }
}
