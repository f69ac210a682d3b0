//! Consumers: who makes jobs of events, of which, and where it begins.

use std::sync::Arc;

use crewcall_proto::Timestamp;

use super::{
    ConsumerName, Pass, Pause, Sequence, SubjectPattern, Submission, WebhookName, run_names::WorkflowName,
    workflow::known::WorkflowVersion,
};

/// The most patterns that one consumer may have.
pub const PATTERNS_MAX: usize = 16;

/// How many unfinished jobs of a consumer there are at most, unless it says otherwise.
pub const IN_FLIGHT_DEFAULT: u32 = 1_000;

/// The most unfinished jobs that a consumer may ask for: the others wait in the log, where they cost nothing.
pub const IN_FLIGHT_MAX: u32 = 10_000;

/// What a consumer does, as somebody set it.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerSettings {
    /// Which events it selects: at least one pattern.
    pub subjects: Vec<SubjectPattern>,
    /// A condition that events have to meet besides.
    pub condition: Option<String>,
    /// What it makes of an event.
    pub then: Then,
    /// How many of its jobs and runs may be unfinished.
    pub in_flight_max: u32,
}

/// What a consumer makes of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    /// A job, whose parameters and labels may be templates.
    Job(Box<Submission>),
    /// A run of this workflow, which gets the data of the event.
    Run(WorkflowName),
    /// The same, where one of the workflow's triggers selects the event: those of the newest version.
    Trigger(Arc<WorkflowVersion>),
    /// A delivery of the event to this webhook.
    Webhook(WebhookName),
}

/// Where somebody wants to begin in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// After everything that is there.
    #[default]
    Now,
    /// With the oldest event that is kept.
    Oldest,
    /// After this place.
    After(Sequence),
    /// With the first event that was recorded at this time or later.
    Since(Timestamp),
}

/// A consumer, and how far it got.
#[derive(Debug, Clone, PartialEq)]
pub struct Consumer {
    pub name: ConsumerName,
    pub settings: Arc<ConsumerSettings>,
    /// Where it was told to begin.
    pub start: Start,
    /// Everything up to here was looked at, and what follows from it is stored.
    pub cursor: Sequence,
    /// Its first time through the log: jobs of earlier ones are those of another consumer of its name, which is deleted.
    pub first_pass: Pass,
    /// Which time through the log this is.
    pub pass: Pass,
    /// Whether it waits, and since when.
    pub pause: Option<Pause>,
    /// How many of its jobs and runs are unfinished.
    pub in_flight: u32,
    /// Open ones, and the last that ended, oldest first.
    pub replays: Vec<Replay>,
    pub created_at: Timestamp,
    /// When its settings changed last.
    pub changed_at: Timestamp,
    /// Counts the changes of its settings: what was decided by others is not stored.
    pub revision: u64,
}

/// A part of the log that a consumer goes through once more, beside its cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Which time through the log this is.
    pub pass: Pass,
    /// The place before its first event.
    pub after: Sequence,
    /// Its last event.
    pub to: Sequence,
    /// Everything up to here was looked at.
    pub cursor: Sequence,
    /// Who asked for it, as they call themselves.
    pub by: String,
    /// Why, if they said so.
    pub reason: Option<String>,
    pub requested_at: Timestamp,
    /// When all of it was looked at.
    pub finished_at: Option<Timestamp>,
    /// Under which name it was asked for, so that asking again makes no other.
    pub key: Option<String>,
}

impl Consumer {
    /// How far this pass got: the consumer's own, or that of an open replay. `None` when it is none of them.
    #[must_use]
    pub fn cursor_of(&self, pass: Pass) -> Option<Sequence> {
        if pass == self.pass {
            return Some(self.cursor);
        }
        self.open_replays().find(|replay| replay.pass == pass).map(|replay| replay.cursor)
    }

    /// The replays that are not at their end.
    pub fn open_replays(&self) -> impl Iterator<Item = &Replay> {
        self.replays.iter().filter(|replay| replay.finished_at.is_none())
    }

    /// What has to be kept of the log for it: everything after this place.
    #[must_use]
    pub fn needs_after(&self) -> Sequence {
        self.open_replays().map(|replay| replay.cursor).fold(self.cursor, Sequence::min)
    }

    /// How many more jobs it may make now.
    #[must_use]
    pub fn room(&self) -> usize {
        usize::try_from(self.settings.in_flight_max.saturating_sub(self.in_flight)).unwrap_or(usize::MAX)
    }
}

impl Replay {
    /// Moves it on; at its end, it is finished.
    pub fn advance(&mut self, to: Sequence, now: Timestamp) {
        self.cursor = to;
        if self.cursor >= self.to {
            self.finished_at = Some(now);
        }
    }
}
