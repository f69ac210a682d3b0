//! `crewcall status`, `doctor` and `topology` against a real backend and a real broker, healthy and not.

use std::process::Output;

use crewcall_amqp::{Declaration, LinkConfig, Publisher, PublisherOptions};
use crewcall_dev_broker::DevBroker;
use e2e::{broker, process::command, stack::Stack};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

async fn run(stack: &Stack, arguments: &[&str]) -> Output {
    let mut crewcall = stack.crewcall(arguments).unwrap();
    crewcall.env("CREWCALL_AMQP_URL", &stack.amqp_url).output().await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn report(stack: &Stack, command: &str) -> (Option<i32>, Value) {
    let output = run(stack, &[command, "-o", "json"]).await;
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|_| panic!("{}", text(&output.stderr))))
}

fn codes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// What the broker has: everything that may be declared, with what it is, and how much is in it.
async fn declared(node: &DevBroker, vhost: &str) -> String {
    let mut all = String::new();
    for list in [
        &["list_queues", "name", "messages", "arguments", "policy"][..],
        &["list_exchanges", "name", "type", "arguments"],
        &["list_bindings", "source_name", "destination_name", "routing_key"],
    ] {
        let words = [&["-p", vhost, "-q"], list].concat();
        let said = node.ctl(&words).await.unwrap();
        let mut lines: Vec<&str> = said.lines().filter(|line| !line.contains(".worker.")).collect();
        lines.sort_unstable();
        all.push_str(&lines.join("\n"));
    }
    all
}

/// A backend on a virtual host that is known by name.
async fn installation(purpose: &str) -> (Stack, &'static DevBroker, String) {
    let vhost = broker::vhost(purpose).await.unwrap();
    let stack = Stack::start_on(vhost.url).await.unwrap();
    stack.api.ready().await.unwrap();
    (stack, broker::shared_broker().await.unwrap(), vhost.name)
}

#[tokio::test]
async fn a_healthy_installation_is_healthy_and_looking_changes_nothing() {
    let (mut stack, node, vhost) = installation("doctor").await;
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let done = stack.submit("test.echo", json!({"text": "a"})).await.unwrap();
    stack.api.wait_for_end(&done).await.unwrap();
    let before = declared(node, &vhost).await;
    for command in ["status", "doctor"] {
        let output = run(&stack, &[command]).await;
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{command}: {shown}{}", text(&output.stderr));
        assert!(shown.contains("all is well") && shown.contains("1 completed"), "{shown}");
    }
    let (_, doctor) = report(&stack, "doctor").await;
    assert!(doctor["areas"].to_string().contains("RabbitMQ "), "{doctor}");
    let topology = run(&stack, &["topology", "-o", "jsonl"]).await;
    assert_eq!(topology.status.code(), Some(0), "{}", text(&topology.stderr));
    let shown = text(&topology.stdout);
    assert!(shown.contains("\"crewcall.jobs.test.echo\"") && shown.contains("5 deliveries"), "{shown}");
    assert_eq!(declared(node, &vhost).await, before);
    // Nothing was taken from anybody.
    stack.check_resumes("test.echo", json!({"text": "b"})).await.unwrap();
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_is_found_with_what_to_do() {
    let (mut stack, node, vhost) = installation("doctor-sick").await;
    declare_otherwise(&stack.amqp_url, "crewcall.jobs.test.other").await;
    stack.expect_error("A type has no queue");
    let _worker = stack.worker(&["test.echo", "test.other"], 1).await.unwrap();
    let waits = stack.submit("test.unserved", json!({})).await.unwrap();
    stack.api.job_when(&waits, |job| job["state"] == "unroutable").await.unwrap();
    let (code, status) = report(&stack, "status").await;
    assert_eq!(code, Some(1), "{status}");
    assert_eq!(codes(&status), ["type-queue", "type-unserved"]);
    let (code, doctor) = report(&stack, "doctor").await;
    assert_eq!((code, codes(&doctor)), (Some(1), vec!["type-queue", "drift", "type-unserved"]));
    let drift = doctor["findings"][1].to_string();
    for word in
        ["crewcall.jobs.test.other", "x-delivery-limit", "received '5' but current is '7'", "delete_queue"]
    {
        assert!(drift.contains(word), "{word} is missing in {drift}");
    }
    // The fix is as it is said: then only what is no error is left.
    node.ctl(&["-p", &vhost, "delete_queue", "crewcall.jobs.test.other"]).await.unwrap();
    stack.api.json_when("/v1/types/test.other", |found| found["queue_error"].is_null()).await.unwrap();
    let (code, status) = report(&stack, "status").await;
    assert_eq!((code, codes(&status)), (Some(6), vec!["type-unserved"]));
    let cancelled = run(&stack, &["jobs", "cancel", &waits]).await;
    assert_eq!(cancelled.status.code(), Some(0));
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_broker_without_its_backend_is_looked_at_all_the_same() {
    let (mut stack, node, vhost) = installation("doctor-alone").await;
    stack.backend.kill().await.unwrap();
    node.ctl(&["-p", &vhost, "delete_queue", "crewcall.held"]).await.unwrap();
    let (code, doctor) = report(&stack, "doctor").await;
    assert_eq!(code, Some(5), "{doctor}");
    let found = codes(&doctor);
    assert!(found.contains(&"backend-unreachable") && found.contains(&"missing"), "{found:?}");
    assert!(found.contains(&"unread"), "{found:?}");
    let topology = run(&stack, &["topology"]).await;
    let shown = text(&topology.stdout);
    assert_eq!(topology.status.code(), Some(1), "{shown}{}", text(&topology.stderr));
    assert!(shown.lines().any(|line| line.contains("crewcall.held ") && line.contains("missing")), "{shown}");
    // A user who may do nothing.
    for words in [
        &["add_user", "guest-only", "guest-only"][..],
        &["set_permissions", "-p", &vhost, "guest-only", "^$", "^$", "^$"],
    ] {
        node.ctl(words).await.unwrap();
    }
    let url = stack.amqp_url.replace("guest:guest@", "guest-only:guest-only@");
    let url =
        if url == stack.amqp_url { url.replace("amqp://", "amqp://guest-only:guest-only@") } else { url };
    let output =
        stack.crewcall(&["doctor", "-o", "name", "--amqp-url", &url]).unwrap().output().await.unwrap();
    let said = text(&output.stdout);
    assert!(said.lines().any(|line| line == "permission"), "{said}{}", text(&output.stderr));
}

#[tokio::test]
async fn nobody_there_is_said_in_a_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let crewcall = async |arguments: &[&str]| {
        let mut crewcall = command("crewcall", folder.path()).unwrap();
        crewcall.args(arguments).env("CREWCALL_URL", "http://127.0.0.1:1").output().await.unwrap()
    };
    let status = crewcall(&["status"]).await;
    assert_eq!((status.status.code(), text(&status.stdout).as_str()), (Some(5), ""));
    let doctor = crewcall(&["doctor", "-o", "name", "--amqp-url", "amqp://127.0.0.1:1"]).await;
    assert_eq!(doctor.status.code(), Some(5));
    assert_eq!(text(&doctor.stdout), "backend-unreachable\nbroker-unreachable\n");
    let unsaid = crewcall(&["topology"]).await;
    assert_eq!(unsaid.status.code(), Some(2));
    assert!(text(&unsaid.stderr).contains("--amqp-url"), "{}", text(&unsaid.stderr));
    let nowhere = crewcall(&["topology", "--amqp-url", "amqp://127.0.0.1:1"]).await;
    assert_eq!(nowhere.status.code(), Some(5), "{}", text(&nowhere.stderr));
}

/// Declares a queue as somebody else might.
async fn declare_otherwise(amqp_url: &str, queue: &str) {
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let link = LinkConfig::new(amqp_url, "somebody else");
    let publisher = Publisher::start(link, Vec::new(), PublisherOptions::default(), &stop, &tracker);
    let declaration = Declaration::QuorumQueue {
        name: queue.to_owned(),
        delivery_limit: Some(7),
        dead_letter_exchange: Some("crewcall.dead".to_owned()),
        length_max: None,
    };
    publisher.declare(vec![declaration]).await.unwrap();
    publisher.close().await;
}
