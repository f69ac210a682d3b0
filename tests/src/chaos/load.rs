//! The work that goes on meanwhile: who submits, who cancels, who reads.

use std::{ops::RangeInclusive, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    book::{Book, Outcome, TAG},
    counters::Counters,
    diary::Diary,
};
use crate::api::Api;

/// How many submit at once.
pub(super) const SUBMITTERS: u64 = 6;

/// How long each takes for a job, so that together they submit 24 in a second.
const PER_JOB: Duration = Duration::from_millis(250);

/// Beyond this many jobs that are not over nobody submits: the rest of the run is for what is there.
const OPEN_MAX: u64 = 1_000;

/// How long a submitter waits for an answer before nobody knows what became of the job.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// How long one who is in a hurry waits, in milliseconds: about as long as it takes to store a job.
const HURRY_MILLISECONDS: RangeInclusive<u64> = 1..=60;

/// How long to wait before a submission is sent again, or a full installation looked at.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// How often somebody cancels a job.
const CANCEL_EVERY: Duration = Duration::from_millis(800);

/// How often somebody reads a job, to see it again in the end.
const READ_EVERY: Duration = Duration::from_millis(150);

/// The most jobs of one batch.
const BATCH_MAX: u64 = 20;

/// Who submits, and to whom.
pub(super) struct Load<'a> {
    /// The backend.
    pub(super) api: &'a Api,
    /// Where it is written down.
    pub(super) book: &'a Book,
    /// What is known of the backend.
    pub(super) counters: &'a Counters,
    /// Where troubles go.
    pub(super) diary: &'a Diary,
    /// When to submit no more.
    pub(super) stop: &'a CancellationToken,
    /// When to wait for no answer any more.
    pub(super) give_up: &'a CancellationToken,
}

/// A job to submit.
struct Submission {
    tag: String,
    job_type: &'static str,
    body: Value,
    /// How long its submitter waits for the first answer.
    patience: Duration,
}

/// What was answered to a request.
enum Answer {
    Taken(Value),
    Refused(StatusCode, Value),
    Unreached,
    Unanswered,
}

impl Load<'_> {
    /// Submits until it is told to stop.
    pub(super) async fn submit(&self, seed: u64, submitter: u64) {
        let mut dice = StdRng::seed_from_u64(seed.wrapping_mul(SUBMITTERS).wrapping_add(submitter));
        let mut number = 0;
        let mut next = move |dice: &mut StdRng| {
            number += 1;
            submission(dice, format!("{submitter}-{number}"))
        };
        while !self.stop.is_cancelled() {
            if self.counters.open() > OPEN_MAX {
                sleep(AGAIN_AFTER).await;
                continue;
            }
            let began = Instant::now();
            let jobs = match dice.random_range(0..20) {
                0 => {
                    let jobs = dice.random_range(2..=BATCH_MAX);
                    self.batch((0..jobs).map(|_job| next(&mut dice)).collect()).await;
                    jobs
                }
                1..=6 => {
                    let submission = next(&mut dice);
                    self.until_answered(&submission).await;
                    1
                }
                _ => {
                    let submission = next(&mut dice);
                    self.once(&submission).await;
                    1
                }
            };
            let pace =
                PER_JOB.mul_f64(f64::from(u32::try_from(jobs).unwrap_or(1)) * dice.random_range(0.5..1.5));
            sleep(pace.saturating_sub(began.elapsed())).await;
        }
    }

    /// Cancels a job now and then, until it is told to stop.
    pub(super) async fn cancel(&self) {
        while !self.stop.is_cancelled() {
            sleep(CANCEL_EVERY).await;
            let Some((id, _)) = self.book.any_accepted() else { continue };
            let answer = self
                .request(&format!("/v1/jobs/{id}/cancel"), &json!({"by": "chaos"}), &[], ANSWER_PATIENCE)
                .await;
            if let Answer::Taken(job) = answer {
                self.book.seen(&job);
            }
        }
    }

    /// Reads a job now and then, until it is told to stop.
    pub(super) async fn read(&self) {
        while !self.stop.is_cancelled() {
            sleep(READ_EVERY).await;
            let Some((id, _)) = self.book.any_accepted() else { continue };
            if let Ok(Ok(job)) = timeout(ANSWER_PATIENCE, self.api.job(&id)).await {
                self.book.seen(&job);
            }
        }
    }

    /// Submits a job of which nothing else is known, until it is accepted. Answers its id.
    ///
    /// # Errors
    ///
    /// When nobody accepts it.
    pub(super) async fn fresh(&self) -> anyhow::Result<String> {
        let tag = "fresh".to_owned();
        let body = json!({
            "type": "test.echo", "parameters": {"text": tag}, "labels": {TAG: tag}, "priority": 9,
        });
        let submission = Submission { tag, job_type: "test.echo", body, patience: ANSWER_PATIENCE };
        self.until_answered(&submission).await;
        match self.book.read().outcomes.get(&submission.tag) {
            Some(Outcome::Accepted(id)) => Ok(id.clone()),
            other => anyhow::bail!("the fresh job was not accepted: {other:?}"),
        }
    }

    async fn once(&self, submission: &Submission) {
        self.book.sending(&submission.tag);
        let answer = self.request("/v1/jobs", &submission.body, &[], submission.patience).await;
        let outcome = self.outcome(&answer);
        self.book.answered(&submission.tag, submission.job_type, outcome);
    }

    /// As a careful client does: the same key until there is an answer.
    async fn until_answered(&self, submission: &Submission) {
        let Submission { tag, job_type, body, patience } = submission;
        let mut patience = *patience;
        self.book.sending(tag);
        let key = [("Idempotency-Key", tag.as_str())];
        while !self.give_up.is_cancelled() {
            let answer = self.request("/v1/jobs", body, &key, patience).await;
            patience = ANSWER_PATIENCE;
            if let outcome @ Outcome::Accepted(_) = self.outcome(&answer) {
                self.book.answered(tag, job_type, outcome);
                return;
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn batch(&self, submissions: Vec<Submission>) {
        for submission in &submissions {
            self.book.sending(&submission.tag);
        }
        let bodies = submissions.iter().map(|submission| submission.body.clone()).collect();
        let answer = self.request("/v1/jobs/batch", &Value::Array(bodies), &[], ANSWER_PATIENCE).await;
        for (index, Submission { tag, job_type, .. }) in submissions.iter().enumerate() {
            let outcome = match &answer {
                Answer::Taken(results) => match results["results"][index]["id"].as_str() {
                    Some(id) => Outcome::Accepted(id.to_owned()),
                    None => Outcome::Refused,
                },
                other => self.outcome(other),
            };
            self.book.answered(tag, job_type, outcome);
        }
    }

    fn outcome(&self, answer: &Answer) -> Outcome {
        match answer {
            Answer::Taken(job) => match job["id"].as_str() {
                Some(id) => Outcome::Accepted(id.to_owned()),
                None => Outcome::Refused,
            },
            Answer::Refused(status, problem) => {
                if status.is_client_error() {
                    self.diary.trouble(format!("a submission was refused: {status} {problem}"));
                }
                Outcome::Refused
            }
            Answer::Unreached => Outcome::Unreached,
            Answer::Unanswered => Outcome::Unanswered,
        }
    }

    async fn request(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
        patience: Duration,
    ) -> Answer {
        let sent = self.api.send(Method::POST, path, body.to_string(), headers);
        let Ok(answer) = timeout(patience, sent).await else { return Answer::Unanswered };
        match answer {
            Ok((status, answer)) if status.is_success() => Answer::Taken(answer),
            Ok((status, problem)) => Answer::Refused(status, problem),
            Err(error) => match error.downcast_ref::<reqwest::Error>() {
                Some(error) if error.is_connect() => Answer::Unreached,
                _ => Answer::Unanswered,
            },
        }
    }
}

/// A job of a kind that the dice choose.
fn submission(dice: &mut StdRng, tag: String) -> Submission {
    let (job_type, parameters) = match dice.random_range(0..100) {
        0..30 => ("test.echo", json!({"text": tag})),
        30..50 => ("test.other", json!({"text": tag})),
        50..82 => {
            let (steps, step_ms) = (dice.random_range(2..=6), dice.random_range(100..=1_000));
            ("test.sleep", json!({"steps": steps, "step_ms": step_ms}))
        }
        _ => {
            let (permanent, succeed_at) = (dice.random_range(0..6) == 0, dice.random_range(2..=4));
            ("test.fail", json!({"message": tag, "permanent": permanent, "succeed_at": succeed_at}))
        }
    };
    let mut body = json!({
        "type": job_type,
        "parameters": parameters,
        "labels": {TAG: tag},
        "backoff": {"initial_seconds": 0.2, "max_seconds": 2},
    });
    match dice.random_range(0..20) {
        0..5 => body["priority"] = json!(dice.random_range(0..=9)),
        5..7 => body["delay_seconds"] = json!(dice.random_range(1..=12)),
        7 => body["max_attempts"] = json!(2),
        8 if job_type == "test.sleep" => body["timeout_seconds"] = json!(1.5),
        _ => {}
    }
    let hurry = Duration::from_millis(dice.random_range(HURRY_MILLISECONDS));
    let patience = if dice.random_range(0..12) == 0 { hurry } else { ANSWER_PATIENCE };
    Submission { tag, job_type, body, patience }
}
