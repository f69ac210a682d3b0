//! What an operator sets: a pause, limits, a worker that takes no more; and priority, which need not be set.

use e2e::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_paused_type_waits_and_says_by_whom() {
    let mut stack = Stack::start("pause").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.other"], 1).await.unwrap();
    let who = json!({"by": "anna", "reason": "disk full"});
    let (status, paused) = stack.api.post("/v1/types/test.echo/pause", who).await.unwrap();
    assert_eq!((status.as_u16(), &paused["paused"]["by"]), (200, &json!("anna")), "{paused}");
    let id = stack.submit("test.echo", json!({"text": "patience"})).await.unwrap();
    let other = stack.submit("test.other", json!({"text": "not concerned"})).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&other).await.unwrap()["state"], "completed");
    stack.backend.kill().await.unwrap();
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    let waiting = stack.api.job(&id).await.unwrap();
    assert_eq!((&waiting["state"], &waiting["waiting_for"]["reason"]), (&json!("ready"), &json!("pause")));
    assert!(waiting["waiting_for"]["message"].as_str().unwrap().contains("anna"), "{waiting}");
    stack.api.post("/v1/types/test.echo/resume", json!({})).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&id).await.unwrap()["state"], "completed");
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_limit_keeps_attempts_from_running_at_once() {
    let mut stack = Stack::start("limit").await.unwrap();
    let limits = json!({"running_max": 1}).to_string();
    let (status, _) = stack.api.send(Method::PUT, "/v1/types/test.sleep/limits", limits, &[]).await.unwrap();
    assert_eq!(status.as_u16(), 200);
    let _worker = stack.worker(&["test.sleep"], 4).await.unwrap();
    let mut ids = Vec::new();
    for _job in 0..4 {
        ids.push(stack.submit("test.sleep", json!({"steps": 4, "step_ms": 100})).await.unwrap());
    }
    let mut spans: Vec<(String, String)> = Vec::new();
    for id in &ids {
        let job = stack.api.wait_for_end(id).await.unwrap();
        let text = |name: &str| job[name].as_str().unwrap().to_owned();
        spans.push((text("started_at"), job["attempts"][0]["finished_at"].as_str().unwrap().to_owned()));
    }
    spans.sort();
    for pair in spans.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two ran at once: {pair:?}");
    }
    let absurd = json!({"running_max": 0}).to_string();
    let (status, problem) =
        stack.api.send(Method::PUT, "/v1/types/test.sleep/limits", absurd, &[]).await.unwrap();
    assert_eq!((status.as_u16(), &problem["errors"][0]["pointer"]), (422, &json!("/running_max")));
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_limit_of_one_stands_when_attempts_are_held() {
    let mut stack = Stack::start("limit-held").await.unwrap();
    let limits = json!({"running_max": 1}).to_string();
    stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "0.4");
    let _worker = stack.worker(&["test.sleep"], 4).await.unwrap();
    stack.api.send(Method::PUT, "/v1/types/test.sleep/limits", limits.clone(), &[]).await.unwrap();
    let mut ids = Vec::new();
    for _job in 0..6 {
        ids.push(stack.submit("test.sleep", json!({"steps": 12, "step_ms": 100})).await.unwrap());
    }
    // Saying it again makes the backend look whether there is room, all the while.
    let until = async {
        for id in &ids {
            stack.api.wait_for_end(id).await.unwrap();
        }
    };
    let nag = async {
        loop {
            stack.api.send(Method::PUT, "/v1/types/test.sleep/limits", limits.clone(), &[]).await.unwrap();
        }
    };
    tokio::select! {
        () = until => {}
        () = nag => {}
    }
    let mut spans: Vec<(String, String)> = Vec::new();
    for id in &ids {
        let job = stack.api.job(id).await.unwrap();
        let text = |name: &str| job["attempts"][0][name].as_str().unwrap().to_owned();
        spans.push((text("started_at"), text("finished_at")));
    }
    spans.sort();
    for pair in spans.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two ran at once: {pair:?}");
    }
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_rate_limit_spreads_attempts_over_time() {
    let mut stack = Stack::start("rate").await.unwrap();
    let limits = json!({"rate_per_second": 4}).to_string();
    stack.api.send(Method::PUT, "/v1/types/test.echo/limits", limits, &[]).await.unwrap();
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..9 {
        ids.push(stack.submit("test.echo", json!({"text": number.to_string()})).await.unwrap());
    }
    let mut starts: Vec<jiff::Timestamp> = Vec::new();
    for id in ids {
        let job = stack.api.wait_for_end(&id).await.unwrap();
        starts.push(job["started_at"].as_str().unwrap().parse().unwrap());
    }
    starts.sort_unstable();
    // Nine are let through over eight periods of a quarter of a second; the way to the worker takes each of them
    // a little, the first perhaps longer than the last.
    let span = starts[8].as_millisecond() - starts[0].as_millisecond();
    assert!(span >= 1_400, "all began within {span} ms");
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_drained_worker_takes_no_more_until_it_is_resumed() {
    let mut stack = Stack::start("drain-worker").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let (status, _) = stack.api.post("/v1/workers/worker-0/drain", json!({})).await.unwrap();
    assert_eq!(status.as_u16(), 202);
    stack.api.json_when("/v1/workers/worker-0", |worker| worker["status"] == "draining").await.unwrap();
    let id = stack.submit("test.echo", json!({"text": "x"})).await.unwrap();
    let other = stack.worker(&["test.echo"], 1).await;
    assert!(other.is_ok());
    assert_eq!(stack.api.wait_for_end(&id).await.unwrap()["result"]["worker"], "worker-1");
    stack.api.post("/v1/workers/worker-0/resume", json!({})).await.unwrap();
    stack.api.json_when("/v1/workers/worker-0", |worker| worker["status"] == "idle").await.unwrap();
    let (unknown, _) = stack.api.post("/v1/workers/nobody/drain", json!({})).await.unwrap();
    assert_eq!(unknown.as_u16(), 404);
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn high_priority_goes_first() {
    let mut stack = Stack::start("priority").await.unwrap();
    stack.api.post("/v1/types/test.echo/pause", json!({})).await.unwrap();
    let mut low = Vec::new();
    for number in 0..100 {
        let job = json!({"type": "test.echo", "parameters": {"text": number.to_string()}, "priority": 1});
        low.push(stack.submit_job(job).await.unwrap());
    }
    let high = json!({"type": "test.echo", "parameters": {"text": "first"}, "priority": 9});
    let high = stack.submit_job(high).await.unwrap();
    // Without room for more than one, the order of dispatch is the order of work.
    let limits = json!({"running_max": 1}).to_string();
    stack.api.send(Method::PUT, "/v1/types/test.echo/limits", limits, &[]).await.unwrap();
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    stack.api.post("/v1/types/test.echo/resume", json!({})).await.unwrap();
    let started = |job: &Value| job["started_at"].as_str().unwrap().to_owned();
    let first = started(&stack.api.wait_for_end(&high).await.unwrap());
    for id in low {
        let later = started(&stack.api.wait_for_end(&id).await.unwrap());
        assert!(first <= later, "a low one began at {later}, the high one at {first}");
    }
    stack.settle().await.unwrap();
}
