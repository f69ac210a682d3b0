//! Schedules as people see them.

use std::sync::Arc;

use crewcall_calendar::{Calendar, Oddity, zone_data};
use crewcall_expressions::Json;
use crewcall_proto::Timestamp;

use super::calendars;
use crate::{
    domain::{
        Problem, ScheduleName, TickKey,
        schedules::{
            consider::Ticks,
            known::Schedule,
            settings::{ScheduleSettings, Times},
            tick::{TickRecord, TickState},
        },
    },
    engine::{
        Engine,
        ports::{StoreError, TickQuery},
    },
};

/// How many of the next ticks are shown.
const NEXT_SHOWN: usize = 10;

/// How many in a list, which may be long.
const NEXT_LISTED: usize = 1;

/// How a schedule gets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleState {
    /// It ticks.
    Active,
    Paused,
    /// Something keeps it: it is tried again and again.
    Held,
    /// It has no ticks to come.
    Ended,
}

impl ScheduleState {
    pub const ALL: [Self; 4] = [Self::Active, Self::Paused, Self::Held, Self::Ended];

    /// The word in the API and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::Ended => "ended",
        }
    }
}

/// A tick to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextTick {
    pub at: Timestamp,
    /// When it comes: later by its part of the jitter.
    pub due_at: Timestamp,
    /// The same as the tick, in the schedule's zone (RFC 3339).
    pub local: String,
    /// What is odd about it: a sentence.
    pub remark: Option<String>,
}

/// What the times of a schedule mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// When it ticks, in words.
    pub words: String,
    /// Whose rules of time zones are used, and which version.
    pub zone_data: String,
    /// The next ticks: ten; one in a list.
    pub next: Vec<NextTick>,
}

/// A schedule as it is now.
#[derive(Debug, Clone)]
pub struct ScheduleView {
    pub schedule: Arc<Schedule>,
    pub state: ScheduleState,
    /// Why it is in that state: a sentence.
    pub reason: String,
    pub preview: Preview,
}

impl Preview {
    fn of(
        calendar: &Calendar,
        times: &Times,
        name: &ScheduleName,
        (after, shown_max): (Timestamp, usize),
    ) -> Self {
        let ticks = Ticks { calendar, times, name };
        let first = ticks.next_after(after);
        let next = std::iter::successors(first, |tick| ticks.next_after(*tick)).take(shown_max);
        let shown = |at: Timestamp| {
            let local = calendar.local(at.as_millis());
            let remark = local.oddity.map(|oddity| remark(&oddity));
            NextTick { at, due_at: ticks.due(at), local: local.text, remark }
        };
        Self { words: calendar.words(), zone_data: zone_data().to_string(), next: next.map(shown).collect() }
    }
}

fn remark(oddity: &Oddity) -> String {
    match oddity {
        Oddity::AfterGap { wall } => {
            format!(
                "the clocks go forward and there is no {wall} on that day: this is the first moment after"
            )
        }
        Oddity::FirstOfTwo => "the clocks go back and this time comes twice: this is the first".to_owned(),
        Oddity::SecondOfTwo => "the clocks go back and this time comes twice: this is the second".to_owned(),
    }
}

impl Engine {
    /// What the times of a document mean. Changes nothing.
    ///
    /// # Errors
    ///
    /// Every problem of the document.
    pub fn preview_schedule(&self, name: &ScheduleName, document: &Json) -> Result<Preview, Vec<Problem>> {
        let settings = ScheduleSettings::read(document).map_err(|mut problems| {
            // What is wrong with the rest hides nothing that is wrong with these.
            problems.extend(calendars::problems_of_texts(document));
            problems
        })?;
        let calendar = calendars::read(&settings.times, "")?;
        Ok(Preview::of(&calendar, &settings.times, name, (self.clock.wall(), NEXT_SHOWN)))
    }

    /// All schedules, by name, each with its next tick only.
    #[must_use]
    pub fn schedule_views(&self) -> Vec<ScheduleView> {
        self.store.schedules().into_iter().map(|schedule| self.view_of(schedule, NEXT_LISTED)).collect()
    }

    /// One schedule.
    #[must_use]
    pub fn schedule_view(&self, name: &ScheduleName) -> Option<ScheduleView> {
        self.store.schedule(name).map(|schedule| self.view_of(schedule, NEXT_SHOWN))
    }

    /// What became of ticks of a schedule, newest first; `None` if there is no such schedule.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub async fn schedule_ticks(
        &self,
        name: &ScheduleName,
        before: Option<TickKey>,
        states: Vec<TickState>,
        limit: usize,
    ) -> Result<Option<Vec<TickRecord>>, StoreError> {
        let Some(schedule) = self.store.schedule(name) else { return Ok(None) };
        let query = TickQuery { schedule: schedule.id, before, from: None, states, limit };
        self.store.ticks(query).await.map(Some)
    }

    fn view_of(&self, schedule: Arc<Schedule>, shown_max: usize) -> ScheduleView {
        let times = &schedule.settings.times;
        let after = schedule.considered_until.max(self.clock.wall());
        let (preview, trouble) = match self.schedules.calendars.of(&schedule) {
            Ok(calendar) => {
                let preview = Preview::of(&calendar, times, &schedule.name, (after, shown_max));
                (preview, self.schedules.trouble(&schedule.name))
            }
            Err(reason) => {
                let zone_data = zone_data().to_string();
                (Preview { words: String::new(), zone_data, next: Vec::new() }, Some(reason))
            }
        };
        let (state, reason) = state_of(&schedule, &preview, trouble);
        ScheduleView { schedule, state, reason, preview }
    }
}

fn state_of(schedule: &Schedule, preview: &Preview, trouble: Option<String>) -> (ScheduleState, String) {
    if let Some(pause) = &schedule.pause {
        let why = pause.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        return (ScheduleState::Paused, format!("paused by {}{why}", pause.by));
    }
    if let Some(reason) = trouble {
        return (ScheduleState::Held, reason);
    }
    match preview.next.first() {
        Some(next) => (ScheduleState::Active, format!("the next tick is at {}", next.local)),
        None => (ScheduleState::Ended, "no tick is to come".to_owned()),
    }
}
