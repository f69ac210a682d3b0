//! Many open runs while something breaks or changes (F132 to F136): each comes to the end that its document allows, and says which.

mod changes;

mod ends;

mod losses;

use std::time::Duration;

use e2e::{api::Api, stack::Stack, wait::until};
use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

/// How long all runs of a test may take. An order that is lost is found after 45 s.
pub(super) const RUNS_WITHIN: Duration = Duration::from_secs(150);

/// How many requests are on their way at once: more than the store reads at once.
const AT_ONCE: usize = 64;

/// Keeps a document of a workflow or a schedule.
pub(super) async fn put(stack: &Stack, path: &str, document: &Value) {
    let (status, answer) = stack.api.send(Method::PUT, path, document.to_string(), &[]).await.unwrap();
    assert!(status.is_success(), "{answer}");
}

/// Starts a run, which has to be taken. Returns its path.
pub(super) async fn trigger(api: &Api, workflow: &str, data: Value) -> String {
    let path = format!("/v1/workflows/{workflow}/trigger");
    let (status, run) = api.post(&path, json!({ "data": data })).await.unwrap();
    assert!(status.is_success(), "{run}");
    format!("/v1/runs/{}", run["id"].as_str().unwrap())
}

/// Starts so many runs, each with its number. Returns their paths.
pub(super) async fn trigger_all(api: &Api, workflow: &str, runs: usize) -> Vec<String> {
    let started = (0..runs).map(|number| trigger(api, workflow, json!({"number": number})));
    stream::iter(started).buffered(AT_ONCE).collect().await
}

/// Says the word that runs wait for.
pub(super) async fn publish(api: &Api, subject: &str, data: Value) {
    let (status, answer) = api.post("/v1/events", json!({"subject": subject, "data": data})).await.unwrap();
    assert!(status.is_success(), "{answer}");
}

/// Waits until so many runs are in this state.
pub(super) async fn are(stack: &Stack, state: &str, runs: usize) {
    let query = format!("SELECT count(*) FROM runs WHERE state = '{state}'");
    let expected = i64::try_from(runs).unwrap();
    let reached = async || stack.query(&query).unwrap() == expected;
    if let Err(error) = until(&format!("{runs} runs are {state}"), RUNS_WITHIN, reached).await {
        let open = stack.api.json("/v1/runs?state=running,failed,stopping,queued&limit=3").await.unwrap();
        panic!("{error}: {open:#}");
    }
}

/// Kills the backend and starts it again.
async fn kill_and_restart(stack: &mut Stack) {
    stack.backend.kill().await.unwrap();
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
}

/// The words of a run's journal, in their order.
async fn journal(api: &Api, run: &str) -> Vec<String> {
    let page = api.json(&format!("{run}/journal?limit=200")).await.unwrap();
    let lines = page["lines"].as_array().unwrap().iter();
    lines.map(|line| line["what"].as_str().unwrap().to_owned()).collect()
}
