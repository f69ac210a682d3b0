//! What an autoscaler goes by: how many slots a type's work wants.

use crewcall_backend::engine::ports::BrokerStatus;
use crewcall_proto::JobId;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::server::{Server, answer, problem};

/// More than the dispatch window of a type with three slots.
const BURST: u64 = 100;

/// What the route says, which must be what the metric says.
async fn wanted(server: &Server) -> Value {
    let scale = server.read("/v1/types/a/scale").await;
    let metrics = answer(server.get("/metrics")).await.text().await.unwrap();
    let line = format!("crewcall_job_slots_wanted{{type=\"a\"}} {}\n", scale["slots_wanted"]);
    assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    scale
}

fn scale(slots_wanted: u64, waiting: u64, running: u64) -> Value {
    json!({"type": "a", "slots_wanted": slots_wanted, "waiting": waiting, "running": running})
}

async fn submit(server: &Server, jobs: u64) -> Vec<JobId> {
    let mut ids = Vec::new();
    for _ in 0..jobs {
        ids.push(server.submit(json!({"type": "a"})).await);
    }
    ids
}

#[tokio::test]
async fn a_burst_is_wanted_at_once_and_every_job_that_ends_is_not() {
    let server = Server::start().await;
    server.announce("a", json!({})).await;
    assert_eq!(wanted(&server).await, scale(0, 0, 0));
    server.broker.set(BrokerStatus::Up);
    let ids = submit(&server, BURST).await;
    assert_eq!(wanted(&server).await, scale(BURST, BURST, 0), "whatever is with the broker");
    server.submit(json!({"type": "a", "delay_seconds": 3_600})).await;
    assert_eq!(wanted(&server).await, scale(BURST, BURST, 0), "what is not due wants nothing");
    let (runs, rest) = ids.split_first().unwrap();
    server.start_job(*runs).await;
    assert_eq!(wanted(&server).await, scale(BURST, BURST - 1, 1));
    for id in rest {
        answer(server.post_empty(&format!("/v1/jobs/{id}/cancel"))).await;
    }
    assert_eq!(wanted(&server).await, scale(1, 0, 1), "whoever works is not to be taken away");
    server.complete(*runs, json!({})).await;
    assert_eq!(wanted(&server).await, scale(0, 0, 0));
    server.stop().await;
}

#[tokio::test]
async fn a_held_attempt_keeps_its_slot() {
    let server = Server::start().await;
    server.announce("a", json!({})).await;
    let id = server.submit_dispatched("a").await;
    server.start_job(id).await;
    server.hold(id).await;
    assert_eq!(wanted(&server).await, scale(1, 0, 1));
    server.goodbye().await;
    assert_eq!(wanted(&server).await["slots_wanted"], 1, "nobody is there, and the work is");
    server.stop().await;
}

#[tokio::test]
async fn a_pause_and_a_limit_want_no_more_than_they_allow() {
    let server = Server::start().await;
    server.announce("a", json!({})).await;
    submit(&server, BURST).await; // nothing is sent: there is no broker
    answer(server.put("/v1/types/a/limits", &json!({"running_max": 7}))).await;
    assert_eq!(wanted(&server).await, scale(7, BURST, 0));
    answer(server.post("/v1/types/a/pause", &json!({"by": "somebody"}))).await;
    assert_eq!(wanted(&server).await, scale(0, BURST, 0));
    answer(server.post_empty("/v1/types/a/resume")).await;
    answer(server.put("/v1/types/a/limits", &json!({}))).await;
    assert_eq!(wanted(&server).await, scale(BURST, BURST, 0));
    server.stop().await;
}

#[tokio::test]
async fn a_type_that_nobody_knows_wants_nothing_until_it_has_jobs() {
    let server = Server::start().await;
    assert_eq!(server.read("/v1/types/a/scale").await, scale(0, 0, 0));
    submit(&server, 2).await;
    assert_eq!(server.read("/v1/types/a/scale").await, scale(2, 2, 0), "it is for its first worker");
    let refused = problem(server.get("/v1/types/No%20Such/scale")).await;
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&json!(StatusCode::NOT_FOUND.as_u16()), &json!("type-not-found"))
    );
    server.stop().await;
}
