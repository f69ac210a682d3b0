//! Accepted jobs.

use std::{sync::Arc, time::Duration};

use crewcall_backend::{
    domain::{Backoff, Policy, State},
    engine::ports::{DispatchNumber, StoreError},
};
use futures_util::future::join_all;
use serde_json::json;

use super::under_test::{START, StoreUnderTest, accepted, job_type};

pub(crate) async fn a_job_comes_back_as_it_was_accepted(tested: StoreUnderTest) {
    let mut job = tested.job_of_priority("media.transcode", 9);
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
    let inserted = tested.insert(job.clone(), 0).await;
    assert_eq!((inserted.job.as_ref(), inserted.dispatched), (&job, None));
    assert_eq!(tested.read(job.id).await, (job, vec![]));
    assert_eq!(tested.store.get(tested.job("a").id).await.unwrap(), None);
    tested.finish().await;
}

pub(crate) async fn room_in_the_window_dispatches_at_once(tested: StoreUnderTest) {
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let inserted = tested.insert(tested.job("a"), 2).await;
        let status = &inserted.job.status;
        assert_eq!(status.token.is_some(), inserted.dispatched.is_some());
        assert_eq!(status.state == State::Dispatched, inserted.dispatched.is_some());
        assert_eq!(tested.read(inserted.job.id).await.0, *inserted.job);
        numbers.push(inserted.dispatched);
    }
    assert_eq!(numbers, [Some(DispatchNumber(1)), Some(DispatchNumber(2)), None]);
    let other = tested.insert(tested.job("b"), 1).await;
    assert_eq!(other.dispatched, Some(DispatchNumber(3)), "each type has a window of its own");
    tested.finish().await;
}

pub(crate) async fn nobody_overtakes_a_job_that_waits(tested: StoreUnderTest) {
    let first = tested.insert(tested.job("a"), 0).await;
    let second = tested.insert(tested.job_of_priority("a", 9), usize::MAX).await;
    assert_eq!((first.dispatched, second.dispatched), (None, None));
    tested.dispatch_due(&job_type("a"), 10, 10).await;
    assert!(tested.insert(tested.job("a"), 10).await.dispatched.is_some(), "nobody waits any more");
    tested.finish().await;
}

pub(crate) async fn several_jobs_are_stored_together_or_not_at_all(tested: StoreUnderTest) {
    let known = tested.dispatched("a").await;
    let (one, two) = (tested.job("a"), tested.job("a"));
    let ids = (one.id, two.id);
    let batch = [one, known.as_ref().clone(), two].map(|job| accepted(job, usize::MAX));
    let error = tested.store.insert(batch.to_vec()).await.unwrap_err();
    assert!(matches!(error, StoreError::Broken { .. }) && !error.is_retryable(), "{error}");
    assert_eq!(tested.store.get(ids.0).await.unwrap(), None);
    assert_eq!(tested.store.get(ids.1).await.unwrap(), None);
    // Nothing is left of it in memory either: no taken place in the window, no used number.
    let next = tested.insert(tested.job("a"), 2).await;
    assert_eq!(next.dispatched, Some(DispatchNumber(2)));
    tested.finish().await;
}

pub(crate) async fn a_failing_call_does_not_harm_those_that_come_with_it(tested: StoreUnderTest) {
    let known = tested.insert(tested.job("a"), 0).await.job;
    let jobs: Vec<_> = (0..60)
        .map(|number| if number % 6 == 3 { known.as_ref().clone() } else { tested.job("a") })
        .collect();
    let store = &tested.store;
    let answers = join_all(jobs.iter().map(|job| store.insert(vec![accepted(job.clone(), 0)]))).await;
    for (job, answer) in jobs.iter().zip(answers) {
        assert_eq!(answer.is_err(), job.id == known.id);
        assert_eq!(tested.read(job.id).await.0, *job);
    }
    assert_eq!(tested.store.counts().await.unwrap()[0].jobs, 51);
    tested.finish().await;
}

pub(crate) async fn a_window_is_never_exceeded_by_many_callers(tested: StoreUnderTest) {
    let inserts = (0..200).map(|_| {
        let (store, job) = (Arc::clone(&tested.store), tested.job("a"));
        async move { store.insert(vec![accepted(job, 37)]).await.unwrap().changes.remove(0) }
    });
    let mut numbers: Vec<_> = join_all(inserts)
        .await
        .into_iter()
        .filter_map(|change| change.dispatch.map(|dispatch| dispatch.number))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=37).map(DispatchNumber).collect::<Vec<_>>());
    tested.finish().await;
}

pub(crate) async fn a_job_that_is_due_later_waits_for_its_time(mut tested: StoreUnderTest) {
    let later = tested.job_at("a", START.plus_millis(500));
    let inserted = tested.insert(later.clone(), usize::MAX).await;
    assert_eq!((inserted.job.as_ref(), inserted.dispatched), (&later, None));
    assert_eq!(later.status.state, State::Scheduled);
    assert!(tested.insert(tested.job("a"), 1).await.dispatched.is_some(), "who is due does not wait for it");
    assert_eq!(tested.dispatch_due(&job_type("a"), 10, 10).await.dispatches.len(), 0);
    tested.reopen().await;
    let early = tested.release_due(START.plus_millis(499), 10).await.unwrap();
    assert_eq!((early.jobs.len(), early.next_due_at), (0, Some(later.status.due_at)));
    tested.release_due(later.status.due_at, 10).await.unwrap();
    let dispatched = tested.dispatch_due(&job_type("a"), 10, 10).await.dispatches;
    assert_eq!(dispatched[0].job.id, later.id);
    tested.finish().await;
}
