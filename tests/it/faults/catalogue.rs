//! Types as workers announce them, and as nobody uses them any more: schemas that would stop the backend, types that it
//! forgets, and what a job says of a worker that fell silent.

use std::time::Duration;

use crewcall_proto::{JobType, JsonObject, MessageKind, discovery::Announcement};
use e2e::{raw_worker::RawWorker, stack::Stack};
use serde_json::{Value, json};
use tokio::time::Instant;

/// How long a small request may take on a machine with much to do, while others are checked.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// How many submissions come at once.
const SUBMISSIONS: usize = 8;

fn announcement(raw_worker: &RawWorker, types: &[(&str, Value)]) -> Announcement {
    let types: Vec<_> =
        types.iter().map(|(name, schema)| (*name, schema.as_object().unwrap().clone())).collect();
    raw_worker.announcement(&types).unwrap()
}

/// Definitions that each refer twice to the next one, a pattern that backtracks, and a schema that refers to itself in
/// many places: each would hold a processor for seconds or for ever. Submissions of these types come at once; they are
/// answered, and so is everybody else.
#[tokio::test]
async fn f92_a_schema_that_would_stop_the_backend() {
    let mut stack = Stack::start("f92").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let raw_worker = RawWorker::start(&stack.amqp_url);
    let types = [("test.doubled", doubled()), ("test.back", backtracking()), ("test.itself", itself())];
    raw_worker.discover(MessageKind::Announce, &announcement(&raw_worker, &types)).await.unwrap();
    for (name, _) in &types {
        stack.api.served_by(name, 1).await.unwrap();
    }
    for (name, reason) in [("test.doubled", "10000 parts"), ("test.back", "backtracking")] {
        let shown = stack.api.json(&format!("/v1/types/{name}")).await.unwrap();
        assert!(shown["schema_error"].as_str().unwrap().contains(reason), "{shown}");
    }
    let deep =
        (0..26).fold(json!({"op": "none"}), |inner, _| json!({"op": "pow", "left": inner, "right": {}}));
    let texts = vec!["a".repeat(30) + "!"; 400];
    let submissions = [
        (json!({"type": "test.doubled", "parameters": {"x": 7}}), 201),
        (json!({"type": "test.back", "parameters": {"x": texts}}), 201),
        (json!({"type": "test.itself", "parameters": {"x": deep}}), 422),
    ];
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for (submission, status) in &submissions {
        let sent = (0..SUBMISSIONS).map(|_| stack.api.post("/v1/jobs", submission.clone()));
        let (answers, alive) = tokio::join!(futures_util::future::join_all(sent), async {
            let asked = Instant::now();
            stack.api.json("/livez").await.unwrap();
            asked.elapsed()
        });
        slowest = slowest.max(alive);
        for answer in answers {
            let (answered, body) = answer.unwrap();
            assert_eq!(answered.as_u16(), *status, "{body}");
            if let Some(id) = body["id"].as_str() {
                stack.remember_accepted(id.to_owned());
            }
        }
    }
    let took = began.elapsed();
    assert!(slowest < ANSWERED_WITHIN, "{slowest:?}");
    let resumed = stack.check_resumes("test.echo", json!({"text": "goes on"})).await.unwrap();
    let (status, _) = stack.api.post("/v1/jobs/cancel", json!({"filter": {"type": "test.*"}})).await.unwrap();
    assert!(status.is_success(), "{status}");
    let mut found = stack.settle().await.unwrap();
    raw_worker.vanish().await;
    found.hold(
        "I10",
        format_args!(
            "{} submissions of such types were answered in {took:.1?}, /livez within {slowest:.1?}",
            3 * SUBMISSIONS
        ),
    );
    found.hold("I14", format_args!("another type was served within {resumed:.1?}"));
    found.print("F92 a schema that would stop the backend");
}

fn doubled() -> Value {
    let mut definitions = JsonObject::new();
    for level in 0..20 {
        let next = json!({"$ref": format!("#/$defs/a{}", level + 1)});
        definitions.insert(format!("a{level}"), json!({"allOf": [next, next]}));
    }
    definitions.insert("a20".to_owned(), json!({"type": "string"}));
    json!({"$defs": definitions, "properties": {"x": {"$ref": "#/$defs/a0"}}})
}

fn backtracking() -> Value {
    let pattern = "^(?=.*a)(([a-z]+)*)+\\1$";
    json!({"properties": {"x": {"type": "array", "items": {"type": "string", "pattern": pattern}}}})
}

fn itself() -> Value {
    let of = |operation: &str| {
        let side = json!({"$ref": "#/$defs/operation"});
        json!({"properties": {"op": {"const": operation}, "left": side, "right": side}})
    };
    let operations: Vec<Value> = ["add", "sub", "mul", "div", "pow"].map(of).into();
    json!({"$defs": {"operation": {"anyOf": operations}}, "properties": {"x": {"$ref": "#/$defs/operation"}}})
}

/// A type that has neither jobs nor workers is deleted, and its queue with it; while it has either, it is not. Whoever
/// submits and serves it again finds it as if it were new.
#[tokio::test]
async fn f93_a_type_is_deleted_and_comes_back() {
    let mut stack = Stack::start("f93").await.unwrap();
    let observer = RawWorker::start(&stack.amqp_url);
    let (path, name) = ("/v1/types/test.gone", JobType::new("test.gone").unwrap());
    let delete = async |stack: &Stack| {
        stack.api.send(reqwest::Method::DELETE, path, String::new(), &[]).await.unwrap().0
    };
    let raw_worker = RawWorker::start(&stack.amqp_url);
    raw_worker.announce(&name).await.unwrap();
    stack.api.served_by("test.gone", 1).await.unwrap();
    assert_eq!(delete(&stack).await.as_u16(), 409, "it has a worker");
    raw_worker.discover(MessageKind::Goodbye, &goodbye(&raw_worker)).await.unwrap();
    stack.api.json_when(path, |shown| shown["workers"] == 0).await.unwrap();
    assert_eq!(observer.depth_of("crewcall.jobs.test.gone").await.unwrap(), Some(0));
    assert_eq!(delete(&stack).await.as_u16(), 204);
    assert_eq!(observer.depth_of("crewcall.jobs.test.gone").await.unwrap(), None, "its queue is gone");
    assert_eq!(stack.api.get(path).await.unwrap().0.as_u16(), 404);

    let id = stack.submit("test.gone", json!({"text": "back"})).await.unwrap();
    let job = stack.api.job_when(&id, |job| job["state"] == "unroutable").await.unwrap();
    assert_eq!(job["waiting_for"]["reason"], "first_worker", "{job}");
    assert_eq!(delete(&stack).await.as_u16(), 409, "it has a job");
    raw_worker.announce(&name).await.unwrap();
    let taken = raw_worker.take(&name).await.unwrap();
    raw_worker.complete(&taken, json!("done")).await.unwrap();
    taken.delivery.ack().await.unwrap();
    assert_eq!(stack.api.wait_for_end(&id).await.unwrap()["state"], "completed");
    let mut found = stack.settle().await.unwrap();
    raw_worker.vanish().await;
    observer.vanish().await;
    found.hold("I9", "the job of a deleted type waited for its first worker, and was done when one came");
    found.hold("I10", "the type's queue was deleted with it");
    found.print("F93 a type is deleted and comes back");
}

fn goodbye(raw_worker: &RawWorker) -> crewcall_proto::discovery::Goodbye {
    crewcall_proto::discovery::Goodbye {
        worker_id: raw_worker.worker_id.clone(),
        reason: "drained".to_owned(),
        handed_back: None,
    }
}

/// A worker reports that it began, and half of its work, and falls silent while its connection stays up: its job says so,
/// and not that it runs. When the broker has delivered the order to another worker, the job says that it runs there, and
/// the other's progress is not that of the first.
#[tokio::test]
async fn f94_a_job_says_that_its_worker_fell_silent() {
    let mut stack = Stack::start("f94").await.unwrap();
    let name = JobType::new("test.steps").unwrap();
    let raw_worker = RawWorker::start(&stack.amqp_url);
    raw_worker.announce(&name).await.unwrap();
    stack.api.served_by("test.steps", 1).await.unwrap();
    let id = stack.submit("test.steps", json!({})).await.unwrap();
    let sent = stack.api.job_when(&id, |job| job["state"] == "dispatched").await.unwrap();
    assert_eq!(sent["waiting_for"]["reason"], "start", "{sent}");
    let taken = raw_worker.take(&name).await.unwrap();
    raw_worker.report_start(&taken).await.unwrap();
    raw_worker.report_progress(&taken, 2, 80).await.unwrap();
    let runs = stack.api.job_when(&id, |job| job["progress"]["percent"] == 80).await.unwrap();
    assert_eq!(runs["waiting_for"]["reason"], "response", "{runs}");
    let silent = stack.api.job_when(&id, |job| job["waiting_for"]["reason"] == "redelivery").await.unwrap();
    let sentence = silent["waiting_for"]["message"].as_str().unwrap().to_owned();
    assert!(
        sentence.contains("fell silent") && sentence.contains(raw_worker.worker_id.as_str()),
        "{sentence}"
    );

    let other = RawWorker::start(&stack.amqp_url);
    other.announce(&name).await.unwrap();
    drop(taken);
    raw_worker.vanish().await;
    let again = other.take(&name).await.unwrap();
    assert_eq!(again.order.job_id.to_string(), id);
    other.report_start(&again).await.unwrap();
    let runs = stack.api.job_when(&id, |job| job["worker_id"] == other.worker_id.as_str()).await.unwrap();
    assert_eq!(
        (&runs["waiting_for"]["reason"], &runs["progress"]),
        (&json!("response"), &Value::Null),
        "{runs}"
    );
    other.report_progress(&again, 2, 10).await.unwrap();
    stack.api.job_when(&id, |job| job["progress"]["percent"] == 10).await.unwrap();
    other.complete(&again, json!("done")).await.unwrap();
    again.delivery.ack().await.unwrap();
    stack.api.wait_for_end(&id).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    other.vanish().await;
    found.hold("I8", "the second execution began at nothing, and was seen at 10 %");
    found.hold("I9", format_args!("meanwhile the job said: {sentence}"));
    found.print("F94 a worker falls silent, and its job says so");
}
