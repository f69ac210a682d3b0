//! How workers, types and unreadable messages look.

use super::{moment, schema, when_and_why, yes_or_no};
use crate::{
    api::{JobType, QuarantinedMessage, Worker},
    layout::Column,
    output::{Overflow, Show, View, fields, rows_in_columns},
    text::time,
    times,
};

impl Show for Worker {
    const PLURAL: &'static str = "workers";
    const COLUMNS: &'static [Column] = &[
        Column::new("ID"),
        Column::new("NAME").shortened_to(16),
        Column::new("STATUS"),
        Column::new("SLOTS"),
        Column::new("SEEN"),
        Column::new("UP").left_out(3),
        Column::new("HOST").shortened_to(8).left_out(1),
        Column::new("VERSION").wide(),
        Column::new("STARTED (UTC)").wide(),
        Column::new("LAST SEEN (UTC)").wide(),
        Column::new("TYPES").shortened_to(12).left_out(2),
    ];

    fn identity(&self) -> String {
        self.id.clone()
    }

    fn row(&self, view: &View) -> Vec<String> {
        vec![
            view.id(&self.id).to_owned(),
            self.name.clone(),
            self.status.clone(),
            format!("{}/{}", self.slots_busy, self.slots),
            times::age(self.last_seen_at.as_deref(), view.now),
            times::age(self.started_at.as_deref(), view.now),
            self.host.clone(),
            self.version.clone(),
            time(self.started_at.as_deref()),
            time(self.last_seen_at.as_deref()),
            self.types.join(" "),
        ]
    }

    fn details(&self, view: &View) -> String {
        let sdk = self.sdk.as_ref().map(|sdk| format!("{} {}", sdk.language, sdk.version));
        let mut text = fields(
            &[
                ("id", self.id.clone()),
                ("name", format!("{} {}", self.name, self.version)),
                ("sdk", sdk.unwrap_or_default()),
                ("host", self.host.clone()),
                ("process", self.pid.map(|pid| pid.to_string()).unwrap_or_default()),
                ("status", self.status.clone()),
                ("slots", format!("{} of {} busy", self.slots_busy, self.slots)),
                ("types", self.types.join(" ")),
                ("started", moment(self.started_at.as_deref(), view)),
                ("last seen", moment(self.last_seen_at.as_deref(), view)),
            ],
            view,
        );
        if !self.orders.is_empty() {
            let columns = [Column::new("JOB"), Column::new("TRY"), Column::new("HELD")];
            let rows = self.orders.iter().map(|order| {
                vec![order.job_id.clone(), order.attempt.to_string(), yes_or_no(order.held).to_owned()]
            });
            text.push_str("\n\n");
            text.push_str(&rows_in_columns(&columns, rows.collect(), view, true, Overflow::Cut));
        }
        text
    }
}

impl Show for JobType {
    const PLURAL: &'static str = "job types";
    const COLUMNS: &'static [Column] = &[
        Column::new("TYPE").shortened_to(16),
        Column::new("WORKERS"),
        Column::new("SLOTS").left_out(2),
        Column::new("WAITING"),
        Column::new("RUNNING"),
        Column::new("FAILED"),
        Column::new("OLDEST").left_out(1),
        Column::new("STATUS").shortened_to(8),
        Column::new("OLDEST SINCE (UTC)").wide(),
        Column::new("DESCRIPTION").shortened_to(20).left_out(3),
    ];

    fn identity(&self) -> String {
        self.name.clone()
    }

    fn row(&self, view: &View) -> Vec<String> {
        let description = self.description.as_deref().unwrap_or_default();
        let description = if self.announced { description } else { "no worker has announced this type yet" };
        vec![
            self.name.clone(),
            self.workers.to_string(),
            self.slots.to_string(),
            self.waiting().to_string(),
            self.running().to_string(),
            self.count("failed").to_string(),
            times::age(self.oldest_waiting_at.as_deref(), view.now),
            self.status(),
            time(self.oldest_waiting_at.as_deref()),
            description.lines().next().unwrap_or_default().to_owned(),
        ]
    }

    fn details(&self, view: &View) -> String {
        let counts: Vec<String> = self
            .jobs
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let paused = self.paused.as_ref().map(|note| format!("by {}", when_and_why(note)));
        let publishes: Vec<&str> = self.emits.iter().map(|event| event.subject.as_str()).collect();
        let mut text = fields(
            &[
                ("type", self.name.clone()),
                ("description", self.description.clone().unwrap_or_default()),
                ("version", self.version.clone().unwrap_or_default()),
                ("announced", yes_or_no(self.announced).to_owned()),
                ("paused", paused.unwrap_or_default()),
                ("limits", limits(self.running_max, self.rate_per_second)),
                ("workers", format!("{} with {} slots", self.workers, self.slots)),
                ("queue", self.queue_error.clone().unwrap_or_default()),
                ("schema", self.schema_error.clone().unwrap_or_default()),
                ("refused", self.refused.clone().unwrap_or_default()),
                ("publishes", publishes.join(", ")),
                ("jobs", counts.join(", ")),
                ("oldest waits since", moment(self.oldest_waiting_at.as_deref(), view)),
            ],
            view,
        );
        for (title, schema) in [("PARAMETER", &self.parameters_schema), ("RESULT", &self.result_schema)] {
            let rows = schema::rows(schema);
            if !rows.is_empty() {
                let columns = [
                    Column::new(title),
                    Column::new("TYPE").shortened_to(24),
                    Column::new("REQUIRED"),
                    Column::new("DEFAULT").left_out(1),
                    Column::new("DESCRIPTION").shortened_to(24),
                ];
                text.push_str("\n\n");
                text.push_str(&rows_in_columns(&columns, rows, view, true, Overflow::Wrap));
            }
        }
        if self.announced {
            text.push_str("\n\nFor example:\n  ");
            text.push_str(&schema::example(&self.name, &self.parameters_schema));
        }
        text
    }
}

impl JobType {
    /// `refused`, `queue error`, `unchecked`, `paused`, `≤4`, `≤2.5/s`: what keeps its jobs from going as fast as they can.
    pub(crate) fn status(&self) -> String {
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

    /// How many of its jobs wait: for other jobs, for their time, for room, or for a worker.
    pub(crate) fn waiting(&self) -> u64 {
        ["blocked", "scheduled", "ready", "unroutable"].iter().map(|state| self.count(state)).sum()
    }

    /// How many are with the broker or a worker.
    pub(crate) fn running(&self) -> u64 {
        ["dispatched", "running"].iter().map(|state| self.count(state)).sum()
    }

    pub(crate) fn count(&self, state: &str) -> u64 {
        self.jobs.get(state).copied().unwrap_or_default()
    }
}

impl Show for QuarantinedMessage {
    const PLURAL: &'static str = "messages that could not be read";
    const COLUMNS: &'static [Column] = &[
        Column::new("NUMBER"),
        Column::new("QUEUE").shortened_to(12).left_out(2),
        Column::new("ROUTING KEY").shortened_to(12),
        Column::new("AGE"),
        Column::new("BYTES").left_out(3),
        Column::new("REASON"),
        Column::new("QUARANTINED (UTC)").wide(),
        Column::new("DETAIL").shortened_to(16).left_out(1),
    ];

    fn identity(&self) -> String {
        self.number.to_string()
    }

    fn row(&self, view: &View) -> Vec<String> {
        vec![
            self.number.to_string(),
            self.queue.clone(),
            self.routing_key.clone(),
            times::age(self.at.as_deref(), view.now),
            self.body_bytes.to_string(),
            self.reason.clone(),
            time(self.at.as_deref()),
            self.detail.clone(),
        ]
    }

    fn details(&self, view: &View) -> String {
        fields(
            &[
                ("number", self.number.to_string()),
                ("queue", self.queue.clone()),
                ("routing key", self.routing_key.clone()),
                ("quarantined", moment(self.at.as_deref(), view)),
                ("bytes", self.body_bytes.to_string()),
                ("reason", self.reason.clone()),
                ("detail", self.detail.clone()),
            ],
            view,
        )
    }
}

/// `at most 4 at once, at most 2.5 a second`; nothing without limits.
pub(crate) fn limits(running_max: Option<u32>, rate_per_second: Option<f64>) -> String {
    let running = running_max.map(|most| format!("at most {most} at once"));
    let rate = rate_per_second.map(|most| format!("at most {most} a second"));
    [running, rate].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
