//! Names of schedules, of their ticks, and of what becomes of those: what everybody needs to talk of them.

use std::{fmt, str::FromStr, sync::Arc};

use crewcall_proto::{JobType, Timestamp};

use super::run_names::WorkflowName;

/// Counts the schedules that were ever made, from 1: one that is made again under the same name is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ScheduleId(pub u64);

/// The name of a schedule. It has the shape of a job type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScheduleName(Arc<str>);

/// What the name of a schedule begins with that is a trigger of a workflow: nobody else can have such a name.
const OF_WORKFLOW: &str = "workflow:";

impl ScheduleName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// That of the schedule that is a trigger of a workflow: the one at this place among its triggers.
    #[must_use]
    pub fn of_workflow(workflow: &WorkflowName, trigger: usize) -> Self {
        Self(format!("{OF_WORKFLOW}{workflow}:{trigger}").into())
    }

    /// The workflow whose trigger it is; `None` for one that somebody set.
    #[must_use]
    pub fn workflow(&self) -> Option<WorkflowName> {
        self.0.strip_prefix(OF_WORKFLOW)?.rsplit_once(':')?.0.parse().ok()
    }

    /// Reads a name that may be that of a trigger.
    ///
    /// # Errors
    ///
    /// [`InvalidScheduleName`] when it is none.
    pub fn kept(text: &str) -> Result<Self, InvalidScheduleName> {
        let name = Self(text.into());
        if name.workflow().is_some() { Ok(name) } else { text.parse() }
    }
}

impl FromStr for ScheduleName {
    type Err = InvalidScheduleName;

    fn from_str(text: &str) -> Result<Self, InvalidScheduleName> {
        match JobType::new(text) {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(InvalidScheduleName { text: text.chars().take(JobType::LENGTH_MAX).collect() }),
        }
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the name of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not the name of a schedule: it is 1 to 128 characters of a-z 0-9 . _ - in dot-separated words, such as \"report.nightly\""
)]
pub struct InvalidScheduleName {
    text: String,
}

/// What made a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TickOrigin {
    /// The calendar, when its time came, or later if nobody was there.
    Clock,
    /// Somebody, at this moment: it is none of the calendar's.
    Hand,
    /// Somebody, for a moment of the calendar that had not fired.
    Backfill,
}

impl TickOrigin {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Clock, Self::Hand, Self::Backfill];

    /// The word in the API and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Hand => "hand",
            Self::Backfill => "backfill",
        }
    }
}

/// What became of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TickState {
    /// It waits until what came before it is over.
    Queued,
    /// What it makes is made.
    Fired,
    /// It came while an earlier one was not over, or could make nothing.
    Skipped,
    /// Nobody was there when it came, and it was not made up for.
    Missed,
    /// It came while the schedule, or its workflow, was paused.
    Paused,
}

impl TickState {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Fired, Self::Skipped, Self::Missed, Self::Paused];

    /// The word in the API, the store and the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Fired => "fired",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::Paused => "paused",
        }
    }
}

impl fmt::Display for TickState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TickState {
    type Err = UnknownTickState;

    fn from_str(word: &str) -> Result<Self, UnknownTickState> {
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or(UnknownTickState)
    }
}

/// A word that names no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a state of a tick is one of queued, fired, skipped, missed, paused")]
pub struct UnknownTickState;

/// A tick of one schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TickKey {
    /// The moment that it stands for, without jitter.
    pub at: Timestamp,
    pub origin: TickOrigin,
}

/// Which tick of which schedule something was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiredBy {
    pub schedule: ScheduleName,
    pub id: ScheduleId,
    pub tick: TickKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_trigger_leads_to_its_workflow_and_nobody_else_can_have_it() {
        let workflow: WorkflowName = "asset.publish".parse().unwrap();
        let name = ScheduleName::of_workflow(&workflow, 3);
        assert_eq!((name.as_str(), name.workflow()), ("workflow:asset.publish:3", Some(workflow)));
        assert_eq!(ScheduleName::kept(name.as_str()), Ok(name.clone()));
        assert!(name.as_str().parse::<ScheduleName>().is_err());
        assert_eq!("report.nightly".parse::<ScheduleName>().unwrap().workflow(), None);
        for text in ["", "Ü", "a..b", "workflow:", "workflow:x", "workflow::1"] {
            assert!(ScheduleName::kept(text).is_err(), "{text}");
        }
    }
}
