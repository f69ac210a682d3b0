//! Submitting a job and reading it back.

use reqwest::StatusCode;
use serde_json::json;

use super::server::{Server, answer, sorted};

#[tokio::test]
async fn an_accepted_job_is_read_back_as_it_was_submitted() {
    let server = Server::start().await;
    let submission = json!({
        "type": "image.thumbnail", "parameters": {"source": "a.jpg", "deep": [1, 2.5, null, {"ü": "\u{0}"}]},
        "priority": 9, "max_attempts": 1, "labels": {"project": "x"},
    });
    let response = answer(server.post("/v1/jobs", &submission)).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let mut job = sorted(response.json().await.unwrap());
    assert_eq!(location, format!("/v1/jobs/{}", job["id"].as_str().unwrap()));
    assert_eq!(server.read(&location).await, job);
    for volatile in ["id", "created_at", "due_at"] {
        assert!(job[volatile].is_string(), "{volatile}");
        job[volatile] = json!(volatile);
    }
    insta::assert_json_snapshot!(job);
    server.stop().await;
}

#[tokio::test]
async fn what_is_left_out_has_its_default() {
    let server = Server::start().await;
    let id = server.submit(json!({"type": "a"})).await;
    let job = server.read(&format!("/v1/jobs/{id}")).await;
    assert_eq!((&job["priority"], &job["max_attempts"]), (&json!(4), &json!(5)));
    assert_eq!((&job["parameters"], &job["labels"]), (&json!({}), &json!({})));
    server.stop().await;
}

#[tokio::test]
async fn parameters_are_held_against_the_newest_announced_schema() {
    let server = Server::start().await;
    let job = json!({"type": "image.resize", "parameters": {"width": "wide"}});
    server.submit(job.clone()).await; // nobody announced the type yet
    server.announce("image.resize", json!({"properties": {"width": {"type": "integer"}}})).await;
    let refused = answer(server.post("/v1/jobs", &job)).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    server.announce("image.resize", json!({"properties": {"width": {"type": "string"}}})).await;
    server.submit(job).await;
    server.stop().await;
}
