//! Runs over HTTP: what starts them, what they show, and what people do to them.

use crewcall_proto::{JobId, RunId};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::server::{Server, answer, problem, sorted};

const PATH: &str = "/v1/workflows/asset.publish";

/// A server with a broker, and a workflow.
async fn started() -> Server {
    let server = Server::start().await;
    server.run();
    server.connect();
    let document = json!({
        "parameters": {"type": "object", "properties": {"source": {"type": "string"}}},
        "steps": {
            "probe": {"job": "media.probe", "parameters": {"source": "${{ trigger.data.source }}"}},
            "check": {"needs": ["probe"], "approval": {}},
            "encode": {
                "needs": ["check"], "job": "media.encode", "each": "${{ steps.probe.result.widths }}",
                "parameters": {"width": "${{ item }}"},
            },
        },
        "outputs": {"widths": "${{ steps.probe.result.widths }}"},
    });
    assert_eq!(answer(server.put(PATH, &document)).await.status(), StatusCode::CREATED);
    server
}

async fn made(request: RequestBuilder, status: StatusCode) -> Value {
    let response = answer(request).await;
    assert_eq!(response.status(), status);
    sorted(response.json().await.unwrap())
}

async fn trigger(server: &Server) -> String {
    let data = json!({"data": {"source": "a.mov"}, "labels": {"shop": "x"}, "by": "anna"});
    let run = made(server.post(&format!("{PATH}/trigger"), &data), StatusCode::CREATED).await;
    format!("/v1/runs/{}", run["id"].as_str().unwrap())
}

/// Waits until a step of a run has this state, and returns the step.
async fn step_is(server: &Server, run: &str, name: &str, state: &str) -> Value {
    server.until(async || step(server, run, name).await["state"] == state).await;
    step(server, run, name).await
}

async fn step(server: &Server, run: &str, name: &str) -> Value {
    let run = server.read(run).await;
    run["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap().clone()
}

/// Waits until a job is dispatched, and completes it.
async fn complete(server: &Server, id: &Value, result: Value) {
    let id: JobId = id.as_str().unwrap().parse().unwrap();
    server.until(async || server.origin(id).await.is_some()).await;
    server.complete(id, result).await;
}

#[tokio::test]
async fn a_run_goes_its_way() {
    let server = started().await;
    let run = trigger(&server).await;
    // It runs a moment before its job is made.
    server.until(async || step(&server, &run, "probe").await["job"].is_string()).await;
    let probe = step_is(&server, &run, "probe", "running").await;
    let job = server.read(&format!("/v1/jobs/{}", probe["job"].as_str().unwrap())).await;
    assert_eq!(
        (&job["cause"]["step"], &job["cause"]["workflow"]),
        (&json!("probe"), &json!("asset.publish"))
    );
    let retried =
        problem(server.post_empty(&format!("/v1/jobs/{}/retry", job["id"].as_str().unwrap()))).await;
    assert_eq!(retried["code"], "job-of-run");
    let open = problem(server.delete(PATH)).await;
    assert_eq!(open["code"], "workflow-has-open-runs");
    complete(&server, &probe["job"], json!({"widths": [320, 640]})).await;
    let waiting = step_is(&server, &run, "check", "waiting").await;
    assert!(waiting["waiting"].is_string(), "{waiting}");
    let unknown = problem(server.post_empty(&format!("{run}/steps/chek/approve"))).await;
    assert_eq!(unknown["code"], "step-not-found");
    let decided = json!({"by": "ben", "comment": "fine"});
    made(server.post(&format!("{run}/steps/check/approve"), &decided), StatusCode::OK).await;
    let late = problem(server.post_empty(&format!("{run}/steps/check/reject"))).await;
    assert_eq!(late["code"], "already-decided");
    let detail = late["detail"].as_str().unwrap();
    assert!(detail.starts_with("ben approved step \"check\" at 2") && detail.ends_with(": fine"), "{detail}");
    let items = format!("{run}/steps/encode/items");
    server.until(async || server.read(&items).await["items"].as_array().unwrap().len() == 2).await;
    let first = server.read(&format!("{items}?limit=1")).await;
    assert_eq!((&first["items"][0]["index"], &first["next_after"]), (&json!(0), &json!(0)));
    let second = server.read(&format!("{items}?limit=1&after=0")).await;
    assert_eq!((&second["items"][0]["index"], &second["next_after"]), (&json!(1), &Value::Null));
    for page in [&first, &second] {
        complete(&server, &page["items"][0]["job"], json!({"bytes": 1})).await;
    }
    let mut ended = made(server.get(&format!("{run}?wait=30")), StatusCode::OK).await;
    assert_eq!(server.read(&items).await["items"][1]["result"], json!({"bytes": 1}));
    assert_eq!(problem(server.get(&format!("{run}/steps/none/items"))).await["code"], "step-not-found");
    hide(&mut ended);
    insta::assert_json_snapshot!("run", ended);
    let mut lines = server.read(&format!("{run}/journal?limit=500")).await["lines"].clone();
    hide(&mut lines);
    insta::assert_json_snapshot!("journal", lines);
    let page = server.read(&format!("{run}/journal?limit=1&after=1")).await;
    assert_eq!((&page["lines"][0]["number"], &page["next_after"]), (&json!(2), &json!(2)));
    let graph = server.read(&format!("{run}/graph")).await;
    assert_eq!(graph["nodes"][2]["state"], "completed");
    let refused = problem(server.post_empty(&format!("{run}/cancel"))).await;
    assert_eq!((&refused["code"], &refused["state"]), (&json!("run-refused"), &json!("completed")));
    assert_eq!(problem(server.post_empty(&format!("{run}/retry"))).await["code"], "nothing-to-retry");
    let watched = answer(server.get(&format!("{run}/watch"))).await.text().await.unwrap();
    assert!(watched.contains("event: run") && watched.contains("\"state\":\"completed\""), "{watched}");
    let seen = watched.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    let again = server.get(&format!("{run}/watch")).header("last-event-id", seen);
    assert_eq!(answer(again).await.status(), StatusCode::NO_CONTENT);
    server.stop().await;
}

/// Replaces what is another in each run: ids and times.
fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name.ends_with("at") => *text = "then".to_owned(),
                    Value::String(text) if text.parse::<RunId>().is_ok() => *text = "an id".to_owned(),
                    Value::String(text) if text.starts_with("run ") => *text = "run and its id".to_owned(),
                    _ => hide(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn a_run_is_asked_for_once_under_its_key() {
    let server = started().await;
    let ask = |data: Value| {
        server.post(&format!("{PATH}/trigger"), &json!({"data": data})).header("idempotency-key", "k1")
    };
    let first = answer(ask(json!({"source": "a"}))).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let at = first.headers()["location"].clone();
    let again = answer(ask(json!({"source": "a"}))).await;
    assert_eq!((again.status(), &again.headers()["location"]), (StatusCode::OK, &at));
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(problem(ask(json!({"source": "b"}))).await["code"], "idempotency-key-reused");
    let wrong = problem(server.post(&format!("{PATH}/trigger"), &json!({"data": {"source": 7}}))).await;
    assert_eq!(
        (&wrong["code"], &wrong["errors"][0]["pointer"]),
        (&json!("invalid-data"), &json!("/data/source"))
    );
    let get = problem(server.get(&format!("{PATH}/trigger"))).await;
    assert_eq!(get["code"], "method-not-allowed");
    server.stop().await;
}

#[tokio::test]
async fn runs_are_listed_and_cancelled() {
    let server = started().await;
    let runs = [trigger(&server).await, trigger(&server).await];
    step_is(&server, &runs[1], "probe", "running").await;
    let first = server.read("/v1/runs?workflow=asset.publish&label.shop=x&limit=1").await;
    assert_eq!(first["runs"][0]["steps"]["total"], 3);
    assert!(runs[1].ends_with(first["runs"][0]["id"].as_str().unwrap()), "the newest first");
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = server.read(&format!("/v1/runs?limit=1&cursor={cursor}")).await;
    assert!(runs[0].ends_with(second["runs"][0]["id"].as_str().unwrap()));
    for none in ["workflow=other", "state=failed,cancelled", "label.shop=y"] {
        assert_eq!(server.read(&format!("/v1/runs?{none}")).await["runs"], json!([]), "{none}");
    }
    assert_eq!(problem(server.get("/v1/runs?state=ready")).await["code"], "invalid-query");
    let all = |dry_run: bool| {
        let body = json!({"filter": {"workflow": "asset.publish"}, "dry_run": dry_run, "by": "ben"});
        made(server.post("/v1/runs/cancel", &body), StatusCode::OK)
    };
    assert_eq!(all(true).await, json!({"matched": 2, "changed": 0, "more": false}));
    assert_eq!(all(false).await, json!({"matched": 2, "changed": 2, "more": false}));
    for run in &runs {
        server.until(async || server.read(run).await["state"] == "cancelled").await;
    }
    let retried =
        made(server.post(&format!("{}/retry", runs[0]), &json!({"from": "probe"})), StatusCode::OK).await;
    assert_eq!(retried["generation"], 2);
    let unknown = problem(server.post(&format!("{}/retry", runs[1]), &json!({"from": "prob"}))).await;
    assert_eq!(unknown["code"], "step-not-found");
    let nowhere = format!("/v1/runs/{}", RunId::generate());
    for path in ["", "/graph", "/journal", "/watch", "/steps/a/items"] {
        assert_eq!(problem(server.get(&format!("{nowhere}{path}"))).await["code"], "run-not-found", "{path}");
    }
    for verb in ["cancel", "retry", "steps/a/approve", "steps/a/reject"] {
        assert_eq!(problem(server.post_empty(&format!("{nowhere}/{verb}"))).await["code"], "run-not-found");
    }
    assert_eq!(problem(server.get("/v1/runs/x")).await["code"], "invalid-id");
    server.stop().await;
}
