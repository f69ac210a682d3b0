//! What the API answers about schedules and their ticks.

use serde::Deserialize;
use serde_json::Value;

use super::{ActorNote, Document};

/// A schedule; in lists some fields are absent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Schedule {
    /// Its name.
    pub(crate) name: String,
    /// The workflow whose trigger it is.
    pub(crate) workflow: Option<String>,
    /// How it is, in one of the words of the API.
    pub(crate) state: String,
    /// Why, in a sentence.
    pub(crate) reason: String,
    /// When it ticks, in words.
    pub(crate) words: String,
    /// Whose rules of time zones are used.
    pub(crate) zone_data: String,
    /// The next ticks.
    pub(crate) next: Vec<Document<UpcomingTick>>,
    /// The ticks whose jobs and runs are not over.
    pub(crate) open: Vec<OpenTick>,
    /// How many ticks wait.
    pub(crate) queued: u64,
    /// How many of its fires failed in a row.
    pub(crate) failures: u64,
    /// The tick of the last fire that completed.
    pub(crate) last_completed: Option<String>,
    /// Who paused it, and why.
    pub(crate) pause: Option<ActorNote>,
    /// When it was made.
    pub(crate) created_at: Option<String>,
    /// When its document changed.
    pub(crate) changed_at: Option<String>,
    /// Who changed that.
    pub(crate) changed_by: Option<String>,
    /// Counts the changes of its document.
    pub(crate) revision: u64,
    /// What it does.
    pub(crate) document: Value,
}

/// A tick to come.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UpcomingTick {
    /// The moment that it stands for.
    pub(crate) tick: String,
    /// When it fires.
    pub(crate) due_at: Option<String>,
    /// The tick in the schedule's zone.
    pub(crate) local: String,
    /// What is odd about it.
    pub(crate) remark: Option<String>,
}

/// A tick whose job or run is not over.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OpenTick {
    /// The moment that it stands for.
    pub(crate) tick: String,
    /// What made it tick.
    pub(crate) origin: String,
    /// The job that it made.
    pub(crate) job_id: Option<String>,
    /// The run that it made.
    pub(crate) run_id: Option<String>,
}

/// What the times of a document mean.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SchedulePreview {
    /// When it ticks, in words.
    pub(crate) words: String,
    /// The next ticks.
    pub(crate) next: Vec<Document<UpcomingTick>>,
}

/// What became of a tick, or of several in a row.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tick {
    /// The moment that it stands for; of several, the first.
    pub(crate) tick: String,
    /// The last of several.
    pub(crate) last_tick: Option<String>,
    /// How many it is.
    pub(crate) count: u64,
    /// What became of it, in one of the words of the API.
    pub(crate) state: String,
    /// Why.
    pub(crate) reason: Option<String>,
    /// What made it tick.
    pub(crate) origin: String,
    /// When it was decided.
    pub(crate) decided_at: Option<String>,
    /// The job that it made.
    pub(crate) job_id: Option<String>,
    /// The run that it made.
    pub(crate) run_id: Option<String>,
    /// The event that it made.
    pub(crate) event: Option<u64>,
    /// How that ended.
    pub(crate) outcome: Option<String>,
    /// When.
    pub(crate) ended_at: Option<String>,
}

/// What a backfill makes up for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Backfill {
    /// How many ticks.
    pub(crate) ticks: u64,
    /// The first of them.
    pub(crate) first: Option<String>,
    /// The last of them.
    pub(crate) last: Option<String>,
    /// How many others fired before, or wait to.
    pub(crate) fired_before: u64,
}

/// All schedules.
#[derive(Debug, Deserialize)]
pub(crate) struct ScheduleList {
    /// By name.
    pub(crate) schedules: Vec<Document<Schedule>>,
}

/// One page of ticks.
#[derive(Debug, Deserialize)]
pub(crate) struct TickPage {
    /// Newest first.
    pub(crate) ticks: Vec<Document<Tick>>,
    /// Where the next page starts.
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}
