//! What is kept beside jobs.

use crewcall_backend::dispatch::ports::{
    QUARANTINE_BODY_BYTES_MAX, QUARANTINE_MESSAGES_MAX, QuarantinedMessage, StoredType,
};
use serde_json::json;

use super::subject::{START, Subject, job_type};

fn stored(name: &str, version: &str) -> StoredType {
    let schema = json!({"type": "object", "required": ["source"], "x": 1.5});
    StoredType {
        job_type: job_type(name),
        description: "Resize ☃".to_owned(),
        version: version.to_owned(),
        parameters_schema: schema.as_object().unwrap().clone(),
        result_schema: serde_json::Map::new(),
        first_announced_at: START,
        last_announced_at: START.plus_millis(7),
    }
}

pub(crate) async fn types_are_kept_as_they_were_last_announced(mut subject: Subject) {
    for stored in [stored("b", "1"), stored("a", "1"), stored("b", "2")] {
        subject.store.put_type(stored).await.unwrap();
    }
    subject.reopen().await;
    assert_eq!(subject.store.types().await.unwrap(), [stored("a", "1"), stored("b", "2")]);
    subject.finish().await;
}

pub(crate) async fn the_newest_unreadable_messages_are_kept(subject: Subject) {
    let message = |number: usize| QuarantinedMessage {
        queue: "crewcall.completed".to_owned(),
        routing_key: "completed.a".to_owned(),
        reason: "trailing_bytes".to_owned(),
        detail: number.to_string(),
        body: vec![0xc1; QUARANTINE_BODY_BYTES_MAX + 1],
        body_bytes: QUARANTINE_BODY_BYTES_MAX + 1,
        at: START,
    };
    let limit = usize::try_from(QUARANTINE_MESSAGES_MAX).unwrap();
    let messages: Vec<_> = (0..limit + 50).map(message).collect();
    for part in messages.chunks(1_000) {
        subject.store.quarantine(part.to_vec()).await.unwrap();
    }
    subject.store.quarantine(vec![]).await.unwrap();
    let kept = rusqlite::Connection::open(subject.path()).unwrap();
    let (number, oldest, body): (usize, String, usize) = kept
        .query_row(
            "SELECT count(*), min(CAST(detail AS INTEGER)) || '', max(length(body)) FROM quarantine",
            (),
            |row| {
                Ok((
                    row.get::<_, i64>(0)?.try_into().unwrap(),
                    row.get(1)?,
                    row.get::<_, i64>(2)?.try_into().unwrap(),
                ))
            },
        )
        .unwrap();
    assert_eq!((number, oldest.as_str(), body), (limit, "50", QUARANTINE_BODY_BYTES_MAX));
    drop(kept);
    subject.finish().await;
}
