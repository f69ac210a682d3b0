//! The calendars of schedules, each made once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crewcall_calendar::{Calendar, Zone};
use crewcall_expressions::Json;
use crewcall_proto::Timestamp;

use crate::domain::{
    Problem, ScheduleId,
    schedules::{
        known::Schedule,
        settings::{Times, Timing},
    },
};

/// Calendars by their schedules, each with the revision that it was made of.
#[derive(Debug, Default)]
pub(super) struct Calendars(Mutex<HashMap<ScheduleId, (u64, Arc<Calendar>)>>);

impl Calendars {
    /// The calendar of a schedule.
    ///
    /// # Errors
    ///
    /// Why it has none any more: a zone may have been taken out of the system's data.
    pub(super) fn of(&self, schedule: &Schedule) -> Result<Arc<Calendar>, String> {
        let known = self.lock().get(&schedule.id).cloned();
        if let Some((_, calendar)) = known.filter(|(revision, _)| *revision == schedule.revision) {
            return Ok(calendar);
        }
        let calendar = read(&schedule.settings.times, "").map_err(|problems| Problem::sentence(&problems))?;
        self.lock().insert(schedule.id, (schedule.revision, Arc::clone(&calendar)));
        Ok(calendar)
    }

    /// Forgets those of schedules that are not there any more.
    pub(super) fn retain(&self, stays: impl Fn(ScheduleId) -> bool) {
        self.lock().retain(|id, _| stays(*id));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ScheduleId, (u64, Arc<Calendar>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong with the times of a schedule, whose document begins at this pointer.
pub(in crate::engine) fn problems(times: &Times, pointer: &str) -> Vec<Problem> {
    read(times, pointer).err().unwrap_or_default()
}

/// What is wrong with the pattern and the zone of a document that says something else wrong.
pub(super) fn problems_of_texts(document: &Json) -> Vec<Problem> {
    let text = |name: &str| document.get(name).and_then(Json::as_str);
    let zone = text("timezone").and_then(|name| Zone::find(name).err()).map(|unknown| unknown.to_string());
    let cron = text("cron").and_then(|pattern| Calendar::cron(pattern, Zone::utc()).err());
    let cron = cron.map(|invalid| invalid.to_string());
    let told = |(at, message): (&str, Option<String>)| message.map(|message| Problem::new(at, message));
    [("/timezone", zone), ("/cron", cron)].into_iter().filter_map(told).collect()
}

/// The calendar that a schedule means, whose document begins at this pointer.
///
/// # Errors
///
/// Every problem: a zone that there is not, a pattern that means nothing, a jitter as long as the distance between ticks.
pub(super) fn read(times: &Times, pointer: &str) -> Result<Arc<Calendar>, Vec<Problem>> {
    let zone = Zone::find(&times.timezone)
        .map_err(|unknown| vec![Problem::new(format!("{pointer}/timezone"), unknown.to_string())]);
    let pattern = |name: &str, message: String| vec![Problem::new(format!("{pointer}/{name}"), message)];
    let read = |zone: Zone| match &times.timing {
        Timing::Cron(text) => {
            Calendar::cron(text, zone).map_err(|invalid| pattern("cron", invalid.to_string()))
        }
        Timing::Every(seconds) => {
            let anchor = times.from.map_or(0, Timestamp::as_millis);
            Calendar::every(*seconds, anchor, zone)
                .map_err(|invalid| pattern("every_seconds", invalid.to_string()))
        }
    };
    let calendar = match zone {
        Ok(zone) => read(zone)?,
        Err(mut problems) => {
            // What else is wrong is told as well.
            problems.extend(read(Zone::utc()).err().unwrap_or_default());
            return Err(problems);
        }
    };
    // Looking for the shortest distance takes a while.
    if times.jitter == Duration::ZERO {
        return Ok(Arc::new(calendar));
    }
    let gap = calendar.shortest_gap();
    if times.jitter >= gap {
        let message = format!(
            "ticks may be {} seconds apart, and jitter has to be less, so that they stay in their order",
            gap.as_secs_f64()
        );
        return Err(vec![Problem::new(format!("{pointer}/jitter_seconds"), message)]);
    }
    Ok(Arc::new(calendar))
}
