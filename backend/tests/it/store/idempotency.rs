//! Jobs that are submitted again under the same name.

use std::{collections::HashSet, sync::Arc};

use crewcall_backend::{
    domain::{Job, State},
    engine::ports::{Accepted, IDEMPOTENCY_KEPT_FOR, IdempotencyKey, Inserted},
};
use futures_util::future::join_all;

use super::under_test::{StoreUnderTest, completed};

fn keyed(job: Job, key: &str, body: u8) -> Accepted {
    let idempotency = Some(IdempotencyKey { key: key.to_owned(), body_hash: [body; 32] });
    Accepted { job, window: usize::MAX, idempotency, after: None }
}

async fn submit(tested: &StoreUnderTest, key: &str, body: u8) -> Inserted {
    let job = keyed(tested.job("a"), key, body);
    tested.store.insert(vec![job]).await.unwrap().value.remove(0)
}

/// The job that was stored.
fn stored(inserted: Inserted) -> Arc<Job> {
    match inserted {
        Inserted::Stored { job, .. } => job,
        other => panic!("the job should be stored, not {other:?}"),
    }
}

/// The job that was stored earlier.
fn replayed(inserted: Inserted) -> Arc<Job> {
    match inserted {
        Inserted::Replayed { job } => job,
        other => panic!("the earlier job should be answered, not {other:?}"),
    }
}

fn kept_for() -> i64 {
    i64::try_from(IDEMPOTENCY_KEPT_FOR.as_millis()).unwrap()
}

pub(crate) async fn a_job_that_is_submitted_again_is_the_same_as_it_is_now(mut tested: StoreUnderTest) {
    let first = stored(submit(&tested, "ünïque \0", 1).await);
    assert_eq!(replayed(submit(&tested, "ünïque \0", 1).await), first);
    assert!(matches!(submit(&tested, "ünïque \0", 2).await, Inserted::KeyReused));
    assert_ne!(stored(submit(&tested, "ünïque", 1).await).id, first.id, "another key");
    assert_eq!(tested.store.counts().await.unwrap()[0].jobs, 2);
    tested.change(&first, completed(&first)).await;
    tested.reopen().await;
    let now = replayed(submit(&tested, "ünïque \0", 1).await);
    assert_eq!((now.id, now.status.state), (first.id, State::Completed));
    assert_eq!(tested.store.dispatch_marks().await.unwrap().issued.0, 2, "a replay is not a dispatch");
    tested.finish().await;
}

pub(crate) async fn of_a_hundred_at_once_one_is_stored(tested: StoreUnderTest) {
    let inserts = (0..100).map(|_| {
        let (store, job) = (Arc::clone(&tested.store), keyed(tested.job("a"), "key", 1));
        async move { store.insert(vec![job]).await.unwrap().value.remove(0) }
    });
    let (mut stored, mut replayed) = (Vec::new(), HashSet::new());
    for inserted in join_all(inserts).await {
        match inserted {
            Inserted::Stored { job, .. } => stored.push(job.id),
            Inserted::Replayed { job } => drop(replayed.insert(job.id)),
            other => panic!("the bodies are the same: {other:?}"),
        }
    }
    assert_eq!(stored.len(), 1);
    assert_eq!(replayed, HashSet::from([stored[0]]));
    assert_eq!(tested.store.counts().await.unwrap()[0].jobs, 1);
    tested.finish().await;
}

pub(crate) async fn a_key_is_unique_also_within_one_call(tested: StoreUnderTest) {
    let jobs = [("x", 1), ("y", 1), ("x", 1), ("x", 2)];
    let jobs = jobs.map(|(key, body)| keyed(tested.job("a"), key, body)).to_vec();
    let mut inserted = tested.store.insert(jobs).await.unwrap().value.into_iter();
    let first = stored(inserted.next().unwrap());
    stored(inserted.next().unwrap());
    assert_eq!(replayed(inserted.next().unwrap()).id, first.id);
    assert!(matches!(inserted.next(), Some(Inserted::KeyReused)));
    tested.finish().await;
}

pub(crate) async fn a_key_of_a_call_that_failed_is_free(tested: StoreUnderTest) {
    let known = tested.dispatched("b").await;
    let jobs = vec![keyed(tested.job("a"), "key", 1), keyed(known.as_ref().clone(), "other", 1)];
    tested.store.insert(jobs).await.unwrap_err();
    stored(submit(&tested, "key", 2).await);
    tested.finish().await;
}

pub(crate) async fn a_key_is_forgotten_after_its_time(tested: StoreUnderTest) {
    let first = stored(submit(&tested, "key", 1).await);
    tested.clock.advance(kept_for() - 1);
    assert_eq!(replayed(submit(&tested, "key", 1).await).id, first.id);
    tested.clock.advance(1);
    let second = stored(submit(&tested, "key", 2).await);
    assert_ne!(second.id, first.id);
    assert_eq!(replayed(submit(&tested, "key", 2).await).id, second.id, "it is remembered anew");
    tested.finish().await;
}

pub(crate) async fn a_job_that_is_deleted_frees_its_key(tested: StoreUnderTest) {
    let first = stored(submit(&tested, "key", 1).await);
    tested.change(&first, completed(&first)).await;
    let until = tested.clock.advance(1);
    assert_eq!(tested.delete_finished(State::Completed, until, 10).await.unwrap(), 1);
    assert_ne!(stored(submit(&tested, "key", 2).await).id, first.id);
    tested.finish().await;
}
