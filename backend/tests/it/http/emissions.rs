//! Events that jobs publish, as their workers send them.

use crewcall_backend::engine::responses::Response;
use crewcall_proto::{
    JobId,
    discovery::EmittedSubject,
    event::{Emitted, Event},
    response::Completed,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::server::{Server, answer, problem, sorted};

/// A server with a worker of the type `media.probe`, which publishes `asset.probed`.
async fn started() -> Server {
    let server = Server::start().await;
    server.connect();
    announce(&server, "media.probe", &["asset.probed"]).await;
    server
}

async fn announce(server: &Server, job_type: &str, subjects: &[&str]) {
    let emits = subjects.iter().map(|subject| EmittedSubject {
        subject: (*subject).to_owned(),
        description: "It was looked at.".to_owned(),
        schema:
            json!({"type": "object", "required": ["seconds"], "properties": {"seconds": {"type": "number"}}})
                .as_object()
                .unwrap()
                .clone(),
    });
    server
        .announce_as(job_type, json!({}), |announcement| announcement.types[0].emits = emits.collect())
        .await;
}

fn event(subject: &str, data: Value) -> Event {
    Event { subject: subject.to_owned(), data, occurred_at: None }
}

/// The job's worker says that it is done, and publishes these.
async fn complete(server: &Server, id: JobId, events: Vec<Event>) {
    let origin = server.origin(id).await.unwrap();
    let now = server.clock.now();
    let completed = Completed {
        job_id: id,
        attempt: origin.attempt,
        attempt_token: origin.attempt_token,
        execution_id: origin.execution_id,
        worker_id: origin.worker_id,
        result: json!({}),
        events,
        started_at: now,
        finished_at: now,
    };
    server.engine.respond(vec![Response::Completed(completed)]).await.unwrap();
}

/// The job's worker publishes this while it is at it.
async fn emit(server: &Server, id: JobId, event_id: &str, Event { subject, data, occurred_at }: Event) {
    let origin = server.origin(id).await.unwrap();
    let emitted = Emitted {
        job_id: id,
        attempt: origin.attempt,
        attempt_token: origin.attempt_token,
        execution_id: origin.execution_id,
        worker_id: origin.worker_id,
        id: event_id.to_owned(),
        subject,
        data,
        occurred_at,
    };
    server.engine.respond(vec![Response::Emitted(emitted)]).await.unwrap();
}

async fn log(server: &Server) -> Vec<Value> {
    server.read("/v1/events").await["events"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_result_brings_its_events_along() {
    let server = started().await;
    let id = server.submit_dispatched("media.probe").await;
    let events =
        vec![event("asset.probed", json!({"seconds": 1})), event("asset.probed", json!({"seconds": 2.5}))];
    complete(&server, id, events).await;
    assert_eq!(server.read(&format!("/v1/jobs/{id}")).await["state"], "completed");
    let log = log(&server).await;
    let told: Vec<_> = log.iter().map(|event| (&event["sequence"], &event["data"]["seconds"])).collect();
    assert_eq!(told, [(&json!(1), &json!(1)), (&json!(2), &json!(2.5))]);
    assert_eq!(log[1]["origin"], json!({"job_id": id.to_string(), "root": format!("job {id}"), "depth": 0}));
    assert_eq!(log[1]["subject"], "asset.probed");
    server.stop().await;
}

#[tokio::test]
async fn a_result_whose_events_are_refused_is_a_failure() {
    let server = started().await;
    let refused = [
        vec![event("asset.probed", json!({"seconds": 1})), event("asset.lost", json!({"seconds": 1}))],
        vec![event("asset.probed", json!({"seconds": "many"}))],
        vec![event("asset.probed", Value::Null)],
        vec![event("job.completed.a", json!({}))],
        vec![event("asset.probed", json!({"seconds": 1, "notes": "x".repeat(100_000)})); 3],
        vec![event("asset.probed", json!({"seconds": 1})); 101],
    ];
    let mut messages = Vec::new();
    for events in refused {
        let id = server.submit_dispatched("media.probe").await;
        complete(&server, id, events).await;
        let job = server.read(&format!("/v1/jobs/{id}")).await;
        let error = &job["error"];
        assert_eq!(
            (&job["state"], &error["kind"], &error["code"]),
            (&json!("failed"), &json!("handler"), &json!("event_refused"))
        );
        messages.push(error["message"].as_str().unwrap().to_owned());
    }
    insta::assert_debug_snapshot!(messages);
    assert_eq!(log(&server).await, [0; 0], "none of them is published");
    server.stop().await;
}

#[tokio::test]
async fn what_a_job_publishes_while_it_runs_is_recorded_once() {
    let server = started().await;
    let id = server.submit_dispatched("media.probe").await;
    let probed = |seconds: u64| event("asset.probed", json!({"seconds": seconds}));
    emit(&server, id, "probe:1", probed(1)).await;
    emit(&server, id, "probe:1", probed(1)).await;
    emit(&server, id, "probe:1", probed(2)).await;
    emit(&server, id, "probe:2", event("asset.lost", json!({}))).await;
    emit(&server, id, "probe 3", probed(3)).await;
    emit(&server, id, "probe:4", event("asset.probed", json!({}))).await;
    server.fail(id, false).await;
    // It was said before the end of its attempt, and overtaken by it.
    emit(&server, id, "probe:5", probed(5)).await;
    let log = log(&server).await;
    let told: Vec<_> = log.iter().map(|event| (&event["id"], &event["data"]["seconds"])).collect();
    assert_eq!(told, [(&json!("probe:1"), &json!(1)), (&json!("probe:5"), &json!(5))]);
    let metrics = answer(server.get("/metrics")).await.text().await.unwrap();
    for line in [
        r#"crewcall_events_refused_total{reason="undeclared"} 1"#,
        r#"crewcall_events_refused_total{reason="invalid"} 2"#,
        r#"crewcall_events_refused_total{reason="id_reused"} 1"#,
        r#"crewcall_events_refused_total{reason="unknown_attempt"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_events_of_types_are_listed_by_subject() {
    let server = started().await;
    announce(&server, "media.scan", &["asset.probed", "asset.found", "asset.found", "job.mine"]).await;
    insta::assert_json_snapshot!("subjects", sorted(server.read("/v1/subjects").await));
    assert_eq!(server.read("/v1/types/media.probe").await["emits"][0]["subject"], "asset.probed");
    let first = server.read("/v1/subjects?limit=1").await;
    assert_eq!(first["subjects"][0]["subject"], "asset.found");
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = server.read(&format!("/v1/subjects?limit=1&cursor={cursor}")).await;
    assert_eq!(
        (&second["subjects"][0]["subject"], &second["next_cursor"]),
        (&json!("asset.probed"), &Value::Null)
    );
    let refused = problem(server.get("/v1/subjects?cursor=x")).await;
    assert_eq!(refused["status"], StatusCode::BAD_REQUEST.as_u16());
    server.stop().await;
}
