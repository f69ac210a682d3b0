//! Answers that nobody can read, with tokens that somebody could use (F74).

use crewcall_proto::{ContentType, JobType, MessageKind, Topology, encode};
use e2e::{raw_worker::RawWorker, stack::Stack, wait::until};
use rusqlite::Connection;

use super::{QUARANTINED_WITHIN, completed, forged::running};

/// A worker's answers break off, in JSON and in MessagePack, in the middle of the token and behind it. They are
/// quarantined, and neither the API nor the database tells the token of the attempt, which the first of them ends.
#[tokio::test]
async fn f74_an_unreadable_answer_does_not_give_its_token_away() {
    let mut stack = Stack::start("f74").await.unwrap();
    let raw_worker = RawWorker::start(&stack.amqp_url);
    let job_type = JobType::new("test.raw").unwrap();
    let taken = running(&mut stack, &raw_worker, &job_type).await;
    let (answer, token) = (completed(&raw_worker, &taken), String::from(taken.order.attempt_token));
    let names = Topology::default();
    let (exchange, key) = (names.response_exchange(), names.response_key(MessageKind::Completed, &job_type));
    let mut sent = 0;
    for content_type in [ContentType::Json, ContentType::MessagePack] {
        let body = encode(content_type, &answer).unwrap();
        let token_at = body.windows(token.len()).position(|window| window == token.as_bytes()).unwrap();
        for end in [token_at + 20, token_at + token.len() + 1, body.len() - 1] {
            raw_worker.send(&exchange, &key, body[..end].to_vec(), content_type.as_str()).await.unwrap();
            sent += 1;
        }
    }
    // They are counted before they are stored.
    let expected = i64::try_from(sent).unwrap();
    let stored = async || stack.query("SELECT count(*) FROM quarantine").unwrap() == expected;
    until("all are quarantined", QUARANTINED_WITHIN, stored).await.unwrap();

    let part = &token.as_bytes()[..13];
    let shows = |kept: &[u8]| kept.windows(part.len()).any(|window| window == part);
    let sql = Connection::open(stack.database()).unwrap();
    let mut statement = sql.prepare("SELECT body, detail FROM quarantine").unwrap();
    let kept = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let kept: Vec<(Vec<u8>, String)> = kept.map(Result::unwrap).collect();
    assert_eq!(kept.len(), sent);
    for (body, detail) in &kept {
        assert!(!shows(body) && !shows(detail.as_bytes()), "{} ({detail})", String::from_utf8_lossy(body));
    }
    raw_worker.respond(MessageKind::Completed, &job_type, &answer).await.unwrap();
    taken.delivery.ack().await.unwrap();
    let job = stack.api.wait_for_end(&taken.order.job_id.to_string()).await.unwrap();
    assert_eq!(
        job["error"]["code"], "unreadable_response",
        "the first that tells whose it is ends the job: {job}"
    );
    let mut found = stack.settle().await.unwrap();
    raw_worker.vanish().await;
    found.hold("I11", format_args!("{sent} unreadable answers were quarantined, their tokens struck out"));
    found.print("F74 unreadable answers with tokens");
}
