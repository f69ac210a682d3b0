//! Which runs are said to stand still: those that have to get on by themselves, and do not.

use std::time::Duration;

use crewcall_proto::JobId;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::server::{Server, answer};

/// For how long nothing happens: longer than the alert waits.
const QUIET: Duration = Duration::from_secs(20 * 60);

/// What the alert wants.
const STUCK_SECONDS: f64 = 900.0;

/// Workflows whose runs wait, each for something else, and whether its run stands still by that.
fn workflows() -> Vec<(&'static str, Value, bool)> {
    let job = |job_type: &str| json!({"steps": {"a": {"job": job_type}}});
    let approval = json!({"approval": {}});
    vec![
        ("held", job("nobody.serves"), true),
        ("beside", json!({"steps": {"a": {"job": "nobody.serves"}, "b": approval}}), true),
        ("approval", json!({"steps": {"a": approval}}), false),
        ("event", json!({"steps": {"a": {"wait": {"event": "go"}}}}), false),
        ("moment", json!({"steps": {"a": {"wait": {"until": "2100-01-01T00:00:00Z"}}}}), false),
        ("delay", json!({"steps": {"a": {"job": "nobody.serves", "delay_seconds": 86_400}}}), false),
        ("runs", job("somebody.serves"), false),
        ("paused.type", job("paused.type"), false),
        ("paused", job("nobody.serves"), false),
        ("parent", json!({"steps": {"a": {"workflow": {"name": "approval"}}}}), false),
        ("place", json!({"concurrency": {"max": 1, "when_full": "queue"}, "steps": {"a": approval}}), false),
    ]
}

/// For how long nothing has happened in the run of a workflow that stands still the longest.
async fn standstill(server: &Server, workflow: &str) -> f64 {
    // A connection of its own: one that is kept ends when a test lets time pass.
    let text = answer(server.get("/metrics").header("connection", "close")).await.text().await.unwrap();
    let series = format!("crewcall_workflow_run_standstill_seconds{{workflow=\"{workflow}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&series));
    line.expect("each workflow has its series").parse().unwrap()
}

async fn done(request: reqwest::RequestBuilder) -> Value {
    let response = answer(request).await;
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    response.json().await.unwrap_or_default()
}

/// Starts a run. Returns it when it waits as it should.
async fn trigger(server: &Server, workflow: &str) -> Value {
    let path = format!("/v1/workflows/{workflow}/trigger");
    let run = done(server.post(&path, &json!({}))).await;
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    let begun = |run: &Value| {
        let mut steps = run["steps"].as_array().unwrap().iter();
        steps.all(|step| step["state"] != "pending" && (step["kind"] != "job" || step["job"].is_string()))
    };
    server
        .until(async || {
            let run = server.read(&path).await;
            run["state"] == "queued" || begun(&run)
        })
        .await;
    server.read(&path).await
}

fn job_of(run: &Value) -> JobId {
    run["steps"][0]["job"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_run_stands_still_when_nothing_moves_what_has_to_get_on() {
    let server = Server::start().await;
    server.run();
    server.connect();
    server.announce("somebody.serves", json!({})).await;
    done(server.post_empty("/v1/types/paused.type/pause")).await;
    let mut runs = Vec::new();
    for (name, document, _) in workflows() {
        let made = answer(server.put(&format!("/v1/workflows/{name}"), &document)).await;
        assert_eq!(made.status(), StatusCode::CREATED, "{name}: {}", made.text().await.unwrap());
        runs.push(trigger(&server, name).await);
    }
    // The second one waits for the place of the first.
    assert_eq!(trigger(&server, "place").await["state"], "queued");
    let running = job_of(&runs[6]);
    server.until(async || server.origin(running).await.is_some()).await;
    server.start_job(running).await;
    done(server.post("/v1/workflows/paused/pause", &json!({"runs": true}))).await;
    for (name, _, _) in workflows() {
        assert_eq!(standstill(&server, name).await, 0.0, "{name}: it has just begun");
    }

    tokio::time::pause();
    tokio::time::advance(QUIET).await;
    tokio::time::resume();
    server.until(async || standstill(&server, "beside").await > STUCK_SECONDS).await;
    for (name, _, is_still) in workflows() {
        let still = standstill(&server, name).await;
        assert_eq!(still > STUCK_SECONDS, is_still, "{name}: {still}");
        assert!(is_still || still == 0.0, "{name}: {still}");
    }

    // What it waited for comes: the run gets on, and ends.
    let held = job_of(&runs[0]);
    server.announce("nobody.serves", json!({})).await;
    server.until(async || server.origin(held).await.is_some()).await;
    server.complete(held, json!({})).await;
    server.until(async || standstill(&server, "held").await == 0.0).await;
    assert!(standstill(&server, "beside").await > STUCK_SECONDS, "another workflow's does not");
    server.stop().await;
}
