//! Runs of a small workflow: a job, one for each item, a wait for an event, and a job that joins them. They are started at random, and
//! their events come before or after the question, but never before the run. In the end each run that was acknowledged is there, once, and came to an end that its
//! document allows; its jobs are judged as all others.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    jobs,
    load::{AGAIN_AFTER, ANSWER_PATIENCE, Answer, Load},
    submission_log::{Submission, TAG},
};
use crate::{api::Api, invariants};

/// The workflow.
const WORKFLOW: &str = "/v1/workflows/chaos";

/// The type of its jobs.
const JOB_TYPE: &str = "test.echo";

/// The subject of the event that each run waits for.
const SUBJECT: &str = "chaos.answer";

/// The steps that have one job, and the one that has one for each item.
const FIRST: &str = "first";
const LAST: &str = "last";
const EACH: &str = "each";

/// How many items a run has at most.
const ITEMS_MAX: u64 = 4;

/// How long it is until the next run is started, in milliseconds.
const START_MILLISECONDS: std::ops::RangeInclusive<u64> = 200..=1_400;

/// Of so many runs one has its event at once, most often before it waits for that.
const EARLY_IN: u64 = 3;

/// How many runs are shown at once.
const PAGE: usize = 200;

/// How long runs may take in the end to be over.
const OVER_WITHIN: Duration = Duration::from_secs(60);

/// A run that was asked for.
pub(super) struct Asked {
    number: u64,
    items: u64,
    /// Its id, if that was answered.
    id: Option<String>,
    /// Whether its event is known to be in the log.
    is_answered: bool,
}

/// The job of a step of a run, as it would be submitted.
fn job(run: &str, step: &str) -> Value {
    let tag = tag_of(run, step);
    jobs::body(&tag, JOB_TYPE, &json!({"text": &tag}))
}

/// The tag of a job of a run; of an item, by `each-` and its number.
fn tag_of(run: &str, step: &str) -> String {
    format!("run-{run}-{step}")
}

/// The job of a step, as a document has it.
fn step(name: &str, needs: &[&str]) -> Value {
    let mut step = job("${{ trigger.data.number }}", name);
    if let Some(fields) = step.as_object_mut() {
        let job_type = fields.remove("type").unwrap_or_default();
        fields.insert("job".to_owned(), job_type);
        fields.insert("needs".to_owned(), json!(needs));
    }
    step
}

/// When a job fails for good, what is under way goes on: nothing is cancelled that nobody cancels.
fn document() -> Value {
    let mut each = step(&format!("{EACH}-${{{{ item }}}}"), &[FIRST]);
    each["each"] = json!("${{ trigger.data.items }}");
    let wait = json!({"needs": [FIRST], "wait": {"event": SUBJECT, "if": "event.data.number == trigger.data.number"}});
    let said =
        "${{ size(steps.each.results) }} ${{ steps.wait.event.data.number }} ${{ steps.last.result.text }}";
    json!({
        "on_failure": "drain",
        "steps": {FIRST: step(FIRST, &[]), EACH: each, "wait": wait, LAST: step(LAST, &[EACH, "wait"])},
        "outputs": {"text": said},
    })
}

impl Load<'_> {
    /// Starts runs until it is told to stop, each until it is acknowledged, and publishes their events. Returns what was asked for.
    pub(super) async fn start_runs(&self, seed: u64) -> Vec<Asked> {
        let mut dice = StdRng::seed_from_u64(seed.wrapping_add(3));
        let mut asked = Vec::new();
        if self.until_done(Method::PUT, WORKFLOW, &document(), &[]).await.is_none() {
            return asked;
        }
        while !self.stop.is_cancelled() {
            let number = u64::try_from(asked.len()).unwrap_or(u64::MAX);
            let items = dice.random_range(1..=ITEMS_MAX);
            let is_early = dice.random_range(0..EARLY_IN) == 0;
            let pause = Duration::from_millis(dice.random_range(START_MILLISECONDS));
            asked.push(self.start_run(number, items, is_early, pause).await);
        }
        asked
    }

    async fn start_run(&self, number: u64, items: u64, is_early: bool, pause: Duration) -> Asked {
        let run = number.to_string();
        let steps = (0..items).map(|item| format!("{EACH}-{item}")).chain([FIRST, LAST].map(str::to_owned));
        for step in steps {
            let submission = Submission::new(tag_of(&run, &step), JOB_TYPE, job(&run, &step));
            self.submissions.record_sending(&submission);
        }
        let data = json!({"data": {"number": number, "items": (0..items).collect::<Vec<_>>()}});
        let path = format!("{WORKFLOW}/trigger");
        let key = [("Idempotency-Key", run.as_str())];
        let started = self.until_done(Method::POST, &path, &data, &key).await;
        let id = started.and_then(|run| run["id"].as_str().map(str::to_owned));
        let early = is_early && self.answer(number).await;
        sleep(pause).await;
        let is_answered = early || self.answer(number).await;
        Asked { number, items, id, is_answered }
    }

    /// Publishes the event of a run. Returns whether that is recorded.
    async fn answer(&self, number: u64) -> bool {
        self.until_done(Method::POST, "/v1/events", &answer(number), &[]).await.is_some()
    }

    /// Asks until it is done, or nobody waits any more.
    async fn until_done(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Option<Value> {
        while !self.give_up.is_cancelled() {
            match self.send(method.clone(), path, body, headers, ANSWER_PATIENCE).await {
                Answer::Taken(answer) => return Some(answer),
                Answer::Refused(status, problem) if status.is_client_error() => {
                    self.log.trouble(format!("{method} {path} was refused: {status} {problem}"));
                    return None;
                }
                Answer::Refused(..) | Answer::Unreached | Answer::Unanswered => sleep(AGAIN_AFTER).await,
            }
        }
        None
    }
}

/// The event that a run waits for. Its id makes it one, however often it is published.
fn answer(number: u64) -> Value {
    json!({"subject": SUBJECT, "data": {"number": number}, "id": format!("chaos-answer:{number}")})
}

/// Holds the runs that are there against those that were asked for. Returns how many there are, by how they ended.
///
/// # Errors
///
/// What does not fit.
pub(super) async fn judge(api: &Api, asked: &[Asked]) -> anyhow::Result<BTreeMap<String, usize>> {
    // Of those that were not acknowledged nobody knows.
    for Asked { number, .. } in asked.iter().filter(|asked| !asked.is_answered) {
        let (status, answer) = api.post("/v1/events", answer(*number)).await?;
        ensure!(status.is_success(), "the event of run {number} is refused: {status} {answer}");
    }
    let over = |page: &Value| page["runs"].as_array().is_some_and(Vec::is_empty);
    api.json_when_within(OVER_WITHIN, "/v1/runs?state=queued,running,stopping,compensating&limit=1", over)
        .await
        .context("E6: a run is not over")?;
    let runs = runs(api).await?;
    let jobs = invariants::read_all(api).await?;
    let mut ends = BTreeMap::<String, usize>::new();
    for asked in asked {
        let of_it = runs.iter().filter(|run| run["data"]["number"] == asked.number).collect::<Vec<_>>();
        ensure!(of_it.len() <= 1, "E4: run {} was started {} times", asked.number, of_it.len());
        match (&asked.id, of_it.first()) {
            (None, None) => {}
            (Some(id), None) => anyhow::bail!("I2: run {id} was acknowledged and is not there"),
            (id, Some(run)) => {
                ensure!(
                    id.as_ref().is_none_or(|id| run["id"] == id.as_str()),
                    "run {id:?} is another: {run}"
                );
                ensure!(is_allowed(run, asked, &jobs), "a run ended as it must not: {run}");
                *ends.entry(run["state"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
        }
    }
    ensure!(
        ends.values().sum::<usize>() == runs.len(),
        "{} runs are there, {ends:?} were asked for",
        runs.len()
    );
    Ok(ends)
}

/// Whether a run may have ended so: it completes unless one of its jobs fails for good, which those are asked for themselves.
fn is_allowed(run: &Value, asked: &Asked, jobs: &BTreeMap<String, Value>) -> bool {
    let number = asked.number.to_string();
    match run["state"].as_str() {
        Some("completed") => {
            let said = format!("{} {number} {}", asked.items, tag_of(&number, LAST));
            run["outputs"]["text"].as_str() == Some(&said)
        }
        Some("failed") => {
            let of_it = tag_of(&number, "");
            let is_of_it =
                |job: &Value| job["labels"][TAG].as_str().is_some_and(|tag| tag.starts_with(&of_it));
            jobs.values().any(|job| is_of_it(job) && job["state"] == "failed")
        }
        _ => false,
    }
}

/// All runs, with their data and outputs.
async fn runs(api: &Api) -> anyhow::Result<Vec<Value>> {
    let (mut runs, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.json(&format!("/v1/runs?limit={PAGE}{cursor}")).await?;
        for run in page["runs"].as_array().context("a page has runs")? {
            let id = run["id"].as_str().context("a run has an id")?;
            runs.push(api.json(&format!("/v1/runs/{id}")).await?);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(runs),
        }
    }
}
