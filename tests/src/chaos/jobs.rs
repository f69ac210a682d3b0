//! The jobs that are submitted: of every type, with everything that one can ask for.

use std::{ops::RangeInclusive, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rand::{Rng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    load::ANSWER_PATIENCE,
    submission_log::{Submission, TAG},
    workers::PYTHON_TYPE,
};

/// How long each submitter takes for a job, so that together they submit 24 in a second.
pub(super) const PER_JOB: Duration = Duration::from_millis(250);

/// How long one who is in a hurry waits, in milliseconds: about as long as it takes to store a job.
const HURRY_MILLISECONDS: RangeInclusive<u64> = 1..=60;

/// How many steps of half a second a long job has: it outlives leases, and several outages.
const LONG_STEPS: RangeInclusive<u64> = 40..=80;

/// How many characters a large payload has. With it the parameters stay below their 256 KiB, and so does the result.
const LARGE_CHARACTERS: RangeInclusive<usize> = 50_000..=250_000;

/// A job to submit.
pub(super) struct Sent {
    /// The job.
    pub(super) submission: Submission,
    /// How long its submitter waits for the first answer.
    pub(super) patience: Duration,
}

impl Sent {
    /// Lets it be worth starting for ever.
    pub(super) fn without_expiry(&mut self) {
        if let Some(fields) = self.submission.body.as_object_mut() {
            fields.remove("expires_at");
        }
    }
}

/// A job of a kind that the dice choose.
pub(super) fn chosen(dice: &mut StdRng, tag: String, has_python: bool) -> Sent {
    let (job_type, parameters) = match dice.random_range(0..100) {
        0..4 if has_python => (PYTHON_TYPE, json!({"text": format!("{tag} is\na job of text\n")})),
        0..30 => ("test.echo", json!({"text": text(dice, &tag)})),
        30..50 => ("test.other", json!({"text": text(dice, &tag)})),
        50..82 => {
            let (steps, step_ms) = match dice.random_range(0..25) {
                0 => (dice.random_range(LONG_STEPS), 500),
                _ => (dice.random_range(2..=6), dice.random_range(100..=1_000)),
            };
            ("test.sleep", json!({"steps": steps, "step_ms": step_ms}))
        }
        _ => {
            let (permanent, succeed_at) = (dice.random_range(0..6) == 0, dice.random_range(2..=4));
            ("test.fail", json!({"message": tag, "permanent": permanent, "succeed_at": succeed_at}))
        }
    };
    let mut body = body(&tag, job_type, &parameters);
    match dice.random_range(0..20) {
        0..5 => body["priority"] = json!(dice.random_range(0..=9)),
        5..7 => body["delay_seconds"] = json!(dice.random_range(1..=12)),
        7 => body["max_attempts"] = json!(2),
        8 if job_type == "test.sleep" => body["timeout_seconds"] = json!(1.5),
        9 => {
            let expires_at = Timestamp::now() + SignedDuration::from_secs(dice.random_range(2..=15));
            body["expires_at"] = json!(expires_at.to_string());
        }
        _ => {}
    }
    let hurry = Duration::from_millis(dice.random_range(HURRY_MILLISECONDS));
    let patience = if dice.random_range(0..12) == 0 { hurry } else { ANSWER_PATIENCE };
    Sent { submission: Submission::new(tag, job_type, body), patience }
}

/// A job that is in front of all others of its type, and done in a moment.
pub(super) fn fresh(job_type: &str) -> Sent {
    let tag = format!("fresh-{job_type}");
    let parameters = match job_type {
        "test.sleep" => json!({"steps": 1, "step_ms": 10}),
        "test.fail" => json!({"message": tag, "permanent": true}),
        _ => json!({"text": tag}),
    };
    let mut body = body(&tag, job_type, &parameters);
    body["priority"] = json!(9);
    Sent { submission: Submission::new(tag, job_type, body), patience: ANSWER_PATIENCE }
}

/// What is submitted under this tag.
pub(super) fn body(tag: &str, job_type: &str, parameters: &Value) -> Value {
    json!({
        "type": job_type,
        "parameters": parameters,
        "labels": {TAG: tag},
        "backoff": {"initial_seconds": 0.2, "max_seconds": 2},
    })
}

/// A short text, or now and then a long one.
fn text(dice: &mut StdRng, tag: &str) -> String {
    let characters = if dice.random_range(0..100) == 0 { dice.random_range(LARGE_CHARACTERS) } else { 0 };
    format!("{tag}{}", ".".repeat(characters))
}
