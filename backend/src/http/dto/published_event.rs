//! Published events as the API shows them.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{BatchProblem, raw, rfc3339};
use crate::domain;

/// What to publish. Any other field is refused by name.
// Only describes the request: `event_submission` reads it, so that every problem is told at once.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct NewEvent {
    /// What it is about: 1 to 128 characters of `a-z 0-9 . _ -` in dot-separated words. The first words `job`, `run`,
    /// `schedule`, `hook` and `crewcall` are reserved.
    #[schema(example = "order.paid", max_length = 128)]
    subject: String,
    /// Any JSON but null; at most 256 KiB, and 32 levels deep. Numbers are integers from −2^63 to 2^64−1 or 64-bit floats.
    #[schema(value_type = Object)]
    data: serde_json::Value,
    /// Your own name for it: 1 to 255 visible ASCII characters. While the event is kept, publishing the same again under it
    /// records nothing.
    #[schema(example = "github:a1b2", min_length = 1, max_length = 255)]
    id: Option<String>,
    /// When it happened, if you want to say so. Events are in the order in which they were recorded, whatever it says.
    #[schema(format = DateTime)]
    occurred_at: Option<String>,
}

/// An event of the log. It never changes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PublishedEvent {
    /// Its place in the log: from 1, without a gap, in the order of commits. Who has seen one never sees a lower one
    /// appear later.
    #[schema(example = 17)]
    pub sequence: u64,
    /// What it is about.
    #[schema(example = "order.paid")]
    pub subject: String,
    /// Its publisher's own name for it.
    pub id: Option<String>,
    /// When it happened, if its publisher said so.
    #[schema(format = DateTime)]
    pub occurred_at: Option<String>,
    /// When it was recorded.
    #[schema(format = DateTime)]
    pub recorded_at: String,
    /// Which job it tells of, if it is one of our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<EventOrigin>,
    /// What its publisher said of it.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
}

/// Which job an event tells of.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventOrigin {
    /// The job.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The run that it tells of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Where the chain of events and jobs began: `event 17`, or `job` and its id.
    #[schema(example = "event 17")]
    pub root: String,
    /// How many jobs of the chain made each other, this one included; 0 if somebody submitted it.
    pub depth: u32,
}

impl From<&domain::PublishedEvent> for PublishedEvent {
    fn from(event: &domain::PublishedEvent) -> Self {
        Self {
            sequence: event.sequence.0,
            subject: event.subject.to_string(),
            id: event.id.clone(),
            occurred_at: event.occurred_at.map(rfc3339),
            recorded_at: rfc3339(event.recorded_at),
            origin: event.origin.map(|origin| EventOrigin {
                job_id: match origin.source {
                    domain::Source::Job(id) => Some(id.to_string()),
                    domain::Source::Run(_) => None,
                },
                run_id: match origin.source {
                    domain::Source::Run(id) => Some(id.to_string()),
                    domain::Source::Job(_) => None,
                },
                root: origin.root.to_string(),
                depth: origin.depth,
            }),
            data: raw(&event.data),
        }
    }
}

/// A part of the log, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventList {
    /// The events that were asked for.
    pub events: Vec<PublishedEvent>,
    /// How far was looked: pass it as `after` to go on. There may be more events as long as it is below `head`, also when
    /// `events` is empty: one request looks at 10 000 at most.
    pub after: u64,
    /// The oldest event that is kept, or the next one if none is.
    pub oldest: u64,
    /// The newest event; 0 before the first.
    pub head: u64,
}

/// What became of a batch of events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventBatchResult {
    /// How many items are events now, or were already.
    pub accepted: usize,
    /// How many are not.
    pub refused: usize,
    /// One for each item, in their order.
    pub results: Vec<EventBatchItem>,
}

/// What became of one item of a batch of events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventBatchItem {
    /// Which item, from 0. Empty lines do not count.
    pub index: usize,
    /// 201: it is recorded. 200: it was recorded before, under the same id. 422: it is not an event. 503 or 500: the store
    /// failed; publish it again.
    #[schema(example = 201)]
    pub status: u16,
    /// Its place in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Why it is not an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<BatchProblem>,
}
