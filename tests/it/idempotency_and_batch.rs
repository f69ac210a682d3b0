//! Submitting once though the request is sent twice, and submitting many at once.

use std::collections::BTreeSet;

use e2e::stack::Stack;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_hundred_submissions_with_one_key_are_one_job() {
    let mut stack = Stack::start("idempotency").await.unwrap();
    let body = json!({"type": "test.echo", "parameters": {"text": "once"}}).to_string();
    let key = [("Idempotency-Key", "order-4711")];
    let sent = (0..100).map(|_| stack.api.send(Method::POST, "/v1/jobs", body.clone(), &key));
    let (mut ids, mut created) = (BTreeSet::new(), 0);
    for answer in join_all(sent).await {
        let (status, job) = answer.unwrap();
        assert!(matches!(status.as_u16(), 200 | 201), "{status} {job}");
        created += u32::from(status.as_u16() == 201);
        ids.insert(job["id"].as_str().unwrap().to_owned());
    }
    assert_eq!((ids.len(), created), (1, 1));
    let other = json!({"type": "test.echo", "parameters": {"text": "twice"}}).to_string();
    let (status, problem) = stack.api.send(Method::POST, "/v1/jobs", other, &key).await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("idempotency-key-reused")), "{problem}");
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    ids.into_iter().for_each(|id| stack.accepted(id));
    stack.settled().await.unwrap();
}

#[tokio::test]
async fn one_bad_item_does_not_spoil_a_batch() {
    let mut stack = Stack::start("batch").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    let mut items: Vec<Value> = (0..1_000)
        .map(|number| json!({"type": "test.echo", "parameters": {"text": number.to_string()}}))
        .collect();
    items[500] = json!({"type": "No Type"});
    items[700] = json!({"type": "test.echo", "parameters": {"text": 7}});
    let (status, answer) = stack.api.post("/v1/jobs/batch", Value::Array(items.clone())).await.unwrap();
    assert_eq!((status.as_u16(), &answer["accepted"], &answer["refused"]), (200, &json!(998), &json!(2)));
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results[500]["problem"]["errors"][0]["pointer"], "/type");
    assert_eq!(results[700]["problem"]["code"], "invalid-parameters");
    let lines: String = items.iter().map(|item| format!("{item}\n")).collect();
    let headers = [("Content-Type", "application/x-ndjson")];
    let (status, again) = stack.api.send(Method::POST, "/v1/jobs/batch", lines, &headers).await.unwrap();
    assert_eq!((status.as_u16(), &again["accepted"]), (200, &json!(998)), "{}", again["results"][0]);
    for result in results.iter().chain(again["results"].as_array().unwrap()) {
        if let Some(id) = result["id"].as_str() {
            stack.accepted(id.to_owned());
        }
    }
    stack.settled().await.unwrap();
}
