//! Somebody who publishes events, somebody who follows the log of them, and a consumer that makes jobs of some. Every event that
//! was acknowledged has to be there in its place, the follower gets each once and in order, and each that is selected has one job.

use std::{fmt::Display, time::Duration};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    jobs,
    load::{AGAIN_AFTER, ANSWER_PATIENCE, Answer, Load},
    submission_log::{Submission, TAG},
};
use crate::{api::Api, invariants};

/// How often somebody publishes.
const PUBLISH_EVERY: Duration = Duration::from_millis(120);

/// Of so many events one is published again, and one with something else under its id.
const AGAIN_IN: u64 = 5;

/// How many events are read at once.
const PAGE_EVENTS: usize = 500;

/// Of so many events one is made a job.
const CONSUMED_IN: u64 = 4;

/// The type of that job.
const CONSUMED_TYPE: &str = "test.echo";

/// The consumer, and how many of its jobs may be unfinished: few, so that it is full now and then.
const CONSUMER: &str = "/v1/consumers/chaos";
const IN_FLIGHT_MAX: u32 = 12;

/// How long the consumer may take in the end to see everything and have its jobs done.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(60);

/// The tag of the job that is made of the event of this number.
fn tag_of(number: impl Display) -> String {
    format!("event-{number}")
}

impl Load<'_> {
    /// Sets the consumer, as often as it takes.
    async fn consume(&self) {
        let tag = tag_of("${{ event.data.number }}");
        let consumer = json!({
            "subjects": ["chaos.count"],
            "if": format!("event.data.number % {CONSUMED_IN} == 0"),
            "in_flight_max": IN_FLIGHT_MAX,
            "start": "oldest",
            "then": {"job": jobs::body(&tag, CONSUMED_TYPE, &json!({"text": &tag}))},
        });
        while !self.give_up.is_cancelled() {
            match self.send(Method::PUT, CONSUMER, &consumer, &[], ANSWER_PATIENCE).await {
                Answer::Taken(_) => return,
                Answer::Refused(status, problem) if status.is_client_error() => {
                    return self.log.trouble(format!("the consumer was refused: {status} {problem}"));
                }
                Answer::Refused(..) | Answer::Unreached | Answer::Unanswered => sleep(AGAIN_AFTER).await,
            }
        }
    }

    /// Publishes until it is told to stop, each event until it is acknowledged. Returns those.
    pub(super) async fn publish(&self) -> Vec<Value> {
        self.consume().await;
        let mut acknowledged = Vec::new();
        let mut number = 0_u64;
        while !self.stop.is_cancelled() {
            number += 1;
            if number.is_multiple_of(CONSUMED_IN) {
                let tag = tag_of(number);
                let job = jobs::body(&tag, CONSUMED_TYPE, &json!({"text": &tag}));
                self.submissions.record_sending(&Submission::new(tag, CONSUMED_TYPE, job));
            }
            let event = json!({"subject": "chaos.count", "data": {"number": number}, "id": format!("chaos:{number}")});
            let Some(recorded) = self.until_recorded(&event).await else { return acknowledged };
            if number.is_multiple_of(AGAIN_IN) {
                self.publish_again(&event, &recorded).await;
            }
            acknowledged.push(recorded);
            sleep(PUBLISH_EVERY).await;
        }
        acknowledged
    }

    async fn until_recorded(&self, event: &Value) -> Option<Value> {
        while !self.give_up.is_cancelled() {
            match self.request("/v1/events", event, &[], ANSWER_PATIENCE).await {
                Answer::Taken(recorded) => return Some(recorded),
                Answer::Refused(status, problem) if status.is_client_error() => {
                    self.log.trouble(format!("an event was refused: {status} {problem}"));
                    return None;
                }
                Answer::Refused(..) | Answer::Unreached | Answer::Unanswered => sleep(AGAIN_AFTER).await,
            }
        }
        None
    }

    async fn publish_again(&self, event: &Value, recorded: &Value) {
        let again = self.request("/v1/events", event, &[], ANSWER_PATIENCE).await;
        if let Answer::Taken(again) = again
            && again != *recorded
        {
            self.log.trouble(format!("an event was recorded as {recorded}, and again as {again}"));
        }
        let mut other = event.clone();
        other["data"] = json!("another");
        if let Answer::Taken(other) = self.request("/v1/events", &other, &[], ANSWER_PATIENCE).await {
            self.log.trouble(format!("the id of {recorded} was taken for {other}"));
        }
    }

    /// Follows the log page by page until it is told to stop. What it gets has no gap.
    pub(super) async fn follow_log(&self) {
        let mut after = 0;
        while !self.stop.is_cancelled() {
            let path = format!("/v1/events?after={after}&limit={PAGE_EVENTS}");
            if let Ok(Ok(page)) = timeout(ANSWER_PATIENCE, self.api.json(&path)).await {
                for event in page["events"].as_array().into_iter().flatten() {
                    if event["sequence"] != after + 1 {
                        self.log.trouble(format!("after event {after} of the log came {event}"));
                    }
                    after = event["sequence"].as_u64().unwrap_or(after);
                }
            }
            sleep(AGAIN_AFTER).await;
        }
    }
}

/// Holds the log against what was acknowledged. Returns how many events it has.
///
/// # Errors
///
/// What does not fit.
pub(super) async fn judge(api: &Api, acknowledged: &[Value]) -> anyhow::Result<usize> {
    let mut log: Vec<Value> = Vec::new();
    loop {
        let path = format!("/v1/events?after={}&limit={PAGE_EVENTS}", log.len());
        let page = api.json(&path).await?;
        let events = page["events"].as_array().context("a page has events")?;
        if events.is_empty() {
            break;
        }
        log.extend(events.iter().cloned());
    }
    for (place, event) in log.iter().enumerate() {
        ensure!(event["sequence"] == place + 1, "E1: event {place} of the log is {event}");
    }
    for event in acknowledged {
        let place =
            event["sequence"].as_u64().and_then(|sequence| usize::try_from(sequence).ok()).unwrap_or(0);
        ensure!(
            log.get(place.wrapping_sub(1)) == Some(event),
            "E1: {event} was acknowledged and is not in its place"
        );
    }
    ensure!(log.len() >= acknowledged.len(), "E1: an event has two places");
    judge_consumer(api, acknowledged).await?;
    Ok(log.len())
}

/// Each event that the consumer selects has one job. Of those that were not acknowledged, nobody knows.
async fn judge_consumer(api: &Api, acknowledged: &[Value]) -> anyhow::Result<()> {
    let is_done = |consumer: &Value| consumer["state"] == "following" && consumer["in_flight"] == 0;
    api.json_when_within(FOLLOWED_WITHIN, CONSUMER, is_done)
        .await
        .context("E2: the consumer does not get on")?;
    let jobs = invariants::read_all(api).await?;
    let numbers = acknowledged.iter().filter_map(|event| event["data"]["number"].as_u64());
    for tag in numbers.filter(|number| number.is_multiple_of(CONSUMED_IN)).map(tag_of) {
        let made = jobs.values().filter(|job| job["labels"][TAG] == tag.as_str()).count();
        ensure!(made == 1, "E2: {made} jobs were made of {tag}");
    }
    Ok(())
}
