//! What workers hand back.

use super::*;

#[test]
fn what_is_handed_back_is_not_charged_and_keeps_its_token() {
    let held = live(dispatched(), [Event::Held { origin: origin(1, 1, 7), seq: 1 }]);
    assert_eq!(
        stale(&held, handed_back(origin(1, 1, 8), true, true)),
        Stale::Execution,
        "another one holds it"
    );
    let again = Event::Dispatched { token: AttemptToken::from_bits(2) };
    let status = live(held, [handed_back(origin(1, 1, 7), true, true), again]);
    assert_eq!((status.state, status.attempt.get(), status.claim), (State::Dispatched, 1, None));
    assert_eq!((status.token, status.error), (Some(AttemptToken::from_bits(1)), None));
}

/// Progress travels on a queue of its own, and may be slower than the word that the attempt is given up.
#[test]
fn who_gave_an_attempt_up_claims_it_no_more() {
    let (held, again) = (
        Event::Held { origin: origin(1, 1, 7), seq: 1 },
        Event::Dispatched { token: AttemptToken::from_bits(2) },
    );
    let late = [
        Event::Started { origin: origin(1, 1, 7), seq: 1, at: NOW },
        Event::Progressed { origin: origin(1, 1, 7), seq: 2, percent: Some(40), message: None, at: NOW },
        Event::Held { origin: origin(1, 1, 7), seq: 3 },
    ];
    for first in [Some(held), None] {
        let handed_back = handed_back(origin(1, 1, 7), true, true);
        let ready = live(dispatched(), first.into_iter().chain([handed_back]));
        let dispatched = live(ready.clone(), [again.clone()]);
        for (status, late) in
            [&ready, &dispatched].into_iter().flat_map(|status| late.iter().map(move |late| (status, late)))
        {
            assert_eq!(stale(status, late.clone()), Stale::Execution, "{late:?} of {status:?}");
        }
        let start = Event::Started { origin: origin(1, 1, 8), seq: 1, at: NOW };
        assert_eq!(live(dispatched, [start]).state, State::Running, "another one may");
    }
}

#[test]
fn who_never_began_hands_back_an_order_whose_last_worker_died() {
    let started = Event::Started { origin: origin(1, 1, 7), seq: 1, at: NOW };
    let status = live(dispatched(), [started]);
    assert_eq!(stale(&status, handed_back(origin(1, 1, 8), true, true)), Stale::Execution);
    assert_eq!(live(status, [handed_back(origin(1, 1, 8), true, false)]).state, State::Ready);
}

#[test]
fn an_order_that_goes_back_to_its_queue_says_why_and_still_does_when_it_came_back_too_often() {
    let given_back = |by| {
        let start = Event::Started { origin: origin(1, 1, by), seq: 1, at: NOW };
        [start, handed_back(origin(1, 1, by), false, true)]
    };
    let crashes = u128::from(CRASHES_MIN);
    let status = live(dispatched(), (1..=crashes).flat_map(given_back));
    assert_eq!(
        (status.state, status.claim.as_ref(), status.started_at),
        (State::Dispatched, None, Some(NOW))
    );
    assert_eq!(status.progress.as_ref().unwrap().message.as_deref(), Some("no model"));
    assert_eq!(
        stale(&status, handed_back(origin(1, 1, crashes), false, true)),
        Stale::Sequence,
        "once is enough"
    );
    let status = live(status, [dead(ErrorKind::CrashLoop)]);
    assert_eq!((status.state, status.error.unwrap().detail.as_deref()), (State::Failed, Some("no model")));
}

/// What is left of the progress is that of an execution that speaks no more.
#[test]
fn an_order_that_was_handed_back_and_got_lost_begins_anew() {
    let start = Event::Started { origin: origin(1, 1, 7), seq: 1, at: NOW };
    let progress =
        Event::Progressed { origin: origin(1, 1, 7), seq: 2, percent: Some(40), message: None, at: NOW };
    let status = live(dispatched(), [start, progress, handed_back(origin(1, 1, 7), false, true)]);
    assert_eq!((status.claim.as_ref(), status.progress.as_ref().unwrap().percent), (None, 40));
    let lost = Event::OrderLost { attempt: Attempt::FIRST, token: AttemptToken::from_bits(1) };
    assert_eq!(live(status, [lost]).progress, None);
}

#[test]
fn who_hands_back_and_asks_for_another_order_did_not_crash() {
    let restarted = |by| {
        let start = Event::Started { origin: origin(1, 1, by), seq: 1, at: NOW };
        let again = Event::Dispatched { token: AttemptToken::from_bits(2) };
        [start, handed_back(origin(1, 1, by), true, true), again]
    };
    let status = live(dispatched(), (1..=2 * u128::from(CRASHES_MIN)).flat_map(restarted));
    assert_eq!((status.state, status.starts), (State::Dispatched, 0));
    assert_eq!(live(status, [dead(ErrorKind::CrashLoop)]).state, State::Ready);
}

#[test]
fn a_cancelled_job_ends_when_its_attempt_is_handed_back() {
    let held = Event::Held { origin: origin(1, 1, 7), seq: 1 };
    let status = live(dispatched(), [held, cancel(), handed_back(origin(1, 1, 7), true, true)]);
    assert_eq!(status.state, State::Cancelled);
}
