//! What is kept beside jobs.

use crewcall_backend::{
    domain::{Pause, TypeSettings},
    engine::ports::{
        Accepted, Inserted, QUARANTINE_BODY_BYTES_MAX, QUARANTINE_MESSAGES_MAX, QuarantineEntry,
        QuarantinedMessage, StoredType, UNANNOUNCED_TYPES_MAX,
    },
};
use serde_json::json;

use super::subject::{START, Subject, accepted, job_type};

fn stored_type(name: &str, version: &str) -> StoredType {
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
    for stored in [stored_type("b", "1"), stored_type("a", "1"), stored_type("b", "2")] {
        subject.store.put_type(stored).await.unwrap();
    }
    subject.reopen().await;
    assert_eq!(subject.store.types().await.unwrap(), [stored_type("a", "1"), stored_type("b", "2")]);
    subject.finish().await;
}

pub(crate) async fn what_is_set_for_types_is_kept(mut subject: Subject) {
    let paused = TypeSettings {
        pause: Some(Pause { by: "ops ☃".to_owned(), reason: None, at: START }),
        running_max: Some(100_000),
        rate_per_second: Some(1.0 / 86_400.0),
    };
    let pause = Pause { by: "ops".to_owned(), reason: Some("a full disk".to_owned()), at: START };
    let other = TypeSettings { pause: Some(pause), ..TypeSettings::default() };
    assert_eq!(subject.store.type_settings().await.unwrap(), []);
    for (name, settings) in [("b", &other), ("a", &other), ("b", &paused), ("c", &TypeSettings::default())] {
        assert!(subject.store.put_type_settings(&job_type(name), settings).await.unwrap());
    }
    subject.reopen().await;
    assert_eq!(
        subject.store.type_settings().await.unwrap(),
        [(job_type("a"), other), (job_type("b"), paused.clone())]
    );
    subject.store.put_type_settings(&job_type("a"), &TypeSettings::default()).await.unwrap();
    subject.reopen().await;
    assert_eq!(
        subject.store.type_settings().await.unwrap(),
        [(job_type("b"), paused)],
        "the default is no setting"
    );
    subject.finish().await;
}

pub(crate) async fn types_that_nobody_announced_are_limited(mut subject: Subject) {
    let named = |number: usize| format!("invented.{number}");
    let jobs = (0..2 * UNANNOUNCED_TYPES_MAX).map(|number| accepted(subject.job(&named(number)), 0));
    // Several callers at once, who together have twice as many.
    let jobs: Vec<Accepted> = jobs.collect();
    let calls = jobs.chunks(250).map(|jobs| subject.store.insert(jobs.to_vec()));
    let answers = futures_util::future::try_join_all(calls).await.unwrap().concat();
    let stored = |answers: &[Inserted]| {
        answers.iter().filter(|answer| matches!(answer, Inserted::Stored { .. })).count()
    };
    assert_eq!(stored(&answers), UNANNOUNCED_TYPES_MAX);
    let refused = answers.iter().filter(|answer| matches!(answer, Inserted::TooManyTypes)).count();
    assert_eq!(refused, UNANNOUNCED_TYPES_MAX);
    assert_eq!(subject.store.counts().await.unwrap().len(), UNANNOUNCED_TYPES_MAX);
    subject.reopen().await;
    let insert = async |subject: &Subject, name: &str| {
        stored(&subject.store.insert(vec![accepted(subject.job(name), 0)]).await.unwrap()) == 1
    };
    let (paused, free) =
        (TypeSettings { running_max: Some(1), ..TypeSettings::default() }, TypeSettings::default());
    assert!(!insert(&subject, "another").await);
    assert!(!subject.store.put_type_settings(&job_type("another"), &paused).await.unwrap());
    assert!(
        subject.store.put_type_settings(&job_type("another"), &free).await.unwrap(),
        "that keeps nothing"
    );
    let known = subject.store.counts().await.unwrap().remove(0).job_type;
    assert!(insert(&subject, known.as_str()).await, "a type that is there");
    assert!(subject.store.put_type_settings(&known, &paused).await.unwrap());
    subject.store.put_type(stored_type("another", "1")).await.unwrap();
    assert!(insert(&subject, "another").await, "a type that was announced");
    assert!(!insert(&subject, "yet.another").await);
    subject.store.put_type(stored_type(known.as_str(), "1")).await.unwrap();
    assert!(insert(&subject, "yet.another").await, "one of the thousand was announced");
    assert!(!insert(&subject, "one.too.many").await);
    subject.finish().await;
}

fn message(number: usize) -> QuarantinedMessage {
    QuarantinedMessage {
        queue: "crewcall.completed".to_owned(),
        routing_key: "completed.a".to_owned(),
        reason: "trailing_bytes".to_owned(),
        detail: number.to_string(),
        body: vec![0xc1; QUARANTINE_BODY_BYTES_MAX],
        body_bytes: QUARANTINE_BODY_BYTES_MAX + number,
        at: START,
    }
}

/// The numbers of all messages that are kept, newest first, read in pages.
async fn numbers(subject: &Subject) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let page = subject.store.quarantined(numbers.last().copied(), 3_000).await.unwrap();
        if page.is_empty() {
            return numbers;
        }
        numbers.extend(page.iter().map(|entry| entry.number));
    }
}

pub(crate) async fn messages_that_were_set_aside_are_read_and_deleted(mut subject: Subject) {
    let store = &subject.store;
    assert_eq!(store.quarantined(None, 10).await.unwrap(), []);
    store.quarantine((1..=5).map(message).collect()).await.unwrap();
    let entry =
        |number: usize| QuarantineEntry { number: number.try_into().unwrap(), message: message(number) };
    assert_eq!(store.quarantined(None, 2).await.unwrap(), [entry(5), entry(4)]);
    assert_eq!(store.quarantined(Some(4), 2).await.unwrap(), [entry(3), entry(2)]);
    assert_eq!(store.delete_quarantined(Some(5)).await.unwrap(), 1);
    assert_eq!(store.delete_quarantined(Some(5)).await.unwrap(), 0);
    assert_eq!(store.delete_quarantined(Some(u64::MAX)).await.unwrap(), 0);
    subject.reopen().await;
    subject.store.quarantine(vec![message(6)]).await.unwrap();
    assert_eq!(numbers(&subject).await, [6, 4, 3, 2, 1], "no number is used twice");
    assert_eq!(subject.store.delete_quarantined(None).await.unwrap(), 5);
    subject.store.quarantine(vec![message(7)]).await.unwrap();
    assert_eq!(numbers(&subject).await, [7]);
    subject.finish().await;
}

pub(crate) async fn the_newest_unreadable_messages_are_kept(subject: Subject) {
    let mut long = message(0);
    long.body.push(0);
    subject.store.quarantine(vec![long]).await.unwrap();
    let kept = subject.store.quarantined(None, 1).await.unwrap().remove(0).message;
    assert_eq!(kept.body.len(), QUARANTINE_BODY_BYTES_MAX);
    let limit = usize::try_from(QUARANTINE_MESSAGES_MAX).unwrap();
    let messages: Vec<_> = (1..limit).map(message).collect();
    for part in messages.chunks(1_000) {
        subject.store.quarantine(part.to_vec()).await.unwrap();
    }
    // Gaps do not count: after three were deleted there is room for three.
    for number in [1, 500, u64::from(QUARANTINE_MESSAGES_MAX)] {
        assert_eq!(subject.store.delete_quarantined(Some(number)).await.unwrap(), 1);
    }
    subject.store.quarantine((0..3).map(message).collect()).await.unwrap();
    let (full, numbered) = (numbers(&subject).await, u64::from(QUARANTINE_MESSAGES_MAX));
    assert_eq!((full.len(), full.first(), full.last()), (limit, Some(&(numbered + 3)), Some(&2)));
    subject.store.quarantine((0..50).map(message).collect()).await.unwrap();
    subject.store.quarantine(vec![]).await.unwrap();
    let full = numbers(&subject).await;
    assert_eq!((full.len(), full.first(), full.last()), (limit, Some(&(numbered + 53)), Some(&52)));
    subject.finish().await;
}
