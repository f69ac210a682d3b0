//! The description of the API: whole, and readable without the rest of the world.

use std::collections::{BTreeMap, BTreeSet};

use crewcall_backend::{
    domain::{
        Backoff, Priority,
        after::AFTER_MAX,
        consumer::{IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX, PATTERNS_MAX},
        hook::SECRET_RETIRES_AFTER,
        retry::{ATTEMPTS_DEFAULT, ATTEMPTS_MAX},
        schedules::limits::{
            BACKFILL_MAX, CATCH_UP_WINDOW_DEFAULT, CATCH_UP_WINDOW_MAX, EVERY_SECONDS_MAX, JITTER_MAX,
            PAUSE_AFTER_FAILURES_MAX, SCHEDULES_MAX, TICKS_KEPT_FOR,
        },
        submission::{LABEL_NAME_LENGTH_MAX, LABEL_VALUE_LENGTH_MAX, LABELS_MAX},
        times::{BACKOFF_FACTOR_MAX, BACKOFF_MAX, SCHEDULE_AHEAD_MAX, TIMEOUT_MAX, TIMEOUT_MIN},
        type_settings::{RATE_PER_SECOND_MAX, RATE_PER_SECOND_MIN, RUNNING_MAX_MAX},
        workflow::limits,
    },
    engine::{
        DELIVERY_BYTES_MAX,
        caller::{ACTOR_LENGTH_MAX, REASON_LENGTH_MAX},
        commands::actions::BULK_JOBS_MAX,
        event_log::PAGE_LOOKS_MAX,
        hooks::{HEADER_CHARACTERS_MAX, PREFIX_CHARACTERS_MAX},
        ports::{
            IDEMPOTENCY_KEPT_FOR, QUARANTINE_BODY_BYTES_MAX, QUARANTINE_MESSAGES_MAX, RUNS_OPEN_MAX,
            UNANNOUNCED_TYPES_MAX, WORKFLOWS_MAX,
        },
        settings::schema::PROBLEMS_MAX,
    },
    http::{BATCH_BYTES_MAX, BATCH_ITEMS_MAX, KEY_LENGTH_MAX, PAGE_JOBS_MAX, WAIT_MAX},
};
use crewcall_expressions::EXPRESSION_BYTES_MAX;
use crewcall_proto::{
    JobType,
    codec::{DEPTH_MAX, PAYLOAD_BYTES_MAX},
    event::EVENT_ID_LENGTH_MAX,
};
use crewcall_webhooks::URL_CHARACTERS_MAX;
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

/// Where the document says which limit of bodies.
fn limits_of_bodies() -> Vec<(&'static str, Value)> {
    let backoff = Backoff::default();
    vec![
        ("Actor by maxLength", json!(ACTOR_LENGTH_MAX)),
        ("Actor reason maxLength", json!(REASON_LENGTH_MAX)),
        ("BulkRequest all default", json!(false)),
        ("BulkRequest by maxLength", json!(ACTOR_LENGTH_MAX)),
        ("BulkRequest dry_run default", json!(false)),
        ("BulkRequest reason maxLength", json!(REASON_LENGTH_MAX)),
        ("BulkRunCancel all default", json!(false)),
        ("BulkRunCancel dry_run default", json!(false)),
        ("BulkRunCancel force default", json!(false)),
        ("ConsumerSettings if maxLength", json!(EXPRESSION_BYTES_MAX)),
        ("ConsumerSettings in_flight_max default", json!(IN_FLIGHT_DEFAULT)),
        ("ConsumerSettings in_flight_max maximum", json!(IN_FLIGHT_MAX)),
        ("ConsumerSettings in_flight_max minimum", json!(1)),
        ("ConsumerSettings subjects maxItems", json!(PATTERNS_MAX)),
        ("ConsumerSettings subjects minItems", json!(1)),
        ("Limits rate_per_second maximum", json!(RATE_PER_SECOND_MAX)),
        ("Limits rate_per_second minimum", json!(RATE_PER_SECOND_MIN)),
        ("Limits running_max maximum", json!(RUNNING_MAX_MAX)),
        ("Limits running_max minimum", json!(1)),
        ("NewBackoff factor default", json!(backoff.factor)),
        ("NewBackoff factor maximum", json!(BACKOFF_FACTOR_MAX)),
        ("NewBackoff factor minimum", json!(1)),
        ("NewBackoff initial_seconds default", json!(backoff.initial.as_secs())),
        ("NewBackoff initial_seconds maximum", json!(BACKOFF_MAX.as_secs())),
        ("NewBackoff jitter default", json!(backoff.jitter)),
        ("NewBackoff jitter maximum", json!(1)),
        ("NewBackoff max_seconds maximum", json!(BACKOFF_MAX.as_secs())),
        ("NewBackfill dry_run default", json!(false)),
        ("NewBackfill overlap default", json!("one_by_one")),
        ("NewBodyCheck delivery_id_header maxLength", json!(HEADER_CHARACTERS_MAX)),
        ("NewBodyCheck encoding default", json!("hex")),
        ("NewBodyCheck header maxLength", json!(HEADER_CHARACTERS_MAX)),
        ("NewBodyCheck prefix maxLength", json!(PREFIX_CHARACTERS_MAX)),
        ("NewEvent id maxLength", json!(EVENT_ID_LENGTH_MAX)),
        ("NewEvent id minLength", json!(1)),
        ("NewEvent subject maxLength", json!(JobType::LENGTH_MAX)),
        ("NewJob after maxItems", json!(AFTER_MAX)),
        ("NewJob delay_seconds maximum", json!(SCHEDULE_AHEAD_MAX.as_secs())),
        ("NewJob max_attempts default", json!(ATTEMPTS_DEFAULT)),
        ("NewJob max_attempts maximum", json!(ATTEMPTS_MAX)),
        ("NewJob max_attempts minimum", json!(1)),
        ("NewJob priority default", json!(Priority::default().get())),
        ("NewJob priority maximum", json!(Priority::MAX)),
        ("NewJob timeout_seconds maximum", json!(TIMEOUT_MAX.as_secs())),
        ("NewJob timeout_seconds minimum", json!(TIMEOUT_MIN.as_secs_f64())),
        ("NewJob type maxLength", json!(JobType::LENGTH_MAX)),
        ("NewSchedule catch_up default", json!("last")),
        ("NewSchedule catch_up_window_seconds default", json!(CATCH_UP_WINDOW_DEFAULT.as_secs())),
        ("NewSchedule catch_up_window_seconds maximum", json!(CATCH_UP_WINDOW_MAX.as_secs())),
        ("NewSchedule every_seconds maximum", json!(EVERY_SECONDS_MAX)),
        ("NewSchedule every_seconds minimum", json!(1)),
        ("NewSchedule jitter_seconds default", json!(0)),
        ("NewSchedule jitter_seconds maximum", json!(JITTER_MAX.as_secs())),
        ("NewSchedule overlap default", json!("skip")),
        ("NewSchedule pause_after_failures maximum", json!(PAUSE_AFTER_FAILURES_MAX)),
        ("NewSchedule pause_after_failures minimum", json!(1)),
        ("NewSchedule timezone default", json!("UTC")),
        ("NewWebhook if maxLength", json!(EXPRESSION_BYTES_MAX)),
        ("NewWebhook subjects maxItems", json!(PATTERNS_MAX)),
        ("NewWebhook subjects minItems", json!(1)),
        ("NewWebhook url maxLength", json!(URL_CHARACTERS_MAX)),
        ("Progress percent maximum", json!(100)),
        ("RunCancel force default", json!(false)),
        ("WorkflowPause runs default", json!(false)),
    ]
}

/// The same, of what stands in addresses and headers.
fn limits_of_requests() -> Vec<(&'static str, Value)> {
    vec![
        ("getJob wait maximum", json!(WAIT_MAX.as_secs())),
        ("getRun wait maximum", json!(WAIT_MAX.as_secs())),
        ("getRunJournal limit maximum", json!(PAGE_JOBS_MAX)),
        ("getRunJournal limit minimum", json!(1)),
        ("listEvents limit maximum", json!(PAGE_JOBS_MAX)),
        ("listEvents limit minimum", json!(1)),
        ("listJobs limit maximum", json!(PAGE_JOBS_MAX)),
        ("listJobs limit minimum", json!(1)),
        ("listQuarantine limit maximum", json!(PAGE_JOBS_MAX)),
        ("listQuarantine limit minimum", json!(1)),
        ("listRunItems limit maximum", json!(PAGE_JOBS_MAX)),
        ("listRunItems limit minimum", json!(1)),
        ("listRuns limit maximum", json!(PAGE_JOBS_MAX)),
        ("listRuns limit minimum", json!(1)),
        ("listSubjects limit maximum", json!(PAGE_JOBS_MAX)),
        ("listSubjects limit minimum", json!(1)),
        ("listTicks limit maximum", json!(PAGE_JOBS_MAX)),
        ("listTicks limit minimum", json!(1)),
        ("listTypes limit maximum", json!(PAGE_JOBS_MAX)),
        ("listTypes limit minimum", json!(1)),
        ("listWorkflowVersions limit maximum", json!(PAGE_JOBS_MAX)),
        ("listWorkflowVersions limit minimum", json!(1)),
        ("replayConsumer Idempotency-Key maxLength", json!(KEY_LENGTH_MAX)),
        ("replayConsumer Idempotency-Key minLength", json!(1)),
        ("submitJob Idempotency-Key maxLength", json!(KEY_LENGTH_MAX)),
        ("submitJob Idempotency-Key minLength", json!(1)),
        ("submitJob Idempotency-Key pattern", json!("^[!-~]+$")),
        ("triggerWorkflow Idempotency-Key maxLength", json!(KEY_LENGTH_MAX)),
        ("triggerWorkflow Idempotency-Key minLength", json!(1)),
        ("triggerWorkflow wait maximum", json!(WAIT_MAX.as_secs())),
    ]
}

#[tokio::test]
async fn the_limits_of_the_document_are_those_of_the_program() {
    let server = Server::start().await;
    let document = server.read("/openapi.json").await;
    let mut found = BTreeMap::new();
    limits(&document, "", &mut found);
    let expected = limits_of_bodies()
        .into_iter()
        .chain(limits_of_requests())
        .map(|(place, limit)| (place.to_owned(), plain(&limit)));
    assert_eq!(found, expected.collect());
    for (given, expected) in [("!~", 201), ("two words", 400), ("", 400), ("\u{e9}", 400)] {
        let request = server.post("/v1/jobs", &json!({"type": "a"})).header("idempotency-key", given);
        assert_eq!(answer(request).await.status().as_u16(), expected, "{given:?}");
    }
    server.stop().await;
}

/// The limits of every schema and parameter below `value`, by their places: `NewJob priority maximum`. That what has no
/// sign is not negative says nothing.
fn limits(value: &Value, place: &str, found: &mut BTreeMap<String, String>) {
    const LIMITS: [&str; 11] = [
        "default",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "pattern",
    ];
    match value {
        Value::Object(fields) => {
            let name = fields.get("operationId").or(fields.get("name")).and_then(Value::as_str);
            let place = name.map_or_else(|| place.to_owned(), |name| format!("{place} {name}"));
            for (key, value) in fields {
                let is_limit = LIMITS.contains(&key.as_str()) && !value.is_object();
                if is_limit && !(key == "minimum" && value.as_f64() == Some(0.0)) {
                    found.insert(format!("{place} {key}").trim().to_owned(), plain(value));
                }
                // What only leads to a schema does not name it.
                let leads = [
                    "components",
                    "schemas",
                    "properties",
                    "parameters",
                    "schema",
                    "paths",
                    "get",
                    "put",
                    "post",
                ]
                .contains(&key.as_str())
                    || key.starts_with('/');
                limits(value, &if leads { place.clone() } else { format!("{place} {key}") }, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| limits(item, place, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A limit as text, in which 2 and 2.0 are the same.
fn plain(limit: &Value) -> String {
    limit.as_f64().map_or_else(|| limit.to_string(), |number| number.to_string())
}

#[tokio::test]
async fn the_limits_in_the_words_of_the_document_are_those_of_the_program() {
    let server = Server::start().await;
    let document = server.read("/openapi.json").await;
    let days = SCHEDULE_AHEAD_MAX.as_secs() / (24 * 60 * 60);
    let labels = format!(
        "at most {LABELS_MAX}, names of 1 to {LABEL_NAME_LENGTH_MAX} characters of `a-z A-Z 0-9 . _ -`, values of at most {LABEL_VALUE_LENGTH_MAX} characters"
    );
    let of_new_job = |field: &str| format!("/components/schemas/NewJob/properties/{field}/description");
    let of_new_event = |field: &str| format!("/components/schemas/NewEvent/properties/{field}/description");
    let of_path = |path: &str| format!("/paths/{}/description", path.replace('/', "~1").replace('#', "/"));
    let thousands = |number: usize| format!("{} {:03}", number / 1000, number % 1000);
    for (place, words) in [
        (of_new_job("run_at"), format!("{days} days")),
        (of_new_job("expires_at"), format!("{days} days")),
        (of_new_job("parameters"), format!("{} KiB", PAYLOAD_BYTES_MAX / 1024)),
        (of_new_job("labels"), labels),
        (of_path("/v1/jobs/batch#post"), thousands(BATCH_ITEMS_MAX)),
        (of_path("/v1/jobs/batch#post"), format!("{} MiB", BATCH_BYTES_MAX / 1024 / 1024)),
        (of_path("/v1/events/batch#post"), thousands(BATCH_ITEMS_MAX)),
        (of_path("/v1/events/batch#post"), format!("{} MiB", BATCH_BYTES_MAX / 1024 / 1024)),
        (of_new_event("data"), format!("{} KiB", PAYLOAD_BYTES_MAX / 1024)),
        (of_new_event("data"), format!("{DEPTH_MAX} levels")),
        (of_new_event("id"), format!("1 to {EVENT_ID_LENGTH_MAX}")),
        (of_path("/v1/hooks/{name}#post"), format!("{} KiB", DELIVERY_BYTES_MAX / 1024)),
        (of_path("/v1/hooks/{name}/rotate#post"), format!("{} hours", SECRET_RETIRES_AFTER.as_secs() / 3600)),
        ("/components/schemas/EventList/properties/after/description".to_owned(), thousands(PAGE_LOOKS_MAX)),
        (of_path("/v1/jobs/cancel#post"), thousands(BULK_JOBS_MAX)),
        (of_path("/v1/jobs/retry#post"), thousands(BULK_JOBS_MAX)),
        (of_path("/v1/runs/cancel#post"), thousands(BULK_JOBS_MAX)),
        (of_path("/v1/schedules/{name}/backfill#post"), thousands(BACKFILL_MAX)),
        (of_path("/v1/schedules/{name}/ticks#get"), format!("{} days", TICKS_KEPT_FOR.as_secs() / 86_400)),
        (
            "/components/schemas/Problem/properties/errors/description".to_owned(),
            format!("of a workflow, at most {}", limits::PROBLEMS_MAX),
        ),
        (of_path("/v1/quarantine#get"), thousands(QUARANTINE_MESSAGES_MAX as usize)),
        (of_path("/v1/quarantine#get"), format!("{} KiB", QUARANTINE_BODY_BYTES_MAX / 1024)),
        ("/components/schemas/Problem/properties/errors/description".to_owned(), PROBLEMS_MAX.to_string()),
    ] {
        let said = document.pointer(&place).and_then(Value::as_str).unwrap_or_default();
        assert!(said.replace('\n', " ").contains(&words), "{place} should say {words:?}: {said}");
    }
    let page = answer(server.get("/docs/problems")).await.text().await.unwrap();
    for words in [
        format!("1 to {KEY_LENGTH_MAX} visible ASCII characters"),
        format!("There may be {WORKFLOWS_MAX}."),
        format!("There may be {SCHEDULES_MAX}, those of workflows included."),
        format!("{RUNS_OPEN_MAX} runs may be open at once"),
        format!("remembered for {} hours", IDEMPOTENCY_KEPT_FOR.as_secs() / 3600),
        format!("at most {BATCH_ITEMS_MAX} submissions"),
        format!("{UNANNOUNCED_TYPES_MAX} types that no worker has ever announced"),
    ] {
        assert!(page.contains(&words), "/docs/problems should say {words:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn where_the_document_allows_null_it_is_taken() {
    let server = Server::start().await;
    server.announce("a.b", json!({})).await;
    let id = server.submit(json!({"type": "a.b"})).await;
    let consumer = json!({"subjects": ["a"], "then": {"job": {"type": "a"}}});
    answer(server.put("/v1/consumers/c", &consumer)).await;
    answer(server.put("/v1/workflows/c", &json!({"steps": {"a": {"job": "a.b"}}}))).await;
    let schedule = json!({"every_seconds": 60, "overlap": "allow", "job": {"type": "a.b"}});
    answer(server.put("/v1/schedules/c", &schedule)).await;
    answer(server.put("/v1/hooks/c", &json!({"verify": {"standard": {}}}))).await;
    let webhook = json!({"url": "https://shop.example/", "subjects": ["a"]});
    answer(server.put("/v1/webhooks/c", &webhook)).await;
    let document = server.read("/openapi.json").await;
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let schema = &item["post"]["requestBody"]["content"]["application/json"]["schema"];
        let choices = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
        if !choices.is_some_and(|choices| choices.contains(&json!({"type": "null"}))) {
            continue;
        }
        let is_of_run = path.starts_with("/v1/runs/");
        let path = path.replace("{id}", &id.to_string()).replace("{type}", "a.b").replace("{name}", "c");
        let status = answer(server.post(&path.replace("{step}", "a"), &Value::Null)).await.status();
        // That there is no such run is only seen once the body is read.
        assert!(status.is_success() || is_of_run && status == StatusCode::NOT_FOUND, "{path}: {status}");
        asked += 1;
    }
    assert_eq!(
        asked, 20,
        "cancel and retry of jobs and runs, decisions, triggers, rotation of hooks and webhooks, and pause and resume of types, consumers, webhooks, workflows and schedules"
    );
    server.stop().await;
}
