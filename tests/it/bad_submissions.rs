//! Bad input over HTTP: a clear problem with a code and pointers, and nothing is stored.

use e2e::stack::Stack;
use serde_json::{Value, json};

fn pointers(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn parameters_are_held_against_the_announced_schema() {
    let mut stack = Stack::start("parameters").await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 2).await.unwrap();
    let bad = json!({"type": "test.sleep", "parameters": {"steps": 0, "step_ms": "soon"}});
    let (status, problem) = stack.api.post_job(bad.to_string()).await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("invalid-parameters")), "{problem}");
    let mut found = pointers(&problem);
    found.sort_unstable();
    assert_eq!(found, ["/parameters/step_ms", "/parameters/steps"]);
    let missing = json!({"type": "test.sleep", "parameters": {"steps": 1}});
    let (status, problem) = stack.api.post_job(missing.to_string()).await.unwrap();
    assert_eq!((status.as_u16(), pointers(&problem)), (422, vec!["/parameters"]), "{problem}");
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn every_problem_is_told_with_its_place() {
    let mut stack = Stack::start("problems").await.unwrap();
    let deep = format!("{{\"type\":\"a\",\"parameters\":{{\"x\":{}{}}}}}", "[".repeat(40), "]".repeat(40));
    let large = json!({"type": "a", "parameters": {"x": "y".repeat(300 * 1024)}}).to_string();
    let huge = json!({"type": "a", "parameters": {"x": "y".repeat(3 * 1024 * 1024)}}).to_string();
    let cases = [
        ("{\"type\": ", 400, "invalid-json", None),
        (r#"{"type":"a","colour":1}"#, 422, "invalid-submission", Some("/colour")),
        (r#"{"type":"Not A Type"}"#, 422, "invalid-submission", Some("/type")),
        (r#"{"type":"a","priority":"high"}"#, 422, "invalid-submission", Some("/priority")),
        (r#"{"type":"a","max_attempts":-1}"#, 422, "invalid-submission", Some("/max_attempts")),
        (r#"{"type":"a","parameters":[]}"#, 422, "invalid-submission", Some("/parameters")),
        (large.as_str(), 422, "invalid-submission", Some("/parameters")),
        (huge.as_str(), 413, "body-too-large", None),
    ];
    for (body, status, code, pointer) in cases {
        let shown = &body[..body.len().min(80)];
        let (answered, problem) = stack.api.post_job(body.to_owned()).await.unwrap();
        assert_eq!((answered.as_u16(), problem["code"].as_str()), (status, Some(code)), "{shown}: {problem}");
        assert!(problem["request_id"].is_string() && problem["detail"].is_string(), "{problem}");
        if let Some(pointer) = pointer {
            assert_eq!(pointers(&problem), [pointer], "{shown}");
        }
    }
    let (answered, problem) = stack.api.post_job(deep).await.unwrap();
    assert!(matches!(answered.as_u16(), 400 | 422), "{problem}");
    for (path, status, code) in [
        ("/v1/jobs/0197c0c0-0000-7000-8000-000000000000", 404, "job-not-found"),
        ("/v1/jobs/nonsense", 400, "invalid-id"),
        ("/v1/jobs?cursor=nonsense", 400, "invalid-cursor"),
        ("/v1/jobs?state=asleep", 400, "invalid-query"),
        ("/v1/workers/nobody", 404, "worker-not-found"),
        ("/v1/types/no.type", 404, "type-not-found"),
        ("/v1/nothing", 404, "route-not-found"),
    ] {
        let (answered, body) = stack.api.get(path).await.unwrap();
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((answered.as_u16(), problem["code"].as_str()), (status, Some(code)), "{path}: {problem}");
    }
    stack.settle().await.unwrap();
}
