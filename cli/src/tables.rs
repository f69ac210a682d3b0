//! How jobs, workers and types look in tables and alone.

use serde_json::Value;

use crate::{
    api::{Job, JobError, JobState, JobType, Worker},
    output::{Show, inline, shorten, table, time},
};

/// How long a remark in a list may be, in characters.
const REMARK_CHARACTERS_MAX: usize = 60;
/// How much of a job's parameters or result its details show, in characters; `-o json` shows all.
const DATA_CHARACTERS_MAX: usize = 2_000;

impl Show for Job {
    const PLURAL: &'static str = "jobs";
    const HEADER: &'static [&'static str] = &["ID", "TYPE", "STATE", "ATTEMPT", "CREATED (UTC)", "REMARK"];

    fn identity(&self) -> &str {
        &self.id
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.job_type.clone(),
            self.state.word().to_owned(),
            format!("{}/{}", self.attempt, self.max_attempts),
            time(self.created_at.as_deref()),
            shorten(&remark(self), REMARK_CHARACTERS_MAX),
        ]
    }

    fn details(&self) -> String {
        let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut text = fields([
            ("id", self.id.clone()),
            ("type", self.job_type.clone()),
            ("state", self.state.word().to_owned()),
            (
                "waits for",
                self.waiting_for.as_ref().map(|waiting| waiting.message.clone()).unwrap_or_default(),
            ),
            ("progress", progress(self)),
            ("attempt", format!("{} of {}", self.attempt, self.max_attempts)),
            ("priority", self.priority.map(|priority| priority.to_string()).unwrap_or_default()),
            ("labels", labels.join(" ")),
            ("worker", self.worker_id.clone().unwrap_or_default()),
            ("created", time(self.created_at.as_deref())),
            ("due", time(self.due_at.as_deref())),
            ("started", time(self.started_at.as_deref())),
            ("finished", time(self.finished_at.as_deref())),
            ("error", last_error(self)),
            ("parameters", inline(&self.parameters, DATA_CHARACTERS_MAX)),
            ("result", inline(&self.result, DATA_CHARACTERS_MAX)),
        ]);
        if !self.attempts.is_empty() {
            let header = ["ATTEMPT", "OUTCOME", "WORKER", "STARTED (UTC)", "FINISHED (UTC)", "ERROR"];
            let rows = self.attempts.iter().map(|attempt| {
                vec![
                    attempt.attempt.to_string(),
                    attempt.outcome.clone(),
                    attempt.worker_id.clone().unwrap_or_default(),
                    time(attempt.started_at.as_deref()),
                    time(attempt.finished_at.as_deref()),
                    attempt.error.as_ref().map(|error| error.line()).unwrap_or_default(),
                ]
            });
            text.push_str("\n\n");
            text.push_str(&table(Some(&header), rows));
        }
        text
    }
}

/// The one thing about a job that is most worth knowing now.
pub(crate) fn remark(job: &Job) -> String {
    match job.state {
        JobState::Completed => String::new(),
        // That it waits for its worker is said by the state.
        JobState::Running => progress(job),
        JobState::Failed | JobState::Cancelled => last_error(job),
        JobState::Scheduled
        | JobState::Ready
        | JobState::Unroutable
        | JobState::Dispatched
        | JobState::Unknown => {
            let waiting = job.waiting_for.as_ref().map(|waiting| waiting.message.clone());
            // Why it is tried again is worth as much as what for.
            let parts = [waiting.unwrap_or_default(), last_error(job)];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; last error: ")
        }
    }
}

fn last_error(job: &Job) -> String {
    job.error.as_ref().map(JobError::line).unwrap_or_default()
}

/// `40% resizing`
pub(crate) fn progress(job: &Job) -> String {
    let Some(progress) = &job.progress else { return String::new() };
    let percent = progress.percent().map(|percent| format!("{percent}%"));
    let parts = [percent.as_deref(), progress.message.as_deref()];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

impl Show for Worker {
    const PLURAL: &'static str = "workers";
    const HEADER: &'static [&'static str] =
        &["ID", "NAME", "HOST", "STATUS", "SLOTS", "TYPES", "LAST SEEN (UTC)"];

    fn identity(&self) -> &str {
        &self.id
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
        &["TYPE", "WORKERS", "SLOTS", "WAITING", "RUNNING", "FAILED", "DESCRIPTION"];

    fn identity(&self) -> &str {
        &self.name
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
            ("workers", format!("{} with {} slots", self.workers, self.slots)),
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
    fn count(&self, state: &str) -> u64 {
        self.jobs.get(state).copied().unwrap_or_default()
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

/// Names and values below each other, without what is empty.
fn fields<const COUNT: usize>(fields: [(&str, String); COUNT]) -> String {
    let rows = fields.into_iter().filter(|(_, value)| !value.is_empty());
    table(None, rows.map(|(name, value)| vec![name.to_owned(), value]))
}

fn yes_or_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Document;

    fn jobs() -> Vec<Document<Job>> {
        serde_json::from_value(json!([
            {
                "id": "0192e4a0-0000-7000-8000-000000000001", "type": "image.thumbnail", "state": "running", "priority": 4,
                "parameters": {"source": "a.jpg", "width": 640}, "labels": {"project": "x"}, "attempt": 2, "max_attempts": 5,
                "progress": {"percent": 40.4, "message": "resizing", "at": "2026-11-20T16:07:02.000Z"}, "result": null,
                "error": null, "worker_id": "w1", "created_at": "2026-11-20T16:07:00.123Z",
                "due_at": "2026-11-20T16:07:00.123Z", "started_at": "2026-11-20T16:07:01.000Z", "finished_at": null,
                "waiting_for": null, "version": 7,
                "attempts": [{
                    "attempt": 1, "outcome": "handler", "worker_id": "w0", "started_at": "2026-11-20T16:07:00.200Z",
                    "finished_at": "2026-11-20T16:07:00.300Z",
                    "error": {"kind": "handler", "code": "busy", "message": "the disk was\u{1b}[31m busy", "detail": null}
                }]
            },
            {
                "id": "0192e4a0-0000-7000-8000-000000000002", "type": "media.transcode", "state": "unroutable",
                "attempt": 0, "max_attempts": 5, "created_at": "2026-11-20T16:07:00.123Z",
                "waiting_for": {"reason": "first_worker", "message": "no worker has ever served media.transcode"}
            },
            {
                "id": "0192e4a0-0000-7000-8000-000000000003", "type": "file.checksum", "state": "failed",
                "attempt": 1, "max_attempts": 5, "created_at": "2026-11-20T16:07:00.123Z",
                "error": {"kind": "handler", "code": "source_not_found", "message": "'poem.txt' does not exist"}
            }
        ]))
        .unwrap()
    }

    fn listed<T: Show>(items: &[Document<T>]) -> String {
        table(Some(T::HEADER), items.iter().map(|item| item.row()))
    }

    #[test]
    fn jobs_in_a_table_and_alone() {
        insta::assert_snapshot!("jobs", listed(&jobs()));
        insta::assert_snapshot!("job", jobs()[0].details());
    }

    #[test]
    fn workers_in_a_table_and_alone() {
        let workers: Vec<Document<Worker>> = serde_json::from_value(json!([{
            "id": "0192e4a0-0000-7000-8000-00000000000a", "name": "crewcall-workers", "version": "0.1.0",
            "sdk": {"language": "rust", "version": "0.1.0"}, "host": "forge", "pid": 4711, "status": "busy",
            "slots": 4, "slots_busy": 1, "types": ["file.checksum", "image.thumbnail"],
            "orders": [{"job_id": "0192e4a0-0000-7000-8000-000000000001", "attempt": 2, "held": false}],
            "started_at": "2026-11-20T16:00:00.000Z", "announced_at": "2026-11-20T16:00:01.000Z",
            "last_seen_at": "2026-11-20T16:07:02.000Z"
        }]))
        .unwrap();
        insta::assert_snapshot!("workers", listed(&workers));
        insta::assert_snapshot!("worker", workers[0].details());
    }

    #[test]
    fn types_in_a_table_and_alone() {
        let types: Vec<Document<JobType>> = serde_json::from_value(json!([
            {
                "type": "image.thumbnail", "description": "Make a smaller copy of one picture.\n\nReads JPEG.",
                "version": "0.1.0", "workers": 1, "slots": 4,
                "parameters_schema": {
                    "type": "object", "required": ["source", "width"],
                    "properties": {
                        "source": {"type": "string", "description": "Path of the picture."},
                        "width": {"type": "integer", "description": "The largest width\nin pixels."},
                        "quality": {"type": ["integer", "null"], "description": "Quality of a JPEG."},
                        "crop": {"anyOf": [{"type": "object"}, {"type": "null"}]}
                    }
                },
                "result_schema": {"type": "object", "properties": {"bytes": {"type": "integer"}}},
                "jobs": {"scheduled": 1, "ready": 2, "dispatched": 1, "running": 3, "completed": 10, "failed": 1},
                "oldest_waiting_at": "2026-11-20T16:07:02.000Z"
            },
            {"type": "media.transcode", "announced": false, "parameters_schema": {}, "jobs": {"unroutable": 1}}
        ]))
        .unwrap();
        insta::assert_snapshot!("types", listed(&types));
        insta::assert_snapshot!("type", types[0].details());
    }
}
