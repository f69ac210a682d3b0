//! Which ends a job may have: a model of what each submission may come to.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Attempt, Facts,
    blame::{is_about_the_backend, is_about_the_broker},
    shown, time,
};
use crate::chaos::{
    fault::{Fault, Line, Target},
    load::CALLER,
    submission_log::{Cancel, Submission},
    workers::{PYTHON_TYPE, worker_number},
};

/// The clocks are one, but are read in whole milliseconds, and a process may be held up between reading and writing.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_millis(200);

/// How soon a job is over that runs and is cancelled while nothing breaks: a step of a second, and the way there and back.
const CANCELLED_WITHIN: SignedDuration = SignedDuration::from_secs(10);

/// How late a job may expire: the timers tick, and the store takes its time.
const EXPIRES_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// How long after its timeout an attempt may still complete, in seconds: the grace of a handler that was told to stop.
const TIMEOUT_GRACE_SECONDS: f64 = 5.0;

/// So many things must have broken, at least, for an order to come back more often than it may.
const CRASH_LOOP_FAULTS_MIN: usize = 3;

/// Jobs whose end, or whose way to it, is not one that their submission allows.
pub(super) fn illegal(facts: &Facts) -> Vec<String> {
    let mut illegal = Vec::new();
    for (id, submission, job) in facts.submitted_jobs() {
        let why = match job["state"].as_str() {
            Some("completed") => wrong_completion(facts, id, submission, job),
            Some("failed") => wrong_failure(facts, id, submission, job),
            Some("cancelled") => wrong_cancellation(facts, id, job),
            _ => None,
        };
        let why = why.or_else(|| started_early(facts, id, submission, job));
        let why = why.or_else(|| started_late(facts, id, job));
        illegal.extend(why.map(|why| format!("{why}: {}", shown(job))));
    }
    illegal
}

fn wrong_completion(facts: &Facts, id: &str, submission: &Submission, job: &Value) -> Option<String> {
    let attempt = job["attempt"].as_u64().unwrap_or_default();
    let (parameters, result) = (&submission.body["parameters"], &job["result"]);
    let is_its = match submission.job_type.as_str() {
        "test.sleep" => result["steps"] == parameters["steps"] && result["attempt"] == attempt,
        "test.fail" => {
            *result == json!({}) && attempt >= parameters["succeed_at"].as_u64().unwrap_or(u64::MAX)
        }
        PYTHON_TYPE => *result == statistics(parameters["text"].as_str().unwrap_or_default()),
        _ => result["text"] == parameters["text"],
    };
    if !is_its {
        return Some("not its handler's result".to_owned());
    }
    let attempts = facts.attempts_of(id);
    if !are_all_there(facts, id, attempt) {
        return Some(format!("its attempts are not 1 to {attempt}: {attempts:?}"));
    }
    let worker = attempts.last().and_then(|last| last.worker.as_deref()).unwrap_or_default();
    let executed = facts.executions_of(id, attempt);
    if !executed.iter().any(|execution| execution.worker == worker) {
        return Some(format!("{worker} completed attempt {attempt}, which was executed by {executed:?}"));
    }
    if result["worker"].as_str().is_some_and(|named| named != worker) {
        return Some(format!("{worker} completed it, and its result is another worker's"));
    }
    let timeout = job["timeout_seconds"].as_f64()?;
    let takes = parameters["steps"].as_f64()? * parameters["step_ms"].as_f64()? / 1_000.0;
    let late = takes > timeout + TIMEOUT_GRACE_SECONDS;
    late.then(|| format!("it takes {takes} s, and may take {timeout} s"))
}

/// What the worker in Python finds out about a text.
fn statistics(text: &str) -> Value {
    let (lines, words) = (text.lines().count(), text.split_whitespace().count());
    json!({"lines": lines, "words": words, "characters": text.chars().count()})
}

fn wrong_failure(facts: &Facts, id: &str, submission: &Submission, job: &Value) -> Option<String> {
    let kind = job["error"]["kind"].as_str().unwrap_or_default();
    let attempts = facts.attempts_of(id);
    if kind == "expired" {
        let (expires, ended) = (time(&job["expires_at"]), time(&job["finished_at"]));
        let in_time = expires.zip(ended).is_some_and(|(expires, ended)| ended >= expires);
        return (!in_time || !attempts.is_empty()).then(|| format!("it did not expire: {attempts:?}"));
    }
    let cancelled = facts.known.cancels.get(id).is_some_and(|cancels| cancels.iter().any(was_running));
    if cancelled && !facts.is_retried(id) {
        return Some("it ran and was cancelled, and failed".to_owned());
    }
    let (attempt, most) = (job["attempt"].as_u64().unwrap_or_default(), job["max_attempts"].as_u64());
    if !are_all_there(facts, id, attempt) {
        return Some(format!("its attempts are not 1 to {attempt}: {attempts:?}"));
    }
    if attempts.last().is_none_or(|last| last.outcome != kind) {
        return Some(format!("its last attempt did not end so: {attempts:?}"));
    }
    let for_good = match kind {
        "handler" => submission.body["parameters"]["permanent"] == true,
        "crash_loop" => true,
        _ => false,
    };
    let used_up = Some(attempt) == most;
    (!for_good && !used_up).then(|| format!("it failed at attempt {attempt} of {most:?}"))
}

fn wrong_cancellation(facts: &Facts, id: &str, job: &Value) -> Option<String> {
    (!facts.is_cancelled(id) || job["cancellation"]["by"] != CALLER).then(|| "nobody cancelled it".to_owned())
}

fn started_early(facts: &Facts, id: &str, submission: &Submission, job: &Value) -> Option<String> {
    let delay = submission.body["delay_seconds"].as_i64()?;
    if facts.is_retried(id) {
        return None; // at once
    }
    let due = time(&job["created_at"])? + SignedDuration::from_secs(delay);
    let first = facts.executions_of(id, 1).first()?;
    (first.at + CLOCK_SLACK < due).then(|| format!("it began at {}, before its time", first.at))
}

/// A job that has to begin by a time, and began later: an attempt that nobody began before counted. While the backend was
/// away or could write nothing, nobody could end it in time.
fn started_late(facts: &Facts, id: &str, job: &Value) -> Option<String> {
    let expires_at = time(&job["expires_at"])?;
    let first = facts.executions_of(id, 1).first()?;
    let counts = facts.attempts_of(id).iter().any(|attempt| attempt.number == 1);
    let late = first.at > expires_at + EXPIRES_WITHIN && counts && !facts.is_retried(id);
    let excused = facts.blame.went_on(is_about_the_backend, expires_at, first.at)
        || facts.blame.stalled(expires_at, first.at);
    (late && !excused).then(|| format!("it began at {}, after its time", first.at))
}

/// Whether all attempts are there, each once. What was cancelled before it began ended no attempt, and leaves a gap when it
/// is tried again.
fn are_all_there(facts: &Facts, id: &str, last: u64) -> bool {
    let numbers: Vec<u64> = facts.attempts_of(id).iter().map(|attempt| attempt.number).collect();
    if facts.is_retried(id) {
        return numbers.is_sorted_by(|number, next| number < next) && numbers.last() == Some(&last);
    }
    numbers.into_iter().eq(1..=last)
}

fn was_running(cancel: &Cancel) -> bool {
    cancel.answered.as_deref() == Some("running")
}

/// Attempts that ended as they may not.
pub(super) fn illegal_attempts(facts: &Facts) -> Vec<String> {
    let mut illegal = Vec::new();
    for (id, submission, job) in facts.submitted_jobs() {
        for attempt in facts.attempts_of(id) {
            let why = wrong_attempt(facts, id, submission, attempt);
            illegal.extend(why.map(|why| format!("{why}: {attempt:?} of {}", shown(job))));
        }
    }
    illegal
}

fn wrong_attempt(
    facts: &Facts,
    id: &str,
    submission: &Submission,
    attempt: &Attempt,
) -> Option<&'static str> {
    let parameters = &submission.body["parameters"];
    let executed = !facts.executions_of(id, attempt.number).is_empty();
    match attempt.outcome.as_str() {
        // Who began it stands above; that of a lost one may not have come to write it down.
        "completed" | "worker_lost" => None,
        "cancelled" => (!facts.is_cancelled(id)).then_some("nobody cancelled it"),
        "handler" => {
            let fails = submission.job_type == "test.fail"
                && parameters["succeed_at"].as_u64().is_none_or(|succeeds| attempt.number < succeeds);
            let as_told = attempt.code.as_deref() == Some("test_failure")
                && attempt.message.as_deref() == parameters["message"].as_str();
            (!fails || !as_told || !executed).then_some("its handler does not fail so")
        }
        "timeout" => {
            let may_take = submission.body["timeout_seconds"].as_f64().map(SignedDuration::from_secs_f64);
            let took = attempt.started_at.map(|began| attempt.finished_at.duration_since(began));
            let real = may_take.zip(took).is_some_and(|(may_take, took)| took + CLOCK_SLACK >= may_take);
            (!real || !executed).then_some("it did not take too long")
        }
        "crash_loop" => {
            let breaks = |fault: Fault| {
                let on_the_way = matches!(fault.target(), Target::Worker(_) | Target::Line(_));
                on_the_way || is_about_the_broker(fault)
            };
            let sent_at = facts.sent_at(id, attempt.number);
            let broke = facts.blame.count(breaks, sent_at, attempt.finished_at);
            (broke < CRASH_LOOP_FAULTS_MIN).then_some("its order had no reason to come back so often")
        }
        _ => Some("no job here ends so"),
    }
}

/// Cancellations that were granted, and of which nothing came.
pub(super) fn cancellations_forgotten(facts: &Facts) -> Vec<String> {
    let mut forgotten = Vec::new();
    for (id, cancels) in &facts.known.cancels {
        let Some(job) = facts.jobs.get(id).filter(|_| !facts.is_retried(id)) else { continue };
        for cancel in cancels {
            let why = match (cancel.answered.as_deref(), job["state"].as_str()) {
                (None, _) | (Some(_), Some("cancelled")) => None,
                (Some("running"), Some("completed")) => forgotten_while_running(facts, id, cancel, job),
                (Some(state), _) => Some(format!("it was {state} when its cancellation was granted")),
            };
            forgotten.extend(why.map(|why| format!("{why}: {}", shown(job))));
        }
    }
    forgotten
}

/// What runs may be done before its worker hears of it; but it stays on record, and is no matter of minutes.
fn forgotten_while_running(facts: &Facts, id: &str, cancel: &Cancel, job: &Value) -> Option<String> {
    if job["cancellation"]["by"] != CALLER {
        return Some("it ran when its cancellation was granted, and nothing tells of it".to_owned());
    }
    let ended = time(&job["finished_at"]).unwrap_or(Timestamp::MAX);
    let attempt = job["attempt"].as_u64().unwrap_or_default();
    let worked = facts.executions_of(id, attempt);
    let excused = |fault: Fault| {
        let of_a_worker =
            worked.iter().filter_map(|execution| worker_number(&execution.worker)).any(|number| {
                let line = Target::Line(Line::Worker(number));
                [Target::Worker(number), line].contains(&fault.target())
            });
        of_a_worker || is_about_the_broker(fault) || is_about_the_backend(fault)
    };
    let late = ended > cancel.asked_at + CANCELLED_WITHIN;
    let explained =
        facts.blame.struck(excused, cancel.asked_at, ended) || facts.blame.stalled(cancel.asked_at, ended);
    (late && !explained).then(|| "it went on for long after its cancellation was granted".to_owned())
}
