//! Jobs that are submitted again under the same name.

use std::{collections::HashSet, sync::Arc};

use crewcall_backend::{
    domain::{Job, State},
    engine::ports::{Accepted, IDEMPOTENCY_KEPT_FOR, IdempotencyKey, Inserted},
};
use futures_util::future::join_all;

use super::subject::{Subject, completed};

fn keyed(job: Job, key: &str, body: u8) -> Accepted {
    let idempotency = Some(IdempotencyKey { key: key.to_owned(), body_hash: [body; 32] });
    Accepted { job, window: usize::MAX, idempotency }
}

async fn submit(subject: &Subject, key: &str, body: u8) -> Inserted {
    let job = keyed(subject.job("a"), key, body);
    subject.store.insert(vec![job]).await.unwrap().remove(0)
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

pub(crate) async fn a_job_that_is_submitted_again_is_the_same_as_it_is_now(mut subject: Subject) {
    let first = stored(submit(&subject, "ünïque \0", 1).await);
    assert_eq!(replayed(submit(&subject, "ünïque \0", 1).await), first);
    assert!(matches!(submit(&subject, "ünïque \0", 2).await, Inserted::KeyReused));
    assert_ne!(stored(submit(&subject, "ünïque", 1).await).id, first.id, "another key");
    assert_eq!(subject.store.counts().await.unwrap()[0].jobs, 2);
    subject.change(&first, completed(&first)).await;
    subject.reopen().await;
    let now = replayed(submit(&subject, "ünïque \0", 1).await);
    assert_eq!((now.id, now.status.state), (first.id, State::Completed));
    assert_eq!(subject.store.dispatch_marks().await.unwrap().issued.0, 2, "a replay is no dispatch");
    subject.finish().await;
}

pub(crate) async fn of_a_hundred_at_once_one_is_stored(subject: Subject) {
    let inserts = (0..100).map(|_| {
        let (store, job) = (Arc::clone(&subject.store), keyed(subject.job("a"), "key", 1));
        async move { store.insert(vec![job]).await.unwrap().remove(0) }
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
    assert_eq!(subject.store.counts().await.unwrap()[0].jobs, 1);
    subject.finish().await;
}

pub(crate) async fn a_key_is_unique_also_within_one_call(subject: Subject) {
    let jobs = [("x", 1), ("y", 1), ("x", 1), ("x", 2)];
    let jobs = jobs.map(|(key, body)| keyed(subject.job("a"), key, body)).to_vec();
    let mut inserted = subject.store.insert(jobs).await.unwrap().into_iter();
    let first = stored(inserted.next().unwrap());
    stored(inserted.next().unwrap());
    assert_eq!(replayed(inserted.next().unwrap()).id, first.id);
    assert!(matches!(inserted.next(), Some(Inserted::KeyReused)));
    subject.finish().await;
}

pub(crate) async fn a_key_of_a_call_that_failed_is_free(subject: Subject) {
    let known = subject.dispatched("b").await;
    let jobs = vec![keyed(subject.job("a"), "key", 1), keyed(known.as_ref().clone(), "other", 1)];
    subject.store.insert(jobs).await.unwrap_err();
    stored(submit(&subject, "key", 2).await);
    subject.finish().await;
}

pub(crate) async fn a_key_is_forgotten_after_its_time(subject: Subject) {
    let first = stored(submit(&subject, "key", 1).await);
    subject.clock.advance(kept_for() - 1);
    assert_eq!(replayed(submit(&subject, "key", 1).await).id, first.id);
    subject.clock.advance(1);
    let second = stored(submit(&subject, "key", 2).await);
    assert_ne!(second.id, first.id);
    assert_eq!(replayed(submit(&subject, "key", 2).await).id, second.id, "it is remembered anew");
    subject.finish().await;
}

pub(crate) async fn a_job_that_is_deleted_frees_its_key(subject: Subject) {
    let first = stored(submit(&subject, "key", 1).await);
    subject.change(&first, completed(&first)).await;
    let until = subject.clock.advance(1);
    assert_eq!(subject.store.delete_finished(State::Completed, until, 10).await.unwrap(), 1);
    assert_ne!(stored(submit(&subject, "key", 2).await).id, first.id);
    subject.finish().await;
}
