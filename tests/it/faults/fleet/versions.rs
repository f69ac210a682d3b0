//! Workers of other versions than the backend (F51).

use std::{collections::BTreeMap, time::Duration};

use crewcall_proto::{ContentType, JobType, MessageKind, Topology};
use e2e::{
    process::{PATIENCE, Process},
    raw_worker::{RawWorker, Taken},
    stack::Stack,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::corpus::released;

/// How many jobs two builds of a worker share.
const JOBS: usize = 60;

/// A worker says nothing but the bytes of the first release: every released message in both encodings, and
/// for a job of its own the shortest forms, without a single optional field. The backend reads all of it, and
/// the job is done.
#[tokio::test]
async fn f51_a_worker_of_the_first_release_works() {
    let mut stack = Stack::start("elder").await.unwrap();
    let (elder, names) = (RawWorker::start(&stack.amqp_url), Topology::default());
    let job_type = JobType::new("image.thumbnail").unwrap();
    let mut sent = 0_u32;
    for kind in [MessageKind::Announce, MessageKind::Heartbeat] {
        for (body, content_type) in released(kind) {
            elder.send(&names.discovery_exchange(), kind.as_str(), body, content_type).await.unwrap();
            sent += 1;
        }
    }
    // Of the two announcements the shorter one names no type; the other one shall be the last.
    let full = |message: &Value| message["types"].as_array().is_some_and(|types| !types.is_empty());
    let announcement = json_of(MessageKind::Announce).into_iter().find(full).unwrap();
    say(&elder, MessageKind::Announce, &announcement).await;
    stack.api.served_by("image.thumbnail", 1).await.unwrap();
    let mut responses = 0_u32;
    for kind in [MessageKind::Completed, MessageKind::Error, MessageKind::Held, MessageKind::Progression] {
        for (body, content_type) in released(kind) {
            responses += 1;
            let key = names.response_key(kind, &job_type);
            elder.send(&names.response_exchange(), &key, body, content_type).await.unwrap();
        }
    }
    let id = stack.submit("image.thumbnail", json!({"source": "fjord.jpg"})).await.unwrap();
    let taken = elder.take(&job_type).await.unwrap();
    for kind in [MessageKind::Progression, MessageKind::Completed] {
        let shortest = json_of(kind).into_iter().min_by_key(fields);
        say_of(&elder, kind, &taken, shortest.unwrap()).await;
    }
    taken.delivery.ack().await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(job["state"], "completed", "{job}");
    let read = async || stack.api.stale("unknown_job").await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while read().await < f64::from(responses) {
        assert!(Instant::now() < deadline, "{} of {responses} released responses were read", read().await);
        sleep(Duration::from_millis(50)).await;
    }
    let unreadable = stack.api.metric("crewcall_messages_malformed_total", "").await.unwrap();
    assert_eq!(unreadable, 0.0, "a released message could not be read");
    elder.vanish().await;
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I15",
        format_args!("{} released messages were read, and none was quarantined", sent + responses),
    );
    found.hold("I1", "a worker that knows the first release alone did its job");
    found.print("F51 a worker of an older protocol");
}

/// A worker of a later version adds fields everywhere, and words in the place of a kind or status that nobody
/// knows yet. The backend ignores what it does not know, and its jobs end. A worker of ours ignores an
/// instruction of an unknown kind, and refuses an order of a later protocol with words that say what to do.
#[tokio::test]
async fn f51_a_worker_of_a_later_protocol_works() {
    let mut stack = Stack::start("heir").await.unwrap();
    let (heir, names) = (RawWorker::start(&stack.amqp_url), Topology::default());
    let job_type = JobType::new("test.heir").unwrap();
    let mut announcement = json_of(MessageKind::Announce).pop().unwrap();
    announcement["types"] = json!([{
        "job_type": "test.heir", "description": "", "version": "9",
        "parameters_schema": {}, "result_schema": {},
        "costs": {"per_hour": 3},
    }]);
    announcement["worker_id"] = json!("heir-1");
    announcement["content_type"] = json!("application/json");
    announcement["bundles"] = json!(true);
    say(&heir, MessageKind::Announce, &announcement).await;
    stack.api.served_by("test.heir", 1).await.unwrap();
    let mut heartbeat = json_of(MessageKind::Heartbeat).pop().unwrap();
    heartbeat["worker_id"] = json!("heir-1");
    heartbeat["status"] = json!("dreaming");
    heartbeat["temperature"] = json!(36.6);
    say(&heir, MessageKind::Heartbeat, &heartbeat).await;

    let mut ends = Vec::new();
    for (kind, changes, state) in [
        (
            MessageKind::Completed,
            json!({"result": {"done": true}, "events": [], "energy": {"joules": 12}}),
            "completed",
        ),
        (MessageKind::Error, json!({"kind": "cosmic_ray", "retryable": false, "blame": ["sun"]}), "failed"),
    ] {
        let id = stack.submit("test.heir", json!({})).await.unwrap();
        let taken = heir.take(&job_type).await.unwrap();
        for news in
            [json!({"kind": "milestone", "seq": 1}), json!({"kind": "started", "seq": 2, "mood": "good"})]
        {
            say_of(&heir, MessageKind::Progression, &taken, changed(MessageKind::Progression, &news)).await;
        }
        stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
        say_of(&heir, kind, &taken, changed(kind, &changes)).await;
        taken.delivery.ack().await.unwrap();
        let job = stack.api.wait_for_end(&id).await.unwrap();
        assert_eq!(job["state"], state, "{job}");
        ends.push(job["error"]["kind"].clone());
    }
    assert_eq!(ends[1], "handler", "an unknown kind of error is that of a handler");

    let (refusal, _worker) = order_of_a_later_protocol(&mut stack, &heir).await;
    let dance = json!({"kind": "dance", "steps": 3}).to_string().into_bytes();
    heir.send(&names.control_exchange(), names.control_key_all(), dance, "application/json").await.unwrap();
    let took = stack.check_resumes("test.other", json!({"text": "unmoved"})).await.unwrap();
    let unreadable = stack.api.metric("crewcall_messages_malformed_total", "").await.unwrap();
    assert_eq!(unreadable, 0.0, "a later message could not be read");
    heir.vanish().await;
    let mut found = stack.settle().await.unwrap();
    found.hold("I15", "every message of the later version was read, and none was quarantined");
    found.hold("I14", format_args!("after an instruction of an unknown kind a worker did a job in {took:?}"));
    found.hold("I1", format_args!("an order of a later protocol ended with {refusal}"));
    found.print("F51 a worker of a newer protocol");
}

/// Gives a worker of ours an order that says that it is of protocol 2. Returns how its job failed, and the
/// worker.
async fn order_of_a_later_protocol(stack: &mut Stack, raw_worker: &RawWorker) -> (Value, Process) {
    let job_type = JobType::new("test.other").unwrap();
    raw_worker.announce(&job_type).await.unwrap();
    stack.api.served_by("test.other", 1).await.unwrap();
    let id = stack.submit("test.other", json!({"text": "too new"})).await.unwrap();
    let taken = raw_worker.take(&job_type).await.unwrap();
    let mut order = serde_json::to_value(&taken.order).unwrap();
    order["protocol"] = json!(2);
    let (exchange, body) = (Topology::default().submit_exchange(), order.to_string().into_bytes());
    raw_worker.send(&exchange, job_type.as_str(), body, "application/json").await.unwrap();
    taken.delivery.ack().await.unwrap();
    drop(taken);
    let worker = stack.worker(&["test.other"], 1).await.unwrap();
    let failure = stack.api.wait_for_end(&id).await.unwrap()["error"].clone();
    assert_eq!(failure["kind"], "malformed", "{failure}");
    (failure["message"].clone(), worker)
}

/// Two builds of a worker serve one type; the newer one takes a parameter more, with a limit. A submission is
/// held against the schema that was announced last, also when an older build comes once more. Whatever was
/// accepted is done, whichever build gets it, and both get some.
#[tokio::test]
async fn f51_two_builds_with_different_schemas_share_a_type() {
    let mut stack = Stack::start("builds").await.unwrap();
    let older = stack.worker(&["test.echo"], 1).await.unwrap();
    let too_often = json!({"type": "test.echo", "parameters": {"text": "ab", "times": 9}});
    let version = async |stack: &Stack, version: &str| {
        stack.api.json_when("/v1/types/test.echo", |answer| answer["version"] == version).await.unwrap();
    };
    version(&stack, "1").await;
    stack.submit_job(too_often.clone()).await.unwrap(); // the older build ignores what it does not know
    stack.worker_setting("TEST_WORKER_BUILD", "newer");
    let newer = stack.worker(&["test.echo"], 1).await.unwrap();
    version(&stack, "2").await;
    let (status, problem) = stack.api.post_job(too_often.to_string()).await.unwrap();
    assert_eq!(status.as_u16(), 422, "{problem}");
    assert_eq!(problem["errors"][0]["pointer"], "/parameters/times", "{problem}");
    let mut ids = Vec::new();
    for _ in 0..JOBS {
        ids.push(stack.submit("test.echo", json!({"text": "ab", "times": 2})).await.unwrap());
    }
    stack.worker_setting("TEST_WORKER_BUILD", "older");
    let older_again = stack.worker(&["test.echo"], 1).await.unwrap();
    version(&stack, "1").await;
    ids.push(stack.submit_job(too_often).await.unwrap());
    let mut by = BTreeMap::<String, usize>::new();
    for id in &ids {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!(job["state"], "completed", "{job}");
        *by.entry(job["result"]["worker"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(by.contains_key("worker-0") && by.contains_key("worker-1"), "one build got all: {by:?}");
    let mut found = stack.settle().await.unwrap();
    for log in [older.log(), newer.log(), older_again.log()] {
        assert!(!log.contains("panicked") && !log.contains(" ERROR "), "I15: {log}");
    }
    found.hold("I1", format_args!("both builds did jobs with a parameter that only one knows: {by:?}"));
    found.hold(
        "I15",
        "a submission beyond the newer schema was answered with 422, while that was the last announced",
    );
    found.print("F51 two builds of a worker with different schemas");
}

/// The released messages of the kind that are JSON.
fn json_of(kind: MessageKind) -> Vec<Value> {
    let is_json = |content_type: &str| content_type == ContentType::Json.as_str();
    let texts = released(kind).into_iter().filter(|(_, content_type)| is_json(content_type));
    texts.map(|(body, _)| serde_json::from_slice(&body).unwrap()).collect()
}

/// A released message of the kind with these fields besides, or instead.
fn changed(kind: MessageKind, changes: &Value) -> Value {
    let mut message = json_of(kind).into_iter().max_by_key(fields).unwrap();
    message.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    message
}

fn fields(message: &Value) -> usize {
    message.as_object().unwrap().len()
}

async fn say(raw_worker: &RawWorker, kind: MessageKind, message: &Value) {
    raw_worker.discover(kind, message).await.unwrap();
}

/// Answers an order with this message.
async fn say_of(raw_worker: &RawWorker, kind: MessageKind, taken: &Taken, mut message: Value) {
    message["job_id"] = json!(taken.order.job_id);
    message["attempt"] = json!(taken.order.attempt);
    message["attempt_token"] = json!(taken.order.attempt_token);
    raw_worker.respond(kind, &taken.order.job_type, &message).await.unwrap();
}
