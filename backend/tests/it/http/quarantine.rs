//! The quarantined messages.

use crewcall_backend::engine::ports::QuarantinedMessage;
use crewcall_proto::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::server::{Server, answer, problem};

pub(super) async fn quarantine(server: &Server, messages: u8) {
    let message = |number| QuarantinedMessage {
        queue: "crewcall.completed".to_owned(),
        routing_key: format!("completed.{number}"),
        reason: "not_decodable".to_owned(),
        detail: "it ends early".to_owned(),
        body: vec![number, 0xff],
        body_bytes: 7,
        at: Timestamp::from_millis(1_795_190_820_000),
    };
    server.store.quarantine((0..messages).map(message).collect()).await.unwrap();
}

fn keys(page: &Value) -> Vec<&str> {
    page["messages"].as_array().unwrap().iter().map(|m| m["routing_key"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn it_is_listed_newest_first_in_pages() {
    let server = Server::start().await;
    let empty = json!({"messages": [], "next_cursor": null});
    assert_eq!(server.read("/v1/quarantine").await, empty);
    quarantine(&server, 5).await;
    let page = server.read("/v1/quarantine?limit=2").await;
    assert_eq!(keys(&page), ["completed.4", "completed.3"]);
    let next =
        |page: &Value| format!("/v1/quarantine?limit=2&cursor={}", page["next_cursor"].as_str().unwrap());
    let page = server.read(&next(&page)).await;
    assert_eq!(keys(&page), ["completed.2", "completed.1"]);
    let mut page = server.read(&next(&page)).await;
    assert!(page["messages"][0]["number"].take().is_u64());
    insta::assert_json_snapshot!("quarantine_last_page", page);
    assert_eq!(server.read("/v1/quarantine?limit=5").await["next_cursor"], Value::Null);
    server.stop().await;
}

#[tokio::test]
async fn messages_are_deleted_one_by_one_or_all() {
    let server = Server::start().await;
    quarantine(&server, 3).await;
    let number = server.read("/v1/quarantine").await["messages"][1]["number"].as_u64().unwrap();
    let path = format!("/v1/quarantine/{number}");
    assert_eq!(answer(server.delete(&path)).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(keys(&server.read("/v1/quarantine").await), ["completed.2", "completed.0"]);
    assert_eq!(problem(server.delete(&path)).await["code"], "message-not-found");
    let emptied: Value = answer(server.delete("/v1/quarantine")).await.json().await.unwrap();
    assert_eq!(emptied, json!({"deleted": 2}));
    for (name, request) in [
        ("unknown_message", server.delete("/v1/quarantine/1000000")),
        ("no_messages_number", server.delete("/v1/quarantine/-1")),
        ("bad_quarantine_query", server.get("/v1/quarantine?limit=0&state=ready")),
        ("bad_quarantine_cursor", server.get("/v1/quarantine?cursor=AAAA")),
    ] {
        insta::assert_json_snapshot!(name, problem(request).await);
    }
    server.stop().await;
}
