//! Submitting many at once.

use e2e::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};

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
            stack.remember_accepted(id.to_owned());
        }
    }
    stack.settle().await.unwrap();
}
