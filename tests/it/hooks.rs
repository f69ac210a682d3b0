//! Another service tells what happened, and a job follows from it.

use std::{fs, time::Duration};

use e2e::{
    broker,
    stack::{ProcessEnvironment, Stack},
    wait::until,
};
use reqwest::Method;
use serde_json::{Value, json};

/// How long a consumer may take to see what there is.
const SEEN_WITHIN: Duration = Duration::from_secs(15);

const SECRET: &str = "It's a Secret to Everybody";

const BODY: &str = r#"{"action":"opened","number":7}"#;

/// By `printf '{"action":"opened","number":7}' | openssl dgst -sha256 -hmac "It's a Secret to Everybody"`.
const SIGNED: &str = "sha256=34fd4221cb1c8b95d142c6dc81775bb15fcd403d46608fdf114c11b6a0f525c5";

const HOOKS: &str = r#"
name: github.issues
verify:
  hmac_sha256:
    header: X-Hub-Signature-256
    prefix: sha256=
    delivery_id_header: X-GitHub-Delivery
    secret: "It's a Secret to Everybody"
---
name: payments
verify: {standard: {}}
"#;

async fn run(stack: &Stack, arguments: &[&str]) -> (Option<i32>, String) {
    let output = stack.crewcall(arguments).unwrap().output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout) + &text(output.stderr))
}

async fn deliver(stack: &Stack, body: &str, id: &str) -> (u16, Value) {
    let headers = [("x-hub-signature-256", SIGNED), ("x-github-delivery", id)];
    let sent = stack.api.send(Method::POST, "/v1/hooks/github.issues", body.to_owned(), &headers).await;
    let (status, answer) = sent.unwrap();
    (status.as_u16(), answer)
}

#[tokio::test]
async fn a_delivery_makes_a_job_and_its_repetition_none() {
    let vhost = broker::vhost("hooks").await.unwrap();
    let environment =
        ProcessEnvironment::variables(&[("CREWCALL_LOG", "info,crewcall_backend=debug,lapin=off")]);
    let mut stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, environment).await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    let file = stack.folder().join("hooks.yaml");
    fs::write(&file, HOOKS).unwrap();
    let apply = ["hooks", "apply", "-f", file.to_str().unwrap()];
    let (code, told) = run(&stack, &apply).await;
    assert_eq!((code, told.matches("created").count()), (Some(0), 2), "{told}");
    let made = told.split_whitespace().find(|word| word.starts_with("whsec_")).unwrap().to_owned();
    let (code, told) = run(&stack, &apply).await;
    assert_eq!((code, told.matches("unchanged").count()), (Some(0), 2), "{told}");
    assert!(!told.contains("whsec_"), "it is told once: {told}");

    let settings = json!({
        "subjects": ["hook.#"],
        "then": {"job": {"type": "test.echo", "parameters": {"text": "${{ event.subject }} ${{ event.data.number }}"}}},
    });
    stack.api.put_consumer("issues", &settings).await.unwrap();
    let (status, first) = deliver(&stack, BODY, "72d3162e").await;
    assert_eq!((status, &first["subject"]), (201, &json!("hook.github.issues")), "{first}");
    assert_eq!(deliver(&stack, BODY, "72d3162e").await, (200, first.clone()), "it is known");
    assert_eq!(deliver(&stack, "{}", "72d3162f").await.0, 401, "the signature is that of another body");
    stack.backend.kill().await.unwrap();
    stack.restart_backend().await.unwrap();
    assert_eq!(deliver(&stack, BODY, "72d3162e").await, (200, first), "it is known after a restart");
    let (status, _) = deliver(&stack, BODY, "72d31630").await;
    assert_eq!(status, 201);
    let done = async || {
        let page = stack.api.json("/v1/jobs?state=completed").await.unwrap();
        page["jobs"].as_array().unwrap().len() == 2
    };
    until("the jobs of both deliveries are done", SEEN_WITHIN, done).await.unwrap();
    let jobs = stack.api.json("/v1/jobs").await.unwrap();
    for job in jobs["jobs"].as_array().unwrap() {
        assert_eq!(job["result"]["text"], "hook.github.issues 7", "{job}");
    }
    assert_eq!(stack.query("SELECT count(*) FROM jobs").unwrap(), 2, "a repetition makes none");

    let (code, told) = run(&stack, &["hooks", "rotate", "payments"]).await;
    assert!(code == Some(0) && told.contains("whsec_"), "{told}");
    for (arguments, expected) in [
        (vec!["hooks", "ls"], "github.issues"),
        (vec!["hooks", "get", "github.issues"], "x-hub-signature-256"),
        (vec!["hooks", "rm", "payments"], "payments is deleted"),
    ] {
        let (code, told) = run(&stack, &arguments).await;
        assert!(code == Some(0) && told.contains(expected), "{arguments:?}: {told}");
    }
    let log = stack.backend.log();
    assert!(log.contains("A delivery was refused."), "it logs all there is");
    assert!(!log.contains(SECRET) && !log.contains("whsec_") && !log.contains(&made[6..]), "{log}");
    stack.settle().await.unwrap();
}
