//! Whether every job that was acknowledged is there, once, and is the one that was submitted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Facts, shown, tag, time};
use crate::chaos::submission_log::{Ending, Outcome, Submission};

/// The priority of a job that names none.
const PRIORITY_DEFAULT: u64 = 4;

/// How many attempts a job has that names no number.
const ATTEMPTS_DEFAULT: u64 = 5;

/// Ids that were answered and are not there, or stand for somebody else's job.
pub(super) fn lost(facts: &Facts) -> Vec<String> {
    let mut lost = Vec::new();
    for (tag_sent, submission) in &facts.known.submissions {
        let Outcome::Accepted(id) = &submission.outcome else { continue };
        match facts.jobs.get(id) {
            None if facts.may_be_deleted(id) => {}
            None => lost.push(format!("{id}, submitted as {tag_sent}, was acknowledged and is not there")),
            Some(job) if tag(job) != tag_sent => {
                lost.push(format!("{id} was answered for {tag_sent}, and is another job: {}", shown(job)));
            }
            Some(_) => {}
        }
    }
    lost
}

/// Jobs that nobody submitted, or whose submission was refused.
pub(super) fn unexpected(facts: &Facts) -> Vec<String> {
    let mut unexpected = Vec::new();
    for (id, job) in &facts.jobs {
        let outcome = facts.submission(job).map(|submission| &submission.outcome);
        match outcome {
            Some(Outcome::Unanswered) => {}
            Some(Outcome::Accepted(answered)) if answered == id => {}
            _ => unexpected.push(format!("its submission was {outcome:?}: {}", shown(job))),
        }
    }
    unexpected
}

/// Jobs that are not as they were submitted.
pub(super) fn exchanged(facts: &Facts) -> Vec<String> {
    let mut exchanged = Vec::new();
    for (id, submission, job) in facts.submitted_jobs() {
        let differences = differences(submission, job, facts.is_retried(id));
        if !differences.is_empty() {
            exchanged.push(format!("another {}: {}", differences.join(", "), shown(job)));
        }
    }
    exchanged
}

/// What of a job is not as it was asked for.
fn differences(submission: &Submission, job: &Value, is_retried: bool) -> Vec<&'static str> {
    let body = &submission.body;
    let asked = |name: &str, default: Value| {
        let asked = body[name].clone();
        if asked.is_null() { default } else { asked }
    };
    let number = |value: &Value| value.as_f64();
    let (attempts, most) = (asked("max_attempts", json!(ATTEMPTS_DEFAULT)), &job["max_attempts"]);
    // Who asks for another attempt gets it.
    let has_its_attempts = *most == attempts || (is_retried && most.as_u64() > attempts.as_u64());
    let same = [
        ("type", job["type"] == submission.job_type.as_str()),
        ("parameters", job["parameters"] == body["parameters"]),
        ("labels", job["labels"] == body["labels"]),
        ("priority", job["priority"] == asked("priority", json!(PRIORITY_DEFAULT))),
        ("max_attempts", has_its_attempts),
        ("timeout_seconds", number(&job["timeout_seconds"]) == number(&body["timeout_seconds"])),
        (
            "expires_at",
            time(&job["expires_at"]).map(|at| at.as_millisecond())
                == time(&body["expires_at"]).map(|at| at.as_millisecond()),
        ),
    ];
    same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

/// Submissions with more than one job, and jobs with more than one end.
pub(super) fn doubled(facts: &Facts) -> Vec<String> {
    let mut doubled = facts.known.changed.clone();
    let mut by_tag: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (id, job) in &facts.jobs {
        by_tag.entry(tag(job)).or_default().insert(id);
        if let (Some(before), Some(now)) = (facts.known.endings.get(id), Ending::of(job))
            && *before != now
        {
            doubled.push(format!("{id} was {before:?}, and is {now:?}: {}", shown(job)));
        }
    }
    for (tag, ids) in by_tag {
        if ids.len() > 1 {
            doubled.push(format!("{tag} was submitted once and is {ids:?}"));
        }
    }
    let mut by_id: BTreeMap<&str, &str> = BTreeMap::new();
    for (tag, submission) in &facts.known.submissions {
        if let Outcome::Accepted(id) = &submission.outcome
            && let Some(other) = by_id.insert(id, tag)
        {
            doubled.push(format!("{id} was answered for {other} and for {tag}"));
        }
    }
    doubled
}
