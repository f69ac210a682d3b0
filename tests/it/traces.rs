//! A job belongs to the trace of the request that submitted it: its order, its handler's log lines and its responses do, too.

use crewcall_proto::{MessageKind, TRACEPARENT};
use e2e::{broker, raw_worker::RawWorker, stack::Stack};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[cfg(feature = "otlp")]
mod exported;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn submit(stack: &mut Stack, traceparent: &str, parameters: Value) -> Value {
    let body = json!({"type": "test.sleep", "parameters": parameters}).to_string();
    let headers = [(TRACEPARENT, traceparent)];
    let (status, job) = stack.api.send(Method::POST, "/v1/jobs", body, &headers).await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{job}");
    stack.remember_accepted(job["id"].as_str().unwrap().to_owned());
    job
}

#[tokio::test]
async fn a_trace_reaches_the_handler_and_comes_back() {
    let vhost = broker::vhost("traces").await.unwrap();
    let mut stack = Stack::start_on(vhost.url.clone()).await.unwrap();
    stack.worker_setting("CREWCALL_LOG", "info,test_worker=debug");
    let worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let raw = RawWorker::start(&vhost.url);

    let job = submit(&mut stack, TRACE, json!({"steps": 1, "step_ms": 1_500})).await;
    assert_eq!(job["traceparent"], TRACE, "{job}");
    let id = job["id"].as_str().unwrap();
    stack.api.job_when(id, |job| job["state"] == "running").await.unwrap();
    stack.backend.kill().await.unwrap();
    let response = raw.look_at_response(MessageKind::Completed).await.unwrap();
    assert_eq!(response.properties.header_text(TRACEPARENT), Some(TRACE));
    drop(response);
    let log = worker.log();
    let line = log
        .lines()
        .find(|line| line.contains("The handler goes to sleep"))
        .unwrap_or_else(|| panic!("{log}"));
    for field in [&format!("job.id={id}"), "attempt=1", "trace.id=\"4bf92f3577b34da6a3ce929d0e0e4736\""] {
        assert!(line.contains(field), "{field} in {line}");
    }

    // It is on disk with the job.
    stack.restart_backend().await.unwrap();
    let done = stack.api.wait_for_end(id).await.unwrap();
    assert_eq!((&done["state"], &done["traceparent"]), (&json!("completed"), &json!(TRACE)), "{done}");

    let job = submit(&mut stack, "00-not-a-trace-01", json!({"steps": 1, "step_ms": 1})).await;
    assert_eq!(job["traceparent"], Value::Null, "what cannot be read counts as none: {job}");
    stack.api.wait_for_end(job["id"].as_str().unwrap()).await.unwrap();
    raw.vanish().await;
    stack.settle().await.unwrap();
}
