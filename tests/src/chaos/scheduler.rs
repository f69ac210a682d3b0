//! A schedule that ticks each second while the backend dies and the clock jumps. In the end each second has one record, each tick that
//! fired has one event in the log, and no event is without its tick.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::load::{AGAIN_AFTER, ANSWER_PATIENCE, Answer, Load};
use crate::api::Api;

const SCHEDULE: &str = "/v1/schedules/chaos";

/// The subject of the events that it makes.
const SUBJECT: &str = "chaos.tick";

/// How many records, or events, are read at once.
const PAGE: usize = 200;

/// How long the schedule may take in the end to have looked at every tick.
const LOOKED_WITHIN: Duration = Duration::from_secs(30);

/// What became of ticks, as the API shows it.
struct Record {
    first: jiff::Timestamp,
    last: jiff::Timestamp,
    /// The event, if it fired.
    event: Option<u64>,
}

impl Load<'_> {
    /// Sets the schedule, as often as it takes.
    pub(super) async fn schedule(&self) {
        let schedule = json!({
            "every_seconds": 1,
            "catch_up": "last",
            "event": {"subject": SUBJECT, "data": {"at": "${{ schedule.scheduled_for }}"}},
        });
        while !self.give_up.is_cancelled() {
            match self.send(Method::PUT, SCHEDULE, &schedule, &[], ANSWER_PATIENCE).await {
                Answer::Taken(_) => return,
                Answer::Refused(status, problem) if status.is_client_error() => {
                    return self.log.trouble(format!("the schedule was refused: {status} {problem}"));
                }
                Answer::Refused(..) | Answer::Unreached | Answer::Unanswered => sleep(AGAIN_AFTER).await,
            }
        }
    }
}

/// Holds the records of the ticks against each other and against the log. Returns how many ticks fired.
///
/// # Errors
///
/// What does not fit.
pub(super) async fn judge(api: &Api) -> anyhow::Result<usize> {
    let (status, answer) = api.post(&format!("{SCHEDULE}/pause"), json!({})).await?;
    ensure!(status.is_success(), "E3: the schedule cannot be paused: {status} {answer}");
    let is_past = |tick: &Value| tick["ticks"][0]["state"] == "paused";
    let paused = format!("{SCHEDULE}/ticks?limit=1&state=paused");
    api.json_when_within(LOOKED_WITHIN, &paused, is_past)
        .await
        .context("E3: the schedule does not get on")?;
    let until = api.json(SCHEDULE).await?["considered_until"].as_str().unwrap_or_default().parse()?;
    let records = records(api).await?;
    let mut at = None;
    for record in records.iter().filter(|record| record.first <= until) {
        let follows = at.is_none_or(|at| record.first.duration_since(at).as_secs() == 1);
        ensure!(follows, "E3: after the tick of {at:?} comes that of {}", record.first);
        at = Some(record.last);
    }
    let fired: BTreeMap<u64, jiff::Timestamp> =
        records.iter().filter_map(|record| Some((record.event?, record.first))).collect();
    let mut after = 0;
    let mut made = 0;
    loop {
        let page = api.json(&format!("/v1/events?after={after}&limit={PAGE}&subject={SUBJECT}")).await?;
        for event in page["events"].as_array().context("a page has events")? {
            let sequence = event["sequence"].as_u64().unwrap_or_default();
            let tick: jiff::Timestamp = event["data"]["at"].as_str().unwrap_or_default().parse()?;
            ensure!(fired.get(&sequence) == Some(&tick), "E3: no tick made {event}");
            made += 1;
        }
        let looked = page["after"].as_u64().context("a page says how far was looked")?;
        if looked <= after {
            break;
        }
        after = looked;
    }
    ensure!(made == fired.len(), "E3: {} ticks fired, and made {made} events", fired.len());
    Ok(made)
}

/// All records, oldest first.
async fn records(api: &Api) -> anyhow::Result<Vec<Record>> {
    let (mut records, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.json(&format!("{SCHEDULE}/ticks?limit={PAGE}{cursor}")).await?;
        for tick in page["ticks"].as_array().context("a page has ticks")? {
            let moment = |field: &str| tick[field].as_str().unwrap_or_default().parse::<jiff::Timestamp>();
            let event = tick["event"].as_u64();
            records.push(Record { first: moment("tick")?, last: moment("last_tick")?, event });
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    records.reverse();
    Ok(records)
}
