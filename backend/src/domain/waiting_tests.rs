use std::fmt::Write;

use crewcall_proto::{ExecutionId, response::ErrorKind};

use super::*;
use crate::domain::{Cancellation, JobError, Pause};

const NOW: Timestamp = Timestamp::from_millis(1_795_190_820_000);

/// A type that is served by one worker with four slots, three of them free; its window is far from full.
fn well() -> WaitingContext {
    WaitingContext {
        staff: Staff { workers: 1, draining: 0, slots: 4, slots_busy: 1 },
        type_known: true,
        window: 64,
        with_broker: 3,
        in_flight: 5,
        ..WaitingContext::default()
    }
}

fn status(state: State) -> JobStatus {
    JobStatus { state, ..JobStatus::new(3, NOW, NOW) }
}

fn claimed(held: bool) -> JobStatus {
    let claim =
        Claim { execution_id: ExecutionId::generate(), worker_id: "w-1".parse().unwrap(), seq: 1, held };
    JobStatus { claim: Some(claim), ..status(State::Running) }
}

fn cancelled(status: JobStatus) -> JobStatus {
    JobStatus { cancellation: Some(Cancellation { by: "me".to_owned(), reason: None, at: NOW }), ..status }
}

fn of(status: &JobStatus, context: &WaitingContext, claimant: Claimant) -> Waiting {
    Waiting::of(&JobType::new("a.b").unwrap(), status, context, |_| claimant).unwrap()
}

/// Every situation with its sentence: read the snapshot, and ask of each whether it is true.
#[test]
fn every_situation_has_its_sentence() {
    let silent = Claimant::Silent(Duration::from_secs(40));
    let (ready, dispatched) = (status(State::Ready), status(State::Dispatched));
    let error =
        JobError { kind: ErrorKind::Handler, code: None, message: "no route".to_owned(), detail: None };
    let failed_once =
        JobStatus { error: Some(error), attempt: Attempt::FIRST.next(), ..status(State::Scheduled) };
    let pause = Pause { by: "me".to_owned(), reason: None, at: NOW };
    let settings = |settings: TypeSettings| WaitingContext { settings, ..well() };
    let limited = settings(TypeSettings { running_max: Some(5), ..TypeSettings::default() });
    let not_reached = settings(TypeSettings { running_max: Some(6), ..TypeSettings::default() });
    let not_rated = settings(TypeSettings { rate_per_second: Some(2.5), ..TypeSettings::default() });
    let rated = WaitingContext { rate_wait: true, ..not_rated.clone() };
    let paused = settings(TypeSettings { pause: Some(pause), ..TypeSettings::default() });
    let full = WaitingContext { with_broker: 64, in_flight: 64, ..well() };
    let held_ones = WaitingContext { with_broker: 3, in_flight: 500, ..well() };
    let down = WaitingContext { broker_unavailable: Some("not connected: refused".to_owned()), ..well() };
    let stuck = WaitingContext { queue_error: Some("it does not confirm".to_owned()), ..well() };
    let unknown = WaitingContext { type_known: false, ..WaitingContext::default() };
    let refused = WaitingContext { refusal: Some("too many types".to_owned()), ..unknown.clone() };
    let nobody = WaitingContext { staff: Staff::default(), ..well() };
    let draining =
        WaitingContext { staff: Staff { workers: 1, draining: 1, slots: 0, slots_busy: 0 }, ..well() };
    let busy = WaitingContext { staff: Staff { workers: 2, draining: 1, slots: 4, slots_busy: 4 }, ..well() };
    let there = Claimant::There;
    let situations: [(&str, &JobStatus, &WaitingContext, Claimant); 34] = [
        ("scheduled for later", &status(State::Scheduled), &well(), there),
        ("waits out its back-off", &failed_once, &well(), there),
        ("ready, and nothing in its way", &ready, &well(), there),
        ("ready, the window is full", &ready, &full, there),
        ("ready, many attempts are held outside the window", &ready, &held_ones, there),
        ("ready, paused", &ready, &paused, there),
        ("ready, its limit is reached", &ready, &limited, there),
        ("ready, its limit is not reached", &ready, &not_reached, there),
        ("ready, kept by a rate limit", &ready, &rated, there),
        ("ready, under a rate limit that lets it through", &ready, &not_rated, there),
        ("ready, the broker is away", &ready, &down, there),
        ("ready, its queue does not confirm", &ready, &stuck, there),
        ("ready, nobody is there", &ready, &nobody, there),
        ("ready, all slots are taken", &ready, &busy, there),
        ("unroutable", &status(State::Unroutable), &unknown, there),
        ("unroutable, its type was refused", &status(State::Unroutable), &refused, there),
        ("unroutable, its queue is not as it should be", &status(State::Unroutable), &stuck, there),
        ("unroutable, though it is served", &status(State::Unroutable), &well(), there),
        ("dispatched, slots are free", &dispatched, &well(), there),
        ("dispatched, all slots are taken", &dispatched, &busy, there),
        ("dispatched, nobody is there", &dispatched, &nobody, there),
        ("dispatched, all are draining", &dispatched, &draining, there),
        ("dispatched, the broker is away", &dispatched, &down, there),
        ("dispatched, its queue does not confirm", &dispatched, &stuck, there),
        ("dispatched, its type was refused", &dispatched, &refused, there),
        ("runs", &claimed(false), &well(), there),
        ("runs, and its worker is silent", &claimed(false), &well(), silent),
        ("runs, and its worker is not known", &claimed(false), &well(), Claimant::Unknown),
        ("is held", &claimed(true), &well(), there),
        ("is held, and its worker is silent", &claimed(true), &well(), silent),
        ("is held, and its worker is not known", &claimed(true), &well(), Claimant::Unknown),
        ("runs, to be cancelled", &cancelled(claimed(false)), &well(), there),
        ("runs, to be cancelled, and its worker is silent", &cancelled(claimed(false)), &well(), silent),
        ("began and was lost, to be cancelled", &cancelled(status(State::Running)), &well(), there),
    ];
    let mut told = String::new();
    for (situation, status, context, claimant) in situations {
        let waiting = of(status, context, claimant);
        let sentence = waiting.sentence(|at| format!("@{}", at.as_millis()));
        writeln!(told, "{situation}\n    {}: {sentence}", waiting.reason()).unwrap();
    }
    insta::assert_snapshot!(told);
}

#[test]
fn what_is_over_waits_for_nothing() {
    for state in [State::Completed, State::Failed, State::Cancelled] {
        let over = status(state);
        let job_type = JobType::new("a.b").unwrap();
        assert_eq!(Waiting::of(&job_type, &over, &well(), |_| Claimant::There), None);
    }
}
