//! How workers, types and unreadable messages look.

use serde_json::Value;

use super::{REMARK_CHARACTERS_MAX, fields, when_and_why, yes_or_no};
use crate::{
    api::{JobType, QuarantinedMessage, Worker},
    output::{Show, table},
    text::{shorten, time},
};

impl Show for Worker {
    const PLURAL: &'static str = "workers";
    const HEADER: &'static [&'static str] =
        &["ID", "NAME", "HOST", "STATUS", "SLOTS", "TYPES", "LAST SEEN (UTC)"];

    fn identity(&self) -> String {
        self.id.clone()
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.name.clone(),
            self.host.clone(),
            self.status.clone(),
            format!("{}/{}", self.slots_busy, self.slots),
            shorten(&self.types.join(" "), REMARK_CHARACTERS_MAX),
            time(self.last_seen_at.as_deref()),
        ]
    }

    fn details(&self) -> String {
        let sdk = self.sdk.as_ref().map(|sdk| format!("{} {}", sdk.language, sdk.version));
        let mut text = fields([
            ("id", self.id.clone()),
            ("name", format!("{} {}", self.name, self.version)),
            ("sdk", sdk.unwrap_or_default()),
            ("host", self.host.clone()),
            ("process", self.pid.map(|pid| pid.to_string()).unwrap_or_default()),
            ("status", self.status.clone()),
            ("slots", format!("{} of {} busy", self.slots_busy, self.slots)),
            ("types", self.types.join(" ")),
            ("started", time(self.started_at.as_deref())),
            ("last seen", time(self.last_seen_at.as_deref())),
        ]);
        if !self.orders.is_empty() {
            let rows = self.orders.iter().map(|order| {
                vec![order.job_id.clone(), order.attempt.to_string(), yes_or_no(order.held).to_owned()]
            });
            text.push_str("\n\n");
            text.push_str(&table(Some(&["JOB", "ATTEMPT", "HELD"]), rows));
        }
        text
    }
}

impl Show for JobType {
    const PLURAL: &'static str = "job types";
    const HEADER: &'static [&'static str] =
        &["TYPE", "WORKERS", "SLOTS", "WAITING", "RUNNING", "FAILED", "STATUS", "DESCRIPTION"];

    fn identity(&self) -> String {
        self.name.clone()
    }

    fn row(&self) -> Vec<String> {
        let description = self.description.as_deref().unwrap_or_default();
        let description = if self.announced { description } else { "no worker has announced this type yet" };
        vec![
            self.name.clone(),
            self.workers.to_string(),
            self.slots.to_string(),
            ["scheduled", "ready", "unroutable"]
                .iter()
                .map(|state| self.count(state))
                .sum::<u64>()
                .to_string(),
            ["dispatched", "running"].iter().map(|state| self.count(state)).sum::<u64>().to_string(),
            self.count("failed").to_string(),
            self.status(),
            shorten(description.lines().next().unwrap_or_default(), REMARK_CHARACTERS_MAX),
        ]
    }

    fn details(&self) -> String {
        let counts: Vec<String> = self
            .jobs
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let mut text = fields([
            ("type", self.name.clone()),
            ("description", self.description.clone().unwrap_or_default()),
            ("version", self.version.clone().unwrap_or_default()),
            ("announced", yes_or_no(self.announced).to_owned()),
            (
                "paused",
                self.paused.as_ref().map(|note| format!("by {}", when_and_why(note))).unwrap_or_default(),
            ),
            ("limits", limits(self.running_max, self.rate_per_second)),
            ("workers", format!("{} with {} slots", self.workers, self.slots)),
            ("queue", self.queue_error.clone().unwrap_or_default()),
            ("schema", self.schema_error.clone().unwrap_or_default()),
            ("refused", self.refused.clone().unwrap_or_default()),
            ("jobs", counts.join(", ")),
            ("oldest waits since", time(self.oldest_waiting_at.as_deref())),
        ]);
        for (title, schema) in [("PARAMETER", &self.parameters_schema), ("RESULT", &self.result_schema)] {
            let rows = schema_rows(schema);
            if !rows.is_empty() {
                text.push_str("\n\n");
                text.push_str(&table(Some(&[title, "TYPE", "REQUIRED", "DESCRIPTION"]), rows.into_iter()));
            }
        }
        text
    }
}

impl JobType {
    /// `refused`, `queue error`, `unchecked`, `paused`, `≤4`, `≤2.5/s`: what keeps its jobs from going as fast as they can.
    fn status(&self) -> String {
        let parts = [
            self.refused.as_ref().map(|_| "refused".to_owned()),
            self.queue_error.as_ref().map(|_| "queue error".to_owned()),
            self.schema_error.as_ref().map(|_| "unchecked".to_owned()),
            self.paused.as_ref().map(|_| "paused".to_owned()),
            self.running_max.map(|most| format!("≤{most}")),
            self.rate_per_second.map(|most| format!("≤{most}/s")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    fn count(&self, state: &str) -> u64 {
        self.jobs.get(state).copied().unwrap_or_default()
    }
}

impl Show for QuarantinedMessage {
    const PLURAL: &'static str = "messages that could not be read";
    const HEADER: &'static [&'static str] =
        &["NUMBER", "QUEUE", "ROUTING KEY", "QUARANTINED (UTC)", "BYTES", "REASON", "DETAIL"];

    fn identity(&self) -> String {
        self.number.to_string()
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.number.to_string(),
            self.queue.clone(),
            self.routing_key.clone(),
            time(self.at.as_deref()),
            self.body_bytes.to_string(),
            self.reason.clone(),
            shorten(&self.detail, REMARK_CHARACTERS_MAX),
        ]
    }

    fn details(&self) -> String {
        fields([
            ("number", self.number.to_string()),
            ("queue", self.queue.clone()),
            ("routing key", self.routing_key.clone()),
            ("quarantined", time(self.at.as_deref())),
            ("bytes", self.body_bytes.to_string()),
            ("reason", self.reason.clone()),
            ("detail", self.detail.clone()),
        ])
    }
}

/// The fields of an object schema. What is not plain enough for a row is left to `-o json`.
fn schema_rows(schema: &Value) -> Vec<Vec<String>> {
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
    };
    properties
        .iter()
        .map(|(name, property)| {
            vec![
                name.clone(),
                type_of(property),
                yes_or_no(required(name)).to_owned(),
                property["description"].as_str().unwrap_or_default().replace('\n', " "),
            ]
        })
        .collect()
}

fn type_of(property: &Value) -> String {
    match &property["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| *name != "null")
            .collect::<Vec<_>>()
            .join(" or "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => "any".to_owned(),
    }
}

/// `at most 4 at once, at most 2.5 a second`; nothing without limits.
pub(crate) fn limits(running_max: Option<u32>, rate_per_second: Option<f64>) -> String {
    let running = running_max.map(|most| format!("at most {most} at once"));
    let rate = rate_per_second.map(|most| format!("at most {most} a second"));
    [running, rate].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
