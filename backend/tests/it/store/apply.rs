//! What happens to jobs, and what is kept of it. That the store says what the state machine says, for any
//! events, is in `model`.

use std::time::Duration;

use crewcall_backend::{
    clock::Clock as _,
    domain::{
        AttemptOutcome, AttemptRecord, Backoff, Event, Job, Policy, Progress, Stale, State,
        retry::SENDINGS_MAX,
    },
    engine::ports::{Applied, JobEvent},
};
use crewcall_proto::{Attempt, response::ErrorKind};

use super::under_test::{
    Released, START, StoreUnderTest, cancel, completed, failed, held, job_error, job_type, origin, started,
};

pub(crate) async fn a_job_runs_and_is_completed(tested: StoreUnderTest) {
    let job = tested.dispatched("a").await;
    tested.change(&job, started(&job)).await;
    let message = Some("half ☃ way".to_owned());
    let progressed = Event::Progressed {
        origin: origin(&job, 1),
        seq: u64::MAX,
        percent: Some(50),
        message: message.clone(),
        at: START,
    };
    let change = tested.change(&job, progressed.clone()).await;
    assert_eq!(change.status.progress, Some(Progress { percent: 50, message, at: START }));
    assert_eq!(
        tested.read(job.id).await.0.status,
        change.status,
        "all 64 bits of a sequence number are kept"
    );
    assert!(matches!(tested.apply(&job, progressed).await, Applied::Stale(Stale::Sequence)));

    let now = tested.clock.advance(1_000);
    let change = tested.change(&job, completed(&job)).await;
    assert_eq!((change.from, change.status.state), (State::Running, State::Completed));
    assert_eq!((change.status.finished_at, change.created_at), (Some(now), job.created_at));
    let ended = AttemptRecord {
        attempt: Attempt::FIRST,
        outcome: AttemptOutcome::Completed,
        worker_id: Some(origin(&job, 1).worker_id),
        started_at: Some(START),
        finished_at: START.plus_millis(5),
        token: Some(origin(&job, 1).attempt_token),
    };
    assert_eq!(change.ended.as_ref(), Some(&ended));
    let (read, attempts) = tested.read(job.id).await;
    assert_eq!((read.status, attempts), (change.status, vec![ended]));
    assert!(matches!(tested.apply(&job, completed(&job)).await, Applied::Stale(Stale::Terminal)));
    tested.finish().await;
}

pub(crate) async fn a_failed_attempt_is_followed_by_another_when_it_is_due(tested: StoreUnderTest) {
    let job = tested.dispatched("a").await;
    let change = tested.change(&job, failed(&job, true)).await;
    let due_at = change.status.due_at;
    assert_eq!((change.status.state, change.status.attempt.get()), (State::Scheduled, 2));
    let early = tested.release_due(due_at.plus_millis(-1), 10).await.unwrap();
    assert_eq!(early, Released { next_due_at: Some(due_at), ..Released::default() });
    let released = tested.release_due(due_at, 10).await.unwrap();
    let version = change.status.version + 1;
    assert_eq!(released.jobs, [(job.id, job_type("a"), version)]);
    assert_eq!(released.next_due_at, None);
    let second = tested.dispatch_due(&job_type("a"), 1, 1).await.dispatches.remove(0).job;
    assert_ne!(second.status.token, job.status.token);
    assert!(matches!(tested.apply(&job, completed(&job)).await, Applied::Stale(Stale::Attempt)));
    tested.change(&second, failed(&second, false)).await;
    let (read, attempts) = tested.read(job.id).await;
    assert_eq!((read.status.state, read.status.error), (State::Failed, Some(job_error(ErrorKind::Handler))));
    let outcomes: Vec<_> = attempts.into_iter().map(|ended| (ended.attempt.get(), ended.outcome)).collect();
    let outcome = AttemptOutcome::Failed(job_error(ErrorKind::Handler));
    assert_eq!(outcomes, [(1, outcome.clone()), (2, outcome)]);
    tested.finish().await;
}

pub(crate) async fn due_jobs_are_released_in_steps(tested: StoreUnderTest) {
    for delay in [30, 10, 20] {
        let job = tested.dispatched("a").await;
        let Event::Failed { origin, error, .. } = failed(&job, true) else { unreachable!() };
        let retry_after = Some(Duration::from_millis(delay));
        let event = Event::Failed {
            origin,
            error,
            redelivered: false,
            retryable: true,
            retry_after,
            started_at: None,
            finished_at: START,
        };
        tested.change(&job, event).await;
    }
    let released = tested.release_due(START.plus_millis(25), 1).await.unwrap();
    assert_eq!((released.jobs.len(), released.next_due_at), (1, Some(START.plus_millis(20))));
    let released = tested.release_due(START.plus_millis(25), 10).await.unwrap();
    assert_eq!((released.jobs.len(), released.next_due_at), (1, Some(START.plus_millis(30))));
    tested.finish().await;
}

pub(crate) async fn an_unroutable_order_waits_for_the_first_worker(tested: StoreUnderTest) {
    let jobs = [tested.dispatched("a").await, tested.dispatched("a").await, tested.dispatched("a").await];
    for job in &jobs {
        assert!(tested.change(job, came_back(job)).await.freed_window);
    }
    let ids = jobs.map(|job| job.id);
    assert_eq!(tested.release_unroutable(&job_type("b"), 10).await, Released::default());
    let released = tested.release_unroutable(&job_type("a"), 2).await;
    let released: Vec<_> = released.jobs.into_iter().map(|(id, _, _)| id).collect();
    assert_eq!(released, ids[..2], "the oldest first");
    assert_eq!(tested.release_unroutable(&job_type("a"), 2).await.jobs.len(), 1);
    let dispatches = tested.dispatch_due(&job_type("a"), 10, 10).await.dispatches;
    assert!(dispatches.len() == 3 && dispatches.iter().all(|dispatch| dispatch.sent_before));
    tested.finish().await;
}

/// One order came back, and nobody announced its type: no other one goes there, whenever its job is due.
pub(crate) async fn orders_of_a_type_that_nobody_serves_stay_here(mut tested: StoreUnderTest) {
    let first = tested.dispatched("a").await;
    let waiting = tested.insert(tested.job("a"), 1).await.job;
    let later = tested.insert(tested.job_at("a", START.plus_millis(5)), 10).await.job;
    assert_eq!((waiting.status.state, later.status.state), (State::Ready, State::Scheduled));
    tested.change(&first, came_back(&first)).await;

    let new = tested.insert(tested.job("a"), 10).await;
    assert_eq!((new.job.status.state, new.dispatched), (State::Unroutable, None));
    assert_eq!(
        tested.insert(tested.job_at("a", START.plus_millis(9)), 10).await.job.status.state,
        State::Scheduled
    );
    assert!(tested.insert(tested.job("b"), 10).await.dispatched.is_some(), "others go on");
    tested.reopen().await;
    assert_eq!(tested.release_due(START.plus_millis(5), 10).await.unwrap().jobs.len(), 1);
    let due = tested.dispatch_due(&job_type("a"), 0, 1).await;
    assert_eq!(
        (due.dispatches.len(), due.parked),
        (0, vec![waiting.id]),
        "no more than the limit, whatever the room"
    );
    assert_eq!(tested.dispatch_due(&job_type("a"), 10, 10).await.parked, [later.id]);

    let released = tested.release_unroutable(&job_type("a"), 10).await.jobs;
    assert_eq!(released.len(), 4);
    let dispatches = tested.dispatch_due(&job_type("a"), 10, 10).await.dispatches;
    assert_eq!(dispatches.len(), 4);
    for dispatch in dispatches {
        assert_eq!(
            dispatch.sent_before,
            dispatch.job.id == first.id,
            "that of the first went, and came back"
        );
    }
    tested.finish().await;
}

/// What an order that comes back says.
fn came_back(job: &Job) -> Event {
    Event::Unroutable { attempt: job.status.attempt, token: job.status.token.unwrap() }
}

pub(crate) async fn several_events_of_one_job_are_taken_in_order(tested: StoreUnderTest) {
    let (job, other) = (tested.dispatched("a").await, tested.dispatched("a").await);
    let unknown = tested.job("a");
    let events = [
        (job.id, started(&job)),
        (other.id, completed(&other)),
        (job.id, held(&job)),
        (unknown.id, Event::Due),
        (job.id, completed(&job)),
        (job.id, completed(&job)),
    ];
    let events = events.map(|(job_id, event)| JobEvent { job_id, event }).to_vec();
    let applied = tested.store.apply(events).await.unwrap();
    let mut changed = applied.changes.iter().filter_map(|change| change.is.as_ref());
    let said: Vec<_> = applied
        .value
        .iter()
        .map(|applied| match applied {
            Applied::Changed => changed.next().unwrap().state.as_str(),
            Applied::Stale(stale) => stale.as_str(),
            Applied::UnknownJob => "unknown",
            Applied::OfRun(_) => "of a run",
        })
        .collect();
    assert_eq!(said, ["running", "completed", "running", "unknown", "completed", "terminal"]);
    assert!(tested.store.apply(vec![]).await.unwrap().value.is_empty());
    tested.finish().await;
}

pub(crate) async fn a_cancelled_attempt_and_a_retry_are_kept(tested: StoreUnderTest) {
    let job = tested.dispatched("a").await;
    tested.change(&job, started(&job)).await;
    let asked = tested.change(&job, cancel()).await.status;
    assert_eq!(
        (asked.state, cancel()),
        (State::Running, Event::CancelRequested(asked.cancellation.unwrap()))
    );
    tested.change(&job, failed(&job, true)).await;
    let (read, attempts) = tested.read(job.id).await;
    assert_eq!((read.status.state, &attempts[0].outcome), (State::Cancelled, &AttemptOutcome::Cancelled));
    assert_eq!(Event::CancelRequested(read.status.cancellation.unwrap()), cancel());
    tested.change(&job, Event::RetryRequested).await;
    let again = tested.dispatch_due(&job_type("a"), 1, 1).await.dispatches.remove(0).job;
    assert_eq!(again.status.cancellation, None);
    tested.change(&again, completed(&again)).await;
    let (read, attempts) = tested.read(job.id).await;
    assert_eq!((read.status.state, attempts.len()), (State::Completed, 2));
    tested.finish().await;
}

pub(crate) async fn what_waits_is_cancelled_at_once(tested: StoreUnderTest) {
    let unroutable = tested.dispatched("a").await;
    let event =
        Event::Unroutable { attempt: unroutable.status.attempt, token: unroutable.status.token.unwrap() };
    tested.change(&unroutable, event).await;
    let waiting = [
        tested.insert(tested.job("a"), 0).await.job,
        tested.insert(tested.job_at("a", START.plus_millis(9)), 0).await.job,
        unroutable,
    ];
    for job in &waiting {
        let (from, status) =
            (tested.read(job.id).await.0.status.state, tested.change(job, cancel()).await.status);
        assert_eq!((status.state, status.finished_at), (State::Cancelled, Some(START)), "from {from}");
        assert_eq!(tested.read(job.id).await.0.status, status);
        assert!(matches!(tested.apply(job, cancel()).await, Applied::Stale(Stale::Terminal)));
    }
    let dispatched = tested.dispatched("a").await;
    assert!(tested.change(&dispatched, cancel()).await.freed_window);
    let released = tested.release_due(START.plus_millis(10), 10).await.unwrap();
    assert_eq!(released, Released::default(), "nothing is due any more");
    assert_eq!(tested.dispatch_due(&job_type("a"), 10, 10).await.dispatches.len(), 0);
    tested.finish().await;
}

pub(crate) async fn each_job_is_tried_again_by_its_own_policy(mut tested: StoreUnderTest) {
    let backoff = Backoff {
        initial: Duration::from_secs(7),
        factor: 3.0,
        max_delay: Duration::from_secs(20),
        jitter: 0.0,
    };
    let mut job = tested.job("a");
    job.policy = Policy { backoff, timeout: Some(Duration::from_millis(1_500)), ..Policy::default() };
    let mut job = tested.insert(job, 1).await.job;
    for wait in [7, 20] {
        tested.reopen().await;
        let status = tested.change(&job, failed(&job, true)).await.status;
        assert_eq!(status.due_at, tested.clock.now().plus_millis(wait * 1_000));
        tested.release_due(status.due_at, 1).await.unwrap();
        job = tested.dispatch_due(&job_type("a"), 1, 1).await.dispatches.remove(0).job;
    }
    let change = tested.change(&job, started(&job)).await;
    assert_eq!(change.timeout, job.policy.timeout);
    let timed_out =
        Event::TimedOut { attempt: job.status.attempt, execution_id: origin(&job, 1).execution_id };
    let status = tested.change(&job, timed_out).await.status;
    assert!(status.error.unwrap().message.contains("longer than its 1.5 s"));
    tested.finish().await;
}

pub(crate) async fn how_often_an_order_was_sent_outlives_a_restart(mut tested: StoreUnderTest) {
    let mut job = tested.dispatched("a").await;
    for resends in 1..SENDINGS_MAX {
        tested.reopen().await;
        let status = tested.change(&job, order_lost(&job)).await.status;
        assert_eq!((status.state, status.resends), (State::Ready, resends));
        job = tested.dispatch_due(&job_type("a"), 1, 1).await.dispatches.remove(0).job;
    }
    tested.reopen().await;
    let change = tested.change(&job, order_lost(&job)).await;
    assert_eq!((change.status.state, change.status.attempt.get()), (State::Scheduled, 2));
    let outcome = change.ended.as_ref().map(|ended| ended.outcome.as_str());
    assert_eq!(outcome, Some(ErrorKind::WorkerLost.as_str()));
    assert_eq!(tested.read(job.id).await.0.status, change.status);
    tested.finish().await;
}

fn order_lost(job: &Job) -> Event {
    Event::OrderLost { attempt: job.status.attempt, token: job.status.token.unwrap() }
}

pub(crate) async fn every_kind_of_error_is_kept(tested: StoreUnderTest) {
    let kinds = [
        ErrorKind::Handler,
        ErrorKind::Panic,
        ErrorKind::Timeout,
        ErrorKind::InvalidParameters,
        ErrorKind::WorkerLost,
        ErrorKind::CrashLoop,
        ErrorKind::Malformed,
        ErrorKind::Cancelled,
        ErrorKind::Expired,
        ErrorKind::Unknown,
    ];
    for kind in kinds {
        let job = tested.dispatched("a").await;
        // An order that was never sent again might be, instead of ending its attempt.
        tested.change(&job, order_lost(&job)).await;
        let job = tested.dispatch_due(&job_type("a"), usize::MAX, 1).await.dispatches.remove(0).job;
        let event = Event::DeadLettered {
            attempt: job.status.attempt,
            token: job.status.token.unwrap(),
            error: job_error(kind),
        };
        let change = tested.change(&job, event).await;
        let (read, attempts) = tested.read(job.id).await;
        assert_eq!(
            (read.status.error, &attempts[0].outcome),
            (Some(job_error(kind)), &AttemptOutcome::Failed(job_error(kind)))
        );
        assert_eq!(Some(&attempts[0]), change.ended.as_ref());
    }
    tested.finish().await;
}
