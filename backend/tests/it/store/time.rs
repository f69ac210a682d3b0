//! Jobs that expire, and jobs that were over for long enough.

use std::{collections::BTreeSet, sync::Arc};

use crewcall_backend::{
    clock::Clock,
    domain::{Event, Job, State},
    engine::ports::JobQuery,
};
use crewcall_proto::{JobId, Timestamp, response::ErrorKind};

use super::under_test::{START, StoreUnderTest, accepted, cancel, completed, failed, job_type, started};

fn at(milliseconds: i64) -> Timestamp {
    START.plus_millis(milliseconds)
}

pub(crate) async fn what_was_not_started_in_time_expires(mut tested: StoreUnderTest) {
    let ready = tested.insert(tested.job_until("a", at(10)), 0).await.job;
    let dispatched = tested.insert(tested.job_until("b", at(30)), 1).await.job;
    let mut scheduled = tested.job_at("c", at(40));
    scheduled.policy.expires_at = Some(at(20));
    let scheduled = tested.insert(scheduled, 1).await.job;
    tested.dispatched("d").await;
    tested.reopen().await;

    let none = tested.expire_due(at(9), 10).await.unwrap();
    assert_eq!((none.changes.len(), none.next_expiry_at), (0, Some(at(10))));
    let first = tested.expire_due(at(25), 1).await.unwrap();
    assert_eq!((first.changes.len(), first.next_expiry_at), (1, Some(at(20))), "in steps");
    let second = tested.expire_due(at(30), 10).await.unwrap();
    assert_eq!(second.next_expiry_at, None);
    let changes: Vec<_> = first.changes.into_iter().chain(second.changes).collect();
    let seen: Vec<_> =
        changes.iter().map(|change| (change.job_id, change.from, change.freed_window)).collect();
    let expected = [
        (ready.id, State::Ready, false),
        (scheduled.id, State::Scheduled, false),
        (dispatched.id, State::Dispatched, true),
    ];
    assert_eq!(seen, expected);
    for change in changes {
        assert_eq!(tested.read(change.job_id).await.0.status, change.status);
        assert_eq!(change.status.error.unwrap().kind, ErrorKind::Expired);
    }
    assert_eq!(tested.store.ready_types().await.unwrap(), []);
    tested.finish().await;
}

pub(crate) async fn what_was_started_or_is_over_does_not_expire(tested: StoreUnderTest) {
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(tested.insert(tested.job_until("a", at(10)), usize::MAX).await.job);
    }
    tested.change(&jobs[0], started(&jobs[0])).await;
    tested.change(&jobs[1], completed(&jobs[1])).await;
    tested.change(&jobs[2], failed(&jobs[2], true)).await;
    tested.change(&jobs[3], started(&jobs[3])).await;
    let token = jobs[3].status.token.unwrap();
    tested.change(&jobs[3], Event::OrderLost { attempt: jobs[3].status.attempt, token }).await;
    let expired = tested.expire_due(at(1_000), 10).await.unwrap();
    assert_eq!((expired.changes.len(), expired.next_expiry_at), (0, None));
    tested.finish().await;
}

/// Twenty jobs with a label, an attempt and a key each; the even ones completed, one millisecond apart.
async fn twenty(tested: &StoreUnderTest) -> Vec<Arc<Job>> {
    let mut jobs = Vec::new();
    for number in 0..20 {
        tested.clock.advance(1);
        let mut job = tested.job(["a", "b"][number / 10]);
        job.labels = [("team".to_owned(), "x".to_owned())].into();
        let job = tested.insert(job, usize::MAX).await.job;
        let event = if number % 2 == 0 { completed(&job) } else { failed(&job, false) };
        tested.change(&job, event).await;
        jobs.push(job);
    }
    jobs
}

async fn found(tested: &StoreUnderTest, query: JobQuery) -> BTreeSet<JobId> {
    tested.store.list_ids(&JobQuery { limit: 1_000, ..query }).await.unwrap().into_iter().collect()
}

pub(crate) async fn old_jobs_go_with_everything_about_them(mut tested: StoreUnderTest) {
    let jobs = twenty(&tested).await;
    // The fifth even one finished at 9 ms: those before it go.
    let before = at(9);
    let mut steps = Vec::new();
    loop {
        let deleted = tested.delete_finished(State::Completed, before, 3).await.unwrap();
        steps.push(deleted);
        if deleted < 3 {
            break;
        }
    }
    assert_eq!(steps, [3, 1], "in steps, and not what finished at the very time");
    let gone: BTreeSet<_> = [0, 2, 4, 6].map(|index: usize| jobs[index].id).into();
    let kept: BTreeSet<_> = jobs.iter().map(|job| job.id).filter(|id| !gone.contains(id)).collect();
    for round in 0..2 {
        for id in &gone {
            assert_eq!(tested.store.get(*id).await.unwrap(), None);
        }
        assert_eq!(found(&tested, JobQuery::default()).await, kept);
        let labels = [("team".to_owned(), "x".to_owned())].into();
        assert_eq!(found(&tested, JobQuery { labels, ..JobQuery::default() }).await, kept);
        let counts = tested.store.counts().await.unwrap();
        let counts: Vec<_> =
            counts.iter().map(|count| (count.job_type.as_str(), count.state, count.jobs)).collect();
        let expected = [
            ("a", State::Completed, 1),
            ("a", State::Failed, 5),
            ("b", State::Completed, 5),
            ("b", State::Failed, 5),
        ];
        assert_eq!(counts, expected, "round {round}");
        tested.reopen().await;
    }
    assert_eq!(tested.read(jobs[1].id).await.1.len(), 1);
    let until = tested.clock.advance(1);
    for state in [State::Completed, State::Failed] {
        tested.delete_finished(state, until, 100).await.unwrap();
    }
    assert_eq!(tested.store.counts().await.unwrap(), []);
    tested.finish_empty().await;
}

pub(crate) async fn only_what_is_over_is_deleted(tested: StoreUnderTest) {
    let (waiting, again) = (tested.insert(tested.job("a"), 0).await.job, tested.dispatched("b").await);
    let cancelled = tested.insert(tested.job("a"), 0).await.job;
    tested.change(&cancelled, cancel()).await;
    tested.change(&again, failed(&again, false)).await;
    tested.change(&again, Event::RetryRequested).await;
    for state in State::ALL {
        let deleted = tested.delete_finished(state, at(1), 10).await.unwrap();
        assert_eq!(deleted, usize::from(state == State::Cancelled), "{state}");
    }
    assert_eq!(found(&tested, JobQuery::default()).await, [waiting.id, again.id].into());
    tested.finish().await;
}

pub(crate) async fn deleting_and_writing_go_on_together(tested: StoreUnderTest) {
    const JOBS: usize = 400;
    for _ in 0..JOBS / 50 {
        let jobs = (0..50).map(|_| accepted(tested.job("old"), 0)).collect();
        tested.store.insert(jobs).await.unwrap();
    }
    for id in found(&tested, JobQuery::default()).await {
        let (job, _) = tested.read(id).await;
        tested.change(&job, cancel()).await;
    }
    let until = tested.clock.advance(1);
    let delete = async {
        let (mut deleted, mut steps) = (0, 0);
        while deleted < JOBS {
            deleted += tested.delete_finished(State::Cancelled, until, 10).await.unwrap();
            steps += 1;
        }
        (deleted, steps)
    };
    let write = async {
        let mut written = Vec::new();
        for _ in 0..JOBS / 20 {
            let job = tested.dispatched("new").await;
            tested.change(&job, completed(&job)).await;
            written.push(job.id);
        }
        written
    };
    let ((deleted, steps), written) = tokio::join!(delete, write);
    assert_eq!((deleted, steps), (JOBS, JOBS / 10));
    assert_eq!(found(&tested, JobQuery::default()).await, written.into_iter().collect());
    assert_eq!(tested.store.counts().await.unwrap().len(), 1);
    assert_eq!(tested.dispatch_due(&job_type("old"), 10, 10).await.dispatches.len(), 0);
    tested.finish().await;
}

pub(crate) async fn waits_go_on_when_the_clock_was_set_back(mut tested: StoreUnderTest) {
    const HOUR: i64 = 3_600_000;
    let waiting = tested.insert(tested.job_at("a", at(5_000)), 0).await.job;
    let mut named = tested.job_at("b", at(5_000));
    named.policy.run_at = Some(at(5_000));
    let named = tested.insert(named, 0).await.job;
    let failing = tested.dispatched("c").await;
    tested.change(&failing, failed(&failing, true)).await;
    let ready = tested.insert(tested.job("d"), 0).await.job;
    let expiring = tested.insert(tested.job_until("e", at(HOUR)), 0).await.job;
    let retried_in = tested.read(failing.id).await.0.status.due_at.as_millis() - START.as_millis();
    tested.clock.advance(2_000);
    tested.insert(tested.job("f"), 0).await; // keeps the time

    tested.clock.advance(-HOUR);
    tested.reopen().await;
    let now = tested.clock.now();
    let due_in = async |job: &Job| tested.read(job.id).await.0.status.due_at.as_millis() - now.as_millis();
    assert_eq!(due_in(&waiting).await, 3_000, "what was left of a delay");
    assert_eq!(due_in(&failing).await, retried_in - 2_000, "what was left of a back-off");
    assert_eq!(due_in(&named).await, HOUR + 3_000, "a time that somebody named stays");
    assert_eq!(due_in(&ready).await, -2_000, "older than what comes now");
    assert_eq!(tested.read(expiring.id).await.0.policy, expiring.policy, "an expiry stays");
    let released = tested.release_due(now.plus_millis(3_000), 10).await.unwrap();
    assert!(released.jobs.iter().any(|(id, _, _)| *id == waiting.id), "{released:?}");

    tested.clock.advance(500 - 1_000);
    let before = tested.read(ready.id).await;
    tested.reopen().await;
    assert_eq!(tested.read(ready.id).await, before, "a clock that drifts moves nothing");
    tested.finish().await;
}
