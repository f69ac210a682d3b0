//! Jobs that come after others.

use std::sync::Arc;

use crewcall_backend::{
    domain::{After, AfterFailure, Blocked, Event, Job, State},
    engine::{
        ports::{Accepted, Inserted, JobEvent, JobQuery, Written},
        rules::FOLLOWED_AT_ONCE,
    },
};
use crewcall_proto::JobId;

use super::under_test::{START, StoreUnderTest, accepted, cancel, completed, failed, job_type};

fn after(job: Job, jobs: &[JobId], on_failure: AfterFailure) -> Accepted {
    Accepted { after: Some(After { jobs: jobs.to_vec(), on_failure }), ..accepted(job, usize::MAX) }
}

/// Stores a job that comes after these, and is cancelled when one of them fails.
async fn follower(tested: &StoreUnderTest, jobs: &[JobId]) -> Arc<Job> {
    follower_of(tested, tested.job("f"), jobs, AfterFailure::Cancel).await
}

async fn follower_of(
    tested: &StoreUnderTest,
    job: Job,
    jobs: &[JobId],
    on_failure: AfterFailure,
) -> Arc<Job> {
    match tested.store.insert(vec![after(job, jobs, on_failure)]).await.unwrap().value.remove(0) {
        Inserted::Stored { job } => job,
        other => panic!("it should be stored, not {other:?}"),
    }
}

async fn apply(tested: &StoreUnderTest, job: &Job, event: Event) -> Written<()> {
    let written = tested.store.apply(vec![JobEvent { job_id: job.id, event }]).await.unwrap();
    Written { value: (), changes: written.changes, ..Written::default() }
}

/// Which jobs changed, and where they stand by that.
fn changes<T>(written: &Written<T>) -> Vec<(JobId, State)> {
    let state = |is: &Option<Arc<crewcall_backend::domain::JobStatus>>| is.as_ref().unwrap().state;
    written.changes.iter().map(|change| (change.job_id, state(&change.is))).collect()
}

async fn state(tested: &StoreUnderTest, job: &Job) -> State {
    tested.read(job.id).await.0.status.state
}

pub(crate) async fn a_job_begins_with_the_end_of_the_last_that_it_comes_after(mut tested: StoreUnderTest) {
    let (a, b) = (tested.dispatched("a").await, tested.dispatched("b").await);
    let job = follower(&tested, &[a.id, b.id]).await;
    let mut delayed = tested.job_at("f", START.plus_millis(50));
    delayed.labels = [("k".to_owned(), "v".to_owned())].into();
    let delayed = follower_of(&tested, delayed, &[b.id], AfterFailure::Cancel).await;
    assert_eq!((job.status.state, delayed.status.state), (State::Blocked, State::Blocked));
    assert_eq!(tested.dispatch_due(&job_type("f"), 9, 9).await.dispatches.len(), 0);

    assert_eq!(changes(&apply(&tested, &a, completed(&a)).await), [(a.id, State::Completed)]);
    let waits = Blocked {
        on_failure: AfterFailure::Cancel,
        jobs: vec![(a.id, Some(State::Completed)), (b.id, None)],
    };
    assert_eq!(tested.store.comes_after(job.id).await.unwrap(), Some(waits));
    tested.reopen().await;

    let mut ended = changes(&apply(&tested, &b, completed(&b)).await);
    ended[1..].sort_unstable_by_key(|(id, _)| *id != job.id);
    assert_eq!(ended, [(b.id, State::Completed), (job.id, State::Ready), (delayed.id, State::Scheduled)]);
    assert_eq!(tested.store.unblocked(), 0);
    assert_eq!(tested.dispatch_due(&job_type("f"), 9, 9).await.dispatches[0].job.id, job.id);
    let began = tested.store.comes_after(job.id).await.unwrap().unwrap();
    assert!(began.jobs.iter().all(|(_, end)| *end == Some(State::Completed)), "{began:?}");
    assert_eq!(tested.store.comes_after(a.id).await.unwrap(), None);
    tested.finish().await;
}

pub(crate) async fn a_failure_cancels_those_behind_it_through_each_other(tested: StoreUnderTest) {
    let first = tested.dispatched("a").await;
    let second = follower(&tested, &[first.id]).await;
    let third = follower(&tested, &[second.id]).await;
    let cleanup = follower_of(&tested, tested.job("f"), &[third.id, first.id], AfterFailure::Run).await;
    let written = apply(&tested, &first, failed(&first, false)).await;
    assert_eq!(
        changes(&written),
        [
            (first.id, State::Failed),
            (second.id, State::Cancelled),
            (third.id, State::Cancelled),
            (cleanup.id, State::Ready)
        ]
    );
    let cancellation = tested.read(second.id).await.0.status.cancellation.unwrap();
    assert_eq!(cancellation.by, "crewcall");
    assert_eq!(cancellation.reason.unwrap(), format!("job {}, which it comes after, failed", first.id));
    let cancellation = tested.read(third.id).await.0.status.cancellation.unwrap();
    assert_eq!(
        cancellation.reason.unwrap(),
        format!("job {}, which it comes after, was cancelled", second.id)
    );
    tested.finish().await;
}

pub(crate) async fn what_is_over_already_blocks_nothing(tested: StoreUnderTest) {
    let (good, bad) = (tested.dispatched("a").await, tested.dispatched("a").await);
    tested.change(&good, completed(&good)).await;
    tested.change(&bad, failed(&bad, false)).await;
    assert_eq!(follower(&tested, &[good.id]).await.status.state, State::Dispatched);
    let cancelled = follower(&tested, &[good.id, bad.id]).await;
    assert_eq!((cancelled.status.state, cancelled.status.finished_at), (State::Cancelled, Some(START)));
    let all_the_same = follower_of(&tested, tested.job("f"), &[bad.id], AfterFailure::Run).await;
    assert_eq!(all_the_same.status.state, State::Dispatched);
    let (unknown, other) = (JobId::generate(), JobId::generate());
    let refused = [after(tested.job("f"), &[other, good.id, unknown], AfterFailure::Cancel), {
        accepted(tested.job("g"), 0)
    }];
    let written = tested.store.insert(refused.into()).await.unwrap();
    assert!(matches!(&written.value[0], Inserted::UnknownJobs(ids) if *ids == [other, unknown]));
    assert!(matches!(written.value[1], Inserted::Stored { .. }), "the other one is stored");
    tested.finish().await;
}

pub(crate) async fn who_is_tried_again_blocks_again(mut tested: StoreUnderTest) {
    let (a, b) = (tested.dispatched("a").await, tested.dispatched("b").await);
    let job = follower(&tested, &[a.id, b.id]).await;
    tested.change(&a, failed(&a, false)).await;
    tested.change(&a, Event::RetryRequested).await;
    tested.reopen().await;
    assert_eq!(changes(&apply(&tested, &b, completed(&b)).await), [(b.id, State::Completed)]);
    let again = tested.dispatch_due(&job_type("a"), 9, 9).await.dispatches.remove(0).job;
    assert_eq!(changes(&apply(&tested, &again, completed(&again)).await)[1], (job.id, State::Ready));
    // What began does not stop for it.
    tested.change(&job, cancel()).await;
    tested.change(&job, Event::RetryRequested).await;
    assert_eq!(state(&tested, &job).await, State::Ready, "it is tried at once");
    tested.finish().await;
}

pub(crate) async fn a_blocked_job_ends_by_itself_and_is_not_moved_again(mut tested: StoreUnderTest) {
    let first = tested.dispatched("a").await;
    let cancelled = follower(&tested, &[first.id]).await;
    let expires = tested.job_until("f", START.plus_millis(10));
    let expires = follower_of(&tested, expires, &[first.id], AfterFailure::Cancel).await;
    let behind = follower(&tested, &[expires.id]).await;
    let cleanup = follower_of(&tested, tested.job("f"), &[cancelled.id], AfterFailure::Run).await;
    let together = [&cancelled, &first].map(|job| JobEvent { job_id: job.id, event: cancel() });
    tested.clock.advance(10);
    let expired = changes(&tested.store.expire_due(10).await.unwrap());
    assert_eq!(expired, [(expires.id, State::Failed), (behind.id, State::Cancelled)]);
    tested.reopen().await;
    let written = tested.store.apply(together.into()).await.unwrap();
    assert_eq!(
        changes(&written),
        [(cancelled.id, State::Cancelled), (first.id, State::Cancelled), (cleanup.id, State::Ready)]
    );
    assert_eq!(tested.read(cancelled.id).await.0.status.cancellation.unwrap().by, "ops@example");
    tested.finish().await;
}

pub(crate) async fn what_a_job_comes_after_may_be_deleted_before(mut tested: StoreUnderTest) {
    let (early, late) = (tested.dispatched("a").await, tested.dispatched("b").await);
    let job = follower(&tested, &[early.id, late.id]).await;
    tested.change(&early, completed(&early)).await;
    assert_eq!(tested.delete_finished(State::Completed, START.plus_millis(100), 10).await.unwrap(), 1);
    tested.reopen().await;
    assert_eq!(changes(&apply(&tested, &late, completed(&late)).await)[1], (job.id, State::Ready));
    tested.change(&job, cancel()).await;
    for state in [State::Completed, State::Cancelled] {
        assert_eq!(tested.delete_finished(state, START.plus_millis(300), 10).await.unwrap(), 1);
    }
    tested.finish_empty().await;
}

pub(crate) async fn thousands_follow_in_steps(mut tested: StoreUnderTest) {
    let first = tested.dispatched("a").await;
    let many = FOLLOWED_AT_ONCE + 44;
    let all = (0..many).map(|_| after(tested.job("f"), &[first.id], AfterFailure::Cancel)).collect();
    tested.store.insert(all).await.unwrap();
    let written = apply(&tested, &first, completed(&first)).await;
    assert_eq!((written.changes.len(), tested.store.unblocked()), (1 + FOLLOWED_AT_ONCE, 44));
    tested.reopen().await;
    assert_eq!(tested.store.unblocked(), 44);
    let some = tested.store.release_unblocked(40).await.unwrap();
    assert_eq!((some.changes.len(), some.value), (40, true));
    let rest = tested.store.release_unblocked(40).await.unwrap();
    assert_eq!((rest.changes.len(), rest.value, tested.store.unblocked()), (4, false, 0));
    let query = JobQuery { states: vec![State::Blocked], limit: 10, ..JobQuery::default() };
    assert_eq!(tested.store.list(&query).await.unwrap(), []);
    tested.finish().await;
}
