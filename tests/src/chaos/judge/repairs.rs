//! Whether everything that was lost, done again or late was so because of something that was broken.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    Attempt, Execution, Facts,
    blame::{is_about_the_backend, is_about_the_broker},
    logs::RepairKind,
    shown, time,
};
use crate::chaos::{
    fault::{Fault, JOB_TYPES, Line, Target},
    submission_log::Submission,
    workers::worker_number,
};

/// For how long an order is missed before it is sent again, at the least. What lost it struck before.
const MISSED_FOR: SignedDuration = SignedDuration::from_secs(40);

/// When something happened at the broker and when the store knew of it may be so far apart.
const RECORDED_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// How late a job may be that nothing was repaired for: the links come back, and a busy machine works off what waits. The
/// reconciler would take longer.
const LATE_AFTER: SignedDuration = SignedDuration::from_secs(40);

/// The longest wait between two attempts, with its spread, in seconds.
const BACKOFF_SECONDS_MAX: f64 = 2.2;

/// The queues whose loss loses an answer, or an order that is on its way back.
const BACK: [&str; 5] =
    ["crewcall.completed", "crewcall.error", "crewcall.held", "crewcall.unroutable", "crewcall.dead"];

/// The queues whose loss loses an answer.
const ANSWERS: [&str; 2] = ["crewcall.completed", "crewcall.error"];

/// Orders that were sent again although nothing had thrown them, or the answer to them, away.
pub(super) fn resends(facts: &Facts) -> Vec<String> {
    let mut unexplained = Vec::new();
    for (index, repair) in facts.log.repairs.iter().enumerate() {
        if !matches!(repair.kind, RepairKind::Resent | RepairKind::Dropped) {
            continue;
        }
        let Some(job) = facts.jobs.get(&repair.job) else {
            unexplained.push(format!("{} is not a job: {repair:?}", repair.job));
            continue;
        };
        let attempt = repair.attempt.or_else(|| job["attempt"].as_u64()).unwrap_or_default();
        let before = facts.log.repairs[..index].iter().rfind(|before| before.job == repair.job);
        let sent = facts.sent_at(&repair.job, attempt);
        let sent = before.map_or(sent, |before| before.at.max(sent));
        let orders = format!("crewcall.jobs.{}", job["type"].as_str().unwrap_or_default());
        let queues = [&[orders.as_str()], &BACK[..]].concat();
        let is_explained = |at: Timestamp| {
            let missed_since = if repair.kind == RepairKind::Resent { at - MISSED_FOR } else { at };
            facts.blame.lost(&queues, sent - RECORDED_WITHIN, missed_since)
        };
        if !facts.blame.moments(repair.at).any(is_explained) {
            unexplained.push(format!("sent {sent}, sent again {}: {}", repair.at, shown(job)));
        }
    }
    unexplained
}

/// Attempts that were lost with a worker to which nothing had been done.
pub(super) fn losses(facts: &Facts) -> Vec<String> {
    let mut unexplained = Vec::new();
    for (id, _, job) in facts.submitted_jobs() {
        for attempt in facts.attempts_of(id).iter().filter(|attempt| attempt.outcome == "worker_lost") {
            if !is_loss_explained(facts, id, attempt) {
                unexplained.push(format!("{attempt:?} of {}", shown(job)));
            }
        }
    }
    unexplained
}

fn is_loss_explained(facts: &Facts, id: &str, attempt: &Attempt) -> bool {
    let number = attempt.worker.as_deref().and_then(worker_number);
    // That it is lost may be noticed much later: each restart of the backend begins its lease anew.
    let began = attempt.started_at.unwrap_or_else(|| facts.sent_at(id, attempt.number));
    match number {
        // The order of an attempt that is held is gone: without its answer, it ends as if its worker were.
        Some(number) => {
            facts.blame.worker(number, began, attempt.finished_at)
                || facts.blame.lost(&ANSWERS, began, attempt.finished_at)
        }
        // Its order was gone each time.
        None => facts.blame.struck(|fault| fault.loses(None), began, attempt.finished_at),
    }
}

/// Attempts that were executed more than once although nothing brought their order back.
pub(super) fn repetitions(facts: &Facts) -> Vec<String> {
    let mut unexplained = Vec::new();
    for ((id, attempt), executions) in &facts.executions {
        let sent = facts.sent_at(id, *attempt);
        for pair in executions.windows(2) {
            if let [first, again] = pair
                && !is_repetition_explained(facts, id, sent, (first, again))
            {
                unexplained.push(format!(
                    "attempt {attempt} of {id}, sent {sent}: {} at {}, then {} at {}",
                    first.worker, first.at, again.worker, again.at
                ));
            }
        }
    }
    unexplained
}

fn is_repetition_explained(
    facts: &Facts,
    id: &str,
    sent: Timestamp,
    (first, again): (&Execution, &Execution),
) -> bool {
    let number = worker_number(&first.worker);
    // What brings an order back from its worker.
    let of_the_worker = |fault: Fault| {
        number.is_some_and(|number| {
            let line = Target::Line(Line::Worker(number));
            [Target::Worker(number), line].contains(&fault.target())
        })
    };
    // What has it published twice.
    let of_the_order = |fault: Fault| is_about_the_broker(fault) || is_about_the_backend(fault);
    let mut repairs = facts.log.repairs.iter().filter(|repair| repair.job == id);
    let resent = repairs.any(|repair| facts.blame.moments(repair.at).any(|at| at <= again.at));
    resent
        || facts.blame.struck(of_the_worker, first.at, again.at)
        || facts.blame.struck(of_the_order, sent, again.at)
        || facts.blame.stalled(sent, again.at)
}

/// After how long work of every type went on when everything was healed: somebody began an attempt, and a job was over. One
/// that came in then may wait behind others, and says less. Nothing when a type had none.
pub(super) fn resumed(facts: &Facts) -> Option<SignedDuration> {
    let of_type = |job_type: &&str| {
        let jobs = || facts.jobs.iter().filter(|(_, job)| job["type"] == **job_type);
        let is_later = |at: &Timestamp| *at >= facts.healed_at;
        let attempts =
            jobs().flat_map(|(id, _)| facts.executions.range((id.clone(), 0)..=(id.clone(), u64::MAX)));
        let began = attempts.flat_map(|(_, executions)| executions).map(|execution| execution.at);
        let over = jobs().filter_map(|(_, job)| time(&job["finished_at"]));
        Some(began.filter(is_later).min()?.max(over.filter(is_later).min()?))
    };
    let resumed: Option<Vec<Timestamp>> = JOB_TYPES.iter().map(of_type).collect();
    resumed?.into_iter().max().map(|last| last.duration_since(facts.healed_at))
}

/// Jobs that were over long after everything was healed, although nothing had to be repaired for them.
pub(super) fn latenesses(facts: &Facts) -> Vec<String> {
    let mut late = Vec::new();
    let (turns, refills) = (turns(facts), refills(facts));
    for (id, submission, job) in facts.submitted_jobs() {
        let (Some(created), Some(ended)) = (time(&job["created_at"]), time(&job["finished_at"])) else {
            continue;
        };
        let delay = submission.body["delay_seconds"].as_i64().unwrap_or(0);
        let due = (created + SignedDuration::from_secs(delay)).max(facts.healed_at);
        let repaired = facts.log.repairs.iter().filter(|repair| repair.job == id).map(|repair| repair.at);
        // While others of its type began, it was not its turn; nor while orders that were lost filled the window.
        let began = facts.executions_of(id, job["attempt"].as_u64().unwrap_or_default()).last();
        let turn = began.map_or(ended, |execution| execution.at);
        let others =
            turns.get(submission.job_type.as_str()).and_then(|turns| turns.range(..turn).next_back());
        let refilled = refills.get(submission.job_type.as_str());
        let refilled = refilled.and_then(|refills| refills.range(..=turn).next_back());
        let since =
            repaired.chain(others.copied()).chain(refilled.copied()).chain([due]).max().unwrap_or(due);
        let may_take = longest(submission, job) + LATE_AFTER;
        if ended > since + may_take && !facts.blame.stalled(since, ended) {
            late.push(format!("{} s after {since}: {}", ended.duration_since(since).as_secs(), shown(job)));
        }
    }
    late
}

/// When executions of each type began.
fn turns(facts: &Facts) -> BTreeMap<&str, BTreeSet<Timestamp>> {
    let mut turns: BTreeMap<&str, BTreeSet<Timestamp>> = BTreeMap::new();
    for ((id, _), executions) in &facts.executions {
        if let Some(job_type) = facts.jobs.get(id).and_then(|job| job["type"].as_str()) {
            turns.entry(job_type).or_default().extend(executions.iter().map(|execution| execution.at));
        }
    }
    turns
}

/// When orders of each type were sent again.
fn refills(facts: &Facts) -> BTreeMap<&str, BTreeSet<Timestamp>> {
    let mut refills: BTreeMap<&str, BTreeSet<Timestamp>> = BTreeMap::new();
    for repair in &facts.log.repairs {
        if let Some(job_type) = facts.jobs.get(&repair.job).and_then(|job| job["type"].as_str()) {
            refills.entry(job_type).or_default().insert(repair.at);
        }
    }
    refills
}

/// How long a job takes at most when nothing breaks: all its attempts, and the waits between them.
fn longest(submission: &Submission, job: &Value) -> SignedDuration {
    let parameters = &submission.body["parameters"];
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let attempt = number(&parameters["steps"]) * number(&parameters["step_ms"]) / 1_000.0;
    SignedDuration::from_secs_f64(number(&job["attempt"]) * (attempt + BACKOFF_SECONDS_MAX))
}
