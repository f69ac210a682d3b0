//! A model check of the protocol: every order in which things can happen to one job, with the real state machine.
//!
//! **The world** ([`world`]) is one job with two attempts; its row in the store, changed only by the real
//! `domain::transition` ([`lives`]); what the relay has in memory and has still to publish; the broker's queue of
//! orders and its queues of responses; two workers. [`steps`] says what can happen next. Whatever a crash can come
//! between is two steps: a dispatch is committed, published and marked; a response is published, its order
//! acknowledged; it is recorded, then acknowledged. Somebody may cancel at any moment. A **fault** may happen at
//! any moment too: the backend is killed and starts again, a worker is killed, a worker falls silent and comes
//! back late (a zombie), an order or a response is lost or arrives twice, the reconciler or a lease decides too
//! soon. The [`search`] visits every state that can be reached, breadth first, so a violation comes with a
//! shortest way to it.
//!
//! **What must hold** ([`invariants`]) is checked at every change, and at the end that from every state the job
//! comes to its end if no further fault happens, whatever else does: no standstill, and no circle.
//!
//! **How it is kept small.** Time stands still: whatever may take long may take no time. What a worker may
//! report before it answers differs from test to test, and with it how many faults there are. Once the state
//! machine was seen to ignore every possible news of a past attempt, and at the end of the job every event
//! there is, what is on its way of them is forgotten: that is stronger than to let it arrive.
//!
//! **What is not in it:** jobs that come after others (the store's own test of random lives has those), types that nobody serves, dead letters, timeouts, expiry, errors that may not be tried
//! again, revoked orders, and the reconciler at work while it still has responses to record, unless as a fault. An
//! attempt may be charged with `worker_lost` although its worker answered, when its error was refused because
//! another execution of the same attempt had reported its start: the refused one's own late reports may then
//! make it the holder of an attempt that it no longer runs. It needs an order that arrived twice, and
//! reports that were overtaken by the error.

mod world;

mod lives;

mod steps;

mod words;

mod invariants;

mod search;

use crewcall_backend::domain::{
    Change, Event, JobStatus, Policy, Stale, State, TransitionContext, transition,
};
use crewcall_proto::response::Origin;

use invariants::Violation;
use search::{Explored, Trace, explore};
use steps::{Fault, Protocol, Step};
use world::News;

/// The protocol as it is.
const PROTOCOL: Protocol = Protocol {
    acknowledges_first: false,
    reconciles: true,
    reports: &[],
    forgets: true,
    crashes_only: false,
    cancels: true,
    has_backlog: true,
    sees_overtaking: true,
    answers_are_lost: false,
    hands_back: false,
    splits: false,
};

/// States that a search visits at the least: fewer, and the world has lost a part.
const STATES_MIN: usize = 10_000;

#[expect(clippy::panic, reason = "a helper of tests fails as tests do")]
fn check(protocol: Protocol, faults_max: u8) -> Explored {
    match explore(transition, protocol, faults_max) {
        Ok(explored) => {
            assert!(explored.states >= STATES_MIN, "only {explored:?}");
            explored
        }
        Err(trace) => panic!("{trace}"),
    }
}

#[test]
fn no_two_faults_harm_a_job_that_reports_its_start() {
    println!("{}", check(Protocol { reports: &[News::Started], ..PROTOCOL }, 2));
}

#[test]
fn no_two_faults_harm_a_job_that_is_held() {
    println!("{}", check(Protocol { reports: &[News::Held], ..PROTOCOL }, 2));
}

#[test]
fn no_fault_harms_a_job_that_reports_everything() {
    let reports = &[News::Started, News::Progressed, News::Held];
    println!("{}", check(Protocol { reports, ..PROTOCOL }, 1));
}

#[test]
fn a_job_whose_answers_are_lost_comes_to_its_end() {
    let protocol = Protocol { answers_are_lost: true, reports: &[News::Started], ..PROTOCOL };
    println!("{}", check(protocol, 1));
}

#[test]
fn no_two_faults_harm_a_job_that_is_handed_back() {
    println!("{}", check(Protocol { reports: &[News::Held], hands_back: true, ..PROTOCOL }, 2));
}

#[test]
fn no_two_faults_harm_a_job_that_is_handed_back_before_its_progress_is_heard_of() {
    println!("{}", check(Protocol { reports: &[News::Progressed], hands_back: true, ..PROTOCOL }, 2));
}

#[test]
fn no_three_faults_harm_a_job_that_came_in_a_bundle() {
    println!("{}", check(Protocol { splits: true, ..PROTOCOL }, 3));
}

/// The shortest way to what a broken part breaks. Nothing is forgotten, so that it shows where each message is from.
#[expect(clippy::panic, reason = "a helper of tests fails as tests do")]
fn counterexample(
    broken: fn(&JobStatus, &Policy, Event, TransitionContext) -> Result<Change, Stale>,
    protocol: Protocol,
) -> Trace {
    match explore(broken, Protocol { forgets: false, ..protocol }, 1) {
        Err(trace) => trace,
        Ok(explored) => panic!("it breaks something, and nobody noticed: {explored:?}"),
    }
}

#[test]
fn without_the_attempt_fence_one_error_is_charged_twice() {
    let trace = counterexample(without_attempt_fence, PROTOCOL);
    println!("{trace}");
    assert!(matches!(trace.violation, Violation::ChargedForNothing { attempt: 2, .. }), "{trace}");
}

#[test]
fn who_gave_an_attempt_up_would_claim_it_with_what_it_said_before() {
    let trace = counterexample(
        without_what_is_given_up,
        Protocol { reports: &[News::Started], hands_back: true, ..PROTOCOL },
    );
    println!("{trace}");
    assert_eq!(trace.violation, Violation::GivenUpClaims, "{trace}");
}

#[test]
fn without_the_terminal_guard_a_job_ends_twice() {
    let trace = counterexample(without_terminal_guard, PROTOCOL);
    println!("{trace}");
    assert_eq!(trace.violation, Violation::ChangedAfterTheEnd, "{trace}");
    // Cancelling what is over is the shortest way to break it, but not the only one.
    let trace = counterexample(without_terminal_guard, Protocol { cancels: false, ..PROTOCOL });
    println!("{trace}");
    assert_eq!(trace.violation, Violation::ConcludedTwice, "{trace}");
}

#[test]
fn taking_who_hands_back_for_one_who_fell_silent_charges_for_nothing() {
    let protocol = Protocol { hands_back: true, cancels: false, ..PROTOCOL };
    let trace = counterexample(with_charged_hand_backs, protocol);
    println!("{trace}");
    let lost = Violation::ChargedForNothing { attempt: 1, outcome: world::Outcome::WorkerLost };
    assert_eq!(trace.violation, lost, "{trace}");
}

#[test]
fn acknowledging_before_the_commit_loses_the_answer() {
    // Without a reconciler even a lost order is for good, so the only fault is the crash.
    let protocol = Protocol { acknowledges_first: true, reconciles: false, crashes_only: true, ..PROTOCOL };
    let trace = counterexample(transition, protocol);
    println!("{trace}");
    assert_eq!(trace.violation, Violation::Stuck, "{trace}");
    assert!(trace.steps.iter().any(|(step, _)| *step == Step::Fault(Fault::BackendCrash)), "{trace}");
    for repaired in [
        Protocol { acknowledges_first: false, ..protocol }, // in the right order, no crash needs a reconciler
        Protocol { reconciles: true, ..protocol },          // or the attempt is run again
    ] {
        let explored = explore(transition, repaired, 2);
        assert!(explored.is_ok(), "{explored:?}");
    }
}

#[test]
fn without_the_word_that_it_came_again_the_answer_to_a_redelivered_order_is_refused() {
    let protocol = Protocol { reports: &[News::Started], cancels: false, ..PROTOCOL };
    let trace = counterexample(without_redelivered, protocol);
    println!("{trace}");
    assert_eq!(trace.violation, Violation::AnswerRefused, "{trace}");
}

/// Errors do not say that their order came again.
fn without_redelivered(
    status: &JobStatus,
    policy: &Policy,
    mut event: Event,
    context: TransitionContext,
) -> Result<Change, Stale> {
    if let Event::Failed { redelivered, .. } = &mut event {
        *redelivered = false;
    }
    transition(status, policy, event, context)
}

#[test]
fn without_overtaking_an_order_that_is_lost_under_a_backlog_is_lost_for_good() {
    let trace = counterexample(transition, Protocol { sees_overtaking: false, cancels: false, ..PROTOCOL });
    println!("{trace}");
    assert_eq!(trace.violation, Violation::Stuck, "{trace}");
    assert!(trace.steps.iter().any(|(step, _)| matches!(step, Step::Fault(Fault::OrderLost(_)))), "{trace}");
    let quiet = Protocol { has_backlog: false, sees_overtaking: false, ..PROTOCOL };
    let explored = explore(transition, quiet, 1);
    assert!(explored.is_ok(), "when the queue empties, it is found: {explored:?}");
}

#[test]
fn without_a_limit_of_sendings_a_job_whose_answers_are_lost_never_ends() {
    let protocol = Protocol { answers_are_lost: true, cancels: false, crashes_only: true, ..PROTOCOL };
    let trace = counterexample(without_limit_of_sendings, protocol);
    println!("{trace}");
    assert_eq!(trace.violation, Violation::Stuck, "{trace}");
}

/// Nobody counts how often an order was sent.
fn without_limit_of_sendings(
    status: &JobStatus,
    policy: &Policy,
    event: Event,
    context: TransitionContext,
) -> Result<Change, Stale> {
    transition(&JobStatus { resends: 0, ..status.clone() }, policy, event, context)
}

/// News of whichever attempt are taken for news of the current one.
fn without_attempt_fence(
    status: &JobStatus,
    policy: &Policy,
    mut event: Event,
    context: TransitionContext,
) -> Result<Change, Stale> {
    match &mut event {
        Event::Started { origin, .. }
        | Event::Progressed { origin, .. }
        | Event::Held { origin, .. }
        | Event::HandedBack { origin, .. }
        | Event::Completed { origin, .. }
        | Event::Failed { origin, .. } => make_current(status, origin),
        Event::LeaseExpired { attempt, .. } | Event::TimedOut { attempt, .. } => *attempt = status.attempt,
        Event::Unroutable { attempt, token }
        | Event::DeadLettered { attempt, token, .. }
        | Event::OrderLost { attempt, token } => {
            *attempt = status.attempt;
            *token = status.token.unwrap_or(*token);
        }
        Event::Unblocked
        | Event::Due
        | Event::Dispatched { .. }
        | Event::TypeUnserved
        | Event::TypeServed
        | Event::Expired
        | Event::CancelRequested(_)
        | Event::RetryRequested => {}
    }
    transition(status, policy, event, context)
}

fn make_current(status: &JobStatus, origin: &mut Origin) {
    origin.attempt = status.attempt;
    origin.attempt_token = status.token.unwrap_or(origin.attempt_token);
}

/// What is handed back is taken for lost with its worker, as if a lease had ended.
fn with_charged_hand_backs(
    status: &JobStatus,
    policy: &Policy,
    event: Event,
    context: TransitionContext,
) -> Result<Change, Stale> {
    let (status, event) = match event {
        Event::HandedBack { origin, at, .. } => {
            let Origin { attempt, execution_id, .. } = origin.clone();
            let started = Event::Started { origin, seq: 0, at };
            let begun =
                transition(status, policy, started, context).map_or_else(|_| status.clone(), |it| it.status);
            (begun, Event::LeaseExpired { attempt, execution_id })
        }
        event => (status.clone(), event),
    };
    transition(&status, policy, event, context)
}

/// Who gave an attempt up is forgotten.
fn without_what_is_given_up(
    status: &JobStatus,
    policy: &Policy,
    event: Event,
    context: TransitionContext,
) -> Result<Change, Stale> {
    transition(&JobStatus { given_up_by: None, ..status.clone() }, policy, event, context)
}

/// A job that is over is taken for one that runs.
fn without_terminal_guard(
    status: &JobStatus,
    policy: &Policy,
    event: Event,
    context: TransitionContext,
) -> Result<Change, Stale> {
    let mut shown = status.clone();
    if status.state.is_terminal() {
        shown.state = State::Running;
    }
    transition(&shown, policy, event, context)
}
