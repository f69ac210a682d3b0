//! Events are delivered to another service, which checks who sends them.

use std::{fs, time::Duration};

use crewcall_webhooks::{HeaderMap, SigningSecret, Verification};
use e2e::{
    broker,
    receiver::{Received, Receiver},
    stack::{ProcessEnvironment, Stack},
    wait::until,
};
use serde_json::{Value, json};

/// How long a delivery may take that is tried at once.
const DELIVERED_WITHIN: Duration = Duration::from_secs(20);

/// A first try that failed is followed by the next after 5 s.
const TRIED_AGAIN_WITHIN: Duration = Duration::from_secs(30);

/// A backend whose webhooks may lead to this machine, and which logs all there is.
pub(crate) async fn opened(purpose: &str) -> Stack {
    started(purpose, &[("CREWCALL_WEBHOOK_ALLOW", "127.0.0.0/8")]).await
}

pub(crate) async fn started(purpose: &str, variables: &[(&str, &str)]) -> Stack {
    let vhost = broker::vhost(purpose).await.unwrap();
    let log = ("CREWCALL_LOG", "info,crewcall_backend=debug,crewcall_worker=debug,lapin=off");
    let variables: Vec<(&str, &str)> = variables.iter().copied().chain([log]).collect();
    let environment = ProcessEnvironment::variables(&variables);
    let stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, environment).await.unwrap();
    stack.api.ready().await.unwrap();
    stack
}

/// Makes the webhook, and returns its secret.
pub(crate) async fn webhook(stack: &Stack, name: &str, url: &str) -> SigningSecret {
    let settings = json!({"url": url, "subjects": ["order.#"]});
    let path = format!("/v1/webhooks/{name}");
    let json = [("content-type", "application/json")];
    let sent = stack.api.send(reqwest::Method::PUT, &path, settings.to_string(), &json).await;
    let (status, made) = sent.unwrap();
    assert_eq!(status, 201, "{made}");
    SigningSecret::parse(made["secret"].as_str().unwrap()).unwrap()
}

pub(crate) async fn publish(stack: &Stack, data: Value) {
    let event = json!({"subject": "order.paid", "data": data});
    let (status, told) = stack.api.post("/v1/events", event).await.unwrap();
    assert_eq!(status, 201, "{told}");
}

/// What the receiver got, once it got so many.
pub(crate) async fn received(receiver: &Receiver, number: usize, within: Duration) -> Vec<Received> {
    let got = async || receiver.received().len() >= number;
    until("the receiver got the messages", within, got).await.unwrap();
    assert_eq!(receiver.received().len(), number);
    receiver.received()
}

/// Checks a message as its receiver would, and returns its id.
pub(crate) fn checked(message: &Received, secret: &SigningSecret) -> String {
    let mut headers = HeaderMap::new();
    for (name, value) in &message.headers {
        headers.insert(name.parse::<crewcall_webhooks::HeaderName>().unwrap(), value.parse().unwrap());
    }
    let sent_at = message.headers["webhook-timestamp"].parse().unwrap();
    let verification = Verification::Standard { secrets: vec![secret.clone()] };
    verification.verify(&headers, &message.body, sent_at).unwrap().unwrap()
}

/// The deliveries that ended, oldest first, once there are so many.
pub(crate) async fn ended(stack: &Stack, number: usize) -> Vec<Value> {
    let path = "/v1/jobs?type=crewcall.webhook&state=completed&state=failed";
    let is_so = |page: &Value| page["jobs"].as_array().is_some_and(|jobs| jobs.len() == number);
    let page = stack.api.json_when_within(TRIED_AGAIN_WITHIN, path, is_so).await.unwrap();
    let mut jobs = page["jobs"].as_array().unwrap().clone();
    jobs.reverse();
    jobs
}

async fn run(stack: &Stack, arguments: &[&str]) -> (Option<i32>, String) {
    let output = stack.crewcall(arguments).unwrap().output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout) + &text(output.stderr))
}

#[tokio::test]
async fn an_event_is_delivered_signed_and_no_secret_is_left_behind() {
    let receiver = Receiver::answering(&[]).await.unwrap();
    let mut stack = opened("webhooks").await;
    let file = stack.folder().join("webhooks.yaml");
    fs::write(&file, format!("name: shop\nurl: {}\nsubjects: [order.#]\n", receiver.url())).unwrap();
    let apply = ["webhooks", "apply", "-f", file.to_str().unwrap()];
    let (code, told) = run(&stack, &apply).await;
    assert!(code == Some(0) && told.contains("created"), "{told}");
    let made = told.split_whitespace().find(|word| word.starts_with("whsec_")).unwrap().to_owned();
    let first = SigningSecret::parse(&made).unwrap();
    publish(&stack, json!({"id": 9_007_199_254_740_993_u64})).await;
    let message = received(&receiver, 1, DELIVERED_WITHIN).await.remove(0);
    let job = ended(&stack, 1).await.remove(0);
    assert_eq!(checked(&message, &first), format!("msg_{}", job["id"].as_str().unwrap()));
    assert_eq!(message.headers["content-type"], "application/json");
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(
        (&body["type"], &body["data"]["id"]),
        (&json!("order.paid"), &json!(9_007_199_254_740_993_u64))
    );
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'), "{body}");
    assert_eq!((&job["state"], &job["result"]["status"]), (&json!("completed"), &json!(200)), "{job}");

    let (code, told) = run(&stack, &["webhooks", "rotate", "shop"]).await;
    let second = told.split_whitespace().find(|word| word.starts_with("whsec_")).unwrap().to_owned();
    assert_eq!(code, Some(0), "{told}");
    stack.backend.kill().await.unwrap();
    stack.restart_backend().await.unwrap();
    publish(&stack, json!({"id": 2})).await;
    let message = received(&receiver, 2, DELIVERED_WITHIN).await.remove(1);
    let ids = [checked(&message, &first), checked(&message, &SigningSecret::parse(&second).unwrap())];
    assert_eq!(ids[0], ids[1], "both secrets sign for a day");
    ended(&stack, 2).await;

    let dump = stack.query(
        "SELECT count(*) FROM job_payloads WHERE parameters LIKE '%hidden-key%' OR parameters LIKE '%whsec_%'",
    );
    assert_eq!(dump.unwrap(), 0, "no job knows where it goes to");
    let log = stack.backend.log();
    for hidden in ["whsec_", &made[6..], &second[6..], "hidden-key"] {
        assert!(!log.contains(hidden), "{hidden} is in the log");
    }
    for (arguments, expected) in [
        (vec!["webhooks", "ls"], "shop"),
        (vec!["webhooks", "get", "shop"], "following"),
        (vec!["webhooks", "pause", "shop"], "paused"),
        (vec!["webhooks", "resume", "shop"], "shop"),
        (vec!["webhooks", "rm", "shop"], "shop is deleted"),
    ] {
        let (code, told) = run(&stack, &arguments).await;
        assert!(code == Some(0) && told.contains(expected), "{arguments:?}: {told}");
        assert!(!told.contains("whsec_"), "{told}");
    }
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn what_failed_comes_again_with_the_same_id() {
    let busy = "HTTP/1.1 500 Oops\r\ncontent-length: 9\r\nconnection: close\r\n\r\nlater\x1b[0m";
    let receiver = Receiver::answering(&[busy]).await.unwrap();
    let mut stack = opened("webhooks-again").await;
    let secret = webhook(&stack, "shop", &receiver.url()).await;
    publish(&stack, json!({"id": 1})).await;
    let messages = received(&receiver, 2, TRIED_AGAIN_WITHIN).await;
    assert_eq!(checked(&messages[0], &secret), checked(&messages[1], &secret));
    assert_eq!(messages[0].body, messages[1].body);
    let job = ended(&stack, 1).await.remove(0);
    let job = stack.api.job(job["id"].as_str().unwrap()).await.unwrap();
    let error = &job["attempts"][0]["error"];
    assert_eq!((&error["code"], &job["attempt"]), (&json!("http_500"), &json!(2)), "{job}");
    assert_eq!(error["message"], "the receiver answered 500 Internal Server Error");
    assert_eq!(error["detail"], "its answer begins: later [0m");
    let labels = "outcome=\"failed\",webhook=\"shop\"";
    assert!((stack.api.metric("crewcall_webhook_tries_total", labels).await.unwrap() - 1.0).abs() < 0.1);
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_wants_no_more_is_left_alone_until_somebody_says_so() {
    let gone = "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let receiver = Receiver::answering(&[gone]).await.unwrap();
    let mut stack = opened("webhooks-gone").await;
    webhook(&stack, "shop", &receiver.url()).await;
    publish(&stack, json!({"id": 1})).await;
    let job = ended(&stack, 1).await.remove(0);
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("webhook_gone")), "{job}");
    let shown = stack.api.json("/v1/webhooks/shop").await.unwrap();
    let reason = "the receiver answered 410 Gone: it wants no more";
    assert_eq!((&shown["pause"]["by"], &shown["pause"]["reason"]), (&json!("crewcall"), &json!(reason)));
    publish(&stack, json!({"id": 2})).await;
    let shown = stack.api.json_when("/v1/webhooks/shop", |shown| shown["lag_events"] == 1).await.unwrap();
    assert_eq!(shown["state"], "paused");
    let (status, _) = stack.api.post("/v1/webhooks/shop/resume", json!({})).await.unwrap();
    assert_eq!(status, 200);
    let messages = received(&receiver, 2, DELIVERED_WITHIN).await;
    let body: Value = serde_json::from_slice(&messages[1].body).unwrap();
    assert_eq!(body["data"]["id"], 2);
    ended(&stack, 2).await;
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_webhook_that_wants_all_jobs_does_not_hear_of_its_own_deliveries() {
    let receiver = Receiver::answering(&[]).await.unwrap();
    let mut stack = opened("webhooks-loop").await;
    let settings = json!({"url": receiver.url(), "subjects": ["job.#"]});
    let json = [("content-type", "application/json")];
    let put = stack.api.send(reqwest::Method::PUT, "/v1/webhooks/all", settings.to_string(), &json).await;
    assert_eq!(put.unwrap().0, 201);
    let _worker = stack.worker(&["test.echo"], 4).await.unwrap();
    for text in ["a", "b"] {
        stack.submit("test.echo", json!({"text": text})).await.unwrap();
    }
    received(&receiver, 2, DELIVERED_WITHIN).await;
    ended(&stack, 2).await;
    let shown = |shown: &Value| shown["state"] == "following" && shown["in_flight"] == 0;
    stack.api.json_when("/v1/webhooks/all", shown).await.unwrap();
    assert_eq!(
        stack.query("SELECT count(*) FROM events").unwrap(),
        2,
        "the ends of deliveries are no events"
    );
    assert_eq!(receiver.received().len(), 2);
    stack.settle().await.unwrap();
}
