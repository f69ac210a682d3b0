//! What the API answers about consumers: what makes jobs of events.

use serde::Deserialize;
use serde_json::Value;

use super::{ActorNote, Document};

/// A consumer.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Consumer {
    /// Its name.
    pub(crate) name: String,
    /// The patterns of the subjects that it looks at.
    #[serde(default)]
    pub(crate) subjects: Vec<String>,
    /// The condition, if it has one.
    #[serde(default, rename = "if")]
    pub(crate) condition: Option<String>,
    /// What it makes of an event.
    #[serde(default)]
    pub(crate) then: Value,
    /// How many of its jobs may be unfinished.
    #[serde(default)]
    pub(crate) in_flight_max: u32,
    /// When it was created.
    #[serde(default)]
    pub(crate) created_at: Option<String>,
    /// When its settings were changed.
    #[serde(default)]
    pub(crate) changed_at: Option<String>,
    /// How it is, in one of the words of the API.
    #[serde(default)]
    pub(crate) state: String,
    /// Why, in a sentence.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// The last event that it has seen.
    #[serde(default)]
    pub(crate) cursor: u64,
    /// The newest event of the log.
    #[serde(default)]
    pub(crate) head: u64,
    /// How many events it has yet to see.
    #[serde(default)]
    pub(crate) lag_events: u64,
    /// For how long the oldest of them has been there.
    #[serde(default)]
    pub(crate) lag_seconds: Option<f64>,
    /// How many of its jobs are unfinished.
    #[serde(default)]
    pub(crate) in_flight: u64,
    /// Who paused it, and why.
    #[serde(default)]
    pub(crate) pause: Option<ActorNote>,
    /// Those that go on, and the last ones that are over.
    #[serde(default)]
    pub(crate) replays: Vec<Replay>,
    /// Events whose condition could not be evaluated.
    #[serde(default)]
    pub(crate) condition_errors: Remarks,
    /// Events that it made nothing of, because their chain is too long.
    #[serde(default)]
    pub(crate) refused: Remarks,
    /// How its place was changed; only in the answer to that.
    #[serde(default)]
    pub(crate) moved: Option<Moved>,
}

/// A part of the log that a consumer goes through once more.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Replay {
    /// Its number, from 1.
    pub(crate) replay: u64,
    /// It begins after this event.
    #[serde(default)]
    pub(crate) after: u64,
    /// Its last event.
    #[serde(default)]
    pub(crate) to: u64,
    /// The last event that it has seen.
    #[serde(default)]
    pub(crate) cursor: u64,
    /// Who asked for it.
    #[serde(default)]
    pub(crate) by: Option<String>,
    /// Why.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// When it was asked for.
    #[serde(default)]
    pub(crate) requested_at: Option<String>,
    /// When it was over.
    #[serde(default)]
    pub(crate) finished_at: Option<String>,
}

/// Events of which there is something to say: how many since the backend started, and the last of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Remarks {
    /// How many.
    pub(crate) count: u64,
    /// The last of them.
    pub(crate) last: Vec<EventNote>,
}

/// What is to be said of one event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EventNote {
    /// Which.
    pub(crate) sequence: u64,
    /// When.
    pub(crate) at: Option<String>,
    /// A sentence.
    pub(crate) message: String,
    /// How it came to be, from the first cause on.
    pub(crate) chain: Vec<String>,
}

/// How the place of a consumer was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Moved {
    /// The last event that it had seen.
    pub(crate) from: u64,
    /// It goes on after this event.
    pub(crate) to: u64,
    /// How many events it will not see.
    #[serde(default)]
    pub(crate) skipped: u64,
    /// How many events it will see again.
    #[serde(default)]
    pub(crate) repeated: u64,
}

/// What made a job: a consumer of an event, a run, or a schedule.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Cause {
    /// The event.
    pub(crate) event: Option<u64>,
    /// The consumer.
    pub(crate) consumer: Option<String>,
    /// The run.
    pub(crate) run: Option<String>,
    /// The workflow of that.
    pub(crate) workflow: Option<String>,
    /// The step of that.
    pub(crate) step: Option<String>,
    /// Which item of the step, from 0.
    pub(crate) item: Option<u32>,
    /// `work`, or `undo` if it compensates for one.
    pub(crate) role: Option<String>,
    /// The schedule.
    pub(crate) schedule: Option<String>,
    /// The tick of that.
    pub(crate) tick: Option<String>,
    /// Where the chain of causes begins: "event 17".
    pub(crate) root: Option<String>,
    /// How many jobs and runs lie on the way, this one included.
    pub(crate) depth: u32,
}

/// All consumers.
#[derive(Debug, Deserialize)]
pub(crate) struct ConsumerList {
    /// By name.
    pub(crate) consumers: Vec<Document<Consumer>>,
}
