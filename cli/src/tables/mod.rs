//! How things look in tables and alone: jobs here, events in [`event_log`], consumers in [`consumers`], hooks in [`hooks`], webhooks in [`webhooks`], workflows and runs in
//! [`workflows`] and [`runs`], schedules in [`schedules`], the rest in [`fleet`].

mod after;
mod consumers;
mod event_log;
mod fleet;
mod health;
mod hooks;
mod runs;
mod schedules;
mod schema;
mod webhooks;
mod workflows;

pub(crate) use self::{
    consumers::events,
    event_log::line as event_line,
    fleet::limits,
    health::{TopologyEntry, report},
    runs::{step_line, step_remark},
    schedules::ticks,
};
use crate::{
    api::{ActorNote, AttemptRecord, Backoff, Cause, Job, JobError, JobState},
    duration,
    layout::Column,
    output::{Overflow, Show, View, fields, rows_in_columns},
    text::{inline, time},
    times,
};

/// How much of a job's parameters or result its details show, in characters; `-o json` shows all.
const DATA_CHARACTERS_MAX: usize = 2_000;

impl Show for Job {
    const PLURAL: &'static str = "jobs";
    const COLUMNS: &'static [Column] = &[
        Column::new("ID"),
        Column::new("TYPE").shortened_to(15),
        Column::new("STATE"),
        Column::new("TRY").left_out(3),
        Column::new("AGE"),
        Column::new("TOOK").left_out(2),
        Column::new("WORKER").wide(),
        Column::new("CREATED (UTC)").wide(),
        Column::new("STARTED (UTC)").wide(),
        Column::new("FINISHED (UTC)").wide(),
        Column::new("REMARK").shortened_to(20).left_out(1),
    ];

    fn identity(&self) -> String {
        self.id.clone()
    }

    fn row(&self, view: &View) -> Vec<String> {
        vec![
            view.id(&self.id).to_owned(),
            self.job_type.clone(),
            self.state.word().to_owned(),
            format!("{}/{}", self.attempt, self.max_attempts),
            times::age(self.created_at.as_deref(), view.now),
            self.took(view),
            self.worker_id.clone().unwrap_or_default(),
            time(self.created_at.as_deref()),
            time(self.started_at.as_deref()),
            time(self.finished_at.as_deref()),
            remark(self),
        ]
    }

    fn details(&self, view: &View) -> String {
        let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut text = fields(
            &[
                ("id", self.id.clone()),
                ("type", self.job_type.clone()),
                ("state", self.state.word().to_owned()),
                ("waits for", waits_for(self)),
                ("after", after::comes_after(self)),
                ("made by", self.cause.as_ref().map(made_by).unwrap_or_default()),
                ("cancellation", cancellation(self)),
                ("progress", progress(self)),
                ("attempt", format!("{} of {}", self.attempt, self.max_attempts)),
                ("priority", self.priority.map(|priority| priority.to_string()).unwrap_or_default()),
                ("labels", labels.join(" ")),
                ("worker", self.worker_id.clone().unwrap_or_default()),
                ("created", moment(self.created_at.as_deref(), view)),
                ("due", moment(self.due_at.as_deref(), view)),
                ("expires", moment(self.expires_at.as_deref(), view)),
                ("timeout", self.timeout_seconds.map(duration::show).unwrap_or_default()),
                ("back-off", self.backoff.as_ref().map(backoff).unwrap_or_default()),
                ("started", moment(self.started_at.as_deref(), view)),
                ("finished", moment(self.finished_at.as_deref(), view)),
                ("took", self.took(view)),
                ("error", last_error(self)),
                (self.error.as_ref().map_or("", JobError::cause_word), cause(self)),
                ("parameters", inline(&self.parameters, DATA_CHARACTERS_MAX)),
                ("result", inline(&self.result, DATA_CHARACTERS_MAX)),
            ],
            view,
        );
        if !self.attempts.is_empty() {
            let rows = self.attempts.iter().map(|attempt| attempt.row(view)).collect();
            text.push_str("\n\n");
            text.push_str(&rows_in_columns(&ATTEMPT_COLUMNS, rows, view, true, Overflow::Wrap));
        }
        text
    }
}

impl Job {
    /// How long its current or last attempt ran; nothing while none does.
    fn took(&self, view: &View) -> String {
        match (self.state, self.finished_at.as_deref()) {
            (JobState::Running, _) => times::took(self.started_at.as_deref(), None, view.now),
            (_, Some(end)) => times::took(self.started_at.as_deref(), Some(end), view.now),
            (_, None) => String::new(),
        }
    }
}

/// The columns of the attempts of a job.
const ATTEMPT_COLUMNS: [Column; 7] = [
    Column::new("TRY"),
    Column::new("OUTCOME"),
    Column::new("WORKER"),
    Column::new("STARTED (UTC)").left_out(1),
    Column::new("TOOK"),
    Column::new("FINISHED (UTC)").wide(),
    Column::new("ERROR").shortened_to(24),
];

impl AttemptRecord {
    fn row(&self, view: &View) -> Vec<String> {
        vec![
            self.attempt.to_string(),
            self.outcome.clone(),
            self.worker_id.as_deref().map(|id| view.id(id)).unwrap_or_default().to_owned(),
            time(self.started_at.as_deref()),
            times::took(self.started_at.as_deref(), self.finished_at.as_deref(), view.now),
            time(self.finished_at.as_deref()),
            self.error.as_ref().map(JobError::line).unwrap_or_default(),
        ]
    }
}

/// `2026-11-20 16:07:00 (5m30s ago)`
fn moment(text: Option<&str>, view: &View) -> String {
    let shown = time(text);
    match times::age(text, view.now) {
        age if age.is_empty() => shown,
        age if age.starts_with("in ") => format!("{shown} ({age})"),
        age => format!("{shown} ({age} ago)"),
    }
}

/// The one thing about a job that is most worth knowing now.
pub(crate) fn remark(job: &Job) -> String {
    match job.state {
        JobState::Completed => String::new(),
        JobState::Running if job.cancel_requested => {
            let parts = ["is being cancelled".to_owned(), progress(job)];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
        }
        // That it waits for its worker is said by the state.
        JobState::Running => progress(job),
        JobState::Failed => last_error(job),
        JobState::Cancelled => match &job.cancellation {
            Some(note) => format!("by {}", by_whom(note)),
            None => last_error(job),
        },
        JobState::Blocked
        | JobState::Scheduled
        | JobState::Ready
        | JobState::Unroutable
        | JobState::Dispatched
        | JobState::Unknown => {
            let waiting = waiting(job).unwrap_or_default();
            // Why it is tried again is worth as much as what for.
            let error = job.error.as_ref().filter(|error| !waiting.contains(&error.message));
            let parts = [waiting.clone(), error.map(JobError::line).unwrap_or_default()];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; last error: ")
        }
    }
}

/// What a job waits for, in a sentence without its subject.
pub(crate) fn waiting(job: &Job) -> Option<String> {
    Some(job.waiting_for.as_ref()?.message.clone())
}

/// The same beside the words "waits for".
fn waits_for(job: &Job) -> String {
    let message = job.waiting_for.as_ref().map(|waiting| waiting.message.as_str()).unwrap_or_default();
    message.strip_prefix("waits for ").unwrap_or(message).to_owned()
}

/// `consumer invoices of event 17; 3 deep from event 3`, or `step encode of run 0192e4a0-… (asset.publish), item 3`
fn made_by(cause: &Cause) -> String {
    let Cause { event, consumer, run, workflow, step, item, role, schedule, tick, root, depth } = cause;
    let maker = match (run, consumer, schedule) {
        (Some(run), _, _) => {
            let step = step.as_deref().unwrap_or_default();
            let workflow = workflow.as_ref().map(|workflow| format!(" ({workflow})")).unwrap_or_default();
            let item = item.map(|item| format!(", item {item}")).unwrap_or_default();
            let undoes = if role.as_deref() == Some("undo") { ", to undo it" } else { "" };
            format!("step {step} of run {run}{workflow}{item}{undoes}")
        }
        (None, Some(consumer), _) => {
            let event = event.map(|event| format!(" of event {event}")).unwrap_or_default();
            format!("consumer {consumer}{event}")
        }
        (None, None, Some(schedule)) => by_schedule(schedule, tick.as_deref()),
        (None, None, None) => String::new(),
    };
    let root = root.as_deref().filter(|_| *depth > 1).map(|root| format!("; {depth} deep from {root}"));
    format!("{maker}{}", root.unwrap_or_default())
}

/// `schedule report.nightly, tick 2026-11-20 00:30:00`
fn by_schedule(schedule: &str, tick: Option<&str>) -> String {
    let tick = tick.map(|tick| format!(", tick {}", time(Some(tick)))).unwrap_or_default();
    format!("schedule {schedule}{tick}")
}

/// `asked for by alice at 2026-11-20 16:07:00: wrong pictures`
fn cancellation(job: &Job) -> String {
    let Some(note) = &job.cancellation else {
        return if job.cancel_requested { "asked for".to_owned() } else { String::new() };
    };
    let done = if job.state == JobState::Cancelled { "" } else { "asked for " };
    format!("{done}by {}", when_and_why(note))
}

/// `alice: wrong pictures`
pub(crate) fn by_whom(note: &ActorNote) -> String {
    match note.reason.as_deref().filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{}: {reason}", note.by),
        None => note.by.clone(),
    }
}

/// `alice at 2026-11-20 16:07:00: wrong pictures`
fn when_and_why(note: &ActorNote) -> String {
    let by = match note.at.as_deref() {
        Some(at) => format!("{} at {}", note.by, time(Some(at))),
        None => note.by.clone(),
    };
    by_whom(&ActorNote { by, ..note.clone() })
}

/// `2s, 2 times longer after each attempt up to 10m, ±10 %`
fn backoff(backoff: &Backoff) -> String {
    let Backoff { initial_seconds, factor, max_seconds, jitter } = backoff;
    let growth = format!("{factor} times longer after each attempt up to {}", duration::show(*max_seconds));
    format!("{}, {growth}, ±{:.0} %", duration::show(*initial_seconds), jitter * 100.0)
}

fn last_error(job: &Job) -> String {
    job.error.as_ref().map(JobError::line).unwrap_or_default()
}

fn cause(job: &Job) -> String {
    job.error.as_ref().and_then(JobError::cause).unwrap_or_default().to_owned()
}

/// `40% resizing`
pub(crate) fn progress(job: &Job) -> String {
    let Some(progress) = &job.progress else { return String::new() };
    let percent = progress.percent().map(|percent| format!("{percent}%"));
    let parts = [percent.as_deref(), progress.message.as_deref()];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn yes_or_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::{Document, JobType, PublishedEvent, QuarantinedMessage, Worker},
        output::list,
        terminals::{on_terminals, view},
    };

    fn jobs() -> Vec<Document<Job>> {
        serde_json::from_value(json!([
            {
                "id": "0192e4a0-0000-7000-8000-000000000001", "type": "image.thumbnail", "state": "running", "priority": 4,
                "parameters": {"source": "a.jpg", "width": 640}, "labels": {"project": "x"}, "attempt": 2, "max_attempts": 5,
                "progress": {"percent": 40.4, "message": "resizing", "at": "2026-11-20T16:07:02.000Z"}, "result": null,
                "timeout_seconds": 90.0, "expires_at": "2026-11-20T17:00:00.000Z",
                "backoff": {"initial_seconds": 2.0, "factor": 2.0, "max_seconds": 600.0, "jitter": 0.1},
                "cancel_requested": true,
                "cancellation": {"by": "alice", "reason": "wrong pictures", "at": "2026-11-20T16:07:03.000Z"},
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
                "id": "0192e4a0-0020-7000-8000-000000000002", "type": "media.transcode", "state": "unroutable",
                "attempt": 0, "max_attempts": 5, "created_at": "2026-11-20T16:07:00.123Z",
                "waiting_for": {"reason": "first_worker", "message": "no worker has ever served media.transcode"}
            },
            {
                "id": "0192e4a0-0030-7000-8000-000000000003", "type": "file.checksum", "state": "failed",
                "attempt": 1, "max_attempts": 5, "created_at": "2026-11-20T16:07:00.123Z",
                "error": {"kind": "handler", "code": "source_not_found", "message": "'poem.txt' does not exist"}
            },
            {
                "id": "0192e4a0-0040-7000-8000-000000000004", "type": "file.checksum", "state": "cancelled",
                "attempt": 1, "max_attempts": 5, "created_at": "2026-11-20T16:07:00.123Z",
                "error": {"kind": "cancelled", "message": "cancelled"},
                "cancellation": {"by": "alice", "reason": null, "at": "2026-11-20T16:07:03.000Z"}
            },
            {
                "id": "0192e4a0-0050-7000-8000-000000000005", "type": "http.request", "state": "scheduled",
                "attempt": 2, "max_attempts": 5, "created_at": "2026-11-20T16:07:00.123Z",
                "due_at": "2026-11-20T16:08:00.123Z", "error": {"kind": "handler", "message": "no route"},
                "waiting_for": {"reason": "due", "message": "waits until 2026-11-20T16:08:00.123Z for attempt 2, after: no route"}
            }
        ]))
        .unwrap()
    }

    /// A list on terminals, with `-o wide`, and without titles in a pipe.
    fn listed<T: Show>(items: &[Document<T>]) -> String {
        [
            on_terminals(|view| list(items, view, true)),
            list(items, &View { is_wide: true, ..view(Some(80), false) }, true),
            list(items, &view(None, false), false),
        ]
        .join("\n\n")
    }

    fn alone<T: Show>(item: &T) -> String {
        on_terminals(|view| item.details(view))
    }

    #[test]
    fn jobs_in_a_table_and_alone() {
        insta::assert_snapshot!("jobs", listed(&jobs()));
        insta::assert_snapshot!("job", alone(&*jobs()[0]));
        insta::assert_snapshot!("job_that_waits", alone(&*jobs()[1]));
    }

    #[test]
    fn a_job_says_what_made_it() {
        let said = |cause: serde_json::Value| made_by(&serde_json::from_value(cause).unwrap());
        let first = json!({"event": 17, "consumer": "invoices", "pass": 1, "root": "event 17", "depth": 1});
        assert_eq!(said(first.clone()), "consumer invoices of event 17");
        let later = json!({"event": 17, "consumer": "invoices", "pass": 2, "root": "event 3", "depth": 3});
        assert_eq!(said(later), "consumer invoices of event 17; 3 deep from event 3");
        let item = json!({
            "run": "0192e4a0-7c41-7000-8000-000000000001", "workflow": "asset.publish", "step": "encode", "item": 3,
            "role": "undo", "root": "run 0192e4a0-7c41-7000-8000-000000000001", "depth": 1
        });
        let run = "run 0192e4a0-7c41-7000-8000-000000000001";
        assert_eq!(said(item), format!("step encode of {run} (asset.publish), item 3, to undo it"));
        let tick = json!({
            "schedule": "report.nightly", "tick": "2026-11-20T00:30:00.000Z", "root": "job 0192e4a0", "depth": 1
        });
        assert_eq!(said(tick), "schedule report.nightly, tick 2026-11-20 00:30:00");
        let mut job = Job::clone(&jobs()[4]);
        job.cause = serde_json::from_value(first).unwrap();
        let details = job.details(&view(None, false));
        assert!(
            details.lines().any(|line| line.starts_with("made by ") && line.ends_with("of event 17")),
            "{details}"
        );
    }

    #[test]
    fn every_row_is_a_line_on_a_terminal_of_no_use() {
        for width in [0, 1, 20, 40] {
            let list = list(&jobs(), &view(Some(width), false), true);
            assert_eq!(list.lines().count(), 6, "a line for each, and the titles: {list}");
        }
    }

    #[test]
    fn ids_are_as_long_as_it_takes_to_tell_them_apart() {
        let listed = |ids: [&str; 2]| {
            let jobs = ids.map(|id| json!({"id": id, "type": "t", "state": "ready"}));
            let jobs: Vec<Document<Job>> = serde_json::from_value(json!(jobs)).unwrap();
            let listed = list(&jobs, &view(Some(80), false), false);
            listed.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let other_time = ["0192e4a0-0000-7000-8000-000000000001", "0192e4a0-0001-7000-8000-000000000001"];
        assert_eq!(listed(other_time), ["0192e4a0-0000", "0192e4a0-0001"]);
        let one_batch = ["0192e4a0-0000-7000-8000-0000aaaa0001", "0192e4a0-0000-7000-8000-0000bbbb0001"];
        assert_eq!(listed(one_batch), ["0192e4a0-0000-7000-8000-0000a", "0192e4a0-0000-7000-8000-0000b"]);
    }

    #[test]
    fn what_went_wrong_is_said_once() {
        let waiting = |message: &str| {
            let mut job = Job::clone(&jobs()[4]);
            job.waiting_for = serde_json::from_value(json!({"message": message})).unwrap();
            remark(&job)
        };
        assert_eq!(waiting("waits, after: no route"), "waits, after: no route");
        assert_eq!(waiting("waits"), "waits; last error: handler: no route");
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
        insta::assert_snapshot!("worker", alone(&*workers[0]));
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
                "emits": [{"subject": "image.resized", "description": "", "schema": {}}, {"subject": "image.lost", "description": "", "schema": {}}],
                "jobs": {"scheduled": 1, "ready": 2, "dispatched": 1, "running": 3, "completed": 10, "failed": 1},
                "oldest_waiting_at": "2026-11-20T16:07:02.000Z", "running_max": 4, "rate_per_second": 2.5,
                "paused": {"by": "bob", "reason": "the disk is full", "at": "2026-11-20T16:07:03.000Z"}
            },
            {
                "type": "media.transcode", "announced": false, "parameters_schema": {}, "jobs": {"unroutable": 1},
                "queue_error": "the broker refuses: queue crewcall.jobs.media.transcode exists with other properties"
            }
        ]))
        .unwrap();
        insta::assert_snapshot!("types", listed(&types));
        insta::assert_snapshot!("type", alone(&*types[0]));
    }

    #[test]
    fn events_in_a_table_and_alone() {
        let events: Vec<Document<PublishedEvent>> = serde_json::from_value(json!([
            {
                "sequence": 17, "subject": "order.paid", "id": null, "occurred_at": null,
                "recorded_at": "2026-11-20T16:07:00.123Z", "data": {"order": "4711", "amount": 12.5}
            },
            {
                "sequence": 18, "subject": "git.push", "id": "github:72d3162e-cc78-11e3-81ab-4c9367dc0958",
                "occurred_at": "2026-11-20T16:06:00.000Z", "recorded_at": "2026-11-20T16:07:01.000Z",
                "data": {"ref": "refs/heads/main\u{9b}31m", "commits": ["a\nb".repeat(60)]}
            }
        ]))
        .unwrap();
        insta::assert_snapshot!("events", listed(&events));
        insta::assert_snapshot!("event", events[0].details(&view(Some(80), false)));
        insta::assert_snapshot!("event_of_others", events[1].details(&view(None, false)));
    }

    #[test]
    fn quarantine_in_a_table_and_alone() {
        let messages: Vec<Document<QuarantinedMessage>> = serde_json::from_value(json!([{
            "number": 7, "queue": "crewcall.completed", "routing_key": "completed.image.thumbnail",
            "reason": "undecodable", "detail": "invalid type: integer `7`, expected a map", "body_base64": "Bw==",
            "body_bytes": 1, "at": "2026-11-20T16:07:03.000Z"
        }]))
        .unwrap();
        insta::assert_snapshot!("quarantine", listed(&messages));
        insta::assert_snapshot!("message", alone(&*messages[0]));
    }
}
