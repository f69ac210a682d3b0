//! Publishing events, and reading and following the log of them.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    server::{Options, Server, answer, problem},
    stores::FailingStore,
    watch::{Watch, resumed},
};
use crewcall_backend::engine::ports::StoreError;

const PATH: &str = "/v1/events";

async fn publish(server: &Server, subject: &str, data: Value) -> u64 {
    let response = answer(server.post(PATH, &json!({"subject": subject, "data": data}))).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    response.json::<Value>().await.unwrap()["sequence"].as_u64().unwrap()
}

fn sequences(list: &Value) -> Vec<u64> {
    list["events"].as_array().unwrap().iter().map(|event| event["sequence"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn an_event_is_published_once_and_read() {
    let server = Server::start().await;
    let event = json!({"subject": "order.paid", "data": {"n": 9_007_199_254_740_993_u64}, "id": "github:a1b2", "occurred_at": "2026-11-20T16:07:00+01:00"});
    let first = answer(server.post(PATH, &event)).await;
    assert_eq!(
        (first.status(), first.headers()["location"].to_str().unwrap()),
        (StatusCode::CREATED, "/v1/events/1")
    );
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let mut published: Value = first.json().await.unwrap();
    assert!(published["recorded_at"].as_str().unwrap().ends_with('Z'), "{published}");
    let again = answer(server.post(PATH, &event)).await;
    assert_eq!(
        (again.status(), again.headers()["idempotency-replayed"].to_str().unwrap()),
        (StatusCode::OK, "true")
    );
    assert_eq!(again.json::<Value>().await.unwrap(), published);
    assert_eq!(server.read("/v1/events/1").await, published);
    published["recorded_at"] = json!("then");
    insta::assert_json_snapshot!("published_event", published);
    let other =
        problem(server.post(PATH, &json!({"subject": "order.paid", "data": 1, "id": "github:a1b2"}))).await;
    assert_eq!((&other["code"], &other["status"]), (&json!("event-id-reused"), &json!(422)));
    assert!(other["detail"].as_str().unwrap().contains("event 1"), "{other}");
    assert_eq!(publish(&server, "order.paid", json!([])).await, 2, "what was refused took no place");
    let missing = problem(server.get("/v1/events/3")).await;
    assert_eq!((&missing["code"], &missing["status"]), (&json!("event-not-found"), &json!(404)));
    assert_eq!(problem(server.get("/v1/events/x")).await["code"], "invalid-id");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_event_is_refused_with_every_problem() {
    let server = Server::start().await;
    let wrong = problem(server.post(PATH, &json!({"subject": "job.done", "id": "a b", "dat": 1}))).await;
    insta::assert_json_snapshot!("no_event", wrong);
    let large = json!({"subject": "a", "data": "x".repeat(256 * 1024)});
    let large = problem(server.post(PATH, &large)).await;
    assert_eq!(large["errors"][0]["pointer"], "/data", "{large}");
    assert_eq!(server.read(PATH).await, json!({"events": [], "after": 0, "oldest": 1, "head": 0}));
    server.stop().await;
}

#[tokio::test]
async fn the_log_is_read_in_parts_by_subject() {
    let server = Server::start().await;
    for subject in ["order.paid", "order.cancelled", "user.created", "order.paid", "order.item.added"] {
        publish(&server, subject, json!({})).await;
    }
    let all = server.read(PATH).await;
    assert_eq!((sequences(&all), &all["after"]), (vec![1, 2, 3, 4, 5], &json!(5)));
    let page = server.read("/v1/events?subject=order.*&limit=2").await;
    assert_eq!((sequences(&page), &page["after"], &page["head"]), (vec![1, 2], &json!(2), &json!(5)));
    let page = server.read("/v1/events?subject=order.*&limit=2&after=2").await;
    assert_eq!((sequences(&page), &page["after"]), (vec![4], &json!(5)), "the rest does not match");
    assert_eq!(sequences(&server.read("/v1/events?subject=%23.added").await), [5]);
    assert_eq!(sequences(&server.read("/v1/events?after=5").await), [0; 0]);
    let beyond = problem(server.get("/v1/events?after=6")).await;
    assert_eq!(
        (&beyond["code"], &beyond["errors"][0]["pointer"]),
        (&json!("invalid-query"), &json!("?after"))
    );
    let wrong = problem(server.get("/v1/events?subject=Order.*&after=-1&limit=501&since=1")).await;
    assert_eq!(wrong["errors"].as_array().unwrap().len(), 4, "{wrong}");
    server.store.delete_events(Duration::ZERO, Duration::MAX, 2).await.unwrap();
    let kept = server.read(PATH).await;
    assert_eq!((sequences(&kept), &kept["oldest"]), (vec![3, 4, 5], &json!(3)));
    assert_eq!(sequences(&server.read("/v1/events?after=2").await), [3, 4, 5], "nothing is left out");
    for path in ["/v1/events?after=1", "/v1/events/watch?after=1"] {
        let gone = problem(server.get(path)).await;
        assert_eq!((&gone["code"], &gone["status"]), (&json!("events-gone"), &json!(410)));
        assert!(gone["detail"].as_str().unwrap().ends_with("the oldest that is kept is 3"), "{gone}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_batch_is_recorded_in_its_order_each_for_itself() {
    let server = Server::start().await;
    let items = json!([
        {"subject": "a", "data": 1, "id": "one"},
        {"subject": "run.a", "data": 2},
        7,
        {"subject": "a", "data": 1, "id": "one"},
        {"subject": "a", "data": 3, "id": "one"},
        {"subject": "b", "data": 4},
    ]);
    let result: Value = answer(server.post("/v1/events/batch", &items)).await.json().await.unwrap();
    insta::assert_json_snapshot!("batch_of_events", result);
    let lines = (0..600).map(|n| format!("{{\"subject\":\"line\",\"data\":{n}}}\n")).collect::<String>();
    let result: Value = answer(server.post_text("/v1/events/batch", "application/x-ndjson", lines))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!((&result["accepted"], &result["refused"]), (&json!(600), &json!(0)));
    let page = server.read("/v1/events?subject=line&limit=500&after=2").await;
    assert_eq!(sequences(&page), (3..503).collect::<Vec<u64>>());
    assert_eq!(page["events"][499]["data"], 499);
    server.stop().await;
}

#[tokio::test]
async fn whoever_follows_the_log_gets_every_event_once() {
    let server = Server::start().await;
    publish(&server, "before", json!(0)).await;
    let mut from_now = Watch::open(server.get("/v1/events/watch?subject=count.%23")).await;
    let mut from_start = Watch::open(server.get("/v1/events/watch?after=0")).await;
    assert_eq!(from_start.named("event").await.1["subject"], "before");
    for number in 0..40 {
        publish(&server, if number % 2 == 0 { "count.even" } else { "odd" }, json!(number)).await;
    }
    for number in (0..40).step_by(2) {
        let (id, event) = from_now.named("event").await;
        assert_eq!((&event["data"], id), (&json!(number), event["sequence"].to_string()));
    }
    for number in 0..40 {
        assert_eq!(from_start.named("event").await.1["data"], json!(number));
    }
    let mut again = Watch::open(resumed(server.get("/v1/events/watch?after=3"), "39")).await;
    assert_eq!(again.named("event").await.0, "40", "what was seen goes before what was asked for");
    assert_eq!(again.named("event").await.0, "41");
    let beyond = problem(resumed(server.get("/v1/events/watch"), "42")).await;
    assert_eq!(beyond["code"], "invalid-query", "it is of another log");
    server.stop().await;
    assert_eq!(again.next().await, None, "a stop ends the stream");
}

#[tokio::test]
async fn a_store_that_cannot_record_says_so_and_nothing_is_followed() {
    let full = || StoreError::Unavailable { reason: "the disk is full".to_owned() };
    let store = Some(std::sync::Arc::new(FailingStore(full)) as _);
    let server = Server::start_with(Options { store, ..Options::default() }).await;
    let failed = problem(server.post(PATH, &json!({"subject": "a", "data": 1}))).await;
    assert_eq!((&failed["code"], &failed["status"]), (&json!("store-unavailable"), &json!(503)));
    let failed = problem(server.post("/v1/events/batch", &json!([{"subject": "a", "data": 1}]))).await;
    assert_eq!(failed["code"], "store-unavailable");
    server.stop().await;
}
