//! Pauses and limits of types, draining of workers.

use crewcall_backend::engine::ports::BrokerStatus;
use crewcall_proto::control::Control;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::server::{Server, WORKER, answer, problem};

async fn done(request: RequestBuilder) -> Value {
    let response = answer(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

#[tokio::test]
async fn a_paused_type_keeps_its_jobs_until_it_is_resumed() {
    let server = Server::start().await;
    server.broker.set(BrokerStatus::Up);
    let paused = done(server.post("/v1/types/a/pause", &json!({"by": "ada", "reason": "the disk"}))).await;
    assert_eq!((&paused["announced"], &paused["paused"]["by"]), (&json!(false), &json!("ada")));
    assert_eq!(server.read("/v1/types").await["types"][0]["paused"]["reason"], "the disk");
    let again = done(server.post("/v1/types/a/pause", &json!({"by": "bob"}))).await;
    assert_eq!(again["paused"], paused["paused"], "the first pause stays");
    let id = server.submit(json!({"type": "a"})).await;
    let job = server.read(&format!("/v1/jobs/{id}")).await;
    assert_eq!((&job["state"], &job["waiting_for"]["reason"]), (&json!("ready"), &json!("pause")));
    assert_eq!(server.read("/v1/jobs").await["jobs"][0]["waiting_for"], job["waiting_for"]);
    let resumed = done(server.post_empty("/v1/types/a/resume")).await;
    assert_eq!(resumed["paused"], Value::Null);
    server.stop().await;
}

#[tokio::test]
async fn a_type_that_was_resumed_gets_its_jobs_dispatched() {
    let server = Server::start().await;
    server.broker.set(BrokerStatus::Up);
    server.run();
    done(server.post_empty("/v1/types/a/pause")).await;
    let id = server.submit(json!({"type": "a"})).await;
    let mut watch = server.engine.watch_job(id);
    done(server.post_empty("/v1/types/a/resume")).await;
    tokio::time::timeout(super::server::PATIENCE, watch.changed()).await.expect("nobody woke the relay");
    assert_eq!(server.read(&format!("/v1/jobs/{id}")).await["state"], "dispatched");
    server.stop().await;
}

#[tokio::test]
async fn limits_are_set_together_and_shown() {
    let server = Server::start().await;
    let limits = json!({"running_max": 3, "rate_per_second": 0.5});
    let limited = done(server.put("/v1/types/a/limits", &limits)).await;
    assert_eq!((&limited["running_max"], &limited["rate_per_second"]), (&json!(3), &json!(0.5)));
    let free = done(server.put("/v1/types/a/limits", &json!({"running_max": null}))).await;
    assert_eq!((&free["running_max"], &free["rate_per_second"]), (&Value::Null, &Value::Null));
    server.stop().await;
}

#[tokio::test]
async fn a_job_names_a_limit_only_where_it_is_reached() {
    let server = Server::start().await;
    server.broker.set(BrokerStatus::Up);
    server.run();
    server.announce("a", json!({})).await;
    let waits_for = async |id, wanted: &str| {
        let path = format!("/v1/jobs/{id}");
        let reached = async { while server.read(&path).await["waiting_for"]["reason"] != wanted {} };
        tokio::time::timeout(super::server::PATIENCE, reached).await.expect(wanted);
    };
    done(server.put("/v1/types/a/limits", &json!({"running_max": 1}))).await;
    let first = server.submit(json!({"type": "a"})).await;
    waits_for(first, "start").await;
    let second = server.submit(json!({"type": "a"})).await;
    waits_for(second, "limit").await;
    done(server.put("/v1/types/a/limits", &json!({"rate_per_second": 0.001}))).await;
    waits_for(second, "start").await;
    let third = server.submit(json!({"type": "a"})).await;
    waits_for(third, "rate").await;
    server.stop().await;
}

#[tokio::test]
async fn bad_settings() {
    let server = Server::start().await;
    let limits = |limits: Value| server.put("/v1/types/a/limits", &limits);
    for (name, request) in [
        ("limits_out_of_range", limits(json!({"running_max": 0, "rate_per_second": -1}))),
        ("limits_of_wrong_shapes", limits(json!({"running_max": 1.5, "rate_per_second": "1", "rate": 1}))),
        ("limits_without_body", limits(json!(null))),
        ("pause_of_no_type", server.post_empty("/v1/types/No%20Such/pause")),
        ("resume_of_an_unknown_type", server.post_empty("/v1/types/mistyped/resume")),
        ("drain_of_no_worker", server.post_empty("/v1/workers/nobody/drain")),
    ] {
        insta::assert_json_snapshot!(name, problem(request).await);
    }
    assert_eq!(server.read("/v1/types").await, json!({"types": [], "next_cursor": null}), "nothing was set");
    server.stop().await;
}

#[tokio::test]
async fn a_worker_is_told_to_drain_and_to_resume() {
    let server = Server::start().await;
    server.announce("a", json!({})).await;
    server.broker.told();
    let path = |what| format!("/v1/workers/{WORKER}/{what}");
    insta::assert_json_snapshot!("drain_without_broker", problem(server.post_empty(&path("drain"))).await);
    assert_eq!(server.broker.told(), []);
    server.broker.set(BrokerStatus::Up);
    for (what, control) in [("drain", Control::Drain), ("resume", Control::Resume)] {
        let response = answer(server.post_empty(&path(what))).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.json::<Value>().await.unwrap()["id"], WORKER);
        assert_eq!(server.broker.told(), [(WORKER.to_owned(), control)]);
    }
    server.hear_nobody_for(crewcall_proto::discovery::WORKER_LOST_AFTER).await;
    server.engine.mark_lost_workers();
    insta::assert_json_snapshot!("drain_of_a_lost_worker", problem(server.post_empty(&path("drain"))).await);
    assert_eq!(server.broker.told(), []);
    server.stop().await;
}

#[tokio::test]
async fn names_that_nobody_announced_are_limited_and_read_in_pages() {
    let server = Server::start().await;
    let names: Vec<Value> =
        (0..1_010).map(|number| json!({"type": format!("invented.{number:04}")})).collect();
    let response = answer(server.post("/v1/jobs/batch", &json!(names))).await;
    let batch: Value = response.json().await.unwrap();
    assert_eq!((&batch["accepted"], &batch["refused"]), (&json!(1_000), &json!(10)));
    assert_eq!(batch["results"][1_000]["problem"]["code"], "too-many-types");
    let one_more = server.post("/v1/jobs", &json!({"type": "one.more"}));
    insta::assert_json_snapshot!("too_many_types", problem(one_more).await);
    let pause = problem(server.post_empty("/v1/types/one.more/pause")).await;
    assert_eq!(pause["code"], "too-many-types");
    done(server.post_empty("/v1/types/invented.0007/pause")).await;

    let (mut path, mut listed) = ("/v1/types?limit=400".to_owned(), Vec::new());
    loop {
        let page = server.read(&path).await;
        let types = page["types"].as_array().unwrap();
        assert!(types.len() <= 400);
        listed.extend(types.iter().map(|entry| entry["type"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/types?limit=400&cursor={cursor}");
    }
    assert!(listed.len() == 1_000 && listed.is_sorted() && listed[7] == "invented.0007");
    assert_eq!(problem(server.get("/v1/types?cursor=x")).await["code"], "invalid-cursor");
    assert_eq!(problem(server.get("/v1/types?state=ready")).await["code"], "invalid-query");

    let metrics = answer(server.get("/metrics")).await.text().await.unwrap();
    assert!(metrics.contains("crewcall_jobs_submitted_total{type=\"_other\"} 1000"), "{metrics}");
    assert!(!metrics.contains("invented"), "an invented name is no label");
    server.announce("invented.0007", json!({})).await;
    server.submit(json!({"type": "one.more"})).await;
    server.submit(json!({"type": "invented.0007"})).await;
    let metrics = answer(server.get("/metrics")).await.text().await.unwrap();
    assert!(metrics.contains("crewcall_jobs_submitted_total{type=\"invented.0007\"} 1"), "{metrics}");
    server.stop().await;
}
