//! Somebody who publishes events, and somebody who follows the log of them. Every event that was acknowledged has to be there in
//! its place, and the follower gets each once and in order.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::load::{AGAIN_AFTER, ANSWER_PATIENCE, Answer, Load};
use crate::api::Api;

/// How often somebody publishes.
const PUBLISH_EVERY: Duration = Duration::from_millis(120);

/// Of so many events one is published again, and one with something else under its id.
const AGAIN_IN: u64 = 5;

/// How many events are read at once.
const PAGE_EVENTS: usize = 500;

impl Load<'_> {
    /// Publishes until it is told to stop, each event until it is acknowledged. Returns those.
    pub(super) async fn publish(&self) -> Vec<Value> {
        let mut acknowledged = Vec::new();
        let mut number = 0_u64;
        while !self.stop.is_cancelled() {
            number += 1;
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
    Ok(log.len())
}
