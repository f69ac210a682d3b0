//! Runs of workflows while something dies (F123 to F126): what follows from each step is there once, and nothing of a run is left open.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use e2e::{
    api::Api,
    broker,
    failpoints::{BackendFailpoint, dies_at},
    invariants::Invariants,
    stack::{ProcessEnvironment, Stack},
    wait::until,
};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

/// How many items each run has: more than are stored at once.
const ITEMS: usize = 300;

/// How long runs may take, with a restart or two.
const RUNS_WITHIN: Duration = Duration::from_secs(60);

/// A step, one for each item, a condition that is false, and what joins them.
fn document(parallel: u32) -> Value {
    json!({
        "steps": {
            "first": {"job": "test.echo", "parameters": {"text": "begin"}},
            "each": {
                "needs": ["first"],
                "each": "${{ trigger.data.items }}",
                "parallel": parallel,
                "job": "test.echo",
                "parameters": {"text": "${{ steps.first.result.text }} ${{ item }}"},
                "compensate": {"job": "test.echo", "parameters": {"text": "undo ${{ step.result.text }}"}},
            },
            "never": {"needs": ["first"], "when": "size(trigger.data.items) == 0", "job": "test.echo", "parameters": {"text": ""}},
            "wait": {"needs": ["each"], "wait": {"event": "go", "timeout_seconds": 600}},
            "join": {
                "needs": ["wait", "each"],
                "job": "test.echo",
                "parameters": {"text": "${{ size(steps.each.results) }} ${{ steps.wait.event.data.who }}"},
            },
        },
        "outputs": {"text": "${{ steps.join.result.text }}"},
    })
}

async fn put(api: &Api, name: &str, document: &Value) {
    let path = format!("/v1/workflows/{name}");
    let (status, answer) = api.send(Method::PUT, &path, document.to_string(), &[]).await.unwrap();
    assert!(status.is_success(), "{answer}");
}

/// Starts a run, until that is answered: the key makes that harmless. Returns its id.
async fn start(api: &Api, key: &str, items: usize) -> Option<String> {
    let numbers: Vec<usize> = (0..items).collect();
    let body = json!({"data": {"items": numbers}}).to_string();
    let headers = [("idempotency-key", key)];
    let (status, run) = api.send(Method::POST, "/v1/workflows/film/trigger", body, &headers).await.ok()?;
    assert!(status.is_success(), "{run}");
    Some(run["id"].as_str().unwrap().to_owned())
}

/// Says the word that runs wait for, in a backend that is there.
async fn go(api: &Api) {
    let event = json!({"subject": "go", "data": {"who": "Ann"}, "id": "go"});
    let (status, answer) = api.post("/v1/events", event).await.unwrap();
    assert!(status.is_success(), "{answer}");
}

/// Waits until so many runs have ended as they should, and looks at what they made.
async fn all_completed(stack: &mut Stack, runs: usize, items: usize) -> Invariants {
    let ended = "SELECT count(*) FROM runs WHERE state = 'completed'";
    let expected = i64::try_from(runs).unwrap();
    let completed = async || stack.query(ended).unwrap() == expected;
    if let Err(error) = until(&format!("{runs} runs are completed"), RUNS_WITHIN, completed).await {
        let page = stack.api.json("/v1/runs?state=running,failed,stopping,queued").await.unwrap();
        panic!("{error}: {page:#}");
    }
    let jobs = i64::try_from(runs * (items + 2)).unwrap();
    assert_eq!(stack.query("SELECT count(*) FROM jobs").unwrap(), jobs, "each item has one job");
    assert_eq!(stack.query("SELECT count(*) FROM jobs WHERE state = 'completed'").unwrap(), jobs);
    for run in stack.api.json("/v1/runs?state=completed").await.unwrap()["runs"].as_array().unwrap() {
        let run = stack.api.json(&format!("/v1/runs/{}", run["id"].as_str().unwrap())).await.unwrap();
        assert_eq!(run["outputs"]["text"], format!("{items} Ann"), "{run:#}");
    }
    let mut found = stack.settle().await.unwrap();
    found.hold("E4", format_args!("{runs} runs of {items} items and two steps made {jobs} jobs"));
    found
}

/// The backend dies in the step of a run: right before it commits, and right after it, when no order has left; at the first
/// step, and between two chunks of a fan-out. Either way each item has one job in the end.
#[tokio::test]
async fn f123_the_backend_dies_in_a_runs_step() {
    for (point, hit) in [
        (BackendFailpoint::RunStepping, 1),
        (BackendFailpoint::RunStepping, 3),
        (BackendFailpoint::RunStepped, 1),
        (BackendFailpoint::RunStepped, 3),
    ] {
        let vhost = broker::vhost("f123").await.unwrap();
        let dying = dies_at(point.name(), hit);
        let dying = ProcessEnvironment::variables(&[("FAILPOINTS", &dying)]);
        let mut stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, dying).await.unwrap();
        let _worker = stack.worker(&["test.echo"], 8).await.unwrap();
        put(&stack.api, "film", &document(100)).await;
        start(&stack.api, "one", ITEMS).await;
        let status = stack.backend.wait().await.unwrap();
        assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
        let made = stack.query("SELECT count(*) FROM run_items").unwrap();
        stack.set_environment(ProcessEnvironment::default());
        stack.restart_backend().await.unwrap();
        stack.api.ready().await.unwrap();
        start(&stack.api, "one", ITEMS).await.unwrap();
        go(&stack.api).await;
        let mut found = all_completed(&mut stack, 1, ITEMS).await;
        found.hold("I1", format_args!("{made} items were made when it died"));
        found.print(&format!(
            "F123 the backend dies in a run's step, at {} for the {hit}. time",
            point.name()
        ));
    }
}

/// The backend dies between the commit of the results of a run's jobs and their acknowledgement: the broker delivers them again, and
/// the run takes none of them twice.
#[tokio::test]
async fn f124_the_backend_dies_between_the_commit_of_a_runs_results_and_their_acknowledgement() {
    const RUNS: usize = 3;
    let vhost = broker::vhost("f124").await.unwrap();
    let dying = dies_at(BackendFailpoint::ResponsesRecorded.name(), 5);
    let dying = ProcessEnvironment::variables(&[("FAILPOINTS", &dying)]);
    let mut stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, dying).await.unwrap();
    let _worker = stack.worker(&["test.echo"], 8).await.unwrap();
    put(&stack.api, "film", &document(20)).await;
    for run in 0..RUNS {
        start(&stack.api, &format!("run:{run}"), ITEMS).await;
    }
    let status = stack.backend.wait().await.unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
    stack.set_environment(ProcessEnvironment::default());
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    for run in 0..RUNS {
        start(&stack.api, &format!("run:{run}"), ITEMS).await.unwrap();
    }
    go(&stack.api).await;
    let found = all_completed(&mut stack, RUNS, ITEMS).await;
    found.print("F124 the backend dies between the commit of a run's results and their acknowledgement");
}

/// The backend is killed again and again while runs are under way, start, and wait: each gets to its end, and nothing is done twice.
#[tokio::test]
async fn f125_the_backend_is_killed_while_runs_are_under_way() {
    const KILLS: usize = 4;
    const RUNS: usize = 5;
    let mut stack = Stack::start("f125").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 8).await.unwrap();
    put(&stack.api, "film", &document(20)).await;
    let ended = "SELECT count(*) FROM run_items WHERE ended_version IS NOT NULL";
    for kill in 0..KILLS {
        for run in 0..RUNS {
            start(&stack.api, &format!("run:{kill}:{run}"), 60).await.unwrap();
        }
        let so_far = stack.query(ended).unwrap();
        let moved = async || stack.query(ended).unwrap() > so_far + 20;
        until("some items ended", RUNS_WITHIN, moved).await.unwrap();
        stack.backend.kill().await.unwrap();
        stack.restart_backend().await.unwrap();
        stack.api.ready().await.unwrap();
        if kill == 1 {
            // From here on the answer is there before the question.
            go(&stack.api).await;
        }
    }
    go(&stack.api).await;
    // The event came before the runs that were started later, which wait for another.
    let (status, answer) =
        stack.api.post("/v1/events", json!({"subject": "go", "data": {"who": "Ann"}})).await.unwrap();
    assert!(status.is_success(), "{answer}");
    let mut found = all_completed(&mut stack, KILLS * RUNS, 60).await;
    found.hold("E5", format_args!("{} runs over {KILLS} kills", KILLS * RUNS));
    found.print("F125 the backend is killed while runs are under way");
}

/// A worker is frozen in the step of a run that is cancelled and tried again meanwhile. What it says when it is back is about an earlier
/// beginning, and changes nothing.
#[tokio::test]
async fn f126_a_worker_is_back_late_in_a_run_that_was_tried_again() {
    let mut stack = Stack::start("f126").await.unwrap();
    let late = stack.worker(&["test.echo"], 1).await.unwrap();
    put(
        &stack.api,
        "film",
        &json!({"steps": {
            "only": {"job": "test.echo", "parameters": {"text": "${{ run.id }}"}},
            "last": {"needs": ["only"], "job": "test.echo", "parameters": {"text": "end"}},
        }}),
    )
    .await;
    late.signal(Signal::STOP).unwrap();
    let id = start(&stack.api, "one", 0).await.unwrap();
    let path = format!("/v1/runs/{id}");
    let made = async || stack.query("SELECT count(*) FROM run_items").unwrap() == 1;
    until("the job is made", RUNS_WITHIN, made).await.unwrap();
    for act in ["cancel", "retry"] {
        let over = if act == "cancel" { "running" } else { "cancelled" };
        stack.api.json_when_within(RUNS_WITHIN, &path, |run| run["state"] == over).await.unwrap();
        let (status, answer) = stack.api.post(&format!("{path}/{act}"), json!({"by": "Ann"})).await.unwrap();
        assert!(status.is_success(), "{answer}");
    }
    stack.api.json_when_within(RUNS_WITHIN, &path, |run| run["generation"] == 2).await.unwrap();
    late.signal(Signal::CONT).unwrap();
    let run =
        stack.api.json_when_within(RUNS_WITHIN, &path, |run| run["state"] == "completed").await.unwrap();
    assert_eq!(run["steps"][0]["generation"], 2, "{run:#}");
    assert_eq!(
        stack.query("SELECT count(*) FROM run_items").unwrap(),
        3,
        "the first beginning, and two steps of the second"
    );
    let mut found = stack.settle().await.unwrap();
    found.hold("E4", "the late word of an earlier beginning changed nothing");
    found.print("F126 a worker is back late in a run that was tried again");
}
