//! Consumers as the API shows them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{NewJob, job::ActorNote, rfc3339, seconds};
use crate::{
    domain::{self, Start, times::BackoffRequest},
    engine::{ConsumerView, Note, Notes},
};

/// What a consumer does. Any other field is refused by name.
// Only describes the request: `consumer_settings` reads it, so that every problem is told at once.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct ConsumerSettings {
    /// Which events it selects: 1 to 16 patterns, as in the binding of a topic exchange.
    #[schema(example = json!(["order.paid"]), min_items = 1, max_items = 16)]
    subjects: Vec<String>,
    /// A condition that events have to meet besides: CEL, in which `event` is known.
    #[schema(example = "event.data.total > 100", max_length = 1024)]
    r#if: Option<String>,
    /// What follows from an event.
    then: NewThen,
    /// How many of its jobs may be unfinished: at so many it stops in front of the next event, and the log waits. 1 means
    /// strictly one after the other.
    #[schema(minimum = 1, maximum = 10_000, default = 1_000)]
    in_flight_max: Option<u32>,
    /// Where it begins, when it is made: `"now"`, `"oldest"`, `{"after": 17}` or `{"since": "2026-11-20T16:07:00Z"}`.
    #[schema(value_type = Option<Object>, default = "now")]
    start: Option<Value>,
}

/// What follows from an event: one of these.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct NewThen {
    /// A job, as in a submission, without `run_at` and `expires_at`. In texts of the parameters and in labels, `${{ … }}` is filled in.
    job: Option<NewJob>,
    /// Or a run of this workflow, whose `trigger.data` is that of the event.
    #[schema(example = "asset.publish")]
    workflow: Option<String>,
    /// Or a delivery to this webhook.
    #[schema(example = "shop")]
    webhook: Option<String>,
}

/// How a consumer is resumed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct ConsumerResume {
    /// `"now"` to pass over what came meanwhile.
    #[schema(example = "now")]
    from: Option<String>,
    /// Who does it, as they call themselves.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// Where a consumer is to go on.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct ConsumerSeek {
    /// `"now"`, `"oldest"`, `{"after": 17}` or `{"since": "2026-11-20T16:07:00Z"}`.
    #[schema(value_type = Object)]
    to: Value,
    /// Who does it, as they call themselves.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// Which part of the log is gone through once more.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct NewReplay {
    /// The sequence before the first event.
    after: u64,
    /// The sequence of the last event.
    to: u64,
    /// Who does it, as they call themselves.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// All consumers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsumerList {
    /// By name.
    pub consumers: Vec<Consumer>,
}

/// A consumer of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Consumer {
    /// Its name.
    #[schema(example = "invoices")]
    pub name: String,
    /// Which events it selects.
    pub subjects: Vec<String>,
    /// A condition that events have to meet besides.
    pub r#if: Option<String>,
    /// What follows from an event, as it was set.
    #[schema(value_type = Object)]
    pub then: Value,
    /// How many of its jobs may be unfinished.
    pub in_flight_max: u32,
    /// Where it was told to begin when it was made.
    #[schema(value_type = Object)]
    pub start: Value,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When its settings changed last.
    #[schema(format = DateTime)]
    pub changed_at: String,
    /// `following` (it has seen everything), `behind` (it goes on), `full` (as many of its jobs are unfinished as may be, or something else keeps
    /// it), `paused`, or `stranded` (what comes next is deleted).
    pub state: &'static str,
    /// Why it is in that state: a sentence.
    pub reason: String,
    /// Its place in the log: everything up to here was looked at.
    pub cursor: u64,
    /// The newest event of the log.
    pub head: u64,
    /// How many events it has not seen.
    pub lag_events: u64,
    /// How long ago the first of them was recorded.
    #[schema(value_type = f64)]
    pub lag_seconds: serde_json::Number,
    /// How many of its jobs are unfinished.
    pub in_flight: u32,
    /// Who paused it, if it is paused.
    pub pause: Option<ActorNote>,
    /// Which time through the log this is: one more with each seek back.
    pub pass: u64,
    /// Those under way and the last ten that ended, oldest first.
    pub replays: Vec<Replay>,
    /// Events whose condition could not be evaluated, since the backend started: nothing was made of them.
    pub condition_errors: ConsumerNotes,
    /// Events at the end of too long a chain of events and jobs, since the backend started: nothing was made of them.
    pub refused: ConsumerNotes,
    /// How it moved, in the answer to a seek.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
}

/// A part of the log that a consumer goes through once more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Replay {
    /// Which time through the log this is: the `pass` in the cause of its jobs.
    pub replay: u64,
    /// The sequence before its first event.
    pub after: u64,
    /// The sequence of its last event.
    pub to: u64,
    /// Everything up to here was looked at.
    pub cursor: u64,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// When it was asked for.
    #[schema(format = DateTime)]
    pub requested_at: String,
    /// When all of it was looked at.
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
}

/// Events of which nothing was made, although their subjects were selected.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsumerNotes {
    /// How many there were.
    pub count: u64,
    /// The last ten, oldest first.
    pub last: Vec<ConsumerNote>,
}

/// An event of which nothing was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsumerNote {
    /// Its place in the log.
    pub sequence: u64,
    /// When it was looked at.
    #[schema(format = DateTime)]
    pub at: String,
    /// Why nothing was made of it.
    pub message: String,
    /// How it came about, from the beginning; empty, unless that is the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
}

/// How a consumer moved in the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Moved {
    pub from: u64,
    pub to: u64,
    /// How many events it will not see.
    pub skipped: u64,
    /// How many events it will see again.
    pub repeated: u64,
}

impl From<&ConsumerView> for Consumer {
    fn from(view: &ConsumerView) -> Self {
        let consumer = &view.consumer;
        let settings = &consumer.settings;
        Self {
            name: consumer.name.to_string(),
            subjects: settings.subjects.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            r#if: settings.condition.clone(),
            then: match &settings.then {
                domain::Then::Job(submission) => json!({ "job": job(submission) }),
                domain::Then::Run(workflow) => json!({ "workflow": workflow.as_str() }),
                domain::Then::Webhook(webhook) => json!({ "webhook": webhook.as_str() }),
                domain::Then::Trigger(version) => json!({ "workflow": version.name().as_str() }),
            },
            in_flight_max: settings.in_flight_max,
            start: start(consumer.start),
            created_at: rfc3339(consumer.created_at),
            changed_at: rfc3339(consumer.changed_at),
            state: view.state.as_str(),
            reason: view.reason.clone(),
            cursor: view.place.0,
            head: view.head.0,
            lag_events: view.lag_events(),
            lag_seconds: seconds(view.lag),
            in_flight: consumer.in_flight,
            pause: ActorNote::of_pause(consumer.pause.as_ref()),
            pass: consumer.pass.0,
            replays: consumer.replays.iter().map(Replay::from).collect(),
            condition_errors: (&view.notes.unclear).into(),
            refused: (&view.notes.refused).into(),
            moved: None,
        }
    }
}

/// A submission as somebody would send it.
fn job(job: &domain::Submission) -> BTreeMap<&'static str, Value> {
    let domain::Submission { job_type, parameters, priority, max_attempts, labels, times, after: _ } = job;
    let given = [
        ("type", json!(job_type)),
        ("parameters", json!(parameters)),
        ("labels", json!(labels)),
        ("priority", json!(priority)),
        ("max_attempts", json!(max_attempts)),
        ("delay_seconds", json!(times.delay_seconds)),
        ("timeout_seconds", json!(times.timeout_seconds)),
        ("backoff", times.backoff.as_ref().map_or(Value::Null, backoff)),
    ];
    let is_given = |(name, value): &(&str, Value)| {
        !value.is_null() && (*name != "labels" || value.as_object().is_some_and(|labels| !labels.is_empty()))
    };
    given.into_iter().filter(is_given).collect()
}

fn backoff(backoff: &BackoffRequest) -> Value {
    let BackoffRequest { initial_seconds, factor, max_seconds, jitter } = backoff;
    let given = [
        ("initial_seconds", initial_seconds),
        ("factor", factor),
        ("max_seconds", max_seconds),
        ("jitter", jitter),
    ];
    let given =
        given.into_iter().filter_map(|(name, number)| Some((name.to_owned(), json!(number.as_ref()?))));
    Value::Object(given.collect())
}

fn start(start: Start) -> Value {
    match start {
        Start::Now => json!("now"),
        Start::Oldest => json!("oldest"),
        Start::After(sequence) => json!({ "after": sequence.0 }),
        Start::Since(time) => json!({ "since": rfc3339(time) }),
    }
}

impl From<&domain::Replay> for Replay {
    fn from(replay: &domain::Replay) -> Self {
        Self {
            replay: replay.pass.0,
            after: replay.after.0,
            to: replay.to.0,
            cursor: replay.cursor.0,
            by: replay.by.clone(),
            reason: replay.reason.clone(),
            requested_at: rfc3339(replay.requested_at),
            finished_at: replay.finished_at.map(rfc3339),
        }
    }
}

impl From<&Notes> for ConsumerNotes {
    fn from(notes: &Notes) -> Self {
        let shown = |note: &Note| ConsumerNote {
            sequence: note.sequence.0,
            at: rfc3339(note.at),
            message: note.message.clone(),
            chain: note.chain.clone(),
        };
        Self { count: notes.count, last: notes.last.iter().map(shown).collect() }
    }
}

impl From<crate::engine::Moved> for Moved {
    fn from(moved: crate::engine::Moved) -> Self {
        Self { from: moved.from.0, to: moved.to.0, skipped: moved.skipped(), repeated: moved.repeated() }
    }
}
