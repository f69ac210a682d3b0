//! Answers that cannot be read (F77).

use crewcall_proto::{AttemptToken, ContentType, JobType, MessageKind, Topology};
use e2e::{
    raw_worker::{RawWorker, Taken},
    stack::Stack,
};
use serde_json::{Value, json};

use super::completed;

/// What stands in the place of a result until it is damaged.
const RESULT: &str = "RESULT";

/// A result, and how the message around it calls itself.
struct Damage {
    result: String,
    content_type: &'static str,
    /// Whether the attempt is held first, so that no order is behind it any more.
    is_held: bool,
}

impl Damage {
    fn of(result: &str) -> Self {
        Self { result: result.to_owned(), content_type: ContentType::Json.as_str(), is_held: false }
    }
}

/// A worker answers in messages that no reader takes, and acknowledges: with a not-a-number, with a result that nests too
/// deeply or is too large, with a content type that is wrong or unknown. Each ends its job at once, as `malformed`, and
/// is quarantined for people to look at. The same words with a token that was made up change nothing.
#[tokio::test]
async fn f77_an_answer_that_cannot_be_read_ends_its_attempt() {
    let mut stack = Stack::start("unreadable").await.unwrap();
    let job_type = JobType::new("test.mumble").unwrap();
    let raw_worker = RawWorker::start(&stack.amqp_url);
    raw_worker.announce(&job_type).await.unwrap();
    stack.api.served_by(job_type.as_str(), 1).await.unwrap();
    let (nan, right) = (r#"{"mean": NaN}"#, r#"{"mean": 1}"#);
    let damages = [
        Damage::of(nan),
        Damage { is_held: true, ..Damage::of(nan) },
        Damage::of(&("[".repeat(40) + &"]".repeat(40))),
        Damage::of(&format!("\"{}\"", "x".repeat(1_100_000))),
        Damage { content_type: ContentType::MessagePack.as_str(), ..Damage::of(right) },
        Damage { content_type: "text/plain", ..Damage::of(right) },
    ];
    for damage in &damages {
        let id = stack.submit(job_type.as_str(), json!({})).await.unwrap();
        let taken = raw_worker.take(&job_type).await.unwrap();
        if damage.is_held {
            raw_worker.report_start(&taken).await.unwrap();
            raw_worker.hold(&taken).await.unwrap();
            raw_worker.heartbeat(&taken, true).await.unwrap();
        }
        mumble(&raw_worker, &taken, damage, taken.order.attempt_token).await;
        if !damage.is_held {
            taken.delivery.ack().await.unwrap();
        }
        let job = stack.api.wait_for_end(&id).await.unwrap();
        let error = &job["error"];
        let told = (&job["state"], &error["kind"], &error["code"]);
        assert_eq!(told, (&json!("failed"), &json!("malformed"), &json!("unreadable_response")), "{job}");
        assert_eq!(job["attempts"].as_array().map(Vec::len), Some(1), "it is not tried again: {job}");
    }
    // A job ends a moment before what ended it is kept.
    let are_kept =
        |count: usize| move |kept: &Value| kept["messages"].as_array().map(Vec::len) == Some(count);
    stack.api.json_when("/v1/quarantine", are_kept(damages.len())).await.unwrap();

    let id = stack.submit(job_type.as_str(), json!({})).await.unwrap();
    let taken = raw_worker.take(&job_type).await.unwrap();
    mumble(&raw_worker, &taken, &damages[0], AttemptToken::generate()).await;
    stack.api.json_when("/v1/quarantine", are_kept(damages.len() + 1)).await.unwrap();
    assert!(stack.api.stale("token").await.unwrap() >= 1.0);
    raw_worker.respond(MessageKind::Completed, &job_type, &completed(&raw_worker, &taken)).await.unwrap();
    taken.delivery.ack().await.unwrap();
    let job = stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(job["state"], "completed", "{job}");
    let mut found = stack.settle().await.unwrap();
    raw_worker.vanish().await;
    found.hold("I1", format_args!("{} jobs whose answers nobody can read were ended by them", damages.len()));
    found.hold("I11", "an answer that cannot be read and has a made-up token changed nothing");
    found.print("F77 an answer that cannot be read");
}

/// Answers in a message that cannot be read.
async fn mumble(raw_worker: &RawWorker, taken: &Taken, damage: &Damage, attempt_token: AttemptToken) {
    let mut answer = completed(raw_worker, taken);
    (answer.result, answer.attempt_token) = (json!(RESULT), attempt_token);
    let text = serde_json::to_string(&answer).unwrap();
    let body = text.replace(&format!("\"{RESULT}\""), &damage.result).into_bytes();
    let names = Topology::default();
    let key = names.response_key(MessageKind::Completed, &taken.order.job_type);
    raw_worker.send(&names.response_exchange(), &key, body, damage.content_type).await.unwrap();
}
