//! What is kept beside jobs.

use crewcall_backend::{
    domain::{Pause, TypeSettings},
    engine::ports::{
        Accepted, Inserted, QUARANTINE_BODY_BYTES_MAX, QUARANTINE_MESSAGES_MAX, QuarantineEntry,
        QuarantinedMessage, StoredType, UNANNOUNCED_TYPES_MAX,
    },
};
use crewcall_proto::discovery::EmittedSubject;
use serde_json::json;

use super::under_test::{START, StoreUnderTest, accepted, job_type};

fn stored_type(name: &str, version: &str) -> StoredType {
    let schema = json!({"type": "object", "required": ["source"], "x": 1.5});
    StoredType {
        job_type: job_type(name),
        description: "Resize ☃".to_owned(),
        version: version.to_owned(),
        parameters_schema: schema.as_object().unwrap().clone(),
        result_schema: serde_json::Map::new(),
        emits: vec![EmittedSubject {
            subject: "asset.probed".to_owned(),
            description: "It was looked at.".to_owned(),
            schema: schema.as_object().unwrap().clone(),
        }],
        first_announced_at: START,
        last_announced_at: START.plus_millis(7),
    }
}

pub(crate) async fn types_are_kept_as_they_were_last_announced(mut tested: StoreUnderTest) {
    for stored in [stored_type("b", "1"), stored_type("a", "1"), stored_type("b", "2")] {
        tested.store.put_type(stored).await.unwrap();
    }
    tested.reopen().await;
    assert_eq!(tested.store.types().await.unwrap(), [stored_type("a", "1"), stored_type("b", "2")]);
    tested.finish().await;
}

pub(crate) async fn what_is_set_for_types_is_kept(mut tested: StoreUnderTest) {
    let paused = TypeSettings {
        pause: Some(Pause { by: "ops ☃".to_owned(), reason: None, at: START }),
        running_max: Some(100_000),
        rate_per_second: Some(1.0 / 86_400.0),
    };
    let pause = Pause { by: "ops".to_owned(), reason: Some("a full disk".to_owned()), at: START };
    let other = TypeSettings { pause: Some(pause), ..TypeSettings::default() };
    assert_eq!(tested.store.type_settings().await.unwrap(), []);
    for (name, settings) in [("b", &other), ("a", &other), ("b", &paused), ("c", &TypeSettings::default())] {
        assert!(tested.store.put_type_settings(&job_type(name), settings).await.unwrap());
    }
    tested.reopen().await;
    assert_eq!(
        tested.store.type_settings().await.unwrap(),
        [(job_type("a"), other), (job_type("b"), paused.clone())]
    );
    tested.store.put_type_settings(&job_type("a"), &TypeSettings::default()).await.unwrap();
    tested.reopen().await;
    assert_eq!(
        tested.store.type_settings().await.unwrap(),
        [(job_type("b"), paused)],
        "the default is not a setting"
    );
    tested.finish().await;
}

pub(crate) async fn types_that_nobody_announced_are_limited(mut tested: StoreUnderTest) {
    let named = |number: usize| format!("invented.{number}");
    let jobs = (0..2 * UNANNOUNCED_TYPES_MAX).map(|number| accepted(tested.job(&named(number)), 0));
    // Several callers at once, who together have twice as many.
    let jobs: Vec<Accepted> = jobs.collect();
    let calls = jobs.chunks(250).map(|jobs| tested.store.insert(jobs.to_vec()));
    let answers = futures_util::future::try_join_all(calls).await.unwrap();
    let answers: Vec<Inserted> = answers.into_iter().flat_map(|written| written.value).collect();
    let stored = |answers: &[Inserted]| {
        answers.iter().filter(|answer| matches!(answer, Inserted::Stored { .. })).count()
    };
    assert_eq!(stored(&answers), UNANNOUNCED_TYPES_MAX);
    let refused = answers.iter().filter(|answer| matches!(answer, Inserted::TooManyTypes)).count();
    assert_eq!(refused, UNANNOUNCED_TYPES_MAX);
    assert_eq!(tested.store.counts().await.unwrap().len(), UNANNOUNCED_TYPES_MAX);
    tested.reopen().await;
    let insert = async |tested: &StoreUnderTest, name: &str| {
        stored(&tested.store.insert(vec![accepted(tested.job(name), 0)]).await.unwrap().value) == 1
    };
    let (paused, free) =
        (TypeSettings { running_max: Some(1), ..TypeSettings::default() }, TypeSettings::default());
    assert!(!insert(&tested, "another").await);
    assert!(!tested.store.put_type_settings(&job_type("another"), &paused).await.unwrap());
    assert!(tested.store.put_type_settings(&job_type("another"), &free).await.unwrap(), "that keeps nothing");
    let known = tested.store.counts().await.unwrap().remove(0).job_type;
    assert!(insert(&tested, known.as_str()).await, "a type that is there");
    assert!(tested.store.put_type_settings(&known, &paused).await.unwrap());
    tested.store.put_type(stored_type("another", "1")).await.unwrap();
    assert!(insert(&tested, "another").await, "a type that was announced");
    assert!(!insert(&tested, "yet.another").await);
    tested.store.put_type(stored_type(known.as_str(), "1")).await.unwrap();
    assert!(insert(&tested, "yet.another").await, "one of the thousand was announced");
    assert!(!insert(&tested, "one.too.many").await);
    tested.finish().await;
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
async fn numbers(tested: &StoreUnderTest) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let page = tested.store.quarantined(numbers.last().copied(), 3_000).await.unwrap();
        if page.is_empty() {
            return numbers;
        }
        numbers.extend(page.iter().map(|entry| entry.number));
    }
}

pub(crate) async fn quarantined_messages_are_read_and_deleted(mut tested: StoreUnderTest) {
    let store = &tested.store;
    assert_eq!(store.quarantined(None, 10).await.unwrap(), []);
    store.quarantine((1..=5).map(message).collect()).await.unwrap();
    let entry =
        |number: usize| QuarantineEntry { number: number.try_into().unwrap(), message: message(number) };
    assert_eq!(store.quarantined(None, 2).await.unwrap(), [entry(5), entry(4)]);
    assert_eq!(store.quarantined(Some(4), 2).await.unwrap(), [entry(3), entry(2)]);
    assert_eq!(store.delete_quarantined(Some(5)).await.unwrap(), 1);
    assert_eq!(store.delete_quarantined(Some(5)).await.unwrap(), 0);
    assert_eq!(store.delete_quarantined(Some(u64::MAX)).await.unwrap(), 0);
    tested.reopen().await;
    tested.store.quarantine(vec![message(6)]).await.unwrap();
    assert_eq!(numbers(&tested).await, [6, 4, 3, 2, 1], "no number is used twice");
    assert_eq!(tested.store.delete_quarantined(None).await.unwrap(), 5);
    tested.store.quarantine(vec![message(7)]).await.unwrap();
    assert_eq!(numbers(&tested).await, [7]);
    tested.finish().await;
}

pub(crate) async fn the_newest_unreadable_messages_are_kept(tested: StoreUnderTest) {
    let mut long = message(0);
    long.body.push(0);
    tested.store.quarantine(vec![long]).await.unwrap();
    let kept = tested.store.quarantined(None, 1).await.unwrap().remove(0).message;
    assert_eq!(kept.body.len(), QUARANTINE_BODY_BYTES_MAX);
    let limit = usize::try_from(QUARANTINE_MESSAGES_MAX).unwrap();
    let messages: Vec<_> = (1..limit).map(message).collect();
    for part in messages.chunks(1_000) {
        tested.store.quarantine(part.to_vec()).await.unwrap();
    }
    // Gaps do not count: after three were deleted there is room for three.
    for number in [1, 500, u64::from(QUARANTINE_MESSAGES_MAX)] {
        assert_eq!(tested.store.delete_quarantined(Some(number)).await.unwrap(), 1);
    }
    tested.store.quarantine((0..3).map(message).collect()).await.unwrap();
    let (full, numbered) = (numbers(&tested).await, u64::from(QUARANTINE_MESSAGES_MAX));
    assert_eq!((full.len(), full.first(), full.last()), (limit, Some(&(numbered + 3)), Some(&2)));
    tested.store.quarantine((0..50).map(message).collect()).await.unwrap();
    tested.store.quarantine(vec![]).await.unwrap();
    let full = numbers(&tested).await;
    assert_eq!((full.len(), full.first(), full.last()), (limit, Some(&(numbered + 53)), Some(&52)));
    tested.finish().await;
}
