//! Who interferes meanwhile: pauses and limits types, drains workers, and takes that back; and has jobs tried again.

use std::{ops::RangeInclusive, time::Duration};

use jiff::Timestamp;
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{
    fault::JOB_TYPES,
    load::{AGAIN_AFTER, ANSWER_PATIENCE, Answer, CALLER, Load},
    submission_log::{Set, Setting},
};

/// How often an operator interferes with a type, and for how long, in milliseconds.
const OPERATE_MILLISECONDS: RangeInclusive<u64> = 1_000..=4_000;

/// The limits that are set: few enough that jobs wait for them.
const RUNNING_MAX: RangeInclusive<u64> = 1..=4;
const RATES_PER_SECOND: RangeInclusive<u32> = 1..=6;

/// For how long what was set is tried to be taken back, and how long each attempt may take. The work that waits for it has
/// to go on soon after everything is healed.
const SETTING_PATIENCE: Duration = Duration::from_secs(120);
const SETTING_ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// How often somebody has a job tried again.
const RETRY_EVERY: Duration = Duration::from_millis(1_500);

/// For how long a worker is not heard of that is gone: longer than it is frozen, or its line.
const GONE_AFTER: Duration = Duration::from_secs(35);

/// How often nobody must be drained in the end, one look after the other: a worker speaks every five seconds.
const LOOKS_AT_THE_END: u32 = 20;

/// Who is there.
const WORKERS_PATH: &str = "/v1/workers";

impl Set {
    /// A limit.
    fn chosen(dice: &mut StdRng) -> Self {
        if dice.random_range(0..3) == 0 {
            Self::RatePerSecond(f64::from(dice.random_range(RATES_PER_SECOND)))
        } else {
            Self::RunningMax(dice.random_range(RUNNING_MAX))
        }
    }

    /// How it is set: the method, the end of the path, and the body.
    fn request(self) -> (Method, &'static str, Value) {
        match self {
            Self::Pause => (Method::POST, "pause", json!({"by": CALLER})),
            Self::RunningMax(most) => (Method::PUT, "limits", json!({"running_max": most})),
            Self::RatePerSecond(rate) => (Method::PUT, "limits", json!({"rate_per_second": rate})),
        }
    }

    /// How it is taken back.
    fn taken_back(self) -> (Method, &'static str, Value) {
        match self {
            Self::Pause => (Method::POST, "resume", json!({"by": CALLER})),
            Self::RunningMax(_) | Self::RatePerSecond(_) => (Method::PUT, "limits", json!({})),
        }
    }
}

impl Load<'_> {
    /// Pauses types for a while, until it is told to stop. Leaves none paused.
    pub(super) async fn pause_types(&self, seed: u64) {
        self.set_for_types(StdRng::seed_from_u64(seed), |_| Set::Pause).await;
    }

    /// Limits types for a while, until it is told to stop. Leaves none limited.
    pub(super) async fn limit_types(&self, seed: u64) {
        self.set_for_types(StdRng::seed_from_u64(seed.wrapping_add(2)), Set::chosen).await;
    }

    async fn set_for_types(&self, mut dice: StdRng, choose: impl Fn(&mut StdRng) -> Set) {
        // A request that was not answered may be done later, and undo another.
        let mut certain = true;
        while !self.stop.is_cancelled() {
            let (before, meanwhile) = (pause(&mut dice), pause(&mut dice));
            let job_type = JOB_TYPES[dice.random_range(0..JOB_TYPES.len())];
            let set = choose(&mut dice);
            if self.stop.run_until_cancelled(sleep(before)).await.is_none() {
                return;
            }
            let (method, path, body) = set.request();
            let path = format!("/v1/types/{job_type}/{path}");
            let was_set =
                matches!(self.send(method, &path, &body, &[], ANSWER_PATIENCE).await, Answer::Taken(_));
            let from = Timestamp::now();
            let _ = self.stop.run_until_cancelled(sleep(meanwhile)).await;
            let until = Timestamp::now();
            let (method, path, body) = set.taken_back();
            let at_once = self.until_taken(method, &format!("/v1/types/{job_type}/{path}"), &body).await;
            if certain && was_set {
                self.submissions.record_setting(Setting { job_type, set, from, until });
            }
            certain = was_set && at_once;
        }
    }

    /// Drains a worker for a while, until it is told to stop. Leaves none drained that is still there.
    pub(super) async fn drain_workers(&self, seed: u64) {
        let mut dice = StdRng::seed_from_u64(seed.wrapping_add(1));
        while !self.stop.is_cancelled() {
            let (before, meanwhile) = (pause(&mut dice), pause(&mut dice));
            if self.stop.run_until_cancelled(sleep(before)).await.is_none() {
                break;
            }
            let ids = self.workers(&["idle", "busy"]).await.unwrap_or_default();
            if ids.is_empty() {
                continue;
            }
            let path = format!("{WORKERS_PATH}/{}", ids[dice.random_range(0..ids.len())]);
            let _ = self.request(&format!("{path}/drain"), &Value::Null, &[], ANSWER_PATIENCE).await;
            let _ = self.stop.run_until_cancelled(sleep(meanwhile)).await;
            self.until_resumed(&path).await;
        }
        self.resume_all().await;
    }

    /// A worker may have shown that it works before it heard that it should not, and a backend that died since does not know
    /// what it wanted to tell it.
    async fn resume_all(&self) {
        let deadline = Instant::now() + SETTING_PATIENCE;
        let mut calm = 0;
        let mut still = Vec::new();
        while calm < LOOKS_AT_THE_END && Instant::now() < deadline {
            match self.workers(&["draining"]).await {
                Some(drained) => {
                    calm = if drained.is_empty() { calm + 1 } else { 0 };
                    for id in &drained {
                        self.until_resumed(&format!("{WORKERS_PATH}/{id}")).await;
                    }
                    still = drained;
                }
                None => calm = 0,
            }
            sleep(AGAIN_AFTER).await;
        }
        if !still.is_empty() {
            self.log.trouble(format!("{still:?} are still drained"));
        }
    }

    /// The workers whose status is one of these, if the backend answers.
    async fn workers(&self, statuses: &[&str]) -> Option<Vec<String>> {
        let listed = timeout(ANSWER_PATIENCE, self.api.json(WORKERS_PATH)).await.ok()?.ok()?;
        let workers = listed["workers"].as_array()?.iter();
        let wanted = workers
            .filter(|worker| worker["status"].as_str().is_some_and(|status| statuses.contains(&status)));
        Some(wanted.filter_map(|worker| worker["id"].as_str().map(str::to_owned)).collect())
    }

    /// What a worker is told may get lost, as when the backend dies in between: one looks whether it heard. One that is gone
    /// needs nothing; but it may only be that a new backend has not heard of it yet. While faults strike it may take longer
    /// than this waits: what counts is the end.
    async fn until_resumed(&self, path: &str) {
        let deadline = Instant::now() + SETTING_PATIENCE;
        let mut gone_since: Option<Instant> = None;
        while Instant::now() < deadline {
            let _ = self.request(&format!("{path}/resume"), &Value::Null, &[], SETTING_ANSWER_PATIENCE).await;
            let worker = timeout(SETTING_ANSWER_PATIENCE, self.api.get(path)).await;
            let status = match &worker {
                Ok(Ok((StatusCode::NOT_FOUND, _))) => Some("gone".to_owned()),
                Ok(Ok((StatusCode::OK, body))) => status_in(body),
                _ => None,
            };
            match status.as_deref() {
                Some("idle" | "busy") => return,
                Some("gone" | "lost") => {
                    if gone_since.get_or_insert_with(Instant::now).elapsed() > GONE_AFTER {
                        return;
                    }
                }
                _ => gone_since = None,
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    /// Has a job tried again now and then that failed or was cancelled, until it is told to stop.
    pub(super) async fn retry(&self) {
        while !self.stop.is_cancelled() {
            sleep(RETRY_EVERY).await;
            let Some(id) = self.submissions.take_for_retry() else { continue };
            let answer =
                self.request(&format!("/v1/jobs/{id}/retry"), &Value::Null, &[], ANSWER_PATIENCE).await;
            if let Answer::Refused(status, problem) = answer
                && !status.is_server_error()
                && status != StatusCode::NOT_FOUND
            // it was over for long enough to be deleted
            {
                self.log.trouble(format!("{id} was over, and is not tried again: {status} {problem}"));
            }
        }
    }

    /// Asks until it is done: nothing may be left as it was set. Returns whether the first request did it.
    async fn until_taken(&self, method: Method, path: &str, body: &Value) -> bool {
        let deadline = Instant::now() + SETTING_PATIENCE;
        let mut at_once = true;
        while Instant::now() < deadline {
            match self.send(method.clone(), path, body, &[], SETTING_ANSWER_PATIENCE).await {
                Answer::Taken(_) => return at_once,
                _ => at_once = false,
            }
            sleep(AGAIN_AFTER).await;
        }
        self.log.trouble(format!("{method} {path} was not done"));
        false
    }
}

fn status_in(body: &str) -> Option<String> {
    let worker: Value = serde_json::from_str(body).ok()?;
    worker["status"].as_str().map(str::to_owned)
}

fn pause(dice: &mut StdRng) -> Duration {
    Duration::from_millis(dice.random_range(OPERATE_MILLISECONDS))
}
