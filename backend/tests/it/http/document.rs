//! The description of the API: whole, and readable without the rest of the world.

use std::collections::BTreeSet;

use crewcall_backend::{
    domain::{
        retry::ATTEMPTS_MAX,
        schedule::{BACKOFF_FACTOR_MAX, BACKOFF_MAX, SCHEDULE_AHEAD_MAX, TIMEOUT_MAX, TIMEOUT_MIN},
        type_settings::{RATE_PER_SECOND_MAX, RATE_PER_SECOND_MIN, RUNNING_MAX_MAX},
    },
    http::{
        idempotency::KEY_LENGTH_MAX,
        query::{PAGE_JOBS_DEFAULT, PAGE_JOBS_MAX, WAIT_MAX},
    },
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::server::{Server, answer};

#[tokio::test]
async fn the_document_lists_every_operation_and_what_it_answers() {
    let server = Server::start().await;
    let document = server.read("/openapi.json").await;
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let answers: Vec<&str> =
                operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
            let id = operation["operationId"].as_str().unwrap();
            operations.push(format!("{method} {path} = {id}: {}", answers.join(" ")));
        }
    }
    insta::assert_snapshot!(operations.join("\n"));
    server.stop().await;
}

#[tokio::test]
async fn every_schema_that_is_referred_to_is_there() {
    let server = Server::start().await;
    let document = server.read("/openapi.json").await;
    let mut referred = BTreeSet::new();
    references(&document, &mut referred);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let there: BTreeSet<String> = schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
    assert_eq!(referred, there);
    server.stop().await;
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.insert(reference.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn every_route_is_in_the_document() {
    let server = Server::start().await;
    let document = server.read("/openapi.json").await;
    let documented: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let served: BTreeSet<String> =
        server.routes().into_iter().filter(|path| !path.starts_with("/docs")).collect();
    assert!(served.len() > 10, "{served:?}");
    assert_eq!(served, documented);
    server.stop().await;
}

#[tokio::test]
async fn the_documentation_asks_no_other_host() {
    let server = Server::start().await;
    let moved = answer(server.get("/docs")).await;
    assert_eq!(moved.status(), StatusCode::SEE_OTHER);
    assert_eq!(moved.headers()["location"], "/docs/");

    let page = answer(server.get("/docs/")).await;
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'self';"), "the browser refuses other hosts: {policy}");
    let page = page.text().await.unwrap();
    let linked: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(linked.len() >= 5, "{page}");
    for link in linked {
        assert!(!link.contains("//"), "{link} is on another host");
        let file = answer(server.get(&format!("/docs/{link}"))).await;
        assert_eq!(file.status(), StatusCode::OK, "{link}");
    }
    assert!(!page.contains("<script>"), "the policy forbids scripts within the page");
    let entry = answer(server.get("/docs/swagger-initializer.js")).await.text().await.unwrap();
    assert!(entry.contains("\"url\": \"/openapi.json\""), "{entry}");
    assert!(entry.contains("\"validatorUrl\": \"none\""), "{entry}");
    assert!(!entry.contains("://"), "{entry}");
    server.stop().await;
}

#[tokio::test]
async fn the_limits_of_the_document_are_those_of_the_program() {
    let server = Server::start().await;
    let document = server.read("/openapi.json").await;
    let schemas = &document["components"]["schemas"];
    for (schema, field, limit, expected) in [
        ("NewJob", "priority", "minimum", 0.0),
        ("NewJob", "priority", "maximum", 9.0),
        ("NewJob", "max_attempts", "minimum", 1.0),
        ("NewJob", "max_attempts", "maximum", f64::from(ATTEMPTS_MAX)),
        ("NewJob", "delay_seconds", "maximum", SCHEDULE_AHEAD_MAX.as_secs_f64()),
        ("NewJob", "timeout_seconds", "minimum", TIMEOUT_MIN.as_secs_f64()),
        ("NewJob", "timeout_seconds", "maximum", TIMEOUT_MAX.as_secs_f64()),
        ("NewBackoff", "initial_seconds", "maximum", BACKOFF_MAX.as_secs_f64()),
        ("NewBackoff", "max_seconds", "maximum", BACKOFF_MAX.as_secs_f64()),
        ("NewBackoff", "factor", "minimum", 1.0),
        ("NewBackoff", "factor", "maximum", BACKOFF_FACTOR_MAX),
        ("Limits", "running_max", "minimum", 1.0),
        ("Limits", "running_max", "maximum", f64::from(RUNNING_MAX_MAX)),
        ("Limits", "rate_per_second", "minimum", RATE_PER_SECOND_MIN),
        ("Limits", "rate_per_second", "maximum", RATE_PER_SECOND_MAX),
    ] {
        let found = &schemas[schema]["properties"][field][limit];
        assert_eq!(found.as_f64(), Some(expected), "{limit} of {field} of {schema}: {found}");
    }
    let days = SCHEDULE_AHEAD_MAX.as_secs() / (24 * 60 * 60);
    for field in ["run_at", "expires_at"] {
        let said = schemas["NewJob"]["properties"][field]["description"].as_str().unwrap();
        assert!(said.contains(&format!("{days} days")), "{field}: {said}");
    }
    let parameter = |path: &str, method: &str, name: &str| {
        let all = document["paths"][path][method]["parameters"].as_array().unwrap();
        all.iter().find(|parameter| parameter["name"] == name).unwrap()["schema"].clone()
    };
    assert_eq!(parameter("/v1/jobs", "get", "limit")["maximum"], PAGE_JOBS_MAX);
    assert!((1..=PAGE_JOBS_MAX).contains(&PAGE_JOBS_DEFAULT));
    assert_eq!(parameter("/v1/jobs/{id}", "get", "wait")["maximum"], WAIT_MAX.as_secs());
    let key = parameter("/v1/jobs", "post", "Idempotency-Key");
    assert_eq!((&key["minLength"], &key["maxLength"]), (&json!(1), &json!(KEY_LENGTH_MAX)), "{key}");
    assert_eq!(key["pattern"], "^[!-~]+$");
    for (given, expected) in [("!~", 201), ("two words", 400), ("", 400), ("\u{e9}", 400)] {
        let request = server.post("/v1/jobs", &json!({"type": "a"})).header("idempotency-key", given);
        assert_eq!(answer(request).await.status().as_u16(), expected, "{given:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn where_the_document_allows_null_it_is_taken() {
    let server = Server::start().await;
    server.announce("a.b", json!({})).await;
    let id = server.submit(json!({"type": "a.b"})).await;
    let document = server.read("/openapi.json").await;
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let schema = &item["post"]["requestBody"]["content"]["application/json"]["schema"];
        let choices = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
        if !choices.is_some_and(|choices| choices.contains(&json!({"type": "null"}))) {
            continue;
        }
        let path = path.replace("{id}", &id.to_string()).replace("{type}", "a.b");
        let status = answer(server.post(&path, &Value::Null)).await.status();
        assert!(status.is_success(), "{path}: {status}");
        asked += 1;
    }
    assert_eq!(asked, 4, "cancel, retry, pause and resume");
    server.stop().await;
}
