//! Types that are not taken as they were announced, and types that are forgotten.

use std::{sync::Arc, time::Duration};

use crewcall_backend::{
    clock::SystemClock,
    engine::{
        ports::{BrokerStatus, Lifecycle as _},
        settings::catalogue::TYPES_MAX,
    },
    metrics::Metrics,
    store::SqliteStore,
};
use crewcall_proto::{
    ContentType, JobType,
    control::{Control, RefusedType},
    discovery::Announcement,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::server::{Options, Server, WORKER, answer, problem};

/// A pattern that needs backtracking.
fn unusable() -> Value {
    json!({"properties": {"x": {"type": "string", "pattern": "^(?=.*a)(([a-z]+)*)+$"}}})
}

/// What the worker was told last: what was refused, and what it was welcomed to.
fn told(server: &Server) -> (Option<String>, Vec<String>, Vec<RefusedType>) {
    let mut reason = None;
    for (to, control) in server.broker.told() {
        match control {
            Control::Refused { reason: told } => reason = Some(told),
            Control::Welcome { types, refused, .. } if to == WORKER => {
                return (reason, types.iter().map(ToString::to_string).collect(), refused);
            }
            _ => {}
        }
    }
    (reason, Vec::new(), Vec::new())
}

#[tokio::test]
async fn a_type_whose_schema_cannot_be_used_is_served_without_and_says_so() {
    let server = Server::start().await;
    server.broker.set(BrokerStatus::Up);
    server.announce("a.b", unusable()).await;
    let (reason, types, refused) = told(&server);
    assert_eq!((reason, types), (None, vec!["a.b".to_owned()]));
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].reason.contains("needs backtracking"), "{refused:?}");
    let shown = server.read("/v1/types/a.b").await;
    assert_eq!(shown["schema_error"], json!(refused[0].reason), "{shown}");
    assert_eq!((&shown["announced"], &shown["workers"]), (&json!(true), &json!(1)));
    let id = server.submit(json!({"type": "a.b", "parameters": {"x": 7}})).await;
    assert_eq!(server.read(&format!("/v1/jobs/{id}")).await["waiting_for"]["reason"], "start");

    server.announce("a.b", json!({"properties": {"x": {"type": "string"}}})).await;
    assert_eq!(told(&server).2, []);
    assert_eq!(server.read("/v1/types/a.b").await["schema_error"], Value::Null);
    let refused = problem(server.post("/v1/jobs", &json!({"type": "a.b", "parameters": {"x": 7}}))).await;
    assert_eq!(refused["code"], "invalid-parameters");

    let large = json!({"enum": vec!["a choice among many"; 5_000]});
    for _ in 0..2 {
        server.announce("a.b", large.clone()).await;
        assert!(told(&server).2[0].reason.contains("larger than 65536 bytes"));
    }
    server.submit(json!({"type": "a.b", "parameters": {"x": 7}})).await;
    server.stop().await;
}

#[tokio::test]
async fn parameters_that_would_take_for_ever_to_explain_are_refused() {
    let server = Server::start().await;
    let of = |operation: &str| {
        let side = json!({"$ref": "#/$defs/operation"});
        json!({"properties": {"op": {"const": operation}, "left": side, "right": side}})
    };
    let operations: Vec<Value> = ["add", "sub", "mul", "div", "pow"].map(of).into();
    let definitions = json!({"operation": {"anyOf": operations}});
    let schema = json!({"$defs": definitions, "properties": {"x": {"$ref": "#/$defs/operation"}}});
    server.announce("a.b", schema).await;
    assert_eq!(server.read("/v1/types/a.b").await["schema_error"], Value::Null);
    let deep =
        (0..26).fold(json!({"op": "none"}), |inner, _| json!({"op": "pow", "left": inner, "right": {}}));
    let refused = problem(server.post("/v1/jobs", &json!({"type": "a.b", "parameters": {"x": deep}}))).await;
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&json!(422), &json!("invalid-parameters")),
        "{refused}"
    );
    server.submit(json!({"type": "a.b", "parameters": {"x": {"op": "add"}}})).await;
    server.stop().await;
}

#[tokio::test]
async fn an_announcement_that_breaks_a_limit_is_taken_and_its_worker_told() {
    let server = Server::start().await;
    let name = "n".repeat(Announcement::TEXT_CHARACTERS_MAX + 1);
    server
        .announce_as("a.b", json!({}), |announcement| {
            announcement.slots = 0;
            announcement.name = name;
        })
        .await;
    let (reason, types, refused) = told(&server);
    let expected = "slots is 0: counted as 1; name is longer than 200 characters: cut";
    assert_eq!((reason.as_deref(), types.len(), refused.len()), (Some(expected), 1, 0));
    let worker = server.read(&format!("/v1/workers/{WORKER}")).await;
    assert_eq!(worker["slots"], 1);
    assert_eq!(worker["name"].as_str().map(str::len), Some(Announcement::TEXT_CHARACTERS_MAX));

    server.unreadable(ContentType::Json, "missing field `host`").await;
    let (reason, types, _) = told(&server);
    let expected = "the announcement cannot be read: missing field `host`";
    assert_eq!((reason.as_deref(), types.len()), (Some(expected), 0));
    server.stop().await;
}

#[tokio::test]
async fn a_type_that_nobody_uses_can_be_deleted() {
    let server = Server::start().await;
    let code = async |path: &str| problem(server.delete(path)).await["code"].clone();
    assert_eq!(code("/v1/types/a.b").await, "type-not-found");
    server.announce("a.b", json!({})).await;
    let limits = json!({"running_max": 3});
    assert_eq!(answer(server.put("/v1/types/a.b/limits", &limits)).await.status(), StatusCode::OK);
    assert_eq!(code("/v1/types/a.b").await, "type-in-use");
    server.goodbye().await;
    let id = server.submit(json!({"type": "a.b"})).await;
    assert_eq!(code("/v1/types/a.b").await, "type-in-use");
    assert_eq!(answer(server.post_empty(&format!("/v1/jobs/{id}/cancel"))).await.status(), StatusCode::OK);
    assert_eq!(code("/v1/types/a.b").await, "type-in-use", "it is over, and still there");
    server.delete_jobs().await;
    assert_eq!(answer(server.delete("/v1/types/a.b")).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(code("/v1/types/a.b").await, "type-not-found");
    assert_eq!(server.read("/v1/types").await["types"], json!([]));
    assert_eq!(*server.broker.deleted.lock().unwrap(), [JobType::new("a.b").unwrap()]);
    assert!(server.store.types().await.unwrap().is_empty());

    server.announce("a.b", json!({})).await;
    let again = server.read("/v1/types/a.b").await;
    assert_eq!(
        (&again["workers"], &again["running_max"]),
        (&json!(1), &Value::Null),
        "nothing is left of it"
    );
    server.stop().await;
}

#[tokio::test]
async fn types_are_forgotten_that_were_not_served_for_long() {
    let server = Server::start().await;
    server.announce("a.old", json!({})).await;
    server.goodbye().await;
    server.announce("a.served", json!({})).await;
    server.submit(json!({"type": "a.wanted"})).await;
    server.engine.forget_unused_types(Duration::from_secs(60)).await.unwrap();
    assert_eq!(server.store.types().await.unwrap().len(), 2, "not yet");
    server.engine.forget_unused_types(Duration::ZERO).await.unwrap();
    let types = server.read("/v1/types").await;
    let names: Vec<&str> =
        types["types"].as_array().unwrap().iter().map(|shown| shown["type"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.served", "a.wanted"]);
    server.stop().await;
}

/// The catalogue is full: a new type is refused, its worker and its jobs say so, and it is served as soon as there is room.
#[tokio::test]
async fn a_full_catalogue_refuses_and_can_shrink() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("crewcall.db");
    let open =
        || SqliteStore::open(&path, Arc::new(SystemClock::start()), Arc::new(Metrics::default())).unwrap();
    open().close().await;
    let mut rows = rusqlite::Connection::open(&path).unwrap();
    let inserting = rows.transaction().unwrap();
    for number in 0..TYPES_MAX {
        let row = (format!("full.{number}"), "{}");
        inserting.execute("INSERT INTO types VALUES (?1, '', '', ?2, ?2, 0, 0, '[]')", row).unwrap();
    }
    inserting.commit().unwrap();
    drop(rows);
    let server = Server::start_with(Options { file: Some(path), ..Options::default() }).await;
    server.broker.set(BrokerStatus::Up);

    server.announce("new.type", json!({})).await;
    let (_, types, refused) = told(&server);
    assert_eq!((types.len(), refused.len()), (0, 1));
    assert!(refused[0].reason.contains("10000 types"), "{refused:?}");
    let id = server.submit(json!({"type": "new.type"})).await;
    let waiting_for = server.read(&format!("/v1/jobs/{id}")).await["waiting_for"].clone();
    assert_eq!(waiting_for["reason"], "refused", "{waiting_for}");
    let shown = server.read("/v1/types/new.type").await;
    assert_eq!((&shown["refused"], &shown["workers"]), (&json!(refused[0].reason), &json!(0)));

    assert_eq!(answer(server.delete("/v1/types/full.7")).await.status(), StatusCode::NO_CONTENT);
    server.announce("new.type", json!({})).await;
    let (_, types, refused) = told(&server);
    assert_eq!((types.len(), refused.len()), (1, 0));
    let shown = server.read("/v1/types/new.type").await;
    assert_eq!((&shown["refused"], &shown["workers"]), (&Value::Null, &json!(1)));
    server.stop().await;
}
