//! Accepted jobs.

use std::{sync::Arc, time::Duration};

use crewcall_backend::{
    domain::{Backoff, Policy, State},
    engine::ports::{DispatchNumber, Inserted, StoreError},
};
use futures_util::future::join_all;
use serde_json::json;

use super::subject::{START, Subject, accepted, job_type};

pub(crate) async fn a_job_comes_back_as_it_was_accepted(subject: Subject) {
    let mut job = subject.job_of_priority("media.transcode", 9);
    job.labels =
        [("team".to_owned(), "zürich \0 \"quoted\"".to_owned()), ("env".to_owned(), String::new())].into();
    job.parameters = json!({
        "": null, "text": "snow ☃ \u{1F600}\u{0}", "deep": [[{"a": [1, -1, 1.5, 1e300, u64::MAX, i64::MIN]}]],
        "large": "x".repeat(200_000),
    })
    .as_object()
    .unwrap()
    .clone();
    job.policy = Policy {
        backoff: Backoff {
            initial: Duration::from_nanos(1_234_567_891),
            factor: 1.1,
            max_delay: Duration::from_secs(86_400),
            jitter: 0.3,
        },
        timeout: Some(Duration::from_nanos(604_800_000_000_001)),
        expires_at: Some(START.plus_millis(77)),
        run_at: Some(START.plus_millis(-60_000)),
    };
    let inserted = subject.insert(job.clone(), 0).await;
    assert_eq!((inserted.job.as_ref(), inserted.dispatched), (&job, None));
    assert_eq!(subject.read(job.id).await, (job, vec![]));
    assert_eq!(subject.store.get(subject.job("a").id).await.unwrap(), None);
    subject.finish().await;
}

pub(crate) async fn room_in_the_window_dispatches_at_once(subject: Subject) {
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let inserted = subject.insert(subject.job("a"), 2).await;
        let status = &inserted.job.status;
        assert_eq!(status.token.is_some(), inserted.dispatched.is_some());
        assert_eq!(status.state == State::Dispatched, inserted.dispatched.is_some());
        assert_eq!(subject.read(inserted.job.id).await.0, *inserted.job);
        numbers.push(inserted.dispatched);
    }
    assert_eq!(numbers, [Some(DispatchNumber(1)), Some(DispatchNumber(2)), None]);
    let other = subject.insert(subject.job("b"), 1).await;
    assert_eq!(other.dispatched, Some(DispatchNumber(3)), "each type has a window of its own");
    subject.finish().await;
}

pub(crate) async fn nobody_overtakes_a_job_that_waits(subject: Subject) {
    let first = subject.insert(subject.job("a"), 0).await;
    let second = subject.insert(subject.job_of_priority("a", 9), usize::MAX).await;
    assert_eq!((first.dispatched, second.dispatched), (None, None));
    subject.store.dispatch_due(&job_type("a"), 10, 10).await.unwrap();
    assert!(subject.insert(subject.job("a"), 10).await.dispatched.is_some(), "nobody waits any more");
    subject.finish().await;
}

pub(crate) async fn several_jobs_are_stored_together_or_not_at_all(subject: Subject) {
    let known = subject.dispatched("a").await;
    let (one, two) = (subject.job("a"), subject.job("a"));
    let ids = (one.id, two.id);
    let batch = [one, known.as_ref().clone(), two].map(|job| accepted(job, usize::MAX));
    let error = subject.store.insert(batch.to_vec()).await.unwrap_err();
    assert!(matches!(error, StoreError::Broken { .. }) && !error.is_retryable(), "{error}");
    assert_eq!(subject.store.get(ids.0).await.unwrap(), None);
    assert_eq!(subject.store.get(ids.1).await.unwrap(), None);
    // Nothing is left of it in memory either: no taken place in the window, no used number.
    let next = subject.insert(subject.job("a"), 2).await;
    assert_eq!(next.dispatched, Some(DispatchNumber(2)));
    subject.finish().await;
}

pub(crate) async fn a_failing_call_does_not_harm_those_that_come_with_it(subject: Subject) {
    let known = subject.insert(subject.job("a"), 0).await.job;
    let jobs: Vec<_> = (0..60)
        .map(|number| if number % 6 == 3 { known.as_ref().clone() } else { subject.job("a") })
        .collect();
    let store = &subject.store;
    let answers = join_all(jobs.iter().map(|job| store.insert(vec![accepted(job.clone(), 0)]))).await;
    for (job, answer) in jobs.iter().zip(answers) {
        assert_eq!(answer.is_err(), job.id == known.id);
        assert_eq!(subject.read(job.id).await.0, *job);
    }
    assert_eq!(subject.store.counts().await.unwrap()[0].jobs, 51);
    subject.finish().await;
}

pub(crate) async fn a_window_is_never_exceeded_by_many_callers(subject: Subject) {
    let inserts = (0..200).map(|_| {
        let (store, job) = (Arc::clone(&subject.store), subject.job("a"));
        async move { store.insert(vec![accepted(job, 37)]).await.unwrap().remove(0) }
    });
    let mut numbers: Vec<_> = join_all(inserts)
        .await
        .into_iter()
        .filter_map(|inserted| match inserted {
            Inserted::Stored { dispatched, .. } => dispatched,
            other => panic!("{other:?}"),
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=37).map(DispatchNumber).collect::<Vec<_>>());
    subject.finish().await;
}

pub(crate) async fn a_job_that_is_due_later_waits_for_its_time(mut subject: Subject) {
    let later = subject.job_at("a", START.plus_millis(500));
    let inserted = subject.insert(later.clone(), usize::MAX).await;
    assert_eq!((inserted.job.as_ref(), inserted.dispatched), (&later, None));
    assert_eq!(later.status.state, State::Scheduled);
    assert!(
        subject.insert(subject.job("a"), 1).await.dispatched.is_some(),
        "who is due does not wait for it"
    );
    assert_eq!(subject.store.dispatch_due(&job_type("a"), 10, 10).await.unwrap().dispatches.len(), 0);
    subject.reopen().await;
    let early = subject.store.release_due(START.plus_millis(499), 10).await.unwrap();
    assert_eq!((early.jobs.len(), early.next_due_at), (0, Some(later.status.due_at)));
    subject.store.release_due(later.status.due_at, 10).await.unwrap();
    let dispatched = subject.store.dispatch_due(&job_type("a"), 10, 10).await.unwrap().dispatches;
    assert_eq!(dispatched[0].job.id, later.id);
    subject.finish().await;
}
