//! The work that goes on meanwhile: who submits, who cancels, who reads.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    counters::Counters,
    fault::JOB_TYPES,
    fault_log::FaultLog,
    jobs::{self, PER_JOB, Sent},
    submission_log::{Outcome, Submission, SubmissionLog},
};
use crate::api::Api;

/// How many submit at once.
pub(super) const SUBMITTERS: u64 = 6;

/// Beyond this many jobs that are not over nobody submits: the rest of the run is for what is there.
const OPEN_MAX: u64 = 1_000;

/// How long a submitter waits for an answer before nobody knows what became of the job.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before a request is sent again, or a full installation looked at.
pub(super) const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// How often somebody cancels a job.
const CANCEL_EVERY: Duration = Duration::from_millis(800);

/// How often somebody reads a job, to see it again in the end.
const READ_EVERY: Duration = Duration::from_millis(150);

/// For how long a reader lets the backend wait for the job's end, in seconds.
const LONG_POLL_SECONDS: u64 = 5;

/// The most jobs of one batch.
const BATCH_MAX: u64 = 20;

/// Of so many batches one is cancelled as a whole.
const BULK_CANCEL_IN: u64 = 4;

/// Of so many keys one is used again: by two callers at once, or for another job.
const KEY_AGAIN_IN: u64 = 6;

/// Who asks for what is asked.
pub(super) const CALLER: &str = "chaos";

/// Who submits, and to whom.
pub(super) struct Load<'a> {
    /// The backend.
    pub(super) api: &'a Api,
    /// Where it is written down.
    pub(super) submissions: &'a SubmissionLog,
    /// What is known of the backend.
    pub(super) counters: &'a Counters,
    /// Where troubles go.
    pub(super) log: &'a FaultLog,
    /// When to submit no more.
    pub(super) stop: &'a CancellationToken,
    /// When to wait for no answer any more.
    pub(super) give_up: &'a CancellationToken,
    /// Whether there is somebody who serves the type of the worker in Python.
    pub(super) has_python: bool,
}

/// What was answered to a request.
pub(super) enum Answer {
    /// It is done.
    Taken(Value),
    /// It is not.
    Refused(StatusCode, Value),
    /// Nobody was there.
    Unreached,
    /// Nobody knows.
    Unanswered,
}

impl Load<'_> {
    /// Submits until it is told to stop.
    pub(super) async fn submit(&self, seed: u64, submitter: u64) {
        let mut dice = StdRng::seed_from_u64(seed.wrapping_mul(SUBMITTERS).wrapping_add(submitter));
        let mut number = 0;
        let mut next = move |dice: &mut StdRng| {
            number += 1;
            jobs::chosen(dice, format!("{submitter}-{number}"), self.has_python)
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
                    let cancelled = dice.random_range(0..BULK_CANCEL_IN) == 0;
                    self.batch((0..jobs).map(|_job| next(&mut dice)).collect(), cancelled).await;
                    jobs
                }
                1..=6 => {
                    let mut sent = next(&mut dice);
                    sent.without_expiry(); // it is sent until it is taken
                    let again = dice.random_range(0..KEY_AGAIN_IN);
                    self.with_key(&sent, again).await;
                    1
                }
                _ => {
                    let sent = next(&mut dice);
                    self.once(&sent).await;
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
            let Some((id, _)) = self.submissions.any_accepted() else { continue };
            let number = self.submissions.record_cancel(&id);
            let answer = self
                .request(&format!("/v1/jobs/{id}/cancel"), &json!({"by": CALLER}), &[], ANSWER_PATIENCE)
                .await;
            if let Answer::Taken(job) = answer {
                let requested = job["state"] == "cancelled" || job["cancel_requested"] == true;
                if !requested {
                    self.log.trouble(format!("a cancellation was granted and not made: {job}"));
                }
                self.submissions.record_cancel_answer(&id, number, &job);
                self.submissions.record_seen(&job);
            }
        }
    }

    /// Reads a job now and then, at once or when it is over, until it is told to stop.
    pub(super) async fn read(&self) {
        let mut waits = false;
        while !self.stop.is_cancelled() {
            sleep(READ_EVERY).await;
            let Some((id, job_type)) = self.submissions.any_accepted() else { continue };
            waits = !waits;
            let query = if waits { format!("?wait={LONG_POLL_SECONDS}") } else { String::new() };
            let path = format!("/v1/jobs/{id}{query}");
            if let Ok(Ok(job)) = timeout(ANSWER_PATIENCE, self.api.json(&path)).await {
                if job["id"] != id.as_str() || job["type"] != job_type.as_str() {
                    self.log
                        .trouble(format!("{id}, a {job_type}, was asked for, and this is the answer: {job}"));
                }
                self.submissions.record_seen(&job);
            }
        }
    }

    /// Submits a job of each type of which nothing else is known, until it is accepted. Returns their ids.
    ///
    /// # Errors
    ///
    /// When nobody accepts them.
    pub(super) async fn fresh(&self) -> anyhow::Result<Vec<String>> {
        let sent = JOB_TYPES.map(jobs::fresh);
        join_all(sent.iter().map(|sent| self.until_accepted(sent))).await;
        let id = |sent: &Sent| match self.submissions.outcome(&sent.submission.tag) {
            Some(Outcome::Accepted(id)) => Ok(id),
            other => anyhow::bail!("a fresh job was not accepted: {other:?}"),
        };
        sent.iter().map(id).collect()
    }

    async fn once(&self, sent: &Sent) {
        self.submissions.record_sending(&sent.submission);
        let Submission { tag, body, .. } = &sent.submission;
        let answer = self.request("/v1/jobs", body, &[], sent.patience).await;
        self.submissions.record_answer(tag, self.outcome(body, &answer));
    }

    /// As a careful client does, and now and then as a careless one.
    async fn with_key(&self, sent: &Sent, again: u64) {
        self.until_accepted(sent).await;
        let Submission { tag, body, .. } = &sent.submission;
        let Some(Outcome::Accepted(id)) = self.submissions.outcome(tag) else { return };
        let key = [("Idempotency-Key", tag.as_str())];
        match again {
            0 => {
                let both = [(); 2].map(|()| self.request("/v1/jobs", body, &key, ANSWER_PATIENCE));
                for answer in join_all(both).await {
                    if let Answer::Taken(job) = answer
                        && job["id"] != id.as_str()
                    {
                        self.log.trouble(format!("{id} was stored under the key {tag}, and so was {job}"));
                    }
                }
            }
            1 => {
                let mut other = body.clone();
                other["labels"]["other"] = json!("yes");
                if let Answer::Taken(job) = self.request("/v1/jobs", &other, &key, ANSWER_PATIENCE).await {
                    self.log.trouble(format!(
                        "the key {tag} is that of {id}, and was taken for another job: {job}"
                    ));
                }
            }
            _ => {}
        }
    }

    /// The same key until there is an answer.
    async fn until_accepted(&self, sent: &Sent) {
        let Submission { tag, body, .. } = &sent.submission;
        let mut patience = sent.patience;
        self.submissions.record_sending(&sent.submission);
        let key = [("Idempotency-Key", tag.as_str())];
        while !self.give_up.is_cancelled() {
            let answer = self.request("/v1/jobs", body, &key, patience).await;
            patience = ANSWER_PATIENCE;
            if let outcome @ Outcome::Accepted(_) = self.outcome(body, &answer) {
                self.submissions.record_answer(tag, outcome);
                return;
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn batch(&self, mut batch: Vec<Sent>, cancelled: bool) {
        let Some(group) = batch.first().map(|sent| sent.submission.tag.clone()) else { return };
        for Sent { submission, .. } in &mut batch {
            submission.body["labels"]["group"] = json!(group);
            self.submissions.record_sending(submission);
        }
        let bodies = batch.iter().map(|sent| sent.submission.body.clone()).collect();
        let answer = self.request("/v1/jobs/batch", &Value::Array(bodies), &[], ANSWER_PATIENCE).await;
        for (index, Sent { submission, .. }) in batch.iter().enumerate() {
            let outcome = match &answer {
                Answer::Taken(results) => self.outcome_in_batch(&submission.body, &results["results"][index]),
                other => self.outcome(&submission.body, other),
            };
            if let (true, Outcome::Accepted(id)) = (cancelled, &outcome) {
                self.submissions.record_cancel(id);
            }
            self.submissions.record_answer(&submission.tag, outcome);
        }
        if cancelled {
            self.submissions.record_group_cancel(&group);
            let all = json!({"filter": {"labels": {"group": group}}, "by": CALLER});
            let _ = self.request("/v1/jobs/cancel", &all, &[], ANSWER_PATIENCE).await;
        }
    }

    fn outcome_in_batch(&self, body: &Value, item: &Value) -> Outcome {
        if let Some(id) = item["id"].as_str() {
            return Outcome::Accepted(id.to_owned());
        }
        let status = item["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        self.outcome(body, &Answer::Refused(status.unwrap_or_default(), item.clone()))
    }

    /// What an answer to a submission means. One that comes too late for its own `expires_at` may be refused for it, no
    /// other one.
    fn outcome(&self, body: &Value, answer: &Answer) -> Outcome {
        let expires_at: Option<Timestamp> = body["expires_at"].as_str().and_then(|at| at.parse().ok());
        let is_too_late = expires_at.is_some_and(|at| at <= Timestamp::now());
        match answer {
            Answer::Taken(job) => match job["id"].as_str() {
                Some(id) => Outcome::Accepted(id.to_owned()),
                None => Outcome::Refused,
            },
            Answer::Refused(status, problem) => {
                if !status.is_server_error() && !is_too_late {
                    self.log.trouble(format!("a submission was refused: {status} {problem}"));
                }
                Outcome::Refused
            }
            Answer::Unreached => Outcome::Unreached,
            Answer::Unanswered => Outcome::Unanswered,
        }
    }

    pub(super) async fn request(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
        patience: Duration,
    ) -> Answer {
        self.send(Method::POST, path, body, headers, patience).await
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
        patience: Duration,
    ) -> Answer {
        let sent = self.api.send(method, path, body.to_string(), headers);
        let Ok(answer) = timeout(patience, sent).await else { return Answer::Unanswered };
        match answer {
            Ok((status, answer)) if status.is_success() => Answer::Taken(answer),
            // It failed in between, and says that nobody knows.
            Ok((StatusCode::INTERNAL_SERVER_ERROR, _)) => Answer::Unanswered,
            Ok((status, problem)) => Answer::Refused(status, problem),
            Err(error) => match error.downcast_ref::<reqwest::Error>() {
                Some(error) if error.is_connect() => Answer::Unreached,
                _ => Answer::Unanswered,
            },
        }
    }
}
