//! What a sink of OpenTelemetry gets of a job, and that a sink which does not work does no harm.

use std::net::{Ipv4Addr, TcpListener};

use e2e::{
    broker,
    otlp_sink::{OtlpSink, SeenSpan},
    process::PATIENCE,
    stack::{ProcessEnvironment, Stack},
    wait,
};
use rustix::process::Signal;
use serde_json::json;

use super::{TRACE, submit};

/// The trace that [`TRACE`] names, and the span in it.
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER_ID: &str = "00f067aa0ba902b7";

/// An installation whose programs send their traces to this endpoint.
async fn start(endpoint: &str) -> Stack {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        // Whoever waits at their end for a request to time out does not end within the patience of a test.
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "600000"),
    ];
    let vhost = broker::vhost("exported").await.unwrap();
    let environment = ProcessEnvironment::variables(&variables);
    let mut stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, environment).await.unwrap();
    for (variable, value) in variables {
        stack.worker_setting(variable, value);
    }
    stack.api.ready().await.unwrap();
    stack
}

/// The spans of a trace once all of these names are there.
async fn spans<const N: usize>(sink: &OtlpSink, trace_id: &str, names: [&str; N]) -> [SeenSpan; N] {
    let seen = || {
        let trace = sink.trace(trace_id);
        names.map(|name| trace.iter().find(|span| span.name == name).cloned())
    };
    let all = async || seen().iter().all(Option::is_some);
    let came = wait::until(&format!("the sink has {names:?}"), PATIENCE, all).await;
    came.unwrap_or_else(|error| panic!("{error}: {:#?}", sink.trace(trace_id)));
    seen().map(Option::unwrap)
}

#[tokio::test]
async fn one_trace_shows_a_job_from_its_submission_to_its_recording() {
    let sink = OtlpSink::start().await.unwrap();
    let mut stack = start(&sink.endpoint()).await;
    let _worker = stack.worker(&["test.sleep", "test.fail"], 1).await.unwrap();

    let job = submit(&mut stack, TRACE, json!({"steps": 4, "step_ms": 300})).await;
    let id = job["id"].as_str().unwrap();
    assert_eq!(stack.api.wait_for_end(id).await.unwrap()["state"], "completed");
    let names = ["POST /v1/jobs", "queue test.sleep", "process test.sleep", "record test.sleep"];
    let [submission, queue, attempt, recording] = spans(&sink, TRACE_ID, names).await;

    let programs = [&submission, &queue, &attempt, &recording].map(|span| span.service.as_str());
    assert_eq!(programs, ["crewcall-backend", "crewcall-backend", "test-worker", "crewcall-backend"]);
    assert_eq!(job["traceparent"], format!("00-{TRACE_ID}-{}-01", submission.id), "{job}");
    assert_eq!(submission.parent_id, CALLER_ID);
    assert_eq!((&queue.parent_id, &attempt.parent_id), (&submission.id, &submission.id));
    assert_eq!(recording.parent_id, attempt.id);
    assert!(submission.began <= queue.began && queue.began <= queue.ended, "{submission:?} {queue:?}");
    assert!(attempt.began < attempt.ended && attempt.ended <= recording.ended, "{attempt:?} {recording:?}");

    assert_eq!(submission.attributes["http.response.status_code"], "201");
    for span in [&queue, &attempt, &recording] {
        for (name, value) in
            [("job.id", id), ("job.type", "test.sleep"), ("attempt", "1"), ("messaging.system", "rabbitmq")]
        {
            assert_eq!(span.attributes.get(name).map(String::as_str), Some(value), "{name} of {span:?}");
        }
    }
    let destination = |span: &SeenSpan| span.attributes["messaging.destination.name"].clone();
    assert_eq!(destination(&queue), "crewcall.submit:test.sleep");
    assert_eq!(destination(&attempt), "crewcall.submit:test.sleep:crewcall.jobs.test.sleep");
    assert_eq!(destination(&recording), "crewcall.response:completed.test.sleep:crewcall.completed");
    assert_eq!(attempt.attributes["messaging.operation.type"], "process");
    assert_eq!(attempt.attributes["messaging.message.id"], format!("{id}.1"));
    let (event, said) = attempt.events.first().expect("it reported progress");
    assert_eq!(event, "progress");
    assert!(["25", "50", "75", "100"].contains(&&*said["progress.percent"]), "{said:?}");

    // Without a caller's trace it has one of its own, in which every attempt has its spans.
    let failing = json!({"type": "test.fail", "parameters": {"message": "no", "succeed_at": 2}, "backoff": {"initial_seconds": 0.1}});
    let id = stack.submit_job(failing).await.unwrap();
    let done = stack.api.wait_for_end(&id).await.unwrap();
    let trace_id = done["traceparent"].as_str().unwrap()[3..35].to_owned();
    let began = |spans: &[SeenSpan]| spans.iter().filter(|span| span.name == "process test.fail").count();
    let both = async || began(&sink.trace(&trace_id)) == 2;
    wait::until("both attempts are there", PATIENCE, both).await.unwrap();
    let [submission, first] = spans(&sink, &trace_id, ["POST /v1/jobs", "process test.fail"]).await;
    assert_eq!((submission.parent_id.as_str(), first.parent_id == submission.id), ("", true));
    assert!(first.failed && first.attributes["error.type"] == "handler", "{first:?}");

    // What its caller does not keep is kept by nobody.
    let unwanted = TRACE.replace(TRACE_ID, &"ab".repeat(16)).replace("-01", "-00");
    let job = submit(&mut stack, &unwanted, json!({"steps": 1, "step_ms": 1})).await;
    stack.api.wait_for_end(job["id"].as_str().unwrap()).await.unwrap();
    let job =
        submit(&mut stack, &TRACE.replace(TRACE_ID, &"cd".repeat(16)), json!({"steps": 1, "step_ms": 1}))
            .await;
    stack.api.wait_for_end(job["id"].as_str().unwrap()).await.unwrap();
    spans(&sink, &"cd".repeat(16), names).await;
    assert!(sink.trace(&"ab".repeat(16)).is_empty());
    stack.settle().await.unwrap();
}

/// Jobs are done while the sink takes nothing, and the programs end when they are told to.
async fn harmless(endpoint: &str) {
    let mut stack = start(endpoint).await;
    let mut worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    for _ in 0..3 {
        let job = submit(&mut stack, TRACE, json!({"steps": 2, "step_ms": 200})).await;
        let done = stack.api.wait_for_end(job["id"].as_str().unwrap()).await.unwrap();
        assert_eq!(done["state"], "completed", "{done}");
    }
    stack.settle().await.unwrap();
    for process in [&mut worker, &mut stack.backend] {
        process.signal(Signal::TERM).unwrap();
        let status = process.wait().await.unwrap();
        assert!(status.success(), "{status}: {}", process.log());
        let log = process.log();
        let is_said = ["Traces cannot be sent", "The last traces did not arrive in time"];
        assert!(is_said.iter().any(|words| log.contains(words)), "{log}");
    }
}

#[tokio::test]
async fn a_sink_that_is_not_there_does_no_harm() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    harmless(&format!("http://{free}")).await;
}

#[tokio::test]
async fn a_sink_that_never_answers_does_no_harm() {
    let sink = OtlpSink::start_silent().await.unwrap();
    harmless(&sink.endpoint()).await;
}
