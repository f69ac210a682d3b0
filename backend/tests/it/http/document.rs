//! The description of the API: whole, and readable without the rest of the world.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::Value;

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
