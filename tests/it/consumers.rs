//! Events make jobs: an order is paid, so its invoice is written, and whoever wants to know that it failed is told.

use std::fs;

use e2e::{stack::Stack, wait::until};
use reqwest::Method;
use serde_json::{Value, json};

/// How long a consumer may take to see what there is.
const SEEN_WITHIN: std::time::Duration = std::time::Duration::from_secs(15);

const CONSUMERS: &str = r#"
name: echoes
subjects: [order.paid]
if: event.data.total > 100
then:
  job:
    type: test.echo
    parameters: {text: "order ${{ event.data.id }}"}
    labels: {order: "${{ event.data.id }}"}
---
name: failures
subjects: [order.lost]
then:
  job: {type: test.fail, parameters: {message: "${{ event.data.why }}", permanent: true}}
---
name: told
subjects: [job.failed.test.fail]
then:
  job: {type: test.echo, parameters: {text: "${{ event.data.error.message }}"}, labels: {told: "true"}}
"#;

async fn run(stack: &Stack, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = stack.crewcall(arguments).unwrap().output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn jobs(stack: &Stack, filter: &str) -> Vec<Value> {
    let page = stack.api.json(&format!("/v1/jobs?limit=500&{filter}")).await.unwrap();
    page["jobs"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_event_makes_a_job_and_its_end_another() {
    let mut stack = Stack::start("consumers").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.fail"], 4).await.unwrap();
    let file = stack.folder().join("consumers.yaml");
    fs::write(&file, CONSUMERS).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let apply = ["consumers", "apply", "-f", &file];
    let (code, out, err) = run(&stack, &apply).await;
    assert_eq!((code, out.matches("created").count()), (Some(0), 3), "{out}{err}");
    let (code, out, err) = run(&stack, &apply).await;
    assert_eq!((code, out.matches("unchanged").count()), (Some(0), 3), "{out}{err}");
    for (subject, data) in [
        ("order.paid", json!({"id": 7, "total": 250})),
        ("order.paid", json!({"id": 8, "total": 20})),
        ("order.lost", json!({"why": "Grüße"})),
    ] {
        let (status, answer) =
            stack.api.post("/v1/events", json!({"subject": subject, "data": data})).await.unwrap();
        assert_eq!(status.as_u16(), 201, "{answer}");
    }
    let ended = async || {
        let told = jobs(&stack, "label.told=true&state=completed").await;
        let echoed = jobs(&stack, "label.order=7&state=completed").await;
        !told.is_empty() && !echoed.is_empty()
    };
    until("the jobs that follow are done", SEEN_WITHIN, ended).await.unwrap();
    let echoed = jobs(&stack, "label.order=7").await;
    assert_eq!((echoed.len(), &echoed[0]["result"]["text"]), (1, &json!("order 7")));
    let told = jobs(&stack, "label.told=true").await;
    assert_eq!((told.len(), &told[0]["result"]["text"]), (1, &json!("Grüße")));
    assert_eq!(stack.query("SELECT count(*) FROM jobs").unwrap(), 3, "the cheap order made none");
    let told = stack.api.job(told[0]["id"].as_str().unwrap()).await.unwrap();
    assert_eq!((&told["cause"]["depth"], &told["cause"]["root"]), (&json!(2), &json!("event 3")));
    for (arguments, expected) in [
        (vec!["consumers", "ls"], "following"),
        (vec!["consumers", "get", "told"], "job.failed.test.fail"),
        (vec!["consumers", "pause", "told", "--reason", "lunch"], "told"),
        (vec!["consumers", "get", "told"], "lunch"),
        (vec!["consumers", "resume", "told"], "told"),
        (vec!["consumers", "seek", "echoes", "--oldest", "--yes"], "4"),
        (vec!["consumers", "replay", "echoes", "--after", "0", "--to", "1"], "echoes"),
        (vec!["jobs", "get", told["id"].as_str().unwrap()], "consumer told"),
    ] {
        let (code, out, err) = run(&stack, &arguments).await;
        assert!(code == Some(0) && (out.clone() + &err).contains(expected), "{arguments:?}: {out}{err}");
    }
    let three = async || jobs(&stack, "label.order=7&state=completed").await.len() == 3;
    until("the order is echoed for the seek and for the replay", SEEN_WITHIN, three).await.unwrap();
    assert_eq!(run(&stack, &["consumers", "rm", "told"]).await.0, Some(0));
    let gone = stack.api.send(Method::DELETE, "/v1/consumers/told", String::new(), &[]).await.unwrap();
    assert_eq!(gone.0.as_u16(), 404);
    stack.settle().await.unwrap();
}
