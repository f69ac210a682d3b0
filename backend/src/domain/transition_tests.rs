//! The state machine over all states and events.

use std::time::Duration;

use crewcall_proto::{JobId, WorkerId};
use proptest::{prelude::*, sample::select};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const CONTEXT: TransitionContext = TransitionContext { now: NOW, jitter_sample: 0.5 };

fn execution(number: u128) -> ExecutionId {
    ExecutionId::from_uuid(uuid::Uuid::from_u128(number))
}

fn origin(attempt: u32, token: u128, by: u128) -> Origin {
    Origin {
        job_id: JobId::from_uuid(uuid::Uuid::nil()),
        attempt: Attempt::new(attempt).unwrap(),
        attempt_token: AttemptToken::from_bits(token),
        execution_id: execution(by),
        worker_id: "worker".parse::<WorkerId>().unwrap(),
    }
}

fn job_error(kind: ErrorKind) -> JobError {
    JobError { kind, code: None, message: "it broke".to_owned(), detail: None }
}

fn failed(origin: Origin, retryable: bool) -> Event {
    Event::Failed {
        origin,
        error: job_error(ErrorKind::Handler),
        redelivered: false,
        retryable,
        retry_after: None,
        started_at: None,
        finished_at: NOW,
    }
}

fn completed(origin: Origin) -> Event {
    Event::Completed {
        origin,
        result: "{}".to_owned(),
        emitted: Vec::new(),
        started_at: NOW,
        finished_at: NOW,
    }
}

/// Steps that must all change the job.
fn live(status: JobStatus, events: impl IntoIterator<Item = Event>) -> JobStatus {
    events.into_iter().fold(status, |status, event| {
        transition(&status, &Policy::default(), event.clone(), CONTEXT)
            .unwrap_or_else(|stale| panic!("{event:?} is {stale:?} for {status:?}"))
            .status
    })
}

fn stale(status: &JobStatus, event: Event) -> Stale {
    transition(status, &Policy::default(), event, CONTEXT).expect_err("it should change nothing")
}

fn dispatched() -> JobStatus {
    live(JobStatus::new(3, NOW, NOW), [Event::Dispatched { token: AttemptToken::from_bits(1) }])
}

#[test]
fn a_job_lives_from_ready_to_completed() {
    let status = live(
        dispatched(),
        [
            Event::Started { origin: origin(1, 1, 7), seq: 1, at: NOW },
            Event::Progressed { origin: origin(1, 1, 7), seq: 2, percent: Some(40), message: None, at: NOW },
            completed(origin(1, 1, 7)),
        ],
    );
    assert_eq!((status.state, status.result.as_deref(), status.version), (State::Completed, Some("{}"), 5));
    assert_eq!(status.progress.unwrap().percent, 100);
}

#[test]
fn a_retryable_error_schedules_the_next_attempt_and_the_last_one_fails_the_job() {
    let first = live(dispatched(), [failed(origin(1, 1, 7), true)]);
    assert_eq!((first.state, first.attempt.get(), first.token), (State::Scheduled, 2, None));
    assert_eq!(first.due_at, NOW.plus_millis(2_000));
    assert_eq!(stale(&first, Event::Dispatched { token: AttemptToken::from_bits(2) }), Stale::State);
    assert_eq!(stale(&first, Event::Due), Stale::NotDue);
    let mut last = dispatched();
    last.attempt = Attempt::new(3).unwrap();
    assert_eq!(live(last, [failed(origin(3, 1, 7), true)]).state, State::Failed);
}

#[test]
fn a_permanent_error_fails_the_job_at_once() {
    assert_eq!(live(dispatched(), [failed(origin(1, 1, 7), false)]).state, State::Failed);
}

#[test]
fn the_worker_may_say_when_to_retry_but_not_for_ever() {
    let event = |asked| Event::Failed {
        origin: origin(1, 1, 7),
        error: job_error(ErrorKind::Handler),
        redelivered: false,
        retryable: true,
        retry_after: Some(asked),
        started_at: None,
        finished_at: NOW,
    };
    let status = live(dispatched(), [event(Duration::from_secs(30))]);
    assert_eq!(status.due_at, NOW.plus_millis(30_000));
    let status = live(dispatched(), [event(Duration::MAX)]);
    assert_eq!(status.due_at, NOW.plus_millis(86_400_000));
}

#[test]
fn late_and_forged_messages_change_nothing() {
    let status = dispatched();
    assert_eq!(stale(&status, completed(origin(2, 1, 7))), Stale::Attempt);
    assert_eq!(stale(&status, completed(origin(1, 9, 7))), Stale::Token);
    let second = live(
        live(status, [failed(origin(1, 1, 7), true)]),
        [], // attempt 2 waits
    );
    assert_eq!(stale(&second, failed(origin(1, 1, 7), true)), Stale::Attempt, "one error is charged once");
    let over = live(dispatched(), [completed(origin(1, 1, 7))]);
    assert_eq!(stale(&over, completed(origin(1, 1, 8))), Stale::Terminal);
}

#[test]
fn the_progress_is_that_of_the_execution_that_speaks() {
    let started = |number| Event::Started { origin: origin(1, 1, number), seq: 1, at: NOW };
    let progressed = |number, percent| Event::Progressed {
        origin: origin(1, 1, number),
        seq: 2,
        percent: Some(percent),
        message: Some(format!("{percent} done")),
        at: NOW,
    };
    let lost = live(dispatched(), [started(7), progressed(7, 80)]);
    let redelivered = live(lost.clone(), [started(8)]);
    assert_eq!(redelivered.progress, None, "its worker is gone, and another begins anew");
    assert_eq!(live(redelivered, [progressed(8, 10)]).progress.unwrap().percent, 10);
    let sent_again =
        live(lost, [Event::OrderLost { attempt: Attempt::FIRST, token: AttemptToken::from_bits(1) }]);
    assert_eq!((sent_again.state, sent_again.progress), (State::Ready, None));
}

#[test]
fn a_redelivered_order_moves_the_claim_and_the_first_result_counts() {
    let first = Event::Started { origin: origin(1, 1, 7), seq: 1, at: NOW };
    let second = Event::Started { origin: origin(1, 1, 8), seq: 1, at: NOW };
    let status = live(dispatched(), [first, second]);
    assert_eq!(status.claim.as_ref().unwrap().execution_id, execution(8));
    assert_eq!(stale(&status, failed(origin(1, 1, 7), true)), Stale::Execution);
    assert_eq!(live(status, [completed(origin(1, 1, 7))]).state, State::Completed);
}

#[test]
fn the_error_of_the_execution_that_has_the_order_counts_even_before_its_start() {
    let second = |redelivered| {
        let mut event = failed(origin(1, 1, 8), true);
        if let Event::Failed { redelivered: told, .. } = &mut event {
            *told = redelivered;
        }
        event
    };
    let first = live(dispatched(), [Event::Started { origin: origin(1, 1, 7), seq: 1, at: NOW }]);
    assert_eq!(stale(&first, second(false)), Stale::Execution, "it may be that of a copy");
    let status = live(first.clone(), [second(true)]);
    assert_eq!((status.state, status.attempt.get()), (State::Scheduled, 2));
    let held = live(first, [Event::Held { origin: origin(1, 1, 7), seq: 2 }]);
    assert_eq!(stale(&held, second(true)), Stale::Execution, "what is held has no order");
}

#[test]
fn a_held_attempt_keeps_its_claim_and_leaves_the_window() {
    let status = live(dispatched(), [Event::Held { origin: origin(1, 1, 7), seq: 1 }]);
    assert!(!status.occupies_window());
    let other = Event::Started { origin: origin(1, 1, 8), seq: 1, at: NOW };
    assert_eq!(stale(&status, other), Stale::Execution);
    let lost = Event::LeaseExpired { attempt: Attempt::FIRST, execution_id: execution(7) };
    let status = live(status, [lost]);
    assert_eq!((status.state, status.attempt.get()), (State::Scheduled, 2));
    assert_eq!(status.error.unwrap().kind, ErrorKind::WorkerLost);
}

#[test]
fn an_unroutable_job_waits_for_its_type_and_keeps_its_attempt() {
    let unroutable = Event::Unroutable { attempt: Attempt::FIRST, token: AttemptToken::from_bits(1) };
    let status = live(dispatched(), [unroutable]);
    assert_eq!(status.state, State::Unroutable);
    let status = live(status, [Event::TypeServed, Event::Dispatched { token: AttemptToken::from_bits(2) }]);
    assert_eq!((status.attempt, status.token), (Attempt::FIRST, Some(AttemptToken::from_bits(1))));
}

#[test]
fn a_lost_order_is_sent_again_as_the_same_attempt() {
    let lost = Event::OrderLost { attempt: Attempt::FIRST, token: AttemptToken::from_bits(1) };
    let status = live(dispatched(), [lost, Event::Dispatched { token: AttemptToken::from_bits(2) }]);
    assert_eq!((status.attempt, status.token), (Attempt::FIRST, Some(AttemptToken::from_bits(1))));
}

#[test]
fn an_order_that_is_gone_each_time_ends_its_attempt() {
    let lost = |attempt| Event::OrderLost { attempt, token: AttemptToken::from_bits(1) };
    let dispatch = || Event::Dispatched { token: AttemptToken::from_bits(1) };
    let mut status = JobStatus::new(2, NOW, NOW);
    for attempt in [Attempt::FIRST, Attempt::FIRST.next()] {
        for sending in 1..SENDINGS_MAX {
            status = live(status, [dispatch(), lost(attempt)]);
            assert_eq!((status.state, status.attempt, status.resends), (State::Ready, attempt, sending));
        }
        status = live(status, [dispatch(), lost(attempt)]);
        assert_eq!(status.error.as_ref().map(|error| error.kind), Some(ErrorKind::WorkerLost));
        if attempt == Attempt::FIRST {
            assert_eq!((status.state, status.attempt.get(), status.resends), (State::Scheduled, 2, 0));
            status.state = State::Ready; // it is due
        }
    }
    assert_eq!(status.state, State::Failed);
    let status = live(status, [Event::RetryRequested, dispatch(), lost(Attempt::new(3).unwrap())]);
    assert_eq!((status.state, status.resends), (State::Ready, 1), "a retry counts anew");
}

#[test]
fn a_lost_order_of_a_cancelled_job_is_not_sent_again() {
    let lost = Event::OrderLost { attempt: Attempt::FIRST, token: AttemptToken::from_bits(1) };
    let started = Event::Started { origin: origin(1, 1, 7), seq: 1, at: NOW };
    assert_eq!(live(dispatched(), [started, cancel(), lost]).state, State::Cancelled);
}

/// The first order is dead.
fn dead(kind: ErrorKind) -> Event {
    Event::DeadLettered { attempt: Attempt::FIRST, token: AttemptToken::from_bits(1), error: job_error(kind) }
}

#[test]
fn an_order_that_nobody_can_read_or_that_ends_its_workers_ends_the_job() {
    assert_eq!(live(dispatched(), [dead(ErrorKind::Malformed)]).state, State::Failed);
    let start = |by| Event::Started { origin: origin(1, 1, by), seq: 1, at: NOW };
    let deadly = live(dispatched(), (0..u128::from(CRASHES_MIN)).map(start));
    let status = live(deadly, [dead(ErrorKind::CrashLoop)]);
    assert_eq!((status.state, status.error.unwrap().kind), (State::Failed, ErrorKind::CrashLoop));
}

#[test]
fn an_order_that_came_back_without_having_been_begun_is_sent_again_once() {
    let starts = (1..u128::from(CRASHES_MIN))
        .map(|by| Event::Started { origin: origin(1, 1, by), seq: 1, at: NOW })
        .chain([Event::Progressed {
            origin: origin(1, 1, u128::from(CRASHES_MIN) - 1),
            seq: 2,
            percent: None,
            message: None,
            at: NOW,
        }]);
    let status = live(live(dispatched(), starts), [dead(ErrorKind::CrashLoop)]);
    assert_eq!((status.state, status.attempt, status.resends), (State::Ready, Attempt::FIRST, 1));
    let status = live(status, [Event::Dispatched { token: AttemptToken::from_bits(2) }]);
    assert_eq!(stale(&status, dead(ErrorKind::CrashLoop)), Stale::Token, "it is said of the first order");
    let again = Event::DeadLettered {
        attempt: Attempt::FIRST,
        token: AttemptToken::from_bits(2),
        error: job_error(ErrorKind::CrashLoop),
    };
    let status = live(status, [again]);
    assert_eq!((status.state, status.error.unwrap().kind), (State::Failed, ErrorKind::CrashLoop));
    let asked = live(
        dispatched(),
        [Event::Started { origin: origin(1, 1, 7), seq: 1, at: NOW }, cancel(), dead(ErrorKind::CrashLoop)],
    );
    assert_eq!(asked.state, State::Cancelled, "what is to be cancelled is not sent again");
}

fn handed_back(origin: Origin, resend: bool, began: bool) -> Event {
    let (message, started_at) = (began.then(|| "no model".to_owned()), began.then_some(NOW));
    Event::HandedBack { origin, resend, message, started_at, at: NOW }
}

#[path = "transition/hand_back_tests.rs"]
mod hand_back_tests;

fn cancel() -> Event {
    Event::CancelRequested(Cancellation { by: "somebody".to_owned(), reason: None, at: NOW })
}

#[test]
fn cancelling_ends_what_waits_and_asks_what_runs() {
    assert_eq!(live(JobStatus::new(3, NOW, NOW), [cancel()]).state, State::Cancelled);
    let revoked = live(dispatched(), [cancel()]);
    assert_eq!(revoked.state, State::Cancelled);
    assert_eq!(stale(&revoked, completed(origin(1, 1, 7))), Stale::Terminal);
    let asked = live(dispatched(), [Event::Started { origin: origin(1, 1, 7), seq: 1, at: NOW }, cancel()]);
    assert_eq!((asked.state, asked.cancellation.is_some()), (State::Running, true));
    assert_eq!(live(asked.clone(), [failed(origin(1, 1, 7), true)]).state, State::Cancelled);
    assert_eq!(live(asked, [completed(origin(1, 1, 7))]).state, State::Completed, "it was faster");
}

#[test]
fn a_retry_keeps_the_count_and_raises_the_limit() {
    let mut status = dispatched();
    status.max_attempts = 1;
    let status = live(status, [failed(origin(1, 1, 7), true), Event::RetryRequested]);
    assert_eq!((status.state, status.attempt.get(), status.max_attempts), (State::Ready, 2, 2));
}

#[test]
fn only_a_job_that_never_started_expires() {
    let policy = Policy { expires_at: Some(NOW), ..Policy::default() };
    let expire =
        |status: &JobStatus| transition(status, &policy, Event::Expired, CONTEXT).map(|change| change.status);
    let expired = expire(&dispatched()).unwrap();
    assert_eq!((expired.state, expired.error.unwrap().kind), (State::Failed, ErrorKind::Expired));
    assert_eq!(expire(&live(dispatched(), [failed(origin(1, 1, 7), true)])), Err(Stale::State));
    let retried =
        transition(&expire(&JobStatus::new(3, NOW, NOW)).unwrap(), &policy, Event::RetryRequested, CONTEXT);
    assert_eq!(expire(&retried.unwrap().status), Err(Stale::State), "who tries it again wants it to run");
    let later = Policy { expires_at: Some(NOW.plus_millis(1)), ..Policy::default() };
    let early = transition(&dispatched(), &later, Event::Expired, CONTEXT);
    assert_eq!(early, Err(Stale::NotDue));
}

#[test]
fn an_attempt_that_runs_too_long_is_tried_again() {
    let started = Event::Started { origin: origin(1, 1, 7), seq: 1, at: NOW };
    let timed_out = Event::TimedOut { attempt: Attempt::FIRST, execution_id: execution(7) };
    let status = live(dispatched(), [started, timed_out]);
    assert_eq!((status.state, status.error.unwrap().kind), (State::Scheduled, ErrorKind::Timeout));
}

fn any_origin() -> impl Strategy<Value = Origin> {
    (1..4_u32, 0..3_u128, 7..9_u128).prop_map(|(attempt, token, by)| origin(attempt, token, by))
}

fn any_event() -> impl Strategy<Value = Event> {
    let attempt = || (1..4_u32).prop_map(|number| Attempt::new(number).unwrap());
    let token = || (0..3_u128).prop_map(AttemptToken::from_bits);
    let kind = || select(vec![ErrorKind::CrashLoop, ErrorKind::Malformed, ErrorKind::WorkerLost]);
    prop_oneof![
        Just(Event::Due),
        token().prop_map(|token| Event::Dispatched { token }),
        (attempt(), token()).prop_map(|(attempt, token)| Event::Unroutable { attempt, token }),
        Just(Event::TypeUnserved),
        Just(Event::TypeServed),
        (any_origin(), 1..5_u64).prop_map(|(origin, seq)| Event::Started { origin, seq, at: NOW }),
        (any_origin(), 1..5_u64, prop::option::of(0..=255_u8)).prop_map(|(origin, seq, percent)| {
            Event::Progressed { origin, seq, percent, message: None, at: NOW }
        }),
        (any_origin(), 1..5_u64).prop_map(|(origin, seq)| Event::Held { origin, seq }),
        (any_origin(), any::<bool>(), any::<bool>())
            .prop_map(|(origin, resend, began)| handed_back(origin, resend, began)),
        any_origin().prop_map(completed),
        (any_origin(), any::<bool>(), any::<bool>()).prop_map(|(origin, retryable, again)| {
            match failed(origin, retryable) {
                Event::Failed { origin, error, retryable, retry_after, started_at, finished_at, .. } => {
                    let redelivered = again;
                    Event::Failed {
                        origin,
                        error,
                        redelivered,
                        retryable,
                        retry_after,
                        started_at,
                        finished_at,
                    }
                }
                other => other,
            }
        }),
        (attempt(), token(), kind()).prop_map(|(attempt, token, kind)| Event::DeadLettered {
            attempt,
            token,
            error: job_error(kind)
        }),
        (attempt(), 7..9_u128)
            .prop_map(|(attempt, by)| Event::LeaseExpired { attempt, execution_id: execution(by) }),
        (attempt(), token()).prop_map(|(attempt, token)| Event::OrderLost { attempt, token }),
        (attempt(), 7..9_u128)
            .prop_map(|(attempt, by)| Event::TimedOut { attempt, execution_id: execution(by) }),
        Just(Event::Expired),
        Just(cancel()),
        Just(Event::RetryRequested),
    ]
}

/// Any status, possible or not: the function is total.
fn any_status() -> impl Strategy<Value = JobStatus> {
    let claim = (7..9_u128, 0..5_u64, any::<bool>()).prop_map(|(by, seq, held)| Claim {
        execution_id: execution(by),
        worker_id: "worker".parse().unwrap(),
        seq,
        held,
    });
    let token = prop::option::of((0..3_u128).prop_map(AttemptToken::from_bits));
    (select(State::ALL.to_vec()), 1..4_u32, 1..4_u32, token, prop::option::of(claim), any::<bool>(), 0..2_i64)
        .prop_map(|(state, attempt, max_attempts, token, claim, cancelled, due)| JobStatus {
            state,
            attempt: Attempt::new(attempt).unwrap(),
            token,
            claim,
            cancellation: cancelled.then(|| Cancellation {
                by: "somebody".to_owned(),
                reason: None,
                at: NOW,
            }),
            due_at: NOW.plus_millis(due),
            ..JobStatus::new(max_attempts, NOW, NOW)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_repeated_event_changes_nothing(status in any_status(), event in any_event()) {
        if let Ok(change) = transition(&status, &Policy::default(), event.clone(), CONTEXT) {
            let again = transition(&change.status, &Policy::default(), event, CONTEXT);
            prop_assert!(again.is_err(), "{:?} then {:?}", change, again);
        }
    }

    #[test]
    fn a_terminal_job_is_left_alone_but_for_a_retry(
        mut status in any_status(),
        state in select(vec![State::Completed, State::Failed, State::Cancelled]),
        event in any_event(),
    ) {
        status.state = state;
        let answer = transition(&status, &Policy::default(), event.clone(), CONTEXT);
        prop_assert!(answer.is_err() || (event == Event::RetryRequested && state != State::Completed));
    }

    #[test]
    fn every_change_is_counted_and_the_attempt_never_falls(status in any_status(), event in any_event()) {
        if let Ok(change) = transition(&status, &Policy::default(), event.clone(), CONTEXT) {
            prop_assert_eq!(change.status.version, status.version + 1);
            prop_assert!(change.status.attempt >= status.attempt);
            if let Some(ended) = &change.ended {
                prop_assert_eq!(ended.attempt, status.attempt);
            }
            // A new attempt begins only when one ended, or when somebody asked for a retry.
            let another = change.status.attempt > status.attempt;
            prop_assert!(!another || change.ended.is_some() || event == Event::RetryRequested);
        }
    }

    #[test]
    fn a_whole_life_ends_at_most_once_and_charges_each_attempt_once(
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        let mut status = JobStatus::new(3, NOW, NOW);
        let (mut endings, mut ended) = (0, Vec::new());
        for event in events.into_iter().filter(|event| *event != Event::RetryRequested) {
            if let Ok(change) = transition(&status, &Policy::default(), event, CONTEXT) {
                endings += u32::from(change.status.state.is_terminal());
                ended.extend(change.ended.map(|record| record.attempt));
                let before = status.progress.as_ref().map_or(0, |progress| progress.percent);
                let execution = |status: &JobStatus| status.claim.as_ref().map(|claim| claim.execution_id);
                let goes_on = execution(&status).is_some() && execution(&change.status) == execution(&status);
                if change.status.attempt == status.attempt && goes_on {
                    prop_assert!(change.status.progress.as_ref().map_or(0, |p| p.percent) >= before);
                }
                status = change.status;
            }
        }
        prop_assert!(endings <= 1);
        prop_assert!(ended.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", ended);
        prop_assert!(status.attempt.get() <= 3);
    }
}
