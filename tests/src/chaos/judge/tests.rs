//! The judge on facts made by hand: a good program is clean, and each thing that a broken one does is found.

mod repairs;

use serde_json::json;

use super::*;
use crate::chaos::{
    fault::{Fault, Line, Way},
    fault_log::{Stall, Struck},
    submission_log::{Cancel, Set, Setting},
};

const WORKER: &str = "worker-0";

/// What a broken program does to the facts.
type Breakage = fn(&mut Facts);

/// So many seconds after a run began.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn attempt(number: u64, outcome: &str, seconds: i64) -> Attempt {
    let handler = outcome == "handler";
    Attempt {
        number,
        outcome: outcome.to_owned(),
        code: handler.then(|| "test_failure".to_owned()),
        message: handler.then(|| "fails".to_owned()),
        worker: Some(WORKER.to_owned()),
        started_at: Some(at(seconds - 1)),
        finished_at: at(seconds),
    }
}

fn fault(fault: Fault, from: i64, until: i64) -> Struck {
    Struck { fault, from: at(from), until: Some(at(until)), not_made: None }
}

/// What a run left behind that nothing was done to, but what a test does.
fn facts(struck: Vec<Struck>) -> Facts {
    let mut facts = Facts {
        known: Known::default(),
        jobs: BTreeMap::new(),
        attempts: BTreeMap::new(),
        dispatches: BTreeMap::new(),
        executions: BTreeMap::new(),
        log: Log::default(),
        blame: Blame::new(struck, Vec::new()),
        healed_at: at(100),
        judged_at: at(160),
    };
    let completed = |seconds| vec![attempt(1, "completed", seconds)];
    add(&mut facts, "echo", "test.echo", &json!({"text": "hello"}), "completed", completed(2));
    facts.job("echo")["result"] = json!({"text": "hello", "worker": WORKER});
    add(&mut facts, "sleep", "test.sleep", &json!({"steps": 2, "step_ms": 500}), "completed", completed(2));
    facts.job("sleep")["result"] = json!({"steps": 2, "worker": WORKER, "attempt": 1});
    let fails = json!({"message": "fails", "permanent": false, "succeed_at": 2});
    let twice = vec![attempt(1, "handler", 2), attempt(2, "completed", 4)];
    add(&mut facts, "fail", "test.fail", &fails, "completed", twice);
    facts.job("fail")["result"] = json!({});
    let fails = json!({"message": "fails", "permanent": true, "succeed_at": 2});
    add(&mut facts, "permanent", "test.fail", &fails, "failed", vec![attempt(1, "handler", 2)]);
    facts.job("permanent")["error"] = json!({"kind": "handler"});
    let cancelled = vec![attempt(1, "cancelled", 3)];
    add(&mut facts, "cancelled", "test.sleep", &json!({"steps": 6, "step_ms": 900}), "cancelled", cancelled);
    facts.job("cancelled")["cancellation"] = json!({"by": "chaos"});
    let cancel = Cancel { asked_at: at(2), answered: Some("running".to_owned()) };
    facts.known.cancels.insert("cancelled".to_owned(), vec![cancel]);
    facts
}

fn add(
    facts: &mut Facts,
    id: &str,
    job_type: &'static str,
    parameters: &Value,
    state: &str,
    attempts: Vec<Attempt>,
) {
    let body = json!({"type": job_type, "parameters": parameters, "labels": {TAG: id}});
    let outcome = Outcome::Accepted(id.to_owned());
    let submission = Submission { outcome, ..Submission::new(id.to_owned(), job_type, body.clone()) };
    facts.known.submissions.insert(id.to_owned(), submission);
    let last = attempts.last().map_or(1, |last| last.number);
    let ended = attempts.last().map_or(at(2), |last| last.finished_at);
    for attempt in &attempts {
        facts.execute(id, attempt.number, attempt.started_at.unwrap());
    }
    let job = json!({
        "id": id, "type": job_type, "parameters": body["parameters"], "labels": body["labels"], "state": state,
        "priority": 4, "attempt": last, "max_attempts": 5, "timeout_seconds": null, "expires_at": null,
        "result": null, "error": null, "cancellation": null, "version": 3, "created_at": at(0).to_string(),
        "finished_at": ended.to_string(),
    });
    facts.jobs.insert(id.to_owned(), job);
    facts.dispatches.insert(id.to_owned(), facts.dispatches.len() as i64);
    facts.attempts.insert(id.to_owned(), attempts);
}

/// What the backend logs of an order that got lost.
const SENT_AGAIN: &str = "AT  WARN reconcile: An order is in no queue and with no worker; it is sent again. job.id=JOB job.type=test.echo attempt=1";

impl Facts {
    fn job(&mut self, id: &str) -> &mut Value {
        self.jobs.get_mut(id).unwrap()
    }

    fn body(&mut self, id: &str) -> &mut Value {
        &mut self.known.submissions.get_mut(id).unwrap().body
    }

    fn execute(&mut self, id: &str, attempt: u64, at: Timestamp) {
        let execution = Execution { worker: WORKER.to_owned(), at };
        self.executions.entry((id.to_owned(), attempt)).or_default().push(execution);
    }

    /// A job that was asked for with this field, and has it.
    fn ask(&mut self, id: &str, field: &str, value: &Value) {
        self.body(id)[field] = value.clone();
        self.job(id)[field] = value.clone();
    }

    /// The echo failed.
    fn fail_echo(&mut self, kind: &str) {
        self.job("echo")["state"] = json!("failed");
        self.job("echo")["error"] = json!({"kind": kind});
        self.attempts.insert("echo".to_owned(), vec![attempt(1, kind, 2)]);
    }

    fn set_log(&mut self, line: &str) {
        self.log = Log::read(&[("backend.log".to_owned(), line.to_owned())]);
    }

    /// The order of the echo, which went on, was sent again so many seconds after the beginning.
    fn resent(&mut self, seconds: i64) {
        self.set_log(&SENT_AGAIN.replace("AT", &at(seconds).to_string()).replace("JOB", "echo"));
        let ended = attempt(1, "completed", seconds + 2);
        self.job("echo")["finished_at"] = json!(ended.finished_at.to_string());
        self.attempts.insert("echo".to_owned(), vec![ended]);
    }

    fn found_to_be(&self) -> Vec<&'static str> {
        self.problems().iter().map(|problem| problem.what).collect()
    }
}

#[track_caller]
fn assert_clean(facts: &Facts) {
    assert!(facts.problems().is_empty(), "{:?}", facts.problems());
}

#[test]
fn a_good_program_is_clean() {
    assert_clean(&facts(Vec::new()));
}

#[test]
fn a_job_that_is_not_what_was_submitted_is_found() {
    let breakages: [(&str, Breakage); 7] = [
        (LOST, |facts| drop(facts.jobs.remove("echo"))),
        (LOST, |facts| {
            let other = Outcome::Accepted("sleep".to_owned());
            facts.known.submissions.get_mut("echo").unwrap().outcome = other;
        }),
        (UNEXPECTED, |facts| drop(facts.known.submissions.remove("echo"))),
        (UNEXPECTED, |facts| facts.known.submissions.get_mut("echo").unwrap().outcome = Outcome::Refused),
        ("not the job that was submitted", |facts| facts.body("echo")["priority"] = json!(9)),
        ("not the job that was submitted", |facts| facts.body("echo")["parameters"] = json!({"text": "bye"})),
        (DOUBLED, |facts| {
            let twin = facts.jobs["echo"].clone();
            facts.jobs.insert("twin".to_owned(), twin);
        }),
    ];
    for (number, (what, breakage)) in breakages.into_iter().enumerate() {
        let mut facts = facts(Vec::new());
        breakage(&mut facts);
        assert!(facts.found_to_be().contains(&what), "{number}: {:?}", facts.problems());
    }
}

#[test]
fn an_end_that_a_submission_does_not_allow_is_found() {
    let lost_at_once = vec![fault(Fault::WorkerKilled(0), 1, 2)];
    let breakages: [Breakage; 13] = [
        |facts| facts.fail_echo("worker_lost"), // its worker died, but it had four attempts more
        |facts| facts.fail_echo("malformed"),
        |facts| facts.fail_echo("handler"),
        |facts| facts.fail_echo("timeout"),
        |facts| facts.fail_echo("expired"),
        |facts| facts.fail_echo("crash_loop"),
        |facts| facts.job("echo")["result"] = json!({"text": "bye", "worker": WORKER}),
        |facts| facts.job("sleep")["result"]["steps"] = json!(1),
        |facts| facts.ask("sleep", "delay_seconds", &json!(5)),
        |facts| drop(facts.known.cancels.remove("cancelled")),
        |facts| drop(facts.executions.remove(&("echo".to_owned(), 1))),
        |facts| drop(facts.attempts.get_mut("fail").unwrap().remove(0)),
        |facts| facts.job("permanent")["error"] = json!({"kind": "worker_lost"}),
    ];
    for (number, breakage) in breakages.into_iter().enumerate() {
        let mut facts = facts(lost_at_once.clone());
        breakage(&mut facts);
        assert!(!facts.found_to_be().is_empty(), "{number}");
    }
}

#[test]
fn a_group_may_be_cancelled_whose_submission_was_not_answered() {
    let mut facts = facts(Vec::new());
    facts.known.cancels.clear();
    facts.body("cancelled")["labels"]["group"] = json!("1-1");
    facts.job("cancelled")["labels"]["group"] = json!("1-1");
    assert!(!facts.found_to_be().is_empty());
    facts.known.groups_cancelled.insert("1-1".to_owned());
    assert_clean(&facts);
}

#[test]
fn only_what_was_cancelled_long_ago_may_be_deleted() {
    let mut facts = facts(Vec::new());
    facts.jobs.remove("cancelled");
    assert_clean(&facts);
    assert!(
        facts.submissions().accepted.contains("echo") && !facts.submissions().accepted.contains("cancelled")
    );
    facts.judged_at = at(151); // it was cancelled at 2
    assert_eq!(facts.found_to_be(), [LOST]);
    assert!(!facts.submissions().accepted.contains("cancelled"), "it is read later, and may be gone by then");
}

#[test]
fn a_cancellation_that_is_granted_and_forgotten_is_found() {
    let mut facts = facts(Vec::new());
    facts.job("cancelled")["state"] = json!("completed");
    facts.job("cancelled")["result"] = json!({"steps": 6, "worker": WORKER, "attempt": 1});
    facts.attempts.insert("cancelled".to_owned(), vec![attempt(1, "completed", 6)]);
    assert_clean(&facts); // it was nearly done
    facts.job("cancelled")["finished_at"] = json!(at(20).to_string());
    assert_eq!(facts.found_to_be(), ["cancellations that were not made"]);
    facts.job("cancelled")["finished_at"] = json!(at(6).to_string());
    facts.job("cancelled")["cancellation"] = json!(null);
    assert_eq!(facts.found_to_be(), ["cancellations that were not made"]);
}

#[test]
fn an_error_is_logged_only_while_its_fault_strikes() {
    for (seconds, explained) in [(20, true), (40, true), (90, false), (5, false)] {
        let mut facts = facts(vec![fault(Fault::StoreLocked, 10, 30)]);
        facts.set_log(&format!(
            "{} ERROR writer: A transaction of the store was given up. reason=busy",
            at(seconds)
        ));
        assert_eq!(facts.found_to_be().is_empty(), explained, "{seconds}");
    }
    let mut facts = facts(vec![fault(Fault::StoreLocked, 10, 30)]);
    facts.set_log("thread 'main' panicked at src/main.rs:1:1:");
    assert_eq!(facts.found_to_be(), ["errors logged without a cause"]);
}

#[test]
fn what_is_logged_while_the_clock_is_another_has_its_own_time() {
    let jumped = fault(Fault::ClockJumped(-60), 88, 92);
    let purged = fault(Fault::QueuePurged("crewcall.jobs.test.echo"), 40, 40);
    for (struck, explained) in [
        (vec![purged.clone(), jumped], true), // it was 90
        (vec![purged.clone()], false),
        (vec![purged, fault(Fault::ClockJumped(-60), 70, 80)], false),
    ] {
        let mut facts = facts(struck.clone());
        facts.resent(30);
        let expected: &[&str] = if explained { &[] } else { &["orders sent again without a cause"] };
        assert_eq!(facts.found_to_be(), expected, "{struck:?}");
    }
}

#[test]
fn what_began_too_late_to_complete_was_not_stopped() {
    let mut facts = facts(Vec::new());
    facts.ask("sleep", "timeout_seconds", &json!(1.5));
    assert_clean(&facts);
    for (field, value) in [("steps", json!(20)), ("step_ms", json!(500))] {
        facts.body("sleep")["parameters"][field] = value.clone();
        facts.job("sleep")["parameters"][field] = value;
    }
    facts.job("sleep")["result"]["steps"] = json!(20);
    assert_eq!(facts.found_to_be(), ["ends that must not be"]);
    assert_eq!(SHOWN_CHARACTERS_MAX + 1, shown(&json!({"text": "x".repeat(5_000)})).chars().count());
}

/// A setting for the type of the echoes, in the first ten seconds.
fn setting(set: Set) -> Setting {
    Setting { job_type: "test.echo", set, from: at(-1), until: at(9) }
}

#[test]
fn more_attempts_at_once_than_the_limit_are_found() {
    let beside = |began: i64| {
        let mut facts = facts(Vec::new());
        facts.known.settings.push(setting(Set::RunningMax(1)));
        let mut attempts = vec![attempt(1, "completed", began + 5)];
        attempts[0].started_at = Some(at(began));
        add(&mut facts, "beside", "test.echo", &json!({"text": "hello"}), "completed", attempts);
        facts.job("beside")["result"] = json!({"text": "hello", "worker": WORKER});
        facts
    };
    assert_clean(&beside(2)); // when the other one ended
    assert_eq!(beside(1).found_to_be(), ["more at once than the limit"]);
    let mut early = beside(1);
    early.known.settings[0].from = at(1); // both were sent before
    assert_clean(&early);
    let mut two = beside(1);
    two.known.settings[0].set = Set::RunningMax(2);
    assert_clean(&two);
}

#[test]
fn more_attempts_in_a_second_than_the_limit_are_found() {
    let mut facts = facts(Vec::new());
    facts.known.settings.push(setting(Set::RatePerSecond(0.1)));
    assert_clean(&facts); // one slot in ten seconds, and two more
    for id in ["second", "third", "fourth"] {
        let text = json!({"text": "hello"});
        add(&mut facts, id, "test.echo", &text, "completed", vec![attempt(1, "completed", 2)]);
        facts.job(id)["result"] = json!({"text": "hello", "worker": WORKER});
    }
    assert_eq!(facts.found_to_be(), ["more in a second than the limit"]);
    facts.known.settings[0].until = at(1); // the others began later
    assert_clean(&facts);
}

#[test]
fn a_job_that_is_sent_before_one_of_a_higher_priority_is_found() {
    let paused = || {
        let mut facts = facts(Vec::new());
        facts.known.settings.push(setting(Set::Pause));
        let completed = vec![attempt(1, "completed", 12)];
        add(&mut facts, "urgent", "test.echo", &json!({"text": "hello"}), "completed", completed);
        facts.job("urgent")["result"] = json!({"text": "hello", "worker": WORKER});
        facts.ask("urgent", "priority", &json!(9));
        facts
    };
    assert_eq!(paused().found_to_be(), ["sent out of turn"]);
    let excuses: [Breakage; 4] = [
        |facts| facts.dispatches.insert("urgent".to_owned(), -1).map_or((), drop),
        |facts| facts.job("urgent")["created_at"] = json!(at(8).to_string()),
        |facts| facts.known.retried.extend(["urgent".to_owned()]),
        |facts| facts.known.settings[0].set = Set::RatePerSecond(1.0),
    ];
    for (number, excuse) in excuses.into_iter().enumerate() {
        let mut facts = paused();
        excuse(&mut facts);
        assert!(!facts.found_to_be().contains(&"sent out of turn"), "{number}");
    }
}

#[test]
fn a_job_that_begins_after_its_time_is_found() {
    for (struck, in_time) in [
        (Vec::new(), false),
        (vec![fault(Fault::BackendKilled, -4, -3)], false), // it was back
        (vec![fault(Fault::BackendKilled, -3, 1)], true),
        (vec![fault(Fault::BrokerKilled, -3, 1)], false), // it needs no broker to end a job
    ] {
        let mut facts = facts(struck.clone());
        facts.ask("echo", "expires_at", &json!(at(-2).to_string()));
        let expected: &[&str] = if in_time { &[] } else { &["ends that must not be"] };
        assert_eq!(facts.found_to_be(), expected, "{struck:?}");
    }
}

#[test]
fn a_job_that_is_tried_again_may_end_otherwise() {
    let mut facts = facts(Vec::new());
    facts.job("cancelled")["state"] = json!("completed");
    facts.job("cancelled")["cancellation"] = json!(null);
    facts.job("cancelled")["result"] = json!({"steps": 6, "worker": WORKER, "attempt": 2});
    facts.job("cancelled")["attempt"] = json!(2);
    facts.execute("cancelled", 2, at(5));
    let again = attempt(2, "completed", 10);
    facts.attempts.get_mut("cancelled").unwrap().push(again);
    assert!(!facts.found_to_be().is_empty());
    facts.known.retried.insert("cancelled".to_owned());
    assert_clean(&facts);
    facts.job("cancelled")["result"]["steps"] = json!(5);
    assert!(!facts.found_to_be().is_empty(), "it does what was asked for all the same");
}
