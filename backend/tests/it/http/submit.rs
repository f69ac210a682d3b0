//! Submitting a job and reading it back.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tokio::time::timeout;

use super::server::{PATIENCE, Server, answer, problem, sorted};

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

#[tokio::test]
async fn times_and_policy_are_kept() {
    let server = Server::start().await;
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap();
    let tomorrow = now + jiff::SignedDuration::from_hours(24);
    let elsewhere = tomorrow.display_with_offset(jiff::tz::offset(1)).to_string();
    let id = server
        .submit(json!({
            "type": "a", "delay_seconds": 3600, "expires_at": elsewhere, "timeout_seconds": 1.5,
            "backoff": {"initial_seconds": 5, "factor": 3, "max_seconds": 7.5, "jitter": 0},
        }))
        .await;
    let job = server.read(&format!("/v1/jobs/{id}")).await;
    assert_eq!((&job["state"], &job["waiting_for"]["reason"]), (&json!("scheduled"), &json!("due")));
    assert_eq!(
        (&job["timeout_seconds"], &job["expires_at"]),
        (&json!(1.5), &json!(format!("{tomorrow:.3}")))
    );
    assert_eq!(
        job["backoff"],
        json!({"initial_seconds": 5, "factor": 3.0, "max_seconds": 7.5, "jitter": 0.0})
    );
    let created: jiff::Timestamp = job["created_at"].as_str().unwrap().parse().unwrap();
    let run_at = (created + jiff::SignedDuration::from_hours(1)).to_string();
    assert_eq!(job["due_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().to_string(), run_at);
    let timed = server.submit(json!({"type": "a", "run_at": run_at})).await;
    assert_eq!(server.read(&format!("/v1/jobs/{timed}")).await["due_at"], job["due_at"]);
    server.stop().await;
}

#[tokio::test]
async fn a_submission_with_a_key_makes_one_job() {
    let server = Server::start().await;
    let submit = |key: &str, body: &'static str| {
        server.post_text("/v1/jobs", "application/json", body).header("idempotency-key", key)
    };
    let first = answer(submit("order-7!", "{\"type\":\"a\"}")).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    assert_eq!(first.headers().get("idempotency-replayed"), None);
    let location = first.headers()["location"].clone();
    let first: serde_json::Value = first.json().await.unwrap();
    answer(server.post_empty(&format!("{}/cancel", location.to_str().unwrap()))).await;
    let again = answer(submit("order-7!", "{\"type\":\"a\"}")).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(
        (&again.headers()["idempotency-replayed"], &again.headers()["location"]),
        (&"true".parse().unwrap(), &location)
    );
    let again: serde_json::Value = again.json().await.unwrap();
    assert_eq!((&again["id"], &again["state"]), (&first["id"], &json!("cancelled")), "as it is now");
    let other = answer(submit("order-8", "{\"type\":\"a\"}")).await;
    assert_eq!(other.status(), StatusCode::CREATED);
    // One space more is another body.
    insta::assert_json_snapshot!("key_reused", problem(submit("order-7!", "{\"type\": \"a\"}")).await);
    for bad in ["", "a b", &"x".repeat(256), "ü"] {
        let refused = problem(submit(bad, "{\"type\":\"a\"}")).await;
        assert_eq!(refused["code"], "invalid-idempotency-key", "{bad}");
    }
    insta::assert_json_snapshot!("key_refused", problem(submit("a b", "{\"type\":\"a\"}")).await);
    let twice = submit("a", "{\"type\":\"a\"}").header("idempotency-key", "b");
    assert_eq!(problem(twice).await["code"], "invalid-idempotency-key");
    assert_eq!(answer(submit(&"x".repeat(255), "{\"type\":\"a\"}")).await.status(), StatusCode::CREATED);
    server.stop().await;
}

/// Whoever repeats a submission because the answer got lost must not be told that it is no job.
#[tokio::test]
async fn what_was_accepted_is_replayed_whatever_would_be_said_against_it_today() {
    let server = Server::start().await;
    let submit = |key: &str, body: &str| {
        server.post_text("/v1/jobs", "application/json", body.to_owned()).header("idempotency-key", key)
    };
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1_500);
    let expires = json!({"type": "a", "expires_at": soon.to_string()}).to_string();
    // A time up to 60 s ago means now.
    let almost = jiff::Timestamp::now() - jiff::SignedDuration::from_millis(58_500);
    let runs = json!({"type": "a", "run_at": almost.to_string()}).to_string();
    let typed = json!({"type": "b", "parameters": {"width": "wide"}}).to_string();
    let submissions = [("expires", expires), ("runs", runs), ("typed", typed)];
    let mut ids = Vec::new();
    for (key, body) in &submissions {
        let accepted = answer(submit(key, body)).await;
        assert_eq!(accepted.status(), StatusCode::CREATED, "{body}");
        ids.push(accepted.json::<serde_json::Value>().await.unwrap()["id"].clone());
    }
    server.announce("b", json!({"properties": {"width": {"type": "integer"}}})).await;
    for ((key, body), id) in submissions.iter().zip(ids) {
        let refused = async {
            // The same without a key that anybody used: as soon as it is no job any more.
            while answer(server.post_text("/v1/jobs", "application/json", body.clone())).await.status()
                != StatusCode::UNPROCESSABLE_ENTITY
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, refused).await.unwrap();
        assert_eq!(answer(submit("another", body)).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let replayed = answer(submit(key, body)).await;
        assert_eq!(replayed.status(), StatusCode::OK, "{body}");
        assert_eq!(replayed.headers()["idempotency-replayed"], "true");
        assert_eq!(replayed.json::<serde_json::Value>().await.unwrap()["id"], id);
        for other in [body.replace('}', " }"), "[]".to_owned()] {
            assert_eq!(problem(submit(key, &other)).await["code"], "idempotency-key-reused", "{other}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_job_comes_after_others_that_are_there() {
    let server = Server::start().await;
    let first = server.submit(json!({"type": "a"})).await.to_string();
    let job = json!({"type": "a", "after": [first, first], "after_failure": "run"});
    let accepted: serde_json::Value = answer(server.post("/v1/jobs", &job)).await.json().await.unwrap();
    assert_eq!((&accepted["state"], &accepted["after_failure"]), (&json!("blocked"), &json!("run")));
    assert_eq!(accepted["after"], json!([{"id": first, "end": null}]));
    assert_eq!(accepted["waiting_for"]["message"], json!(format!("waits for the end of job {first}")));
    let plain = server.read(&format!("/v1/jobs/{first}")).await;
    assert_eq!((plain.get("after"), plain.get("after_failure")), (None, None));
    let cancel = format!("/v1/jobs/{first}/cancel");
    assert_eq!(answer(server.post(&cancel, &json!({}))).await.status(), StatusCode::OK);
    let job = json!({"type": "a", "after": [first]});
    let late: serde_json::Value = answer(server.post("/v1/jobs", &job)).await.json().await.unwrap();
    assert_eq!((&late["state"], &late["cancellation"]["by"]), (&json!("cancelled"), &json!("crewcall")));
    assert_eq!(late["after"], json!([{"id": first, "end": "cancelled"}]));

    let unknown = "01920000-0000-7000-8000-000000000000";
    let wrong = [
        json!({"type": "a", "after": [first, unknown]}),
        json!({"type": "a", "after": ["x", 7, first], "after_failure": "stop"}),
        json!({"type": "a", "after": first}),
        json!({"type": "a", "after": [], "after_failure": "run"}),
        json!({"type": "a", "after": vec![first.clone(); 101]}),
    ];
    let mut told = Vec::new();
    for job in wrong {
        let refused = problem(server.post("/v1/jobs", &job)).await;
        assert_eq!(refused["status"], 422, "{refused}");
        for error in refused["errors"].as_array().unwrap() {
            let message = error["message"].as_str().unwrap().replace(&first, "FIRST");
            told.push(format!("{}: {message}", error["pointer"].as_str().unwrap()));
        }
        told.push(String::new());
    }
    insta::assert_snapshot!(told.join("\n"));
    server.stop().await;
}
